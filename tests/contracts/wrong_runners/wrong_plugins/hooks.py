"""Declares every runner of `runners.py` under its name there."""

from rv_core import RunnerSpec, hookimpl

NAMES = (
    "sound",
    "ignores-dependencies",
    "drops-a-split",
    "starts-twice",
    "runs-one-at-a-time",
    "ignores-jobs",
    "swallows-failures",
    "stops-at-a-failure",
    "exits-with-0",
    "never-reports",
    "forgives-late-deaths",
    "never-retries",
    "retries-errors",
    "retries-for-ever",
    "claims-success",
    "loses-the-split-index",
    "loses-the-profile",
    "loses-the-verbosity",
    "forgets-to-quote",
    "names-the-root-as-typed",
    "changes-the-environment",
    "hides-gpus",
    "hides-logs",
    "reports-nonsense",
    "leaves-a-child",
    "gives-no-grace",
    "writes-on-dry-run",
    "tells-secrets",
    "loses-the-run-id",
    "tells-no-threads",
    "masks-exit-codes",
    "overlooks-the-dead",
    "ignores-cancel",
    "sees-nothing",
    "sees-the-end-at-once",
    "dies-with-its-parent",
    "shares-the-terminal",
    "imports-from-here",
    "spells-roots-anew",
    "takes-codes-for-signals",
    "ends-late-tasks-unsaid",
    "advises-nonsense",
    "tells-variables",
    "hides-what-is-said",
    "forgets-the-cores",
    "leaves-its-output",
    "tells-the-end-at-once",
    "tells-the-end-itself",
)
_SETTINGS = {"tells-secrets": "Settings", "tells-variables": "VariableSettings"}


@hookimpl
def rv_runners():
    return [RunnerSpec(name, f"wrong_plugins.runners:{_class_of(name)}", settings=_settings_of(name)) for name in NAMES]


def _class_of(name):
    return "".join(map(str.capitalize, name.split("-"))) + "Runner"


def _settings_of(name):
    return f"wrong_plugins.runners:{_SETTINGS[name]}" if name in _SETTINGS else ""
