"""A root in S3 has one name, whatever slashes it was written with."""

from __future__ import annotations

import pytest

from rv_core.cli.app import main

pytest.importorskip("rv_store_s3.store")

pytest_plugins = ("tests.file_servers",)
pytestmark = pytest.mark.s3


def test_slashes_make_no_other_root(s3_root: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "inprocess", "rv_core.hello", "-a", "num_items=1", "-a"]
    assert main([*words, f"root_uri={s3_root}/"]) == 0
    assert f"results are under {s3_root}\n" in capsys.readouterr().out
    bucket, _, name = s3_root.removeprefix("s3://").partition("/")
    for spelling in (s3_root, f"{s3_root}//", f"s3://{bucket}//{name}", f"S3://{bucket}///{name}/"):
        assert main([*words, f"root_uri={spelling}"]) == 0
        assert "Nothing to do" in capsys.readouterr().out
        assert main(["status", spelling]) == 0
        assert f" at {s3_root}\n" in capsys.readouterr().out
    assert main([*words, f"root_uri={s3_root}//below"]) == 0
    assert f"results are under {s3_root}/below\n" in capsys.readouterr().out
