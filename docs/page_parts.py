"""What the generated pages are put together from: texts of docstrings, tables, and the note that they are generated."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from typing import Any

NOTE = "<!-- Written by docs/generate_reference.py from the code; do not edit. -->"


def text_of(documented: Any) -> str:
    """A docstring without its sections (`Args:` and so on), and without Sphinx' and Click's marks."""
    doc = inspect.cleandoc(documented if isinstance(documented, str) else documented.__doc__ or "").replace("\b\n", "")
    return re.split(r"^(?:Args|Returns|Raises|Yields):\s*$", doc, maxsplit=1, flags=re.MULTILINE)[0].strip()


def arguments_of(documented: Any) -> dict[str, str]:
    """Name -> text of the section `Args:`; several names before one colon share their text."""
    doc = inspect.cleandoc(documented.__doc__ or "")
    match = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", doc, flags=re.MULTILINE)
    found: dict[str, str] = {}
    for entry in re.findall(
        r"^    (\w[\w, ]*): ((?:.*\n?)(?:        .*\n?)*)", match[1] if match else "", re.MULTILINE
    ):
        found |= dict.fromkeys(entry[0].split(", "), " ".join(entry[1].split()))
    return found


def signature_as_written(function: Any) -> inspect.Signature:
    """The signature of a function with its annotations as texts, as they stand in the source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function)))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    arguments = ast.walk(tree.args)
    texts = {node.arg: _text(node.annotation) for node in arguments if isinstance(node, ast.arg) and node.annotation}
    signature = inspect.signature(function)
    parameters = [p.replace(annotation=texts.get(p.name, p.empty)) for p in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=_text(tree.returns))


def _text(annotation: ast.expr | None) -> str:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value  # what is defined later
    return "None" if annotation is None else ast.unparse(annotation)


def anchor_free(text: str) -> str:
    """Text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """A table, or nothing if it has no rows."""
    if not rows:
        return []
    lines = [head, tuple("---" for _ in head), *(tuple(map(anchor_free, row)) for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def page(title: str, *parts: str) -> str:
    """A page from its parts."""
    return "\n".join([NOTE, "", f"# {title}", "", *parts]).rstrip() + "\n"
