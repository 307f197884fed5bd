"""`rv weights list | show | add`: cards of pretrained weights, those that come with rv and those that were taken in."""

from __future__ import annotations

from typing import Annotated

import typer

from rv_core.cli.output import print_json, print_table, print_text
from rv_core.errors import RvError
from rv_core.wording import printable
from rv_pipeline_chip_classification.pretrained.card import WeightCard, shipped_names
from rv_pipeline_chip_classification.pretrained.store import add_card, added_names, find_card, is_here

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = typer.Typer(name="weights", help="Cards of pretrained weights.", rich_markup_mode=None)


@app.callback()
def _weights() -> None:
    """Cards of pretrained weights."""


@app.command("list")
def list_weights(as_json: AsJson = False) -> None:
    """List the cards that model.weights can name.

    Examples:
      rv weights list
    """
    cards: list[tuple[str, WeightCard]] = []
    problems: list[str] = []
    for origin, names in (("rv", shipped_names()), ("added", added_names())):
        for name in names:
            try:
                cards.append((origin, find_card(name)))
            except RvError as err:
                problems.append(f"{name}: {err.one_line()}")
    if as_json:
        print_json(
            {
                "cards": [{**card.to_json(), "origin": o, "is_here": is_here(card)} for o, card in cards],
                "problems": problems,
            }
        )
        return
    rows = [
        [card.name, card.backbone, ", ".join(card.band_names), card.unit, "yes" if is_here(card) else "no", origin]
        for origin, card in cards
    ]
    print_table(["name", "backbone", "bands", "unit", "here", "from"], rows)
    for problem in problems:
        print_text(f"cannot be read: {problem}")


@app.command("show")
def show_weights(
    card: Annotated[str, typer.Argument(metavar="NAME|URI", help="Name or URI of a card.")], as_json: AsJson = False
) -> None:
    """Show what a card says: licence, bands, mean and standard deviation, unit, digest.

    Examples:
      rv weights show resnet18-imagenet1k-v1
    """
    found = find_card(card)
    if as_json:
        print_json({**found.to_json(), "is_here": is_here(found)})
        return
    digits = found.sha256 if found.is_whole_digest else f"{found.sha256}… (first digits)"
    lines = {
        "name": found.name,
        "summary": found.summary,
        "backbone": found.backbone,
        "file": found.file + (" (here)" if is_here(found) else ""),
        "sha256": digits,
        "licence": found.licence,
        "source": found.source,
        "bands": ", ".join("/".join(names) for names in found.bands),
        "mean": ", ".join(f"{value:g}" for value in found.mean),
        "std": ", ".join(f"{value:g}" for value in found.std),
        "unit": found.unit,
    }
    for name, text in lines.items():
        print_text(f"{name:<9} {printable(text, 300)}")
    print_text(f"use it with: --set model.backbone={found.backbone} --set model.weights={card}")


@app.command("add")
def add_weights(uri: Annotated[str, typer.Argument(metavar="URI", help="Path or URI of a card.")]) -> None:
    """Take in a card: its file is fetched and checked, and its name means it on this machine.

    Examples:
      rv weights add https://example.org/cards/my-weights.json
    """
    found = add_card(uri)
    print_text(f"{found.name}: weights of {found.backbone} for {', '.join(found.band_names)}; licence: {found.licence}")
