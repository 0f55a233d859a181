"""What a file says about landmarks, as an edit of a case."""

from __future__ import annotations

import numpy as np

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Import, ImportedRow
from DenseLandmarksLib.annotation.imports.imported_landmarks import ImportedLandmarks
from DenseLandmarksLib.annotation.predicted_presence import predicted_presence
from DenseLandmarksLib.geometry.frames import index_from_lps_mm, lps_mm_from_index
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review

# Files hold five digits behind the point, some six.
ROUNDED_OFF_MM = 1e-4


def import_edit(state: CaseState, imported: ImportedLandmarks) -> Import:
    """The edit that takes over what a file says; ``imported`` is in LPS under the geometry in force.

    Where the file does not say who decided, a person did: the file's landmark is placed, corrected where the model had
    it elsewhere, and verified where the model called it absent too.

    Only news is in the edit. What is unplaced in the file changes nothing. A file that was exported earlier also holds
    what nobody had decided: that says nothing about a landmark that the case has, neither does it replace a decision that
    a person made since, nor what the model said.
    """
    index_ijk = index_from_lps_mm(state.geometry, imported.points_lps_mm)
    row_of = {name: row for row, name in enumerate(state.landmarks.names)}
    told = []
    for i, (name, presence) in enumerate(zip(imported.names, imported.presence, strict=True)):
        structure, review, row = imported.structures[i], imported.review[i], row_of.get(name)
        if row is not None:
            structure = state.landmarks.structures[row]
            review = review or _decision(state, row, presence)
        x, y, z = index_ijk[i].tolist()
        index = (x, y, z) if presence is Presence.PRESENT else None
        one = ImportedRow(name, structure, presence, review or Review.PLACED, index)
        if presence is not Presence.UNPLACED and (row is None or _is_news(state, row, one)):
            told.append(one)
    return Import(tuple(told))


def _is_news(state: CaseState, row: int, told: ImportedRow) -> bool:
    landmarks = state.landmarks
    if told.review is Review.PREDICTED and landmarks.presence[row] is not Presence.UNPLACED:
        return False
    if (told.presence, told.review) != (landmarks.presence[row], landmarks.review[row]):
        return True
    if told.index_ijk is None:
        return False
    there = lps_mm_from_index(state.geometry, [told.index_ijk])[0]
    return bool(np.abs(there - landmarks.points_lps_mm[row]).max() > ROUNDED_OFF_MM)


def _decision(state: CaseState, row: int, presence: Presence) -> Review:
    predicted = predicted_presence(state, row)
    if presence is Presence.ABSENT:
        return Review.VERIFIED if predicted is Presence.ABSENT else Review.CORRECTED
    return Review.CORRECTED if np.isfinite(state.landmarks.predicted_lps_mm[row]).all() else Review.PLACED
