"""What every refusal looks like: one block – what, where, why, what next – and the exit code that goes with it."""

from __future__ import annotations

import re
import subprocess

_FIRST_LINE = re.compile(r"(?:[a-z]+ error|check failed): \S")


def block_of(done: subprocess.CompletedProcess[str], exit_code: int) -> str:
    """The one block on stderr of a command that was refused; fails if there is none, another one, or a traceback."""
    said = f"--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
    assert done.returncode == exit_code, said
    assert "Traceback" not in said, said
    lines = done.stderr.splitlines()
    firsts = [index for index, line in enumerate(lines) if _FIRST_LINE.match(line)]
    assert len(firsts) == 1, said
    block = lines[firsts[0] :]
    assert all(line.startswith("  ") for line in block[1:]), said
    return "\n".join(block)


def findings_of(block: str) -> dict[str, str]:
    """The findings of a block: what each says, by the place that it names."""
    listed = [line.removeprefix("  - ") for line in block.splitlines() if line.startswith("  - ")]
    found = dict(line.removeprefix("(warning) ").split(": ", 1) for line in listed)
    assert len(found) == len(listed), block
    return found
