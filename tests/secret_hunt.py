"""Known secrets go in by every way that there is; afterwards they are looked for in everything that rv wrote or printed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

#: What must be found nowhere, by the way on which it goes in. All differ, so that a find names the hole.
ARGUMENT = "Argument-Passw0rd-4711"
ARGUMENT_WITH_SIGN = "Argument-T0ken-4712"
SETTING = "Setting-T0ken-4713"
COMMAND_SETTING = "Command-S3tting-4714"
PASSED_ON = "Passed-0n-T0ken-4715"
OF_ENVIRONMENT = "Database-Passw0rd-4716"
USER_INFO = "User-Inf0-4717"
SIGNATURE = "5ignature4718abcdef"
ASSIGNED = "Assigned-Passw0rd-4719"
ACCESS_KEY = "AKIAZZT0PSECRET12345"
SECRETS = {
    "-a password VALUE": ARGUMENT,
    "-a api_token=VALUE": ARGUMENT_WITH_SIGN,
    "[RUNNER.environment]": SETTING,
    "[RUNNER.commands.NAME.environment]": COMMAND_SETTING,
    "environment_from": PASSED_ON,
    "a variable": OF_ENVIRONMENT,
    "user info of a URI": USER_INFO,
    "signature of a URI": SIGNATURE,
    "assigned in an exception": ASSIGNED,
    "access key": ACCESS_KEY,
}
#: Of the process that submits.
ENVIRON = {
    "DEPLOY_TOKEN": PASSED_ON,
    "DB_PASSWORD": OF_ENVIRONMENT,
    # The name says nothing: what is hidden here is hidden by its form.
    "HUNT_TEXT": f"password={ASSIGNED} as {ACCESS_KEY} at https://bob:{USER_INFO}@host/x?X-Amz-Signature={SIGNATURE}",
}

#: It raises what an unlucky library would: every secret that it can reach, in its exception and in the cause of it.
PIPELINE = """
import os
from dataclasses import dataclass

from rv_core import Items, Pipeline, PipelineConfig, StorageError, command

NAMES = ("DB_PASSWORD", "API_TOKEN", "LICENSE_TOKEN", "DEPLOY_TOKEN")


@dataclass
class LeakyConfig(PipelineConfig):
    names: list[str]
    fails: str = ""

    def build(self):
        return Leaky(self)


class Leaky(Pipeline):
    @command(items="names", reads=("fails",))
    def work(self, names: Items[str]) -> None:
        for name in names:
            given = [os.environ.get(name, "") for name in NAMES]
            self.storage.write_text(f"work/{name}.txt", f"{sum(map(bool, given))} variables\\n")
            if self.config.fails:
                self._fail(given)

    def _fail(self, given) -> None:
        text = f"cannot log in with {given}, {os.environ['HUNT_TEXT']}"
        if self.config.fails == "explained":
            raise StorageError(text, where=text, why=text)
        try:
            raise OSError(text)
        except OSError as error:
            raise RuntimeError(text) from error


def get_config(runner: str, root_uri: str, password: str = "", api_token: str = "", fails: str = "") -> LeakyConfig:
    return LeakyConfig(root_uri=root_uri, names=["a", "b"], fails=fails)
"""

ARGUMENTS = ("-a", "password", ARGUMENT, "-a", f"api_token={ARGUMENT_WITH_SIGN}")


def profile_text(runner: str, more: str = "") -> str:
    """A profile that gives tasks of a runner secrets in every way that its settings have."""
    return f'''
[{runner}]
environment_from = ["DEPLOY_TOKEN", "HUNT_TEXT"]
{more}

[{runner}.environment]
API_TOKEN = "{SETTING}"
LOG_LEVEL = "plain-and-shown"

[{runner}.commands.work.environment]
LICENSE_TOKEN = "{COMMAND_SETTING}"
'''


def found_in(texts: Mapping[str, str | bytes]) -> list[str]:
    """Every secret that is in some text, as `WAY in PLACE`."""
    raw = {place: text.encode() if isinstance(text, str) else text for place, text in texts.items()}
    return [
        f"{way} in {place}" for way, secret in SECRETS.items() for place, text in raw.items() if secret.encode() in text
    ]


def files_under(*folders: Path) -> dict[str, bytes]:
    """Every file under some folders, by its path."""
    return {str(p): p.read_bytes() for folder in folders for p in folder.rglob("*") if p.is_file()}
