"""The list of chips as text."""

from __future__ import annotations

import json

import numpy as np

from rv_pipeline_chip_classification.chips.writer import ChipRecords, index_text
from rv_pipeline_chip_classification.scenes.windows import Window, windows_over


def test_the_list_of_many_chips_is_one_json_document_a_line() -> None:
    windows = windows_over(Window(0, 0, 160, 160), size_px=8, stride_px=3)
    number = np.arange(len(windows))
    shares = np.where(number % 3 == 0, np.nan, np.round(number / len(windows), 6))
    records = ChipRecords(
        'a "scene" of Zürich',
        windows,
        windows[:, :2] - 4,
        number % 2,
        shares,
        "ioa_over_cell",
        np.round(1 - number / len(windows) / 2, 6),
        number % 5 == 0,
        context_px=4,
    )
    chunks = list(index_text(records, ["wood", "forêt"], (0.5, 0.0, 1000.25, 0.0, -0.5, 2000.0)))
    assert len(windows) == 2704
    assert len(chunks) == 3
    assert all(chunk.endswith(b"\n") for chunk in chunks)
    expected = [
        {
            "scene": records.scene_id,
            "window": window,
            "offset": [window[0] - 4, window[1] - 4],
            "bounds": [
                1000.25 + window[1] / 2, 2000.0 - (window[0] + 8) / 2, 1000.25 + (window[1] + 8) / 2, 2000.0 - window[0] / 2
            ],
            "class_id": index % 2,
            "class_name": ["wood", "forêt"][index % 2],
            "ioa_over_cell": None if index % 3 == 0 else float(shares[index]),
            "valid_fraction": float(records.valid_fractions[index]),
            "masked": index % 5 == 0,
            "context_px": 4,
        }
        for index, window in enumerate(windows.tolist())
    ]  # fmt: skip
    assert b"".join(chunks).decode().splitlines() == [json.dumps(its) for its in expected]
