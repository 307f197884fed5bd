"""`rv export ROOT -o FILE`: all scenes of a run in one file."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from rv_core.cli.output import print_text
from rv_core.errors import UsageError
from rv_pipeline_chip_classification.maps.formats import INSTALL, missing_modules

_RASTERS = ("tif", "tiff")
_LAYERS = ("gpkg", "fgb", "parquet")


def export(
    root: Annotated[
        str, typer.Argument(metavar="ROOT", help="The root of a run, or a folder that rv predict wrote maps into.")
    ],
    output: Annotated[
        str,
        typer.Option("--output", "-o", metavar="FILE", help="What to write: .gpkg, .fgb, .parquet (cells) or .tif."),
    ],
    scene: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Only scenes of these names, as 'test_*'. May be repeated."),
    ] = None,
    dissolve: Annotated[
        bool, typer.Option("--dissolve", help="Make one polygon of adjacent cells of the same class.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE where it is there already.")] = False,
) -> None:
    """Merge the maps of all scenes into one layer, or one mosaic.

    Read are the GeoTIFFs of maps. No ground has two cells: where maps overlap, the one whose name comes first counts, as far
    as it has a class there. The file has the CRS of the first map, a mosaic its pixels too.

    Examples:
      rv export out -o map.gpkg --dissolve

      rv export out -o map.tif --scene 'test_*'
    """
    from rv_core import Storage
    from rv_core.files import uris

    name = uris.name_of(output)
    kind = name.rpartition(".")[2].lower()
    _check(kind, dissolve=dissolve)
    from rv_pipeline_chip_classification.file_boundary import file_boundary
    from rv_pipeline_chip_classification.prediction.category_file import categories_text
    from rv_pipeline_chip_classification.prediction.qgis_style import prediction_style
    from rv_pipeline_chip_classification.verbs.exporting.layer import write_cells, write_polygons
    from rv_pipeline_chip_classification.verbs.exporting.map_rasters import find_maps
    from rv_pipeline_chip_classification.verbs.exporting.mosaic import write_mosaic

    maps = find_maps(root, scene)
    if kind in _RASTERS and os.path.realpath(os.path.dirname(output)) == os.path.realpath(maps[0].path.parent):
        why = "it would be taken for the map of a scene, or replace one"
        raise UsageError("-o: a mosaic cannot lie among the maps", where=output, why=why, fix="name another folder")
    target = Storage(output[: len(output) - len(name)].rstrip("/") or ("/" if output.startswith("/") else "."))
    if not overwrite and target.exists(name):
        raise UsageError("-o: the file is there already", where=output, fix="name another one, or give --overwrite")
    classes = maps[0].class_names, maps[0].class_colors
    with file_boundary("the maps cannot be merged", where=root), target.output_file(name) as path:
        if kind in _RASTERS:
            text = "mosaic of {} x {} cells".format(*write_mosaic(path, maps))
        elif dissolve:
            text = f"{write_polygons(path, kind, maps):,} polygons"
        else:
            text = f"{write_cells(path, kind, maps):,} cells"
    if kind in _RASTERS:
        target.write_text(f"{name}.aux.xml", categories_text(*classes))
    target.write_text(f"{name.rpartition('.')[0]}.qml", prediction_style(*classes))
    print_text(f"{output}: {text} of {len(maps)} {'map' if len(maps) == 1 else 'maps'}")


def _check(kind: str, *, dissolve: bool) -> None:
    if kind not in (*_RASTERS, *_LAYERS):
        raise UsageError(
            f"-o: {kind!r} is no format that maps are exported to",
            fix=f"end the name with {', '.join(f'.{end}' for end in _LAYERS)} or .tif; ogr2ogr makes others of these",
        )
    if kind in _RASTERS and dissolve:
        raise UsageError("--dissolve makes polygons, and -o names a raster", fix="leave it out, or name a .gpkg")
    if missing := missing_modules(kind):
        raise UsageError(f"a .{kind} needs {' and '.join(missing)}, which cannot be imported", fix=INSTALL)
