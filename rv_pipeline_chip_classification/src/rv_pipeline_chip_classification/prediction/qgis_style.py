"""Styles for QGIS, which takes a `.qml` of the same name beside a layer: the classes in their colours and nothing else.

One file serves the GeoJSON and the GeoTIFF of one name: a vector layer reads `renderer-v2` of it, a raster `pipe`.
Symbol properties are written as `prop` elements, which every QGIS 3 reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rv_pipeline_chip_classification.prediction.category_file import quoted, xml_text

_NO_CLASS_COLOR = "#c9ced4"


class Category(NamedTuple):
    """One entry of a legend.

    Args:
        value: of the attribute; "" for what has none of the other values, null for instance.
        label: in the legend.
        color: `#rrggbb`.
        opacity: of the filling, 0 to 1.
    """

    value: str
    label: str
    color: str
    opacity: float = 1.0


#: Of the labelled cells: those that are right stay clear, so that the image below is seen.
OUTCOMES = (
    Category("right", "right", "#2da44e", 0.0),
    Category("wrong", "wrong", "#d1242f", 0.6),
    Category("not predicted", "not predicted", _NO_CLASS_COLOR, 0.6),
)


def prediction_style(names: Sequence[str], colors: Sequence[str]) -> str:
    """The style of predicted cells and of their raster.

    Args:
        names: class names by class id.
        colors: `#rrggbb` by class id.
    """
    classes = [Category(name, name, color) for name, color in zip(names, colors, strict=True)]
    no_class = Category("", "no class", _NO_CLASS_COLOR)
    return _document(_raster_pipe(names, colors) + _vector_renderer("class_name", [*classes, no_class]))


def outcome_style() -> str:
    """The style of labelled cells by the attribute `outcome`."""
    return _document(_vector_renderer("outcome", OUTCOMES))


def _document(content: str) -> str:
    head = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return f'{head}<qgis version="3.22.0" styleCategories="Symbology">\n{content}</qgis>\n'


def _quoted(text: str) -> str:
    return quoted(xml_text(text))


def _raster_pipe(names: Sequence[str], colors: Sequence[str]) -> str:
    entries = "".join(
        f'    <paletteEntry value="{class_id}" label={_quoted(name)} color="{color}" alpha="255"/>\n'
        for class_id, (name, color) in enumerate(zip(names, colors, strict=True))
    )
    return (
        ' <pipe>\n  <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">\n'
        f"   <rasterTransparency/>\n   <colorPalette>\n{entries}   </colorPalette>\n"
        "  </rasterrenderer>\n </pipe>\n"
    )


def _vector_renderer(attribute: str, categories: Sequence[Category]) -> str:
    entries = "".join(
        f'   <category symbol="{number}" value={_quoted(found.value)} label={_quoted(found.label)} render="true"/>\n'
        for number, found in enumerate(categories)
    )
    symbols = "".join(_symbol(number, found) for number, found in enumerate(categories))
    return (
        f' <renderer-v2 type="categorizedSymbol" attr="{attribute}" symbollevels="0" enableorderby="0" forceraster="0">\n'
        f"  <categories>\n{entries}  </categories>\n  <symbols>\n{symbols}  </symbols>\n </renderer-v2>\n"
    )


def _symbol(number: int, category: Category) -> str:
    red, green, blue = (int(category.color[begin : begin + 2], 16) for begin in (1, 3, 5))
    fill = f"{red},{green},{blue},{round(255 * category.opacity)}"
    # Cells that are filled touch; those that are not have an edge in their colour.
    outline = f"{red},{green},{blue},255" if category.opacity < 1 else fill
    properties = {"color": fill, "style": "solid", "outline_color": outline, "outline_style": "solid"}
    props = "".join(f'     <prop k="{key}" v="{value}"/>\n' for key, value in properties.items())
    return (
        f'   <symbol type="fill" name="{number}" alpha="1" clip_to_extent="1" force_rhr="0">\n'
        f'    <layer class="SimpleFill" enabled="1" pass="0" locked="0">\n{props}    </layer>\n   </symbol>\n'
    )
