"""`rv status --verify` of a root in S3."""

from __future__ import annotations

from pathlib import Path

import pytest

from rv_core.cli.app import main
from rv_core.files import by_uri

pytest.importorskip("rv_store_s3.store")

pytest_plugins = ("tests.file_servers",)
pytestmark = pytest.mark.s3


def test_what_lies_in_the_store_is_read_and_compared(
    tmp_path: Path, s3_root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "inprocess", "rv_core.hello", "-a", f"root_uri={s3_root}"]) == 0
    capsys.readouterr()
    assert main(["status", s3_root, "--verify"]) == 0
    whole = capsys.readouterr().out
    assert whole.endswith(" files as recorded\n") and len(whole.splitlines()) == 1
    name = next(n for n in by_uri.list_files(f"{s3_root}/cpu_task"))
    data = by_uri.read_bytes(f"{s3_root}/cpu_task/{name}")
    by_uri.write_bytes(f"{s3_root}/cpu_task/{name}", data[:-1] + b"?")
    assert main(["status", s3_root, "--verify"]) == 1
    assert capsys.readouterr().out.startswith(f"cpu_task/{name}: it has other bytes")
    by_uri.write_bytes(f"{s3_root}/cpu_task/{name}", data[:-1])
    assert main(["status", s3_root, "--verify"]) == 1
    assert f"it has {len(data) - 1} bytes instead of {len(data)}" in capsys.readouterr().out
