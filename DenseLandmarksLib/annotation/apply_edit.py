"""What each edit does to a case: the one function by which cases change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation import edits
from DenseLandmarksLib.annotation.blind import refuse_prediction, start_blind, with_blind, without_blind
from DenseLandmarksLib.annotation.case_state import CaseState, answer_under, landmarks_under
from DenseLandmarksLib.annotation.decide_landmarks import (
    absent,
    accept,
    check_name,
    import_rows,
    move,
    place,
    reset,
    unsure,
)
from DenseLandmarksLib.annotation.edits import Edit
from DenseLandmarksLib.annotation.take_prediction import define, look_up, take_prediction
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.landmark_set import Review


def apply_edit(state: CaseState, edit: Edit) -> CaseState:
    """The case after an edit; ``state`` itself where the edit changes nothing.

    The same edit on the same state always gives the same result: undo, the journal and recovery rest on it.

    Raises
    ------
    InputError : for an edit that does not fit the case; nothing has happened then.
    """
    match edit:
        case edits.Move(positions):
            return with_blind(state, move(state, dict(positions)))
        case edits.Accept(names, structures):
            return with_blind(state, accept(state, names, structures))
        case edits.Absent(names):
            return with_blind(state, absent(state, names), names)
        case edits.Unsure(names):
            return with_blind(state, unsure(state, names))
        case edits.Place(name, structure, index_ijk):
            return with_blind(state, place(state, name, structure, index_ijk), [name])
        case edits.Reset(names):
            return with_blind(state, reset(state, names))
        case edits.SetStrength(strength):
            return _set_strength(state, strength)
        case edits.CorrectSpacing():
            return _correct_spacing(state, edit)
        case edits.Paint(structure, mask):
            return _paint(state, structure, mask)
        case edits.Unpaint(structures):
            return _unpaint(state, structures)
        case edits.TakePrediction():
            refuse_prediction(state)
            return take_prediction(state, edit)
        case edits.Define(landmark, index_ijk):
            return define(state, landmark, index_ijk)
        case edits.LookUp(landmarks):
            return look_up(state, landmarks)
        case edits.Import(rows):
            # A file may also tell what somebody decided with a prediction in sight: such a landmark is not placed.
            return with_blind(
                state, import_rows(state, rows), [row.name for row in rows if row.review is Review.PLACED]
            )
        case edits.StartBlind(landmarks):
            return start_blind(state, landmarks)
        case edits.Seen(seen):
            return without_blind(state, apply_edit(state, seen))
        case edits.Restore(restored):
            return _restore(state, restored)


def _set_strength(state: CaseState, strength: float) -> CaseState:
    if not 0 <= strength <= 1:
        raise InputError(f"expected a strength from 0 to 1, got {strength}. Choose one in between.")
    return state if strength == state.strength else replace(state, strength=float(strength)).settled()


def _correct_spacing(state: CaseState, edit: edits.CorrectSpacing) -> CaseState:
    try:
        geometry = state.geometry.with_spacing(edit.spacing_mm, edit.source)
    except ValueError:
        raise InputError(
            f"expected positive millimetres between voxels, got {edit.spacing_mm}. Measure again."
        ) from None
    if geometry == state.geometry:
        return state
    landmarks = landmarks_under(state.landmarks, state.geometry, geometry)
    answer = answer_under(state.answer, state.geometry, geometry)
    return replace(state, geometry=geometry, answer=answer).with_predicted(landmarks)


def _paint(state: CaseState, structure: str, mask: NDArray[np.bool_]) -> CaseState:
    expected = state.geometry.size[::-1]
    if np.shape(mask) != expected:
        raise InputError(
            f"expected a mask on the voxels of the image, {expected}, got {np.shape(mask)}. Paint it on this image."
        )
    check_name(structure, "structure")
    mask = np.array(mask, bool)
    if structure in state.painted and np.array_equal(mask, state.painted[structure]):
        return state
    mask.setflags(write=False)
    return replace(state, painted={**state.painted, structure: mask})


def _unpaint(state: CaseState, structures: Sequence[str]) -> CaseState:
    painted = {name: mask for name, mask in state.painted.items() if name not in structures}
    accepted = state.accepted.difference(structures)
    unchanged = len(painted) == len(state.painted) and accepted == state.accepted
    return state if unchanged else replace(state, painted=painted, accepted=accepted)


def _restore(state: CaseState, restored: CaseState) -> CaseState:
    if restored.geometry.size != state.geometry.size:
        raise InputError(
            f"expected a state of this image of {state.geometry.size} voxels, got one of "
            f"{restored.geometry.size}. Restore it in its own case."
        )
    return restored
