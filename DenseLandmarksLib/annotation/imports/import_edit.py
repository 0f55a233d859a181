"""What a file says about landmarks, as an edit of a case."""

from __future__ import annotations

import numpy as np

from DenseLandmarksLib.annotation.apply_edit import predicted_presence
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Import, ImportedRow
from DenseLandmarksLib.annotation.imports.imported_landmarks import ImportedLandmarks
from DenseLandmarksLib.geometry.frames import index_from_lps_mm
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review


def import_edit(state: CaseState, imported: ImportedLandmarks) -> Import:
    """The edit that takes over what a file says; ``imported`` is in LPS under the geometry in force.

    Where the file does not say who decided, a person did: the file's landmark is placed, corrected where the model had
    it elsewhere, and verified where the model called it absent too. What is unplaced in the file changes nothing.
    """
    index_ijk = index_from_lps_mm(state.geometry, imported.points_lps_mm)
    rows = []
    for i, (name, presence) in enumerate(zip(imported.names, imported.presence, strict=True)):
        structure, review = imported.structures[i], imported.review[i]
        if name in state.landmarks.names:
            row = state.landmarks.names.index(name)
            structure = state.landmarks.structures[row]
            review = review or _decision(state, row, presence)
        x, y, z = index_ijk[i].tolist()
        index = (x, y, z) if presence is Presence.PRESENT else None
        rows.append(ImportedRow(name, structure, presence, review or Review.PLACED, index))
    return Import(tuple(rows))


def _decision(state: CaseState, row: int, presence: Presence) -> Review:
    predicted = predicted_presence(state, row)
    if presence is Presence.ABSENT:
        return Review.VERIFIED if predicted is Presence.ABSENT else Review.CORRECTED
    return Review.CORRECTED if np.isfinite(state.landmarks.predicted_lps_mm[row]).all() else Review.PLACED
