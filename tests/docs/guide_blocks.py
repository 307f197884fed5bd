"""The code blocks of a guide, and the shell script that does what a reader would do with them, in order.

- ```console: lines that begin with `$ ` are run (a `\\` at the end goes on in the next line); other lines are what is
  printed then. `…` stands for anything. What follows a `#` is for the reader, but for `# exit code N`.
- any other block with `title="path"` is a file that is written, in the folder in which the reader is then.
- a block without either is refused: a guide holds nothing that is not tried.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\S*)(.*)\n((?:.*\n)*?)```$", re.MULTILINE)
_TITLE = re.compile(r'title="([^"]+)"')
#: Stands before the output of each command in what the script prints.
MARK = "::command"


@dataclass(frozen=True)
class Command:
    """A command line of a guide and what it is said to print."""

    text: str
    output: tuple[str, ...]
    exit_code: int = 0


@dataclass(frozen=True)
class File:
    """A file that the reader is to write."""

    path: str
    text: str


def blocks(markdown: str) -> Iterator[Command | File]:
    """What a reader does with a guide, in order.

    Raises:
        ValueError: for a block that is neither a command nor a file.
    """
    for language, rest, body in _FENCE.findall(markdown):
        title = _TITLE.search(rest)
        if title:
            yield File(title[1], body)
        elif language == "console":
            yield from _commands(body)
        else:
            raise ValueError(f"a block of {language or 'no language'} is neither run nor written: {body[:80]!r}")


def _commands(body: str) -> Iterator[Command]:
    lines = re.sub(r"\\\n", "", body).splitlines()
    if not lines[0].startswith("$ "):
        raise ValueError(f"a console block begins with its output: {lines[0]!r}")
    starts = [index for index, line in enumerate(lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        text, _, comment = lines[start][2:].partition("  # ")
        exit_code = re.fullmatch(r"exit code (\d+)", comment)
        output = tuple(filter(None, lines[start + 1 : end]))
        yield Command(text.rstrip(), output, int(exit_code[1]) if exit_code else 0)


def script(steps: Sequence[Command | File]) -> str:
    """A bash script of all steps; it stops at the first that fails."""
    lines = ["set -e"]
    number = 0
    for step in steps:
        if isinstance(step, File):
            folder = step.path.rpartition("/")[0] or "."
            lines.append(
                f"mkdir -p {shlex.quote(folder)} && printf %s {shlex.quote(step.text)} > {shlex.quote(step.path)}"
            )
        else:
            ending = f" || test $? -eq {step.exit_code}" if step.exit_code else ""
            lines.append(f"printf '\\n{MARK} {number}\\n'\n{step.text}{ending}")
            number += 1
    return "\n".join(lines) + "\n"


def missing_lines(command: Command, printed: str) -> list[str]:
    """What a command is said to print and did not; `…` stands for anything, and colours do not count."""
    printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed)
    patterns = {line: ".*".join(map(re.escape, line.strip().split("…"))) for line in command.output}
    return [line for line, pattern in patterns.items() if not re.search(pattern, printed)]


@dataclass(frozen=True)
class Tried:
    """What came of the steps of a guide.

    Args:
        exit_code: of the shell.
        output: all that was printed.
        commands: those of the guide, in order.
        printed: what each printed that was run.
    """

    exit_code: int
    output: str
    commands: Sequence[Command]
    printed: Sequence[str]

    def wrong(self) -> dict[str, list[str]]:
        """Command -> the lines that the guide says and that were not printed; all commands have to have been run."""
        missing = {c.text: missing_lines(c, text) for c, text in zip(self.commands, self.printed, strict=True)}
        return {text: lines for text, lines in missing.items() if lines}


def tried(
    steps: Sequence[Command | File], folder: Path, environ: Mapping[str, str], *, timeout_s: float = 850
) -> Tried:
    """Do what a reader would do, in a folder."""
    done = subprocess.run(
        ["bash", "-c", script(steps)],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    printed = re.split(rf"^{MARK} \d+\n", done.stdout, flags=re.MULTILINE)[1:]
    return Tried(done.returncode, done.stdout, [step for step in steps if isinstance(step, Command)], printed)
