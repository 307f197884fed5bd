"""The pytest plugin of rv-core: `pytest --rv-runner NAME`, `pytest --rv-store SCHEME`, and the fixtures of the conformance kits.

pytest loads it wherever rv-core is installed, so it imports nothing but pytest until a kit is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rv_core.testing.pipeline_bench import PipelineBench
    from rv_core.testing.workbench import Workbench

_KITS = {"--rv-runner": "chosen/runner.py", "--rv-store": "chosen/store.py"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the kit."""
    group = parser.getgroup("rv", "conformance of rv runners and stores")
    group.addoption("--rv-runner", metavar="NAME", default="", help="Run the conformance kit on an installed runner.")
    group.addoption(
        "--rv-root-uri", metavar="URI", default="", help="Where the kit makes its roots (default: a temporary folder)."
    )
    group.addoption("--rv-profile", metavar="NAME", default="", help="The profile with the runner's settings.")
    group.addoption(
        "--rv-environ", metavar="NAME=VALUE", action="append", default=[], help="Added to the environment of the runs."
    )
    group.addoption(
        "--rv-timeout", metavar="SECONDS", type=float, default=0.0, help="How long one command line may take."
    )
    group.addoption("--rv-store", metavar="SCHEME", default="", help="Run the conformance kit on a store.")
    group.addoption("--rv-store-uri", metavar="URI", default="", help="A folder of that store that the kit may use.")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of the rules, and collect the kit where a runner is named.

    Paths that were typed are collected besides; without any it is the kit alone, not what lies around.
    """
    config.addinivalue_line("markers", "rv_needs(capability, ...): a rule for runners that claim these capabilities")
    chosen = [str(Path(__file__).parent / kit) for option, kit in _KITS.items() if config.getoption(option)]
    if chosen:
        typed = list(config.args) if config.args_source is config.ArgsSource.ARGS else []
        config.args = [*typed, *chosen]


@pytest.fixture(scope="class")
def rv_root_uri(request: pytest.FixtureRequest) -> str:
    """Where the kit makes its roots: the class's `root_uri`, else `--rv-root-uri`, else "" for a temporary folder."""
    return _of_class(request, "root_uri", "") or str(request.config.getoption("--rv-root-uri"))


@pytest.fixture(scope="class")
def rv_environ(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """Added to the environment of every command line: the class's `environ`, else `--rv-environ`."""
    typed = [word.partition("=") for word in request.config.getoption("--rv-environ")]
    return {**{name: value for name, _, value in typed}, **_of_class(request, "environ", {})}


@pytest.fixture(scope="class")
def rv_bench(
    request: pytest.FixtureRequest,
    rv_root_uri: str,
    rv_environ: Mapping[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Workbench]:
    """What the rules work with; one for a class, so that rules can look at the same run."""
    import signal

    from rv_core.testing.workbench import Workbench

    # A shell that starts pytest in the background lets it ignore Ctrl-C, and all that it starts: rv honours that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    option = request.config.getoption
    runner = _of_class(request, "runner_name", "") or str(option("--rv-runner"))
    if not runner:
        pytest.fail("no runner is named: set runner_name in the test class, or use pytest --rv-runner NAME", False)
    bench = Workbench(
        runner,
        folder=tmp_path_factory.mktemp("rv"),
        base_uri=rv_root_uri,
        environ=rv_environ,
        profile=_of_class(request, "profile", "") or str(option("--rv-profile")),
        timeout_s=float(option("--rv-timeout") or _of_class(request, "timeout_s", 120.0)),
    )
    yield bench
    bench.close()


@pytest.fixture(scope="class")
def rv_pipeline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineBench]:
    """What the rules for a pipeline work with; one for a class of `PipelineConformance`."""
    from rv_core.testing.pipeline_bench import PipelineBench

    kit = request.cls()
    bench = PipelineBench(
        kit.make_config,
        folder=tmp_path_factory.mktemp("rv"),
        varying_outputs=kit.varying_outputs,
        timeout_s=kit.timeout_s,
    )
    yield bench
    bench.cli.close()


@pytest.fixture
def rv_store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of the store: the class's `store_uri`, else `--rv-store-uri`; for local files a temporary one."""
    uri = _of_class(request, "store_uri", "") or str(request.config.getoption("--rv-store-uri"))
    scheme = str(request.config.getoption("--rv-store"))
    if not uri and scheme == "file":
        return str(tmp_path / "store")
    if not uri:
        pytest.fail("no folder is named: set store_uri in the test class, or use pytest --rv-store-uri URI", False)
    if scheme and uri.partition("://")[0] != scheme:
        pytest.fail(f"{uri} is no URI of the store {scheme}", False)
    return uri.rstrip("/")


@pytest.fixture
def rv_scratch(request: pytest.FixtureRequest, rv_store_uri: str) -> Iterator[str]:
    """A new folder for one rule; what it holds in the end is removed."""
    import os

    from rv_core.files import by_uri

    folder = f"{rv_store_uri}/rv-{os.urandom(6).hex()}"
    yield folder
    for name in by_uri.list_files(folder):
        by_uri.delete(f"{folder}/{name}")


@pytest.fixture
def rv_refused_uri(request: pytest.FixtureRequest) -> str:
    """A file that the store refuses: the class's `refused_uri`."""
    return str(_of_class(request, "refused_uri", "")) or pytest.skip("no refused_uri is named")


@pytest.fixture
def rv_unreachable_uri(request: pytest.FixtureRequest) -> str:
    """A file that cannot be asked for: the class's `unreachable_uri`."""
    return str(_of_class(request, "unreachable_uri", "")) or pytest.skip("no unreachable_uri is named")


@pytest.fixture(autouse=True)
def _rv_skip_unclaimed(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("rv_needs") is not None:
        from rv_core.testing.claims import skip_unclaimed

        skip_unclaimed(request.node, request.getfixturevalue("rv_bench"))


def _of_class(request: pytest.FixtureRequest, name: str, default: Any) -> Any:
    return getattr(request.cls, name, default) if request.cls is not None else default
