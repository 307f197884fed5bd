"""`rv batch setup`: a profile from a stack; what is in the profile already stays."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rv_runner_batch.setup.cloudformation import make_stack

from rv_core.__main__ import main
from rv_core.errors import ConfigError, UsageError
from rv_core.settings.sections import load_settings
from rv_runner_batch.settings import BatchSettings
from rv_runner_batch.setup.profile_file import changes, profile_path, read_profile, section_of, updated, write_profile
from rv_runner_batch.setup.stack import OUTPUT_OF_SETTING, settings_of

if TYPE_CHECKING:
    from tests.local_batch.server import LocalBatch

VALUES = {
    "region": "eu-central-1",
    "cpu_job_queue": "rv-cpu",
    "gpu_job_queue": "rv-gpu",
    "cpu_job_definition": "rv-cpu",
    "gpu_job_definition": "rv-gpu",
}
PROFILE = """\
# work
[run]
jobs = 4  # not all of them

[batch]
# spot is fine
attempts = 3
cpu_job_queue = "old"      # the old one

[batch.commands.train]
job_queue = "rv-gpu-on-demand"

[local]
# nothing
"""


def stack(status: str = "CREATE_COMPLETE", without: str = "", **outputs: str) -> dict[str, Any]:
    values = {output: VALUES[key] for key, output in OUTPUT_OF_SETTING.items()} | {"Bucket": "b"} | outputs
    values.pop(without, None)
    listed = [{"OutputKey": key, "OutputValue": value} for key, value in values.items()]
    return {"StackName": "rv", "StackStatus": status, "Outputs": listed}


# --- from the stack --------------------------------------------------------------------------------------------------


def test_settings_come_from_the_outputs() -> None:
    assert settings_of(stack()) == VALUES


def test_every_setting_exists() -> None:
    assert set(OUTPUT_OF_SETTING) <= set(BatchSettings.__dataclass_fields__)


@pytest.mark.parametrize("status", ["UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"])
def test_a_stack_that_was_updated_or_went_back_is_usable(status: str) -> None:
    assert settings_of(stack(status)) == VALUES


@pytest.mark.parametrize(
    ("status", "message"),
    [("CREATE_IN_PROGRESS", "wait for it"), ("ROLLBACK_COMPLETE", "delete it"), ("DELETE_FAILED", "delete it")],
)
def test_a_stack_that_is_not_there_yet_or_failed_is_refused(status: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"it is {status}.*{message}"):
        settings_of(stack(status))


def test_all_that_is_wrong_with_a_stack_comes_at_once() -> None:
    wrong = stack("ROLLBACK_COMPLETE", without="GpuJobQueue", CpuJobDefinition="a b")
    wrong["StackStatusReason"] = "no rights"
    with pytest.raises(ConfigError) as caught:
        settings_of(wrong)
    text = str(caught.value)
    assert "ROLLBACK_COMPLETE: no rights" in text
    assert "it has no output GpuJobQueue" in text
    assert "output CpuJobDefinition: it is no name that batch.cpu_job_definition can have" in text


@pytest.mark.parametrize(
    "value", ["AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY=", "https://u:p@host/"]
)
def test_what_may_be_a_credential_never_gets_into_a_profile(value: str) -> None:
    with pytest.raises(ConfigError, match="output CpuJobQueue: it is no name") as caught:
        settings_of(stack(CpuJobQueue=value))
    assert value not in str(caught.value)


def test_arns_are_names_too() -> None:
    arn = "arn:aws:batch:eu-central-1:123456789012:job-queue/rv-cpu"
    assert settings_of(stack(CpuJobQueue=arn))["cpu_job_queue"] == arn


# --- into the profile ------------------------------------------------------------------------------------------------


def test_other_keys_sections_and_comments_stay() -> None:
    new = updated(PROFILE, "batch", VALUES, where="x")
    for line in PROFILE.splitlines():
        if "cpu_job_queue" not in line:
            assert line in new.splitlines()
    assert "# the old one" in new
    expected = tomllib.loads(PROFILE)
    expected["batch"].update(VALUES)
    assert tomllib.loads(new) == expected


def test_a_new_profile_has_the_section_alone() -> None:
    assert tomllib.loads(updated("", "batch", VALUES, where="x")) == {"batch": VALUES}


@pytest.mark.parametrize(
    "text",
    [
        "[batch.commands.train]\ncpus = 2\n",
        "batch.attempts = 2\n",
        "batch = { attempts = 2 }\n",
        '[run]\njobs = 1\n[batch]\ntags = {a = "b"}\n[local]\n',
        "top = 1",
    ],
)
def test_however_a_profile_is_laid_out_only_these_keys_change(text: str) -> None:
    expected = tomllib.loads(text)
    expected["batch"] = {**expected.get("batch", {}), **VALUES}
    assert tomllib.loads(updated(text, "batch", VALUES, where="x")) == expected


def test_a_section_that_is_spread_over_the_file_is_edited_right_or_not_at_all() -> None:
    text = "[batch.commands.train]\ncpus = 2\n[run]\njobs = 1\n[batch]\nattempts = 2\n"
    try:
        new = updated(text, "batch", VALUES, where="x")
    except ConfigError as error:  # tomlkit before 0.13.3 breaks such a file
        assert "cannot be edited without changing" in str(error)
    else:
        commands = {"train": {"cpus": 2}}
        assert tomllib.loads(new) == {"run": {"jobs": 1}, "batch": {"attempts": 2, "commands": commands, **VALUES}}


def test_a_profile_that_would_lose_something_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    import tomlkit

    for broken in ("", "[batch", '[batch]\nregion = "eu-central-1"\n'):
        monkeypatch.setattr(tomlkit, "dumps", lambda document, text=broken: text)
        with pytest.raises(ConfigError, match="cannot be edited without changing") as caught:
            updated(PROFILE, "batch", VALUES, where="x")
        assert "cpu_job_queue = 'rv-cpu'" in str(caught.value)


_keys = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
# Without control characters: tomlkit writes some of them as TOML 1.1 does, which Python does not read yet.
_texts = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=8)
_tables = st.dictionaries(_keys, st.one_of(st.integers(), _texts, st.booleans()), max_size=4)


@given(sections=st.dictionaries(_keys, _tables, max_size=4))
def test_whatever_a_profile_holds_is_still_there(sections: dict[str, dict[str, Any]]) -> None:
    import tomlkit

    new = updated(tomlkit.dumps(sections), "batch", VALUES, where="x")
    assert tomllib.loads(new) == {**sections, "batch": {**sections.get("batch", {}), **VALUES}}
    assert updated(new, "batch", VALUES, where="x") == new


def test_changes_name_old_and_new_values() -> None:
    found = changes({"region": "eu-central-1", "cpu_job_queue": "old"}, VALUES)
    assert [(change.key, change.old) for change in found if change.is_change] == [
        ("cpu_job_queue", "old"),
        ("gpu_job_queue", None),
        ("cpu_job_definition", None),
        ("gpu_job_definition", None),
    ]


def test_the_profile_is_the_one_that_settings_are_read_from(tmp_path: Path) -> None:
    environ = {"RV_CONFIG_DIR": str(tmp_path)}
    assert profile_path(None, environ) == tmp_path / "default.toml"
    assert profile_path(None, {**environ, "RV_PROFILE": "work"}) == tmp_path / "work.toml"
    assert profile_path("aws", {**environ, "RV_PROFILE": "work"}) == tmp_path / "aws.toml"
    with pytest.raises(UsageError, match="no name of a profile"):
        profile_path("../x", environ)


def test_a_profile_that_is_no_toml_is_left_alone() -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        section_of("[batch", "batch", where="x")
    with pytest.raises(ConfigError, match="no table"):
        section_of("batch = 3", "batch", where="x")


def test_a_profile_that_cannot_be_read_or_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "latin.toml").write_bytes(b"\xe4")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_profile(tmp_path / "latin.toml")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_profile(tmp_path / "file" / "default.toml", "")


def test_writing_keeps_permissions_and_links_and_leaves_nothing_beside(tmp_path: Path) -> None:
    target, link = tmp_path / "dotfiles" / "aws.toml", tmp_path / "config" / "aws.toml"
    for folder in (target.parent, link.parent):
        folder.mkdir()
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    write_profile(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert os.listdir(target.parent) == ["aws.toml"]
    write_profile(tmp_path / "new" / "aws.toml", "x")
    assert (tmp_path / "new" / "aws.toml").stat().st_mode & 0o777 == 0o600


# --- the command -----------------------------------------------------------------------------------------------------

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBatch]:
    """A local AWS that has the stack `rv`."""
    pytest.importorskip("moto.server", reason="the local AWS (moto[server]) is not installed")
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    from tests.local_batch.server import LocalBatch

    running = LocalBatch(tmp_path_factory.mktemp("aws"))
    try:
        make_stack(running.client)
        yield running
    finally:
        running.stop()


@pytest.fixture
def call(aws: LocalBatch, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    for name, value in aws.environ.items():
        monkeypatch.setenv(name, value)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["batch", "setup", *words])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def profile_file(name: str = "default") -> Path:
    return Path(os.environ["RV_CONFIG_DIR"]) / f"{name}.toml"


@pytest.mark.s3
def test_a_first_setup_writes_a_profile_that_the_runner_takes(call: Call) -> None:
    code, out, err = call("--stack", "rv")
    assert (code, err) == (0, "")
    assert f"{profile_file()} (new)" in out
    assert "+ cpu_job_queue = 'rv-cpu'" in out
    assert "5 of 5 keys written" in out
    assert "Bucket: rv-bucket-" in out
    assert out.endswith("next: rv batch doctor\n")
    settings = load_settings(BatchSettings, "batch", profile="default")
    region = os.environ["AWS_REGION"]
    assert settings == BatchSettings(**{**VALUES, "region": region})


@pytest.mark.s3
def test_a_dry_run_shows_the_difference_and_writes_nothing(call: Call) -> None:
    profile_file().parent.mkdir()
    profile_file().write_text(PROFILE)
    code, out, err = call("--stack", "rv", "--dry-run")
    assert (code, err) == (0, "")
    assert out.splitlines()[2:5] == [
        f"+ region = {os.environ['AWS_REGION']!r}",
        "- cpu_job_queue = 'old'",
        "+ cpu_job_queue = 'rv-cpu'",
    ]
    assert "kept as they are: attempts, commands" in out
    assert "5 of 5 keys would change; nothing is written" in out
    assert profile_file().read_text() == PROFILE


@pytest.mark.s3
def test_a_second_setup_changes_nothing(call: Call) -> None:
    assert call("--stack", "rv", "--profile", "aws")[0] == 0
    before = profile_file("aws").stat()
    code, out, _ = call("--stack", "rv", "--profile", "aws")
    assert code == 0
    assert "nothing changes" in out
    assert "next: rv --profile aws batch doctor" in out
    assert profile_file("aws").stat().st_mtime_ns == before.st_mtime_ns
    assert not profile_file().exists()


@pytest.mark.s3
def test_an_existing_profile_keeps_what_is_its_own(call: Call) -> None:
    profile_file().parent.mkdir()
    profile_file().write_text(PROFILE)
    assert call("--stack", "rv")[0] == 0
    written = profile_file().read_text()
    assert "# spot is fine" in written
    settings = load_settings(BatchSettings, "batch")
    assert (settings.attempts, settings.cpu_job_queue) == (3, "rv-cpu")
    assert settings.commands["train"].job_queue == "rv-gpu-on-demand"
    for secret in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert os.environ[secret] not in written


@pytest.mark.s3
def test_a_stack_that_is_not_there_is_named_with_its_region(call: Call) -> None:
    code, out, err = call("--stack", "another")
    assert (code, out) == (2, "")
    assert f"there is no stack 'another' in {os.environ['AWS_REGION']}" in err
    assert "--region" in err
    code, _, err = call("--stack", "rv", "--region", "eu-west-1")
    assert code == 2
    assert "in eu-west-1" in err


@pytest.mark.s3
def test_another_stack_than_ours_is_refused_and_nothing_is_written(call: Call, aws: LocalBatch) -> None:
    body = '{"Resources": {"Group": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": "other"}}}}'
    aws.client("cloudformation").create_stack(StackName="foreign", TemplateBody=body)
    code, _, err = call("--stack", "foreign")
    assert code == 2
    assert "it has no output Region, CpuJobQueue" in err
    assert "rv batch template" in err
    assert not profile_file().exists()


@pytest.mark.s3
def test_without_credentials_nothing_is_written(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    code, _, err = call("--stack", "rv")
    assert code == 3
    assert "no AWS credentials found" in err
    assert not profile_file().exists()


@pytest.mark.s3
def test_a_run_on_what_the_template_makes_succeeds(call: Call, aws: LocalBatch, rv: Callable[..., Any]) -> None:
    """The template, the profile from it, and the runner: nothing in between is set by hand."""
    code, out, _ = call("--stack", "rv")
    bucket = next(line.partition(": ")[2] for line in out.splitlines() if line.startswith("Bucket: "))
    count = len(aws.jobs())
    done = rv("run", "batch", "rv_core.hello", "-a", "root_uri", f"s3://{bucket}/root", "--splits", 2, "--wait")
    assert (code, done.returncode) == (0, 0), done.stderr
    [cpu, gpu] = aws.jobs()[count:]
    assert (cpu["jobQueue"].rpartition("/")[2], gpu["jobQueue"].rpartition("/")[2]) == ("rv-cpu", "rv-gpu")
    assert (cpu["status"], gpu["status"]) == ("SUCCEEDED", "SUCCEEDED")
    assert cpu["arrayProperties"]["size"] == 2
    assert "4 greetings" in aws.log_of(gpu["jobId"])
