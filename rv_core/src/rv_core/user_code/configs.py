"""MODULE → config objects: `rv run RUNNER MODULE` takes a dotted module, a `.py` path, or a saved `.json`."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from types import ModuleType
from typing import Any

from rv_core.config import saved as config_file
from rv_core.config.classes import Config
from rv_core.config.dotted_paths import join_paths
from rv_core.config.field_types import text_problem
from rv_core.config.fields import check_is_dataclass
from rv_core.config.overrides import apply_sets
from rv_core.config.validation import schemas
from rv_core.config.values import normalised, uris_of, walk_to_plain, with_uris
from rv_core.errors import ConfigError, Finding, UsageError, nearest
from rv_core.files import uris
from rv_core.pipeline.names import name_pipelines
from rv_core.pipeline.pipeline import PipelineConfig
from rv_core.user_code.archive import activate_code, archive_name, check_code, pack_module
from rv_core.user_code.arguments import arguments_for, signature_of
from rv_core.user_code.class_homes import code_of_objects
from rv_core.user_code.failures import call
from rv_core.user_code.loading import UserModule, load_module
from rv_core.user_code.post_init import post_init_findings
from rv_core.user_code.shipping import ship, siblings_of

Pairs = Sequence[tuple[str, str]]
#: What messages call configs that were given as objects.
_OBJECTS = "the config"
#: What rv calls the config that it saves under a root.
_SAVED = "pipeline-config.json"


@dataclass(frozen=True)
class LoadedModule:
    """The configs of one `rv run`: checked, with absolute URIs and with names that differ.

    Args:
        configs: at least one.
        code: what a saved config says of the code that travels: `{"module", "sha256", "archive", "folder"}`; empty if
            there is none, and without `archive` for a package that is only importable from `folder`.
        code_archive: the zip that belongs to `code`.
        source: the file or module, for messages.
        findings: warnings.
        siblings: what the module has imported from its own folder and does not travel.
    """

    configs: list[PipelineConfig]
    code: dict[str, Any] = field(default_factory=dict)
    code_archive: bytes = b""
    source: str = ""
    findings: tuple[Finding, ...] = ()
    siblings: tuple[str, ...] = ()


def pairs_of(words: Sequence[str] | None, option: str) -> tuple[tuple[str, str], ...]:
    """The pairs of an option that is written `KEY=VALUE`.

    Args:
        words: as typed.
        option: `-a` or `--set`, for messages.

    Raises:
        UsageError: naming a word that is no such pair.
    """
    pairs = []
    for word in words or ():
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} {word!r} has no value", fix=f"write {option} KEY=VALUE")
        pairs.append((key, value))
    return tuple(pairs)


def load_configs(
    module: str,
    *,
    runner: str,
    arguments: Pairs = (),
    sets: Pairs = (),
    run_name: str | None = None,
    cwd: str | os.PathLike[str],
    ship_code: Sequence[str] | None = None,
) -> LoadedModule:
    """Load MODULE, call its `get_config` or `get_configs`, and check what comes out.

    Args:
        module: dotted module, `.py` path, or path or URI of a saved `.json`.
        runner: the runner's name, passed to the function if it takes it.
        arguments: `-a` pairs.
        sets: `--set` pairs; they apply to every config.
        run_name: `--pipeline-run-name`.
        cwd: the folder that relative paths and URIs start from.
        ship_code: send the module's own code along, and these packages; None sends a module that was given by path.

    Raises:
        UsageError: if there is no such module, if the arguments do not fit its function, or if code cannot travel.
        ConfigError: if the module or its function fails, or with everything that is wrong with the configs.
    """
    folder = os.path.abspath(cwd)
    if module.endswith(".json"):
        if ship_code is not None:
            fix = "leave it out: the code that the config names travels; or run the module itself"
            raise UsageError("--ship-code does not go with a saved config", where=module, fix=fix)
        loaded = _from_json(module, arguments, sets, folder)
    else:
        loaded = _from_python(module, runner, arguments, sets, folder, ship_code)
    configs = _named([_placed(config, folder) for config in loaded.configs], run_name, loaded.source)
    return replace(loaded, configs=configs)


def load_objects(configs: Sequence[Any], *, sets: Pairs = (), run_name: str | None = None, cwd: str) -> LoadedModule:
    """Config objects as `load_configs` gives them: copies, checked, with absolute URIs and with names that differ.

    Args:
        configs: the objects.
        sets: as `--set`.
        run_name: `--pipeline-run-name`.
        cwd: the absolute folder that relative URIs start from.

    Raises:
        ConfigError: with everything that is wrong with them.
    """
    wrong = [config for config in configs if not isinstance(config, PipelineConfig)]
    if wrong or not configs:
        what = f"{schemas.shown(wrong[0])} is no PipelineConfig" if wrong else "there is no config"
        raise ConfigError(what, fix="give a PipelineConfig, or a list of them")
    for config in configs:
        check_is_dataclass(type(config))
    code, archive = code_of_objects(configs)
    checked, findings = _checked(configs, sets, _OBJECTS)
    named = _named([_placed(config, cwd) for config in checked], run_name, _OBJECTS)
    return LoadedModule(named, code, archive, _OBJECTS, tuple(findings))


def _placed(config: PipelineConfig, folder: str) -> PipelineConfig:
    """The config with absolute URIs; the root, and what lies under it, by the one name that the root has."""
    root = uris.placed_root(config.root_uri, folder)
    real_folder = lru_cache(maxsize=None)(os.path.realpath)
    placed = with_uris(config, lambda uri: _respelled(uris.absolute(uri, folder), root, real_folder))
    placed = replace(placed, root_uri=root)
    wrong = [Finding(path, problem) for path, uri in uris_of(placed) if (problem := text_problem(uri))]
    if wrong:
        fix = "write it as an absolute path, or run from a folder whose name is UTF-8"
        raise ConfigError(schemas.wording_of(len(wrong)), where=ascii(folder), findings=wrong[:20], fix=fix)
    return placed


def _respelled(uri: str, root: str, real_folder: Callable[[str], str]) -> str:
    """A local file that lies under the root, named after the root, whatever links lead there; others as they are.

    Links below the root and the file itself are left alone: a name may be a link to this month's image.
    """
    if not (uris.is_local(root) and uri.startswith("/")):
        return uri
    folder, _, name = uri.rpartition("/")
    real = real_folder(folder or "/")
    return f"{real}/{name}" if f"{real}/".startswith(f"{root}/") else uri


def _from_python(
    module: str, runner: str, arguments: Pairs, sets: Pairs, cwd: str, ship_code: Sequence[str] | None
) -> LoadedModule:
    loaded = load_module(module, cwd)
    _check_classes(loaded.module)
    name, function = _find_function(loaded)
    values = arguments_for(signature_of(function), runner, arguments)
    result = call(partial(_result_of, function), values, what=f"{name} of {loaded.label} failed", where=loaded.label)
    configs = _configs_of(result, name, loaded.label)
    checked, findings = _checked(configs, sets, loaded.label)
    # Only now everything is imported that get_config needs.
    code, archive, siblings = (
        loaded.code,
        loaded.code_archive,
        siblings_of(loaded.module) if loaded.code_archive else (),
    )
    if ship_code is not None:
        (code, archive), siblings = ship(loaded.module, loaded.code, ship_code), ()
    return LoadedModule(checked, code, archive, loaded.label, (*loaded.findings, *findings), siblings)


def _check_classes(module: ModuleType) -> None:
    """Refuse config classes of the module that forgot `@dataclass`, before a call of one says something unclear."""
    for value in list(vars(module).values()):
        if isinstance(value, type) and issubclass(value, Config) and value.__module__ == module.__name__:
            check_is_dataclass(value)


def _find_function(loaded: UserModule) -> tuple[str, Any]:
    for name in ("get_configs", "get_config"):
        function = getattr(loaded.module, name, None)
        if callable(function):
            return name, function
    if loaded.config_class is not None:
        return loaded.config_class.__name__, loaded.config_class  # its fields are the arguments
    own = [
        name
        for name, value in vars(loaded.module).items()
        if callable(value) and getattr(value, "__module__", None) == loaded.module.__name__
    ]
    near = nearest("get_config", own) or nearest("get_configs", own)
    raise ConfigError(
        f"{loaded.label} defines neither get_config nor get_configs",
        why=f"it defines {', '.join(own)}" if own else "it defines no function",
        fix=f"rename {near!r}?" if near else "define `def get_config(runner: str, root_uri: str) -> MyConfig`",
    )


def _result_of(function: Callable[..., Any], **values: Any) -> Any:
    """What a function returns; what a generator yields as a list, so that its errors are those of the call."""
    result = function(**values)
    return list(result) if isinstance(result, Generator) else result


def _configs_of(result: Any, name: str, label: str) -> list[PipelineConfig]:
    if isinstance(result, Coroutine):
        result.close()  # else Python warns that it was never awaited
        raise ConfigError(f"{name} of {label} is async", why="it is called, not awaited", fix="define it with `def`")
    configs = list(result) if name == "get_configs" and isinstance(result, list | tuple) else [result]
    wrong = [value for value in configs if not isinstance(value, PipelineConfig)]
    if configs and not wrong:
        return configs
    if not configs:
        raise ConfigError(f"get_configs of {label} returned no config", fix="return a list of at least one")
    fix = "return a PipelineConfig" if name == "get_config" else "return a list of PipelineConfigs"
    if name == "get_config" and isinstance(result, list | tuple):
        fix = "rename it to get_configs: that may return several"
    raise ConfigError(f"{name} of {label} returned {schemas.shown(wrong[0])}, which is no PipelineConfig", fix=fix)


def _checked(configs: Sequence[PipelineConfig], sets: Pairs, label: str) -> tuple[list[PipelineConfig], list[Finding]]:
    """The configs with `--set` applied, in the form that loading them would give, and the warnings."""
    found: list[Finding] = []
    good: list[PipelineConfig] = []
    for index, config in enumerate(configs):
        changed, findings = _check_one(config, sets)
        loaded = normalised(changed) if changed is not None and not _errors(findings) else None
        if changed is not None and loaded is not None:
            findings = [*findings, *post_init_findings(changed, loaded)]
        prefix = f"configs[{index}]" if len(configs) > 1 else ""
        found.extend(finding._replace(where=join_paths(prefix, finding.where)) for finding in findings)
        if loaded is not None:
            good.append(loaded)
    _raise_errors(found, label)
    return good, found


def _check_one(config: PipelineConfig, sets: Pairs) -> tuple[PipelineConfig | None, list[Finding]]:
    if not sets:
        return config, schemas.check(config)
    changed, findings = schemas.load_with_findings(apply_sets(walk_to_plain(config), sets), PipelineConfig)
    assert changed is None or isinstance(changed, PipelineConfig)
    return changed, findings


def _errors(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]


def _raise_errors(findings: Sequence[Finding], label: str) -> None:
    errors = _errors(findings)
    if errors:
        raise ConfigError(schemas.wording_of(len(errors)), where=label, findings=findings)


def _from_json(module: str, arguments: Pairs, sets: Pairs, cwd: str) -> LoadedModule:
    from rv_core.files import by_uri
    from rv_core.files.problems import MissingFileError

    if arguments:
        raise UsageError(
            f"-a {arguments[0][0]}: a saved config has no get_config that could take it",
            where=module,
            fix=f"use --set {arguments[0][0]}={arguments[0][1]}",
        )
    uri = uris.absolute(module, cwd)
    try:
        # What rv has saved under a root is never a pipe: the root may be somebody else's.
        text = by_uri.read_text(uri, may_be_pipe=uris.name_of(uri) != _SAVED)
    except MissingFileError as err:
        raise UsageError(f"there is no saved config {module!r}", where=uri) from err
    saved = config_file.parse_plain(text, source=module)
    archive = _code_of(saved.code, saved.plain, uri)
    try:
        plain, _ = config_file.up_to_date(saved)
        config, findings = schemas.load_with_findings(apply_sets(plain, sets), PipelineConfig)
    except ConfigError as err:
        raise config_file.with_source(err, module) from err
    _raise_errors(findings, module)
    assert isinstance(config, PipelineConfig)
    _raise_errors(post_init_findings(config, config), module)
    return LoadedModule([config], saved.code, archive, module, tuple(findings))


def _code_of(code: Mapping[str, Any], plain: Mapping[str, Any], uri: str) -> bytes:
    """The zip of the code that a saved config names, made importable; b"" if it names none."""
    from rv_core.files import by_uri
    from rv_core.files.problems import MissingFileError

    if not code.get("archive"):
        activate_code(code, "", code.get("folder"))
        return b""
    if code["archive"] != archive_name(str(code.get("sha256"))):
        raise ConfigError("the code that the saved config names is not where rv puts it", where=uri)
    for root in (str(plain.get("root_uri", "")), uri.rpartition("/")[0]):
        try:
            path = by_uri.local_copy(uris.join(root, code["archive"]))
        except MissingFileError:
            continue
        activate_code(code, path, code.get("folder"))
        return path.read_bytes()
    return _code_in_folder(code, uri)


def _code_in_folder(code: Mapping[str, Any], uri: str) -> bytes:
    """The zip made anew from the file that it was made from, if that is still the same."""
    from rv_core.user_code.loading import load_from_folder

    path = os.path.join(str(code.get("folder", "")), f"{code.get('module')}.py")
    data = pack_module(path)[1] if os.path.isfile(path) else b""
    try:
        check_code(code, data, source=path)
    except ConfigError as err:
        raise ConfigError(
            "the code that travels with this config is missing",
            where=uri,
            why=f"there is no {code['archive']} under its root, nor the same file as {path}",
            fix="run the module itself",
        ) from err
    load_from_folder(path)
    return data


def _named(configs: list[PipelineConfig], run_name: str | None, label: str) -> list[PipelineConfig]:
    given = [config.name for config in configs]
    classes = [type(config).__name__ for config in configs]
    names, findings = name_pipelines(given, classes, run_name=run_name)
    _raise_errors(findings, label)
    for config, name in zip(configs, names, strict=True):
        config.name = name  # these are copies of our own
    return configs
