"""Code that travels: packed deterministically, found by a fresh process, never another file of the same name."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from rv_core import ConfigError, DataError
from rv_core.user_code import archive as code_archive
from rv_core.user_code.archive import activate_code, archive_name, check_code, describe_code, pack_module

TEXT = "from dataclasses import dataclass\nimport sibling\nWHO = 'travelled'\n"


@pytest.fixture
def module(tmp_path: Path) -> Path:
    folder = tmp_path / "origin"
    folder.mkdir()
    (folder / "sibling.py").write_text("HERE = True\n")
    path = folder / "voyager.py"
    path.write_text(TEXT)
    return path


def test_equal_text_gives_equal_bytes(module: Path, tmp_path: Path) -> None:
    sha256, data = pack_module(module)
    copy = tmp_path / "voyager.py"
    copy.write_text(TEXT)
    os.utime(copy, (0, 0))
    copy.chmod(0o600)
    assert pack_module(copy) == (sha256, data)
    assert hashlib.sha256(data).hexdigest() == sha256
    copy.write_text(TEXT + "#")
    assert pack_module(copy)[0] != sha256


def test_the_zip_holds_the_module_under_its_name(module: Path, tmp_path: Path) -> None:
    path = tmp_path / "code.zip"
    path.write_bytes(pack_module(module, "other_name")[1])
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["other_name.py"]
        assert archive.read("other_name.py").decode() == TEXT


def run(code: str, cwd: Path) -> str:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=cwd, env=environ
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_fresh_process_takes_the_module_from_the_zip(module: Path, tmp_path: Path) -> None:
    sha256, data = pack_module(module)
    archive = tmp_path / "code.zip"
    archive.write_bytes(data)
    code = describe_code("voyager", sha256, str(module.parent))
    decoy = tmp_path / "cwd"
    decoy.mkdir()
    (decoy / "voyager.py").write_text("WHO = 'decoy'\n")
    script = (
        "import sys; from rv_core.user_code.archive import activate_code\n"
        f"activate_code({code!r}, {str(archive)!r}, {str(module.parent)!r})\n"
        "import voyager\n"
        f"assert sys.path[-2:] == [{str(archive)!r}, {str(module.parent)!r}], sys.path\n"
        "print(voyager.WHO, voyager.sibling.HERE, voyager.__name__, '.zip' in voyager.__file__)"
    )
    assert run(script, decoy) == "travelled True voyager True"


def test_a_folder_that_is_not_here_is_left_out(module: Path, tmp_path: Path) -> None:
    module.write_text("WHO = 'alone'\n")
    sha256, data = pack_module(module)
    archive = tmp_path / "code.zip"
    archive.write_bytes(data)
    script = (
        "import sys; from rv_core.user_code.archive import activate_code\n"
        f"activate_code({describe_code('voyager', sha256, '/gone')!r}, {str(archive)!r}, '/gone')\n"
        "import voyager; print(voyager.WHO, '/gone' in sys.path)"
    )
    assert run(script, tmp_path) == "alone False"


def test_code_without_an_archive_adds_the_folder_only(module: Path, tmp_path: Path) -> None:
    script = (
        "from rv_core.user_code.archive import activate_code\n"
        f"activate_code({{'module': 'voyager', 'folder': {str(module.parent)!r}}}, '', {str(module.parent)!r})\n"
        "activate_code({}, '', None)\n"
        "import voyager; print(voyager.WHO)"
    )
    assert run(script, tmp_path) == "travelled"


def test_activating_twice_keeps_one_of_each(module: Path, tmp_path: Path) -> None:
    sha256, data = pack_module(module)
    archive = tmp_path / "code.zip"
    archive.write_bytes(data)
    script = (
        "import sys; from rv_core.user_code.archive import activate_code\n"
        "before = len(sys.path), len(sys.meta_path)\n"
        f"for _ in range(2): activate_code({describe_code('voyager', sha256, '')!r}, {str(archive)!r}, "
        f"{str(module.parent)!r})\n"
        "import voyager\n"
        f"first = voyager; activate_code({describe_code('voyager', sha256, '')!r}, {str(archive)!r}, None)\n"
        "import voyager; print(len(sys.path) - before[0], len(sys.meta_path) - before[1], voyager is first)"
    )
    assert run(script, tmp_path) == "1 1 True"


def test_damaged_code_is_refused(module: Path, tmp_path: Path) -> None:
    sha256, data = pack_module(module)
    archive = tmp_path / "code.zip"
    archive.write_bytes(data + b"x")
    with pytest.raises(ConfigError, match="changed or damaged"):
        activate_code(describe_code("voyager", sha256, ""), archive, None)
    assert str(archive) not in sys.path


def test_a_hostile_zip_is_refused_even_with_the_right_hash(tmp_path: Path) -> None:
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("../voyager.py", "WHO = 'evil'\n")
    data = archive.read_bytes()
    code = describe_code("voyager", hashlib.sha256(data).hexdigest(), "")
    with pytest.raises(DataError, match=r"'\.\.'"):
        check_code(code, data, source=str(archive))


def test_the_name_of_an_archive_is_its_hash() -> None:
    assert archive_name("ab") == ".rv/code/ab.zip"


def test_our_own_layout_is_told_without_opening_the_zip(module: Path, tmp_path: Path) -> None:
    data = pack_module(module)[1]
    assert code_archive._is_one_stored_module(data)
    other = tmp_path / "other.zip"
    for names, compression in ((["a.py", "b.py"], 0), (["a.py"], 8), (["../a.py"], 0), (["a.txt"], 0), ([], 0)):
        with zipfile.ZipFile(other, "w", compression) as archive:
            for name in names:
                archive.writestr(name, TEXT * 10)
        assert not code_archive._is_one_stored_module(other.read_bytes())
    for position in range(len(data)):
        code_archive._is_one_stored_module(data[:position])  # never raises


def test_a_task_needs_no_zipfile_for_its_code(module: Path, tmp_path: Path) -> None:
    sha256, data = pack_module(module)
    archive = tmp_path / "code.zip"
    archive.write_bytes(data)
    script = (
        "import sys; from rv_core.user_code.archive import activate_code\n"
        f"activate_code({describe_code('voyager', sha256, '')!r}, {str(archive)!r}, None)\n"
        "print('zipfile' in sys.modules)"
    )
    assert run(script, tmp_path) == "False"
