"""What a model's answer does to a case, and new landmarks that are looked up in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation import edits
from DenseLandmarksLib.annotation.case_masks import structure_mask
from DenseLandmarksLib.annotation.case_state import CaseState, answer_under
from DenseLandmarksLib.annotation.decide_landmarks import check_name, decided, points_lps_mm_of
from DenseLandmarksLib.annotation.edits import Index
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.models.look_up import find


def take_prediction(state: CaseState, edit: edits.TakePrediction) -> CaseState:
    """What a model says; decisions that people made stay, a mask that was accepted as what it was."""
    answer = answer_under(edit.answer, edit.geometry, state.geometry)
    assert answer is not None
    accepted = {name: structure_mask(state, name) for name in sorted(state.accepted.intersection(state.structures))}
    old, said = state.landmarks, answer.prediction.landmarks
    state = replace(state, answer=answer, accepted=frozenset())
    found = _found(state, [new for new in state.new_landmarks if new.name not in said.names and fits(state, new)])
    fresh = said.joined(found)
    reviewed = {name: row for row, name in enumerate(old.names) if old.review[row] is not Review.PREDICTED}
    missing = [name for name in reviewed if name not in fresh.names]
    if missing:
        kept = old.rows(old.index_of(missing))
        # What another model said is nothing that this one can be reset to.
        fresh = fresh.joined(replace(kept, predicted_lps_mm=np.full((len(kept), 3), np.nan)))
    state = state.with_predicted(fresh)
    ours, theirs = fresh.index_of(list(reviewed)), list(reviewed.values())
    state = decided(
        state,
        [int(row) for row in ours],
        old.points_lps_mm[theirs],
        {int(i): old.presence[j] for i, j in zip(ours, theirs, strict=True)},
        {int(i): old.review[j] for i, j in zip(ours, theirs, strict=True)},
    )
    return _with_accepted(state, accepted)


def _with_accepted(state: CaseState, masks: Mapping[str, NDArray[np.bool_]]) -> CaseState:
    """The case with masks that a person found right: accepted where the model says the same, else as if they had painted them."""
    same = {
        name for name in masks if name in state.structures and np.array_equal(structure_mask(state, name), masks[name])
    }
    painted = dict(state.painted)
    for name, mask in masks.items():
        if name not in same:
            mask.setflags(write=False)
            painted[name] = mask
    return replace(state, accepted=frozenset(same), painted=painted)


def _found(state: CaseState, new: Sequence[NewLandmark]) -> LandmarkSet:
    """New landmarks as the model sees them, before any correction: those go on top as with all others."""
    if not new:
        return LandmarkSet.empty()
    assert state.answer is not None
    return find(state.answer.prediction, state.geometry, state.answer.template, new).as_landmarks(new)


def define(state: CaseState, landmark: NewLandmark, index_ijk: Index) -> CaseState:
    """A new landmark, defined by a point in this image."""
    check_name(landmark.name, "landmark")
    if landmark.name in state.landmarks.names:
        raise InputError(f"expected a name that is new in this case, got {landmark.name!r}. Choose another.")
    state = look_up(state, [landmark])
    row = state.landmarks.names.index(landmark.name)
    return decided(state, [row], points_lps_mm_of(state, [index_ijk]), {row: Presence.PRESENT}, {row: Review.PLACED})


def look_up(state: CaseState, new: Sequence[NewLandmark]) -> CaseState:
    """New landmarks that were defined elsewhere are looked up."""
    for landmark in new:
        if not fits(state, landmark):
            raise InputError(
                f"expected a landmark on a structure of this case's model, got {landmark.name!r} on "
                f"{landmark.structure!r} of another template. Predict the case with the model that it was defined on."
            )
    fresh = [landmark for landmark in new if landmark.name not in state.landmarks.names]
    if not fresh:
        return state
    state = replace(state, new_landmarks=(*state.new_landmarks, *fresh))
    return state.with_predicted(state.landmarks.joined(_found(state, fresh)))


def fits(state: CaseState, landmark: NewLandmark) -> bool:
    """Whether a landmark can be looked up: the case's model has the structure on which it was defined."""
    template = state.template
    if template is None or landmark.structure not in template.structure_names:
        return False
    return landmark.template_key in ("", template.structure(landmark.structure).key)
