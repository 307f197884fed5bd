"""Declares every store of `stores.py` under a scheme of its name there."""

import ast
from pathlib import Path

from rv_core import StoreSpec, hookimpl


@hookimpl
def rv_stores():
    tree = ast.parse(Path(__file__).with_name("stores.py").read_text())
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    return [StoreSpec(_scheme_of(name), f"wrong_stores.stores:{name}") for name in classes]


def _scheme_of(name):
    words = "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name.removesuffix("Store"))
    return words.lstrip("-")
