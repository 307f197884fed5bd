"""What became of the windows of a scene."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ChipCounts:
    """What became of the windows of a scene.

    Args:
        scene_id: the scene.
        subset: "train", "validation" or "test".
        num_windows: windows that the sampling gave.
        num_in_aoi: of these, those that the AOI selects.
        num_labelled: of these, those with a class, as many as `chip.keep` takes.
        num_chips: of these, those with enough valid pixels; they were stored.
        class_counts: class name -> chips.
    """

    scene_id: str
    subset: str
    num_windows: int
    num_in_aoi: int
    num_labelled: int
    num_chips: int
    class_counts: dict[str, int]

    def to_json(self) -> dict[str, int]:
        """The numbers by name, for a manifest; `chips_of_<class name>` for each class."""
        return {
            "num_windows": self.num_windows,
            "num_in_aoi": self.num_in_aoi,
            "num_labelled": self.num_labelled,
            "num_chips": self.num_chips,
            **{f"chips_of_{name}": count for name, count in self.class_counts.items()},
        }

    def why_none(self) -> str:
        """In words, why a scene gave no chip."""
        if not self.num_windows:
            return "it has no labels, or its image no pixels"
        if not self.num_in_aoi:
            return f"none of its {self.num_windows} windows is selected by the AOI"
        if not self.num_labelled:
            return f"none of its {self.num_in_aoi} windows has a label, or is taken by chip.keep"
        return f"none of its {self.num_labelled} labelled windows has enough valid pixels"
