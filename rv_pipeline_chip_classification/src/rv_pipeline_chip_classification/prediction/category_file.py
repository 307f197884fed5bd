"""The names of classes beside a GeoTIFF, where GDAL keeps what the format has no place for: `<name>.tif.aux.xml`.

Category names, and a raster attribute table with value, name and colour, which QGIS and GDAL's tools show as a legend.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

#: Columns of the table: name, type (0 a whole number, 2 text) and usage, as of `GDALRATFieldType` and `GDALRATFieldUsage`.
_COLUMNS = (("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))

#: Characters that no XML 1.0 can hold, not even escaped.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def xml_text(text: str) -> str:
    """Text of others as XML can hold it, before it is escaped: control characters become U+FFFD."""
    return _NO_XML.sub("\ufffd", text)


def quoted(text: str) -> str:
    """Text as the value of an attribute, with its quotes; `xml.sax.saxutils` imports what speaks HTTP and TLS."""
    value = (
        escape(text, quote=False)
        .replace("\n", "&#10;")
        .replace("\r", "&#13;")
        .replace("\t", "&#9;")
        .replace('"', "&quot;")
    )
    return f'"{value}"'


def categories_text(names: Sequence[str], colors: Sequence[str]) -> str:
    """The content of the file.

    Args:
        names: class names by class id.
        colors: `#rrggbb` by class id.
    """
    categories = "".join(f"   <Category>{escape(xml_text(name), quote=False)}</Category>\n" for name in names)
    columns = "".join(
        f'   <FieldDefn index="{index}">\n    <Name>{name}</Name>\n    <Type>{kind}</Type>\n'
        f"    <Usage>{usage}</Usage>\n   </FieldDefn>\n"
        for index, (name, kind, usage) in enumerate(_COLUMNS)
    )
    rows = "".join(
        _row(class_id, name, color) for class_id, (name, color) in enumerate(zip(names, colors, strict=True))
    )
    return (
        '<PAMDataset>\n <PAMRasterBand band="1">\n'
        f"  <CategoryNames>\n{categories}  </CategoryNames>\n"
        f'  <GDALRasterAttributeTable tableType="thematic">\n{columns}{rows}  </GDALRasterAttributeTable>\n'
        " </PAMRasterBand>\n</PAMDataset>\n"
    )


def _row(class_id: int, name: str, color: str) -> str:
    values = (
        class_id,
        escape(xml_text(name), quote=False),
        *(int(color[begin : begin + 2], 16) for begin in (1, 3, 5)),
    )
    fields = "".join(f"    <F>{value}</F>\n" for value in values)
    return f'   <Row index="{class_id}">\n{fields}   </Row>\n'
