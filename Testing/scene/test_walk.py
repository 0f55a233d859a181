"""A short walk of the random person through a scene, and by hand what the long walks found.

``python -m Testing.scene.walk`` is the long one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vtkmodules.vtkCommonDataModel import vtkImageData

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.desk import Desk
from DenseLandmarksLib.scene.ras import to_vtk
from DenseLandmarksLib.scene.saved_case import same
from Testing.scene.open_cases import (
    control_point,
    edits_on_disk,
    everything_is_on_its_voxel,
    point_lps_mm,
    predict,
    world_ras_mm,
)
from Testing.scene.saved_scene import read_scene, save_scene

A, B = "right_lung_10", "right_lung_11"


@pytest.mark.parametrize("seed", range(1, 4))
def test_a_random_person_in_a_scene_loses_nothing(seed: int) -> None:
    pytest.importorskip("slicer", reason="slicer-core is not installed: there is no scene", exc_type=ImportError)
    from Testing.scene.walk.many_walks import draw, walk_along

    steps = draw(seed, 25)
    walk, taken, error = walk_along(steps)
    assert error is None, f"{steps[:taken]}: {error}"
    assert walk.edits > 3


@pytest.fixture
def surfaces(scene: Any) -> Any:
    """The part of Slicer that knows how surfaces are made; to be there before any segmentation is."""
    import slicer

    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(scene)
    return logic


@pytest.fixture
def case(desk: Desk, library: Library, chest_template: Template) -> CaseInScene:
    """A predicted chest, saved as revision 1."""
    case = desk.open(library.case(library.cases()[0].id))
    predict(case.session, chest_template)
    case.save()
    return case


def put(case: CaseInScene, name: str, left_mm: float) -> Any:
    """Set a glyph to the left of where its landmark is; returns its list."""
    node, n = control_point(case, name)
    right, anterior, superior = world_ras_mm(case, name)
    node.SetNthControlPointPositionWorld(n, right - left_mm, anterior, superior)
    return node


def reviews(state: CaseState, review: Review) -> list[str]:
    """Landmarks by what a person said of them."""
    landmarks = state.landmarks
    return [name for name, now in zip(landmarks.names, landmarks.review, strict=True) if now is review]


def define_elsewhere(library: Library, template: Template, user: Path, name: str) -> None:
    """Have the library's second case define a new landmark."""
    session = Session(library.case(library.cases()[1].id), "a colleague", data_folder=user)
    predict(session, template)
    rows = session.state.landmarks.of_structure("heart")
    session.define_landmark(name, session.state.landmarks.points_lps_mm[rows].mean(axis=0), "heart")
    session.save()
    session.close()


def test_a_spacing_that_is_typed_does_not_undo_the_drag_before_it(case: CaseInScene, user: Path) -> None:
    before = point_lps_mm(case, A)
    x, y, z = case.image.volume.GetSpacing()
    put(case, A, 4.0)
    case.image.volume.SetSpacing(2 * x, 2 * y, z)
    case.poll()
    assert edits_on_disk(user)[-2:] == ["Move", "CorrectSpacing"]
    assert reviews(case.session.state, Review.CORRECTED) == [A]
    assert not np.allclose(point_lps_mm(case, A), before)
    assert case.image.volume.GetSpacing() == pytest.approx((2 * x, 2 * y, z))
    assert everything_is_on_its_voxel(case)


def test_a_list_that_is_deleted_in_the_middle_of_a_drag_comes_back(scene: Any, case: CaseInScene) -> None:
    node = put(case, A, 4.0)
    node.InvokeEvent(node.PointStartInteractionEvent)
    case.poll()
    scene.RemoveNode(node)  # the mouse is never let go in it
    case.poll()
    assert scene.IsNodePresent(case.lists.nodes["right_lung"])
    assert everything_is_on_its_voxel(case)
    heart = case.lists.nodes["heart"]
    heart.InvokeEvent(heart.PointStartInteractionEvent)
    scene.RemoveNode(put(case, B, 2.0))  # another one, in the middle of a drag
    case.poll()
    heart.InvokeEvent(heart.PointEndInteractionEvent)
    put(case, "heart_03", 4.0)
    case.poll()
    assert "heart_03" in reviews(case.session.state, Review.CORRECTED)


def test_a_landmark_from_elsewhere_in_the_middle_of_a_drag_leaves_the_neighbours_unreviewed(case: CaseInScene) -> None:
    before = point_lps_mm(case, A)
    node, _ = control_point(case, A)
    node.InvokeEvent(node.PointStartInteractionEvent)
    put(case, A, 6.0)
    case.poll()  # its neighbours are seen to come along
    case.session.place("clip", point_lps_mm(case, B) + [9, 9, 0], "right_lung")
    node.InvokeEvent(node.PointEndInteractionEvent)
    case.poll()
    assert reviews(case.session.state, Review.CORRECTED) == [A]
    assert reviews(case.session.state, Review.PLACED) == ["clip"]
    np.testing.assert_allclose(point_lps_mm(case, A), before + [6, 0, 0], atol=1e-6)
    assert everything_is_on_its_voxel(case)


def test_a_point_that_is_set_to_no_number_is_told_and_back(case: CaseInScene, lines: list[str]) -> None:
    state = case.session.state
    node, n = control_point(case, A)
    node.SetNthControlPointPosition(n, float("nan"), 0.0, 0.0)
    case.poll()
    assert case.session.state is state
    assert np.isfinite(world_ras_mm(case, A)).all()
    (line,) = lines
    assert "not finite" in line


def test_looking_up_again_takes_nothing_away_that_can_be_redone(
    case: CaseInScene, library: Library, user: Path, chest_template: Template
) -> None:
    define_elsewhere(library, chest_template, user, "apex of the heart")
    x, y, z = case.session.state.geometry.spacing_mm
    predict(case.session, chest_template, shift_px=(1.0, 0.0))
    predict(case.session, chest_template)
    case.poll()
    assert "apex of the heart" in case.session.state.landmarks.names
    case.session.correct_spacing((2 * x, 2 * y, z))
    case.poll()
    state, edits = case.session.state, case.session._history.edits
    for _ in edits:
        case.undo()
        case.poll()
    assert not case.session.can_undo
    for _ in edits:
        case.redo()
        case.poll()
    assert case.session._history.edits == edits
    assert case.session.state is state


def test_unsaved_work_can_be_recovered_where_the_library_has_a_new_landmark(
    desk: Desk, case: CaseInScene, library: Library, user: Path, chest_template: Template
) -> None:
    put(case, A, 5.0)
    case.poll()
    state = case.session.state
    case.close()
    define_elsewhere(library, chest_template, user, "apex of the heart")
    again = desk.open(case.session.case)
    desk.poll()
    (work,) = again.session.recoverable
    again.session.recover(work)
    assert same(again.session.state, state)
    desk.poll()
    assert "apex of the heart" in again.session.state.landmarks.names
    assert everything_is_on_its_voxel(again)


@pytest.mark.parametrize("flat", [0.0, 1e-9])
@pytest.mark.parametrize("before", [False, True])
def test_a_transform_without_a_way_back_is_refused_in_one_line(
    scene: Any, case: CaseInScene, lines: list[str], flat: float, before: bool
) -> None:
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    if before:
        transform.SetMatrixTransformToParent(to_vtk(np.diag([1.0, flat, 1.0, 1.0])))
    case.image.volume.SetAndObserveTransformNodeID(transform.GetID())
    case.poll()
    if not before:
        transform.SetMatrixTransformToParent(to_vtk(np.diag([1.0, flat, 1.0, 1.0])))
        case.poll()
    assert case.image.volume.GetTransformNodeID() is None
    (line,) = lines
    assert "flattens" in line
    put(case, A, 3.0)
    case.poll()
    assert reviews(case.session.state, Review.CORRECTED) == [A]
    assert everything_is_on_its_voxel(case)


def test_a_transform_that_bends_only_later_is_refused_in_one_line(
    scene: Any, case: CaseInScene, lines: list[str]
) -> None:
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    bending = scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    case.image.volume.SetAndObserveTransformNodeID(transform.GetID())
    case.poll()
    transform.SetAndObserveTransformNodeID(bending.GetID())
    case.poll()
    case.settle()
    assert case.image.volume.GetTransformNodeID() is None
    assert len(lines) == 1
    assert everything_is_on_its_voxel(case)


@pytest.mark.parametrize("is_drag", [False, True])
def test_what_somebody_else_decides_while_a_point_is_moved_is_not_taken_back(case: CaseInScene, is_drag: bool) -> None:
    """A browser or a script may be quicker than the timer, whose tick shows what they did."""
    where = point_lps_mm(case, "heart_01") + [1, 1, 0]
    case.session.mark_absent("heart_01")
    node, _ = control_point(case, A)
    if is_drag:
        node.InvokeEvent(node.PointStartInteractionEvent)
    put(case, A, 4.0)
    if is_drag:
        case.poll()
    case.session.mark_absent("heart_03")
    case.session.place("heart_01", where)
    case.session.place("clip", point_lps_mm(case, B) + [9, 9, 0], "right_lung")
    if is_drag:
        node.InvokeEvent(node.PointEndInteractionEvent)
    case.poll()
    landmarks = case.session.state.landmarks
    presence = dict(zip(landmarks.names, landmarks.presence, strict=True))
    assert (presence["heart_01"], presence["heart_03"], presence["clip"]) == ("present", "absent", "present")
    assert reviews(case.session.state, Review.PLACED) == ["heart_01", "clip"]
    assert A in reviews(case.session.state, Review.CORRECTED)
    case.undo()
    case.undo()
    case.poll()
    assert "clip" not in case.session.state.landmarks.names
    assert everything_is_on_its_voxel(case)


def test_a_landmark_that_somebody_takes_back_while_a_point_is_moved_does_not_return(case: CaseInScene) -> None:
    case.session.place("clip", point_lps_mm(case, B) + [9, 9, 0], "right_lung")
    put(case, A, 4.0)
    case.session.undo()
    case.poll()
    assert "clip" not in case.session.state.landmarks.names
    assert reviews(case.session.state, Review.CORRECTED) == [A]


def test_painting_lies_on_the_images_voxels_after_a_transform_was_hardened(
    scene: Any, desk: Desk, case: CaseInScene, user: Path, tmp_path: Path, lines: list[str]
) -> None:
    turn = np.deg2rad(30)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(to_vtk(matrix))
    case.image.volume.SetAndObserveTransformNodeID(transform.GetID())
    case.poll()
    case.segments.node.HardenTransform()
    case.settle()
    state = case.session.state
    opened = read_scene(save_scene(scene, tmp_path / "scene.mrb"))  # Slicer merges what is painted on one lattice
    case.session.close()
    (again,) = Desk(opened, "an annotator", lines.append, user).reopen()
    assert same(again.session.state, state)


def test_a_segment_that_somebody_added_survives_that_surfaces_are_made_the_source(
    surfaces: Any, case: CaseInScene
) -> None:
    segmentation = case.segments.node.GetSegmentation()
    segmentation.AddEmptySegment("A new one", "A new one")
    segmentation.CreateRepresentation("Closed surface")
    segmentation.SetSourceRepresentationName("Closed surface")
    case.poll()
    names = segmentation.GetSegmentIDs()
    assert "A new one" in names
    # One without ends the process when Slicer saves the scene.
    assert all(segmentation.GetSegment(name).GetRepresentation("Binary labelmap") is not None for name in names)


@pytest.mark.parametrize("again", ["copied", "reopened"])
def test_an_image_that_was_sheared_is_still_the_image_of_its_case(
    scene: Any, desk: Desk, case: CaseInScene, user: Path, tmp_path: Path, lines: list[str], again: str
) -> None:
    matrix = np.eye(4)
    matrix[0, 1] = 0.3
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(to_vtk(matrix))
    case.image.volume.SetAndObserveTransformNodeID(transform.GetID())
    case.image.volume.HardenTransform()
    case.poll()
    state = case.session.state
    if again == "copied":
        volume = case.image.volume
        data = vtkImageData()
        data.DeepCopy(volume.GetImageData())
        volume.SetAndObserveImageData(data)
        case.poll()
        assert case.image.volume is volume
    else:
        opened = read_scene(save_scene(scene, tmp_path / "scene.mrb"))
        case.session.close()
        (case,) = Desk(opened, "an annotator", lines.append, user).reopen()
    assert same(case.session.state, state)
    assert everything_is_on_its_voxel(case)
    assert lines == []
