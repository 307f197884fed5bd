"""`results(root_uri)`: metrics, history, predictions and errors of a root, as its files say."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rv_core import Storage
from rv_core.errors import DataError, UsageError, unknown_name
from rv_core.files import uris
from rv_core.files.problems import MissingFileError
from rv_pipeline_chip_classification.commands.results import evaluation_name, outcomes_name
from rv_pipeline_chip_classification.config_parts import SUBSETS
from rv_pipeline_chip_classification.from_python.records import Records, cells_of, layer_cells_of
from rv_pipeline_chip_classification.maps.formats import ENDINGS
from rv_pipeline_chip_classification.prediction.cell_scores import CELLS_ENDING, prediction_names

_HISTORY, _TRAINING = "train/history.jsonl", "train/metrics.json"


@dataclass(frozen=True)
class Results:
    """What is found under a root; files are read when they are asked for.

    It says what the files say. Whether they are those of the config as it is now, `rv_core.api.status(root_uri)` says.

    Args:
        root_uri: folder or URI.
    """

    root_uri: str

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """The content of `eval/<subset>/eval.json` by subset; {} where nothing was evaluated.

        Raises:
            DataError: if a file is damaged.
            StorageError: if one cannot be read.
        """
        found = {subset: self._json(evaluation_name(subset)) for subset in SUBSETS}
        return {subset: report for subset, report in found.items() if report is not None}

    @property
    def training(self) -> dict[str, Any] | None:
        """The content of `train/metrics.json`; None where nothing was trained. Errors: as of `metrics`."""
        return self._json(_TRAINING)

    @property
    def history(self) -> Records:
        """A record per epoch, in order; none where nothing was trained. Errors: as of `metrics`."""
        text = self._text(_HISTORY) or ""
        return Records(self._parsed(line, _HISTORY) for line in text.splitlines())

    @property
    def scene_ids(self) -> list[str]:
        """The scenes that are predicted, sorted."""
        return self._scenes_below("predict", [*ENDINGS.values(), CELLS_ENDING])

    def predictions(self, scene_id: str) -> Records:
        """The predicted cells of a scene; geometries in longitude and latitude, pixels where the image has no CRS.

        Returns:
            A record per cell: `class_id`, `class_name`, `score`, `scores`, `scene`, `window` in pixels (row, column,
            height, width), `valid_fraction`, `geometry`. The same whatever `predict.vector` was, but that cells of a
            FlatGeobuf file come in its own order, without their `window` (None).

        Raises:
            UsageError: if there is none of that scene, or `predict.vector` was "none".
            DataError: if the file is damaged, or what reads it is not installed.
            StorageError: if it cannot be read.
        """
        names, storage = prediction_names(scene_id), Storage(self.root_uri)
        there = [kind for kind in ENDINGS if storage.exists(names.vector(ENDINGS[kind]))]
        if there and there[0] != "geojson":
            return layer_cells_of(storage, names, ENDINGS[there[0]])
        if not there and storage.exists(names.cells):
            raise UsageError(
                f"the cells of scene {scene_id!r} are in no vector file",
                where=storage.uri(names.stem),
                why='predict.vector was "none"',
                fix='set predict.vector to "geojson", or to another format, and run predict again',
            )
        return self._cells(names.geojson, scene_id, self.scene_ids)

    def outcomes(self, subset: str, scene_id: str | None = None) -> Records:
        """The labelled cells of a subset with what is predicted for them. Errors: as of `predictions`.

        Args:
            subset: "validation" or "test", as evaluated.
            scene_id: of one scene alone.

        Returns:
            A record per cell: `outcome` ("right", "wrong" or "not predicted"), `truth`, `prediction`, `truth_id`,
            `prediction_id`, `score`, `margin`, `scene`, `window`, `geometry`.
        """
        scene_ids = [scene_id] if scene_id is not None else self._evaluated(subset)
        if not scene_ids:
            raise UsageError(f"there is no evaluation of the subset {subset!r}", where=self.root_uri)
        parts = [self._cells(outcomes_name(subset, name), name, self._evaluated(subset)) for name in scene_ids]
        return Records((record for part in parts for record in part), crs=parts[0].crs)

    def errors(self, subset: str, scene_id: str | None = None) -> Records:
        """Those of `outcomes` that are wrong, the surest first."""
        outcomes = self.outcomes(subset, scene_id)
        wrong = [record for record in outcomes if record["outcome"] == "wrong"]
        return Records(sorted(wrong, key=lambda record: -float(record["margin"])), crs=outcomes.crs)

    def _evaluated(self, subset: str) -> list[str]:
        return self._scenes_below(f"eval/{subset}", ["geojson"])

    def _cells(self, name: str, scene_id: str, scene_ids: list[str]) -> Records:
        storage = Storage(self.root_uri)
        try:
            path = storage.input_file(name)
        except MissingFileError as err:
            what, fix = unknown_name("scene", scene_id, scene_ids)
            raise UsageError(what, where=storage.uri(name), fix=fix) from err
        return cells_of(path, where=storage.uri(name))

    def _scenes_below(self, folder: str, endings: Iterable[str]) -> list[str]:
        files = Storage(self.root_uri).list_files(folder)
        found = {name.removesuffix(f".{end}") for end in endings for name in files if name.endswith(f".{end}")}
        return sorted(found)

    def _text(self, name: str) -> str | None:
        try:
            return Storage(self.root_uri).read_text(name)
        except MissingFileError:
            return None

    def _json(self, name: str) -> dict[str, Any] | None:
        text = self._text(name)
        return None if text is None else self._parsed(text, name)

    def _parsed(self, text: str, name: str) -> dict[str, Any]:
        try:
            plain = json.loads(text)
        except (ValueError, RecursionError) as err:
            raise self._damaged(name, str(err)) from err
        if not isinstance(plain, dict):
            raise self._damaged(name, "it is no object")
        return plain

    def _damaged(self, name: str, why: str) -> DataError:
        fix = "run the command that wrote it again (--rerun)"
        return DataError("a file of results is damaged", where=uris.join(self.root_uri, name), why=why, fix=fix)


def results(root_uri: str) -> Results:
    """The results of a root of chip classification.

    Args:
        root_uri: folder or URI, as `rv status` takes it.

    Raises:
        UsageError: if nothing of chip classification is there.
        StorageError: if it cannot be looked at.
    """
    found = Results(root_uri)
    if not found.scene_ids and found.training is None:
        what = "there are no results of a chip classification"
        raise UsageError(what, where=root_uri, fix="name the root_uri of a config whose train or predict has run")
    return found
