"""The lists show what the session says, and tell what a person did to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Absent, Define, Move, Place, TakePrediction
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.fiducial_lists import FiducialLists
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.measurements import CONFIDENCE, REVIEW, TEMPLATE_U, read_measurement
from DenseLandmarksLib.scene.ras import to_vtk
from DenseLandmarksLib.scene.volume_node import add_volume_node
from Testing.annotation.perfect_answer import chest_image, perfect_answer

A = "right_lung_10"
# Turned by 30 degrees and moved.
TURNED = np.array([[0.866, -0.5, 0, 12], [0.5, 0.866, 0, -7], [0, 0, 1, 5], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def state(chest_template: Template) -> CaseState:
    """A predicted case whose heart was not found."""
    image = chest_image(chest_template)
    answer = perfect_answer(chest_template, image, lost=("heart",))
    return apply_edit(CaseState(image.geometry), TakePrediction(answer, image.geometry))


@pytest.fixture
def image(scene: Any, chest_template: Template) -> ImageInScene:
    film = chest_image(chest_template)
    return ImageInScene(add_volume_node(scene, film), film.geometry)


@pytest.fixture
def lists(scene: Any, state: CaseState, image: ImageInScene) -> FiducialLists:
    lists = FiducialLists(scene, "film")
    lists.show(state, image)
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


def test_every_landmark_is_where_the_session_says(lists: FiducialLists, state: CaseState, image: ImageInScene) -> None:
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


def test_what_nobody_touched_is_no_gesture(lists: FiducialLists, state: CaseState, image: ImageInScene) -> None:
    assert lists.gesture(state, image).is_nothing


def test_a_dragged_point_is_a_correction_and_showing_it_moves_its_neighbours(
    lists: FiducialLists, state: CaseState, image: ImageInScene
) -> None:
    drag(lists, A, x=6)
    gesture = lists.gesture(state, image)
    row = state.landmarks.names.index(A)
    assert list(gesture.moved_lps_mm) == [A]
    np.testing.assert_allclose(gesture.moved_lps_mm[A], state.landmarks.points_lps_mm[row] + [6, 0, 0], atol=1e-6)
    gesture.moved_lps_mm.clear()
    assert gesture.is_nothing
    i, j, k = state.index_ijk[row]
    after = apply_edit(state, Move(((A, (i + 6 / state.geometry.spacing_mm[0], j, k)),)))
    lists.show(after, image)
    assert lists.gesture(after, image).is_nothing
    node, n = where(lists, "right_lung_11")
    came_along = -node.GetNthControlPointPosition(n)[0] - state.landmarks.points_lps_mm[row + 1, 0]
    assert 1 < came_along < 6


def test_a_list_that_is_dragged_as_a_whole_is_told_and_can_be_put_back(
    lists: FiducialLists, state: CaseState, image: ImageInScene
) -> None:
    for name in [name for name in state.landmarks.names if name.startswith("left_lung")]:
        drag(lists, name, x=3, y=4)
    drag(lists, A, x=2)
    gesture = lists.gesture(state, image)
    assert gesture.dragged_lists == ["left_lung"]
    assert list(gesture.moved_lps_mm) == [A]
    lists.show(state, image)
    assert lists.gesture(state, image).is_nothing


def test_two_points_that_move_differently_are_two_corrections(
    lists: FiducialLists, state: CaseState, image: ImageInScene
) -> None:
    drag(lists, A, x=2)
    drag(lists, "right_lung_20", y=1)
    assert set(lists.gesture(state, image).moved_lps_mm) == {A, "right_lung_20"}


def test_a_deleted_point_is_absent_and_comes_back_with_undo(
    lists: FiducialLists, state: CaseState, image: ImageInScene
) -> None:
    node, n = where(lists, A)
    node.SetNthControlPointPositionMissing(n)
    assert lists.gesture(state, image).deleted == [A]
    after = apply_edit(state, Absent((A,)))
    lists.show(after, image)
    assert lists.gesture(after, image).is_nothing
    lists.show(state, image)
    assert lists.gesture(state, image).is_nothing
    assert node.GetNthControlPointPositionStatus(n) == 2


def test_a_point_that_is_taken_out_of_the_list_is_deleted_too(
    lists: FiducialLists, state: CaseState, image: ImageInScene
) -> None:
    node, n = where(lists, A)
    node.SetFixedNumberOfControlPoints(False)
    node.RemoveNthControlPoint(n)
    assert lists.gesture(state, image).deleted == [A]
    lists.show(state, image)
    assert lists.gesture(state, image).is_nothing
    assert where(lists, A)[1] == n
    assert node.GetFixedNumberOfControlPoints()


def test_placing_what_is_absent_is_told_apart_from_moving(
    lists: FiducialLists, state: CaseState, image: ImageInScene
) -> None:
    node, n = where(lists, "heart_01")
    node.SetNthControlPointPosition(n, 1.0, 2.0, 4.0)
    gesture = lists.gesture(state, image)
    assert list(gesture.placed_lps_mm) == ["heart_01"]
    np.testing.assert_allclose(gesture.placed_lps_mm["heart_01"], [-1, -2, 4])
    after = apply_edit(state, Place("heart_01", "heart", (3.0, 4.0, 0.0)))
    lists.show(after, image)
    assert lists.gesture(after, image).is_nothing


def test_points_and_names_that_a_person_typed_are_told(
    lists: FiducialLists, state: CaseState, image: ImageInScene
) -> None:
    node, n = where(lists, A)
    node.SetNthControlPointLabel(n, "apex")
    node.SetFixedNumberOfControlPoints(False)
    node.AddControlPoint(10.0, 20.0, 4.0, "clip")
    gesture = lists.gesture(state, image)
    assert gesture.renamed == {A: "apex"}
    ((structure, label, point),) = gesture.added_lps_mm
    assert (structure, label) == ("right_lung", "clip")
    np.testing.assert_allclose(point, [-10, -20, 4])
    lists.show(state, image)
    assert lists.gesture(state, image).is_nothing


def test_a_new_landmark_joins_its_list_and_the_others_keep_their_identity(
    lists: FiducialLists, state: CaseState, image: ImageInScene
) -> None:
    node, n = where(lists, A)
    identity = node.GetNthControlPointID(n)
    after = apply_edit(state, Define(NewLandmark("hilum", "right_lung", (0.1, 0.2)), (40.0, 50.0, 0.0)))
    lists.show(after, image)
    assert lists.gesture(after, image).is_nothing
    assert where(lists, "hilum")[0] is node
    assert node.GetNthControlPointID(where(lists, A)[1]) == identity
    lists.show(state, image)  # undo
    assert lists.gesture(state, image).is_nothing
    with pytest.raises(KeyError):
        where(lists, "hilum")


def test_a_list_that_was_deleted_comes_back_with_its_style(
    scene: Any, lists: FiducialLists, state: CaseState, image: ImageInScene
) -> None:
    scene.RemoveNode(lists.nodes["heart"])
    lists.show(state, image)
    assert scene.GetNodeByID(lists.nodes["heart"].GetID()) is not None
    scene.RemoveNode(lists.nodes["right_lung"].GetDisplayNode())
    lists.show(state, image)
    assert not lists.nodes["right_lung"].GetDisplayNode().GetPointLabelsVisibility()
    assert lists.gesture(state, image).is_nothing


def test_only_our_lists_are_removed(scene: Any, lists: FiducialLists) -> None:
    other = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "somebody else's")
    lists.remove()
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 1
    assert scene.GetNodeByID(other.GetID()) is not None


def test_a_neighbour_that_was_shown_to_come_along_was_not_dragged(
    lists: FiducialLists, state: CaseState, image: ImageInScene
) -> None:
    """While a point is dragged its neighbours are shown where they would go; the point itself is left alone."""
    drag(lists, A, x=6)
    i, j, k = state.index_ijk[state.landmarks.names.index(A)]
    preview = apply_edit(state, Move(((A, (i + 6 / state.geometry.spacing_mm[0], j, k)),)))
    lists.show(preview, image, but=A)
    assert list(lists.gesture(state, image).moved_lps_mm) == [A]
    drag(lists, A, x=-6)  # back to where it was: nothing was done
    assert lists.gesture(state, image).is_nothing
    lists.show(state, image)
    assert lists.gesture(state, image).is_nothing


def test_measurements_say_what_is_known_and_are_resized(
    lists: FiducialLists, state: CaseState, image: ImageInScene
) -> None:
    node = lists.nodes["right_lung"]
    rows = state.landmarks.of_structure("right_lung")
    np.testing.assert_array_equal(read_measurement(node, CONFIDENCE), state.landmarks.confidence[rows])
    np.testing.assert_array_equal(read_measurement(node, TEMPLATE_U), state.landmarks.template_uv[rows, 0])
    assert set(read_measurement(node, REVIEW)) == {0}
    after = apply_edit(state, Place("clip", "right_lung", (40.0, 50.0, 0.0)))
    lists.show(after, image)
    assert len(read_measurement(node, REVIEW)) == node.GetNumberOfControlPoints() == len(rows) + 1
    assert read_measurement(node, REVIEW)[-1] == 3
    assert np.isnan(read_measurement(node, TEMPLATE_U)[-1])


def test_measurements_survive_slicers_own_file(
    lists: FiducialLists,
    state: CaseState,
    image: ImageInScene,
    tmp_path: Path,
    read_in_slicer: Callable[[str, str, Path], Any],
) -> None:
    import slicer

    after = apply_edit(state, Place("clip", "right_lung", (40.0, 50.0, 0.0)))
    lists.show(after, image)
    node = lists.nodes["right_lung"]
    storage = slicer.vtkMRMLMarkupsJsonStorageNode()
    storage.SetFileName(str(tmp_path / "a.mrk.json"))
    assert storage.WriteData(node)
    json.loads((tmp_path / "a.mrk.json").read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    read = read_in_slicer("vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsJsonStorageNode", tmp_path / "a.mrk.json")
    for name in (CONFIDENCE, REVIEW, TEMPLATE_U):
        np.testing.assert_allclose(read_measurement(read, name), read_measurement(node, name), atol=1e-9)


@pytest.mark.parametrize("hardened", [False, True])
def test_points_stay_on_their_pixels_under_a_transform(
    scene: Any, lists: FiducialLists, state: CaseState, image: ImageInScene, hardened: bool
) -> None:
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(to_vtk(TURNED))
    image.volume.SetAndObserveTransformNodeID(transform.GetID())
    lists.show(state, image)
    if hardened:
        image.volume.HardenTransform()
        lists.nodes["heart"].HardenTransform()
    assert lists.gesture(state, image).is_nothing
    lists.show(state, image)
    assert lists.gesture(state, image).is_nothing
    row = state.landmarks.names.index(A)
    world = TURNED @ [*(state.landmarks.points_lps_mm[row] * [-1, -1, 1]), 1]
    node, n = where(lists, A)
    shown = [0.0, 0.0, 0.0]
    node.GetNthControlPointPositionWorld(n, shown)
    np.testing.assert_allclose(shown, world[:3], atol=1e-4)
    step = TURNED[:3, :3] @ [-4.0, 0, 0]  # 4 mm to the left in the image's own frame
    node.SetNthControlPointPositionWorld(n, *(shown + step))
    gesture = lists.gesture(state, image)
    np.testing.assert_allclose(gesture.moved_lps_mm[A], state.landmarks.points_lps_mm[row] + [4, 0, 0], atol=1e-4)


def test_a_list_moved_by_a_transform_of_its_own_was_not_corrected(
    scene: Any, lists: FiducialLists, state: CaseState, image: ImageInScene
) -> None:
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(to_vtk(TURNED))
    node = lists.nodes["left_lung"]
    node.SetAndObserveTransformNodeID(transform.GetID())
    assert lists.gesture(state, image).is_nothing
    node.HardenTransform()
    gesture = lists.gesture(state, image)
    assert gesture.dragged_lists == ["left_lung"]
    assert not gesture.moved_lps_mm
    lists.show(state, image)
    assert lists.gesture(state, image).is_nothing


def test_the_delete_key_is_let_through_only_where_it_is_wanted(lists: FiducialLists, state: CaseState) -> None:
    node = lists.nodes["heart"]
    lists.let_delete(node, True)
    assert not node.GetFixedNumberOfControlPoints()
    lists.let_delete(node, False)
    assert node.GetFixedNumberOfControlPoints()


def test_a_style_that_a_person_chose_stays(lists: FiducialLists, state: CaseState, image: ImageInScene) -> None:
    lists.nodes["heart"].GetDisplayNode().SetSelectedColor(1, 1, 1)
    lists.show(state, image)
    assert lists.nodes["heart"].GetDisplayNode().GetSelectedColor() == (1, 1, 1)


def test_names_are_shown_or_hidden_in_all_lists_and_in_those_made_later(
    scene: Any, lists: FiducialLists, state: CaseState, image: ImageInScene
) -> None:
    def labelled() -> set[bool]:
        return {bool(node.GetDisplayNode().GetPointLabelsVisibility()) for node in lists.nodes.values()}

    assert labelled() == {False}  # there are many
    lists.set_names_visible(True)
    assert labelled() == {True}
    node, _ = where(lists, A)
    scene.RemoveNode(node.GetDisplayNode())
    scene.RemoveNode(lists.nodes["heart"])
    lists.show(state, image)
    assert labelled() == {True}
    lists.nodes["heart"].GetDisplayNode().SetPointLabelsVisibility(False)  # a person did
    lists.show(state, image)
    assert labelled() == {True, False}
    lists.set_names_visible(False)
    assert labelled() == {False}


def test_a_control_point_is_known_by_what_it_is_and_not_by_its_label(lists: FiducialLists) -> None:
    node, n = where(lists, A)
    node.SetNthControlPointLabel(n, "renamed")
    assert lists.name_of(node, n) == A
    assert lists.name_of(node, 999) is None


def test_saved_lists_are_taken_over_with_what_was_done_to_them_elsewhere(
    scene: Any, lists: FiducialLists, state: CaseState, image: ImageInScene
) -> None:
    names = {structure: lists.names_of(structure) for structure in lists.nodes}
    drag(lists, A, x=5)
    others = FiducialLists(scene, "film")
    others.adopt(lists.nodes, names)
    assert list(others.gesture(state, image, still_mm=1e-3).moved_lps_mm) == [A]
    others.show(state, image)
    assert others.gesture(state, image).is_nothing
    assert others.nodes == lists.nodes
