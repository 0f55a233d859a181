"""The lists show what the session says, and tell what a person did to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Absent, Define, Move, Place, TakePrediction
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.fiducial_lists import FiducialLists, Gesture
from Testing.annotation.perfect_answer import chest_image, perfect_answer

A = "right_lung_10"


@pytest.fixture(scope="module")
def state(chest_template: Template) -> CaseState:
    """A predicted case whose heart was not found."""
    image = chest_image(chest_template)
    answer = perfect_answer(chest_template, image, lost=("heart",))
    return apply_edit(CaseState(image.geometry), TakePrediction(answer, image.geometry))


@pytest.fixture
def lists(scene: Any, state: CaseState) -> FiducialLists:
    lists = FiducialLists(scene, "film")
    lists.show(state)
    return lists


def where(lists: FiducialLists, name: str) -> tuple[Any, int]:
    """The list and the row of a landmark."""
    for node in lists.nodes.values():
        for n in range(node.GetNumberOfControlPoints()):
            if node.GetNthControlPointLabel(n) == name:
                return node, n
    raise KeyError(name)


def drag(lists: FiducialLists, name: str, x: float = 0, y: float = 0) -> None:
    node, n = where(lists, name)
    right, anterior, superior = node.GetNthControlPointPosition(n)
    node.SetNthControlPointPosition(n, right - x, anterior - y, superior)


def test_every_landmark_is_where_the_session_says(lists: FiducialLists, state: CaseState) -> None:
    assert list(lists.nodes) == list(dict.fromkeys(state.landmarks.structures))
    for name, point, presence in zip(
        state.landmarks.names, state.landmarks.points_lps_mm, state.landmarks.presence, strict=True
    ):
        node, n = where(lists, name)
        status = node.GetNthControlPointPositionStatus(n)
        assert status == {Presence.PRESENT: 2, Presence.ABSENT: 3}[presence]
        if presence is Presence.PRESENT:
            np.testing.assert_allclose(np.array(node.GetNthControlPointPosition(n)) * [-1, -1, 1], point, atol=1e-6)
    for structure, node in lists.nodes.items():
        assert node.GetFixedNumberOfControlPoints()
        assert not node.GetUndoEnabled()
        assert not node.GetDisplayNode().GetPointLabelsVisibility()
        assert state.answer is not None
        (style,) = [style for style in state.answer.styles if style.name == structure]
        assert node.GetDisplayNode().GetSelectedColor() == pytest.approx(style.colour)


def test_what_nobody_touched_is_no_gesture(lists: FiducialLists, state: CaseState) -> None:
    assert lists.gesture(state).is_nothing


def test_a_dragged_point_is_a_correction_and_showing_it_moves_its_neighbours(
    lists: FiducialLists, state: CaseState
) -> None:
    drag(lists, A, x=6)
    gesture = lists.gesture(state)
    row = state.landmarks.names.index(A)
    assert list(gesture.moved_lps_mm) == [A]
    np.testing.assert_allclose(gesture.moved_lps_mm[A], state.landmarks.points_lps_mm[row] + [6, 0, 0], atol=1e-6)
    assert gesture == Gesture(moved_lps_mm=gesture.moved_lps_mm)
    i, j, k = state.index_ijk[row]
    after = apply_edit(state, Move(((A, (i + 6 / state.geometry.spacing_mm[0], j, k)),)))
    lists.show(after)
    assert lists.gesture(after).is_nothing
    assert "right_lung_11" in lists.gesture(state).moved_lps_mm


def test_a_list_that_is_dragged_as_a_whole_is_told_and_can_be_put_back(lists: FiducialLists, state: CaseState) -> None:
    for name in [name for name in state.landmarks.names if name.startswith("left_lung")]:
        drag(lists, name, x=3, y=4)
    drag(lists, A, x=2)
    gesture = lists.gesture(state)
    assert gesture.dragged_list == "left_lung"
    assert list(gesture.moved_lps_mm) == [A]
    lists.show(state)
    assert lists.gesture(state).is_nothing


def test_two_points_that_move_differently_are_two_corrections(lists: FiducialLists, state: CaseState) -> None:
    drag(lists, A, x=2)
    drag(lists, "right_lung_20", y=1)
    assert set(lists.gesture(state).moved_lps_mm) == {A, "right_lung_20"}


def test_a_deleted_point_is_absent_and_comes_back_with_undo(lists: FiducialLists, state: CaseState) -> None:
    node, n = where(lists, A)
    node.SetNthControlPointPositionMissing(n)
    assert lists.gesture(state).deleted == (A,)
    after = apply_edit(state, Absent((A,)))
    lists.show(after)
    assert lists.gesture(after).is_nothing
    lists.show(state)
    assert lists.gesture(state).is_nothing
    assert node.GetNthControlPointPositionStatus(n) == 2


def test_a_point_that_is_taken_out_of_the_list_is_deleted_too(lists: FiducialLists, state: CaseState) -> None:
    node, n = where(lists, A)
    node.SetFixedNumberOfControlPoints(False)
    node.RemoveNthControlPoint(n)
    assert lists.gesture(state).deleted == (A,)
    lists.show(state)
    assert lists.gesture(state).is_nothing
    assert where(lists, A)[1] == n
    assert node.GetFixedNumberOfControlPoints()


def test_placing_what_is_absent_is_told_apart_from_moving(lists: FiducialLists, state: CaseState) -> None:
    node, n = where(lists, "heart_01")
    node.SetNthControlPointPosition(n, 1.0, 2.0, 4.0)
    gesture = lists.gesture(state)
    assert list(gesture.placed_lps_mm) == ["heart_01"]
    np.testing.assert_allclose(gesture.placed_lps_mm["heart_01"], [-1, -2, 4])
    after = apply_edit(state, Place("heart_01", "heart", (3.0, 4.0, 0.0)))
    lists.show(after)
    assert lists.gesture(after).is_nothing


def test_points_and_names_that_a_person_typed_are_told(lists: FiducialLists, state: CaseState) -> None:
    node, n = where(lists, A)
    node.SetNthControlPointLabel(n, "apex")
    node.SetFixedNumberOfControlPoints(False)
    node.AddControlPoint(10.0, 20.0, 4.0, "clip")
    gesture = lists.gesture(state)
    assert gesture.renamed == {A: "apex"}
    ((structure, label, point),) = gesture.added_lps_mm
    assert (structure, label) == ("right_lung", "clip")
    np.testing.assert_allclose(point, [-10, -20, 4])
    lists.show(state)
    assert lists.gesture(state).is_nothing


def test_a_new_landmark_joins_its_list_and_the_others_keep_their_identity(
    lists: FiducialLists, state: CaseState
) -> None:
    node, n = where(lists, A)
    identity = node.GetNthControlPointID(n)
    after = apply_edit(state, Define(NewLandmark("hilum", "right_lung", (0.1, 0.2)), (40.0, 50.0, 0.0)))
    lists.show(after)
    assert lists.gesture(after).is_nothing
    assert where(lists, "hilum")[0] is node
    assert node.GetNthControlPointID(where(lists, A)[1]) == identity
    lists.show(state)  # undo
    assert lists.gesture(state).is_nothing
    with pytest.raises(KeyError):
        where(lists, "hilum")


def test_a_list_that_was_deleted_comes_back_with_its_style(scene: Any, lists: FiducialLists, state: CaseState) -> None:
    scene.RemoveNode(lists.nodes["heart"])
    lists.show(state)
    assert scene.GetNodeByID(lists.nodes["heart"].GetID()) is not None
    scene.RemoveNode(lists.nodes["right_lung"].GetDisplayNode())
    lists.show(state)
    assert not lists.nodes["right_lung"].GetDisplayNode().GetPointLabelsVisibility()
    assert lists.gesture(state).is_nothing


def test_only_our_lists_are_removed(scene: Any, lists: FiducialLists) -> None:
    other = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "somebody else's")
    lists.remove()
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 1
    assert scene.GetNodeByID(other.GetID()) is not None
