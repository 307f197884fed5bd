"""What `--ship-code` sends along: what is named or imported, and only if it can travel."""

from __future__ import annotations

import hashlib
import importlib
import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from rv_core.cli.argv import normalise, shipped
from rv_core.errors import UsageError
from rv_core.user_code.archive import archive_name
from rv_core.user_code.configs import load_configs
from rv_core.user_code.shipping import ship, siblings_of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project: a module, a package and a file beside it, and a package elsewhere on the path."""
    before = set(sys.modules)
    project = tmp_path / "project"
    for name, text in {
        "shipped_experiment.py": "import sibling_package.inner\nimport far_package\nNAME = 'experiment'\n",
        "sibling_package/__init__.py": "",
        "sibling_package/inner.py": "import sibling_module\n",
        "sibling_package/data.json": "{}",
        "sibling_package/__pycache__/inner.pyc": "x",
        "sibling_package/.hidden": "x",
        "sibling_module.py": "",
        "not_imported.py": "raise RuntimeError\n",
        "notes.txt": "private",
        "namespace_only/part.py": "",
    }.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name in ("far_package", "compiled_package"):
        (tmp_path / "elsewhere" / name).mkdir(parents=True)
        (tmp_path / "elsewhere" / name / "__init__.py").write_text("")
    (tmp_path / "elsewhere" / "compiled_package" / "fast.so").write_bytes(b"\x7fELF")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    monkeypatch.syspath_prepend(str(project))
    yield project
    for name in set(sys.modules) - before:
        del sys.modules[name]


def loaded(folder: Path) -> ModuleType:
    return importlib.import_module("shipped_experiment")


def by_path(folder: Path) -> dict[str, str]:
    return {"module": "shipped_experiment", "sha256": "0", "archive": archive_name("0"), "folder": str(folder)}


def names_in(data: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(data)).namelist()


def test_siblings_are_what_was_imported_from_the_modules_own_folder(folder: Path) -> None:
    assert siblings_of(loaded(folder)) == ("sibling_module", "sibling_package")


def test_the_module_and_its_siblings_travel_whole_and_nothing_else(folder: Path) -> None:
    code, data = ship(loaded(folder), by_path(folder), [])
    assert names_in(data) == [
        "shipped_experiment.py",
        "sibling_module.py",
        "sibling_package/__init__.py",
        "sibling_package/data.json",
        "sibling_package/inner.py",
    ]
    assert code["names"] == ["shipped_experiment", "sibling_module", "sibling_package"]
    assert (code["module"], code["sha256"]) == ("shipped_experiment", hashlib.sha256(data).hexdigest())
    assert code["archive"] == archive_name(code["sha256"])
    assert ship(loaded(folder), by_path(folder), []) == (code, data), "equal code gives equal bytes"


def test_packages_travel_by_name_of_the_import_or_of_the_distribution(folder: Path) -> None:
    for name in ("far_package", "far-package"):
        code, data = ship(loaded(folder), by_path(folder), [name])
        assert "far_package/__init__.py" in names_in(data)
        assert "far_package" in code["names"]


def test_a_dotted_module_travels_with_its_whole_package(folder: Path) -> None:
    module = importlib.import_module("sibling_package.inner")
    code, data = ship(module, {}, [])
    assert "sibling_package/__init__.py" in names_in(data)
    assert (code["module"], "sibling_package" in code["names"]) == ("sibling_package.inner", True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("compiled_package", "compiled_package: holds compiled code (compiled_package/fast.so)"),
        ("rv_core", "rv_core: runs before code that travels is found"),
        (
            "far_pakage",
            "--ship-code=far_pakage: no package of this name is installed here; did you mean 'far_package'?",
        ),
        ("json", "--ship-code=json: no package of this name"),
    ],
)
def test_what_cannot_travel_is_refused(folder: Path, name: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        ship(loaded(folder), by_path(folder), [name])
    assert said in str(caught.value)


def test_a_fresh_process_uses_what_travelled_before_what_is_installed(folder: Path, tmp_path: Path) -> None:
    code, data = ship(loaded(folder), {**by_path(folder), "folder": "/gone"}, ["far_package"])
    archive = tmp_path / "code.zip"
    archive.write_bytes(data)
    old = tmp_path / "old"
    (old / "far_package").mkdir(parents=True)
    (old / "far_package" / "__init__.py").write_text("raise RuntimeError('the installed one')\n")
    script = (
        "import sys\n"
        f"sys.path.insert(0, {str(old)!r})\n"
        "sys.modules['sibling_package'] = type(sys)('sibling_package')\n"
        "sys.modules['sibling_package.stale'] = type(sys)('sibling_package.stale')\n"
        "sys.modules['sibling_package'].__file__ = sys.modules['sibling_package.stale'].__file__ = '/elsewhere.py'\n"
        "from rv_core.user_code.archive import activate_code\n"
        f"activate_code({code!r}, {str(archive)!r}, '/gone')\n"
        "import shipped_experiment, far_package\n"
        "assert 'sibling_package.stale' not in sys.modules\n"
        "print(shipped_experiment.NAME, '.zip' in far_package.__file__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.stdout, done.returncode) == ("experiment True\n", 0), done.stderr


def test_the_option_may_stand_alone_or_name_packages() -> None:
    words = normalise(["run", "batch", "--ship-code", "m.py", "--ship-code=a,b"])
    assert words == ["run", "batch", "--ship-code=.", "m.py", "--ship-code=a,b"]
    assert shipped([".", "a,b", " b "]) == ("a", "b")
    assert shipped(["."]) == ()
    assert shipped(None) is None


def test_a_saved_config_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--ship-code does not go with a saved config"):
        load_configs("x.json", runner="local", cwd=tmp_path, ship_code=())


def test_siblings_that_do_not_travel_are_known(folder: Path) -> None:
    path = folder / "shipped_experiment.py"
    path.write_text(
        "import sibling_module\nfrom rv_core.hello import HelloConfig\n"
        "def get_config(): return HelloConfig(root_uri='s3://b/r')\n"
    )
    plain = load_configs(str(path), runner="local", cwd=folder)
    assert plain.siblings == ("sibling_module",)
    shipped = load_configs(str(path), runner="local", cwd=folder, ship_code=())
    assert shipped.siblings == ()
    assert shipped.code["names"] == ["shipped_experiment", "sibling_module"]
