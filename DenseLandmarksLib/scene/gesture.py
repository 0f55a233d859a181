"""What a person did to the landmark lists of a case since they were last shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from DenseLandmarksLib.scene.ras import FloatArray

# Points that are moved together, as one thing, fit one motion up to this.
ALIKE_MM = 1e-3


@dataclass
class Gesture:
    """What differs between the lists and the case.

    Attributes
    ----------
    moved_lps_mm : landmarks that were dragged, and where to (3,), in the image's own frame.
    deleted : landmarks that were taken away.
    placed_lps_mm : landmarks that were not there and are now, and where (3,).
    dragged_lists : structures whose list was moved as a whole; its points are in none of the others.
    added_lps_mm : structure, label and position of points that a person added by hand.
    renamed : landmarks whose label was changed, and the new one.
    """

    moved_lps_mm: dict[str, FloatArray] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    placed_lps_mm: dict[str, FloatArray] = field(default_factory=dict)
    dragged_lists: list[str] = field(default_factory=list)
    added_lps_mm: list[tuple[str, str, FloatArray]] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)

    @property
    def is_nothing(self) -> bool:
        """Whether the lists are as they were shown."""
        return not (
            self.moved_lps_mm
            or self.deleted
            or self.placed_lps_mm
            or self.dragged_lists
            or self.added_lps_mm
            or self.renamed
        )


def is_whole(steps: Sequence[tuple[FloatArray, FloatArray]]) -> bool:
    """Whether all points of a list, each from where to where (3,) in mm, went as one thing.

    Two points and more that move alike were dragged together; more points than an affine motion could fit by chance, all
    of which it fits, were moved by a transform. Nobody drags points one by one like that.
    """
    if len(steps) < 2:
        return False
    before, after = (np.stack(points) for points in zip(*steps, strict=True))
    way = after - before
    if np.abs(way - way[0]).max() <= ALIKE_MM:
        return True
    basis = np.column_stack([before - before.mean(axis=0), np.ones(len(before))])
    if len(before) <= np.linalg.matrix_rank(basis, tol=ALIKE_MM):
        return False
    fitted = basis @ np.linalg.lstsq(basis, after, rcond=1e-9)[0]
    return bool(np.abs(fitted - after).max() <= ALIKE_MM)
