"""What the site has besides docs/: pages that lie at the top of the repository and in the packages. For MkDocs.

A link to what is no page of the site – a file of code, a folder – becomes plain text: the address of a repository is not
known to the pages, and a link that leads nowhere is worse than none.
"""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
#: Page of the site -> file of the repository.
PAGES = {
    "index.md": "README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    **{f"{path.stem}.md": f"docs/{path.name}" for path in sorted(ROOT.glob("docs/*.ipynb"))},
    **{
        f"packages/{path.parent.name}.md": f"{path.parent.name}/README.md"
        for path in sorted(ROOT.glob("rv_*/README.md"))
    },
}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")
#: Written for a repository's page: the picture stands in docs/ there.
_DOCS = "docs/"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    for page, path in PAGES.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_of_notebook(text) if path.endswith(".ipynb") else text))
    return files


def _of_notebook(text: str) -> str:
    """The cells of a notebook as a page: what is told, and the code; a test runs it."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    return "\n\n".join(source if kind == "markdown" else f"```python\n{source}\n```" for kind, source in cells)


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead links to where the pages are on the site, and unlink what is none."""
    name = page.file.src_uri
    source = PAGES.get(name, _DOCS + name)
    return _LINK.sub(lambda link: _on_site(link, name, source, files), markdown)


def _on_site(link: re.Match[str], page: str, source: str, files: Files) -> str:
    mark, text, target, anchor = link.groups()
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    by_source = {its: name for name, its in PAGES.items()}
    name = by_source.get(path, path.removeprefix(_DOCS) if path.startswith(_DOCS) else "")
    name = "reference/cli.md" if name == "reference" else name
    file = files.get_file_from_path(name) if name else None
    if file is None or file.inclusion.is_excluded():
        return "" if mark else text
    return f"{mark}[{text}]({posixpath.relpath(name, posixpath.dirname(page) or '.')}{anchor or ''})"
