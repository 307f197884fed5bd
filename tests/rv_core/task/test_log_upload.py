"""The log of a task, where it is put to another store."""

from __future__ import annotations

from pathlib import Path

from rv_core.redaction import register_secret
from rv_core.task.log import upload


def test_a_log_that_is_put_to_a_store_is_without_secrets(tmp_path: Path) -> None:
    register_secret("Registered-Passw0rd")
    log, target = tmp_path / "a.log", tmp_path / "root" / "a.log"
    log.write_bytes(
        b"caf\xe9 with Registered-Passw0rd\npassword=Assigned-4711 and\nhttps://bob:Us3rInfo@host/x?sig=S1gned\n"
    )
    upload(str(log), str(target))
    assert target.read_bytes() == b"caf\xe9 with ***\npassword=*** and\nhttps://***@host/x?sig=***\n"
