"""The fenced blocks of every page, and what is done with each: run, written, looked through, or shown by its mark.

- ```console blocks and blocks with `title="path"` are what `guide_blocks` runs and writes, in order.
- ```python without a title is run by itself, in the names that the page's readers have at hand.
- ```toml is read as a file of settings, ```json as JSON.
- a block without a language is a drawing, a tour of a folder or the shape of a file. It holds no command.
- `<!-- not run: REASON -->` in the line before a console block: it is not run, and its verbs and options are looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("rv_*/README.md")])
#: Why a block may stay unrun.
REASONS = {
    "needs AWS",
    "needs a cluster",
    "needs the first release",
    "fetches weights",
    "is for a clone",
    "stands for your own files",
}
_FENCE = re.compile(r"^(?:<!-- not run: (.*) -->\n)?```(\S*)(.*)\n((?:.*\n)*?)```$", re.MULTILINE)


@dataclass(frozen=True)
class Fence:
    """A fenced block.

    Args:
        page: its page, relative to the repository.
        line: where it begins, from 1.
        language: what stands behind the fence; "" for nothing.
        options: what stands behind that.
        body: its text.
        unrun: why it is not run; "" if it is.
    """

    page: str
    line: int
    language: str
    options: str
    body: str
    unrun: str

    @property
    def name(self) -> str:
        """For messages and names of tests."""
        return f"{self.page}:{self.line}"

    @property
    def is_step(self) -> bool:
        """Whether it is a step that a reader takes: a command, or a file that is written."""
        return not self.unrun and (self.language == "console" or 'title="' in self.options)


def fences(page: Path) -> Iterator[Fence]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(text):
        unrun, language, options, body = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        yield Fence(str(page.relative_to(ROOT)), line, language, options, body, unrun or "")


def steps_text(page: Path) -> str:
    """The steps of a page alone, as a page."""
    return "\n".join(f"```{f.language}{f.options}\n{f.body}```\n" for f in fences(page) if f.is_step)
