"""Corrections that would turn a structure over are refused: its mask and uv field could not follow them."""

from __future__ import annotations

import numpy as np

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.plane import lps_mm_from_plane_mm
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.landmarks.structure_warp import structure_warp
from DenseLandmarksLib.landmarks.warp import Fold
from DenseLandmarksLib.landmarks.warp_mask import fold_in_mask

# Share of a structure that may be turned over. On 16 cases of jsrt (fold 0), 1,482 corrections to the truth, with and
# without propagation, turn over 0.5 % where they turn over anything (a third of them), and never more than 3.4 %.
LIMIT = 0.05
# Places that are asked about, in pixels of the model's grid: one in nine tells as much in a ninth of the time.
EVERY = 3


def refuse_fold_over(before: CaseState, after: CaseState) -> None:
    """Raise :class:`InputError`, in one line, where an edit turns more of a structure over than it may.

    Structures that a person painted are not asked about. One that more than :data:`LIMIT` was turned over of before, by a
    prediction that came to landmarks far from it, cannot follow anyway: only an edit that turns over much more is refused,
    else nobody could correct a landmark there at all.
    """
    if after.answer is None:
        return
    for structure in after.answer.prediction.structures:
        if structure in after.painted or not _moved(before, after, structure):
            continue
        fold = fold_of(after, structure)
        if fold is None or fold.share <= LIMIT:
            continue
        earlier = None if structure not in before.structures else fold_of(before, structure)
        if earlier is None or earlier.share <= LIMIT or fold.share > earlier.share + LIMIT:
            raise InputError(
                f"expected a correction that {structure} can follow, got one that turns {100 * fold.share:.0f} % of it over, "
                f"most at {_nearest(after, structure, fold)}. Correct the landmarks beside it first, or paint the structure."
            )


def fold_of(state: CaseState, structure: str) -> Fold | None:
    """Where the corrections turn a structure of the model over, ``None`` if nowhere; radiographs only."""
    assert state.answer is not None
    if not state.geometry.is_radiograph:
        return None
    prediction = state.answer.prediction
    mask = prediction.masks[prediction.structures.index(structure)]
    warp = structure_warp(state.landmarks, structure, state.geometry)
    return fold_in_mask(mask, warp, state.geometry, prediction.need_grid(), EVERY)


def _moved(before: CaseState, after: CaseState, structure: str) -> bool:
    def placed(state: CaseState) -> list[tuple[str, bytes]]:
        landmarks = state.landmarks
        return [
            (landmarks.names[i], landmarks.points_lps_mm[i].tobytes())
            for i in landmarks.of_structure(structure)
            if landmarks.presence[i] is Presence.PRESENT
        ]

    return placed(before) != placed(after)


def _nearest(state: CaseState, structure: str, fold: Fold) -> str:
    rows = state.landmarks.of_structure(structure)
    place = lps_mm_from_plane_mm(state.geometry, fold.point[None])[0]
    distance = np.linalg.norm(state.landmarks.points_lps_mm[rows] - place, axis=1)
    return state.landmarks.names[rows[int(np.nanargmin(distance))]]
