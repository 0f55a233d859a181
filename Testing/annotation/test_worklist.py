"""A person works through the doubtful landmarks first, and no row moves under the mouse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Absent, Accept, Place, TakePrediction, Unsure
from DenseLandmarksLib.annotation.worklist import Worklist, has_open, open_landmarks, open_masks
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.perfect_answer import chest_image, perfect_answer


@pytest.fixture(scope="module")
def state(chest_template: Template) -> CaseState:
    """A predicted case without its heart, of which landmark right_lung_07 is the least sure."""
    image = chest_image(chest_template)
    answer = perfect_answer(chest_template, image, lost=("heart",))
    state = apply_edit(CaseState(image.geometry), TakePrediction(answer, image.geometry))
    confidence = np.linspace(0.9, 0.5, len(state.landmarks))
    confidence[state.landmarks.names.index("right_lung_07")] = 0.1
    return replace(state, landmarks=replace(state.landmarks, confidence=confidence))


def test_what_is_absent_comes_first_then_the_least_sure(state: CaseState) -> None:
    names = Worklist.of(state).names
    hearts = [name for name in state.landmarks.names if name.startswith("heart")]
    assert set(names[: len(hearts)]) == set(hearts)
    assert names[len(hearts)] == "right_lung_07"
    rest = [state.landmarks.confidence[state.landmarks.names.index(name)] for name in names[len(hearts) :]]
    assert rest == sorted(rest)
    assert sorted(names) == sorted(state.landmarks.names)


def test_the_order_stays_while_landmarks_are_decided_and_added(state: CaseState) -> None:
    worklist = Worklist.of(state)
    after = apply_edit(state, Accept(("right_lung_07",)))
    assert worklist.updated(after) is worklist
    after = apply_edit(after, Place("clip", "heart", (3.0, 4.0, 0.0)))
    assert worklist.updated(after).names == (*worklist.names, "clip")
    assert worklist.updated(after).updated(state).names == worklist.names
    # The next visit draws it up anew: what was decided comes last.
    assert Worklist.of(after).names[-2:] == ("right_lung_07", "clip")


def test_the_next_doubtful_one_goes_round_and_ends(state: CaseState) -> None:
    worklist = Worklist.of(state)
    first, second, third = worklist.names[:3]
    assert worklist.next_after("", state) == first
    assert worklist.next_after(first, apply_edit(state, Absent((second,)))) == third
    assert worklist.next_after(worklist.names[-1], state) == first
    assert worklist.next_after(first, apply_edit(state, Accept(state.landmarks.names))) is None


def test_the_next_doubtful_one_of_some_passes_the_others_over(state: CaseState) -> None:
    worklist = Worklist.of(state)
    first, second, third, *_ = worklist.names
    assert worklist.next_after(first, state, (first, third)) == third
    assert worklist.next_after(third, state, (first, third)) == first
    assert worklist.next_after(first, apply_edit(state, Accept((third,))), (third,)) is None
    assert worklist.next_after(second, state, ()) is None


def test_what_is_left_counts_what_nobody_decided(state: CaseState) -> None:
    assert len(open_landmarks(state)) == len(state.landmarks)
    after = apply_edit(apply_edit(state, Accept(("right_lung_07",))), Unsure(("right_lung_08",)))
    assert len(open_landmarks(after)) == len(state.landmarks) - 2
    assert "right_lung_08" not in open_landmarks(after)


def test_a_structure_is_open_until_its_mask_and_all_its_landmarks_are_decided(state: CaseState) -> None:
    of_lung = tuple(state.landmarks.names[row] for row in state.landmarks.of_structure("right_lung"))
    assert has_open(state, "right_lung")
    assert not has_open(state, "")
    landmarks_decided = apply_edit(state, Accept(of_lung))
    assert has_open(landmarks_decided, "right_lung")
    assert "right_lung" in open_masks(landmarks_decided)
    decided = apply_edit(landmarks_decided, Accept((), ("right_lung",)))
    assert not has_open(decided, "right_lung")
    assert "right_lung" not in open_masks(decided)
    assert has_open(decided, "left_lung")
