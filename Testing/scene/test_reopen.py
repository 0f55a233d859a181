"""A scene that was saved is opened again, here or elsewhere, and the work goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.case_masks import structure_mask
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.desk import Desk
from DenseLandmarksLib.scene.ras import to_vtk
from DenseLandmarksLib.scene.saved_case import same
from DenseLandmarksLib.scene.volume_node import add_volume_node, voxels_zyx
from Testing.scene.open_cases import (
    control_point,
    everything_is_on_its_voxel,
    point_lps_mm,
    predict,
    world_ras_mm,
)
from Testing.scene.saved_scene import files_in, nodes_of, read_scene, save_scene
from Testing.scene.test_volume_node import DIRECTIONS, an_image

A, B = "right_lung_10", "right_lung_11"
LIST = "vtkMRMLMarkupsFiducialNode"


@pytest.fixture
def case(desk: Desk, library: Library, chest_template: Template) -> CaseInScene:
    """A predicted chest with one correction and a new landmark, saved as revision 1."""
    case = desk.open(library.case(library.cases()[0].id))
    predict(case.session, chest_template)
    case.session.move({A: point_lps_mm(case, A) + [4, 1, 0]})
    landmarks = case.session.state.landmarks
    case.session.define_landmark("centre", landmarks.points_lps_mm[landmarks.of_structure("heart")].mean(axis=0))
    case.save()
    return case


@pytest.fixture
def saved_and_opened(scene: Any, tmp_path: Path) -> Callable[[], Any]:
    """``saved_and_opened()``: a new scene, read from the scene as Slicer saved it."""
    return lambda: read_scene(save_scene(scene, tmp_path / "scene.mrb"))


def leave(desk: Desk) -> None:
    """End the sessions as if the application had ended, so that their journals are nobody's."""
    for case in desk.cases:
        case.session.close()


def test_the_work_goes_on_in_a_scene_that_was_opened_again(
    desk: Desk, case: CaseInScene, saved_and_opened: Callable[[], Any], user: Path, lines: list[str]
) -> None:
    state, names = case.session.state, [node.GetName() for node in case.lists.nodes.values()]
    opened = saved_and_opened()
    leave(desk)
    nodes = opened.GetNumberOfNodes()
    other = Desk(opened, "an annotator", lines.append, user)
    (again,) = other.reopen()
    assert same(again.session.state, state)
    assert again.session.revision == 1
    assert not again.session.unsaved
    assert [node.GetName() for node in again.lists.nodes.values()] == names
    # Nothing is there twice: ellipses, ghosts and the name under the mouse were not saved and came anew.
    assert opened.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    assert opened.GetNumberOfNodesByClass("vtkMRMLTextNode") == 2
    assert [node.GetClassName() for node in nodes_of(opened, "vtkMRMLVolumeNode")] == [
        "vtkMRMLScalarVolumeNode",
        *["vtkMRMLVectorVolumeNode"] * len(state.structures),
    ]
    assert opened.GetNumberOfNodes() > nodes
    assert again.ellipses.node is not None
    assert everything_is_on_its_voxel(again)
    assert other.reopen() == ()
    assert lines == []
    # Corrections, look-ups and undo go on.
    node, n = control_point(again, B)
    right, anterior, superior = node.GetNthControlPointPosition(n)
    node.SetNthControlPointPosition(n, right - 3, anterior, superior)
    again.poll()
    assert again.session.unsaved
    again.undo()
    assert same(again.session.state, state)
    later = NewLandmark("later", "left_lung", (0.05, -0.1))
    session = again.session
    session.look_up(later)
    expected = Session(case.session.case, "somebody", data_folder=user)
    expected.look_up(later)
    np.testing.assert_array_equal(session.state.landmarks.points_lps_mm, expected.state.landmarks.points_lps_mm)
    assert again.save().number == 2


def test_unsaved_work_in_a_scene_is_taken_over_as_one_edit(
    desk: Desk, case: CaseInScene, library: Library, saved_and_opened: Callable[[], Any], user: Path, lines: list[str]
) -> None:
    before = case.session.state
    case.session.move({B: point_lps_mm(case, B) + [0, 5, 0]})
    state = case.session.state
    opened = saved_and_opened()
    leave(desk)
    (again,) = Desk(opened, "an annotator", lines.append, user).reopen()
    assert same(again.session.state, state)
    assert again.session.unsaved
    assert everything_is_on_its_voxel(again)
    again.undo()
    assert same(again.session.state, before)
    assert everything_is_on_its_voxel(again)
    again.redo()
    assert again.save().number == 2


def test_what_was_done_to_a_scene_without_us_is_a_correction(
    desk: Desk, case: CaseInScene, saved_and_opened: Callable[[], Any], user: Path, lines: list[str]
) -> None:
    import slicer

    opened = saved_and_opened()
    leave(desk)
    (node,) = [node for node in nodes_of(opened, LIST) if node.GetName().endswith("right_lung")]
    n = next(n for n in range(node.GetNumberOfControlPoints()) if node.GetNthControlPointLabel(n) == B)
    right, anterior, superior = node.GetNthControlPointPosition(n)
    node.SetNthControlPointPosition(n, right - 6, anterior, superior)
    segmentation = opened.GetNthNodeByClass(0, "vtkMRMLSegmentationNode")
    volume = opened.GetNthNodeByClass(0, "vtkMRMLScalarVolumeNode")
    heart = structure_mask(case.session.state, "heart").copy()
    heart[0, :3, :3] = True
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(oriented(volume, heart), segmentation, "heart")
    (again,) = Desk(opened, "an annotator", lines.append, user).reopen()
    landmarks = again.session.state.landmarks
    assert landmarks.review[landmarks.names.index(B)] is Review.CORRECTED
    np.testing.assert_allclose(point_lps_mm(again, B), point_lps_mm(case, B) + np.array([6, 0, 0]), atol=1e-4)
    assert again.session.state.structure_review("heart") is Review.CORRECTED
    np.testing.assert_array_equal(structure_mask(again.session.state, "heart"), heart)
    assert sum(review is Review.CORRECTED for review in landmarks.review) == 2
    assert again.session.state.structure_review("left_lung") is Review.PREDICTED


def oriented(volume: Any, mask: np.ndarray) -> Any:
    import slicer
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonMath import vtkMatrix4x4

    data, matrix = slicer.vtkOrientedImageData(), vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    data.SetDimensions(*mask.shape[::-1])
    data.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    data.SetImageToWorldMatrix(matrix)
    return data


@pytest.mark.parametrize("unsaved", [False, True])
@pytest.mark.parametrize("keep", ["scene", "library"])
def test_a_scene_older_than_its_library_offers_both_and_loses_neither(
    desk: Desk,
    case: CaseInScene,
    library: Library,
    saved_and_opened: Callable[[], Any],
    user: Path,
    lines: list[str],
    keep: str,
    unsaved: bool,
) -> None:
    if unsaved:
        case.session.move({B: point_lps_mm(case, B) + [0, 5, 0]})
    scene_state = case.session.state
    opened = saved_and_opened()
    case.session.move({"heart_03": point_lps_mm(case, "heart_03") + [3, 0, 0]})
    case.save()
    library_state = case.session.state
    leave(desk)
    desk_again = Desk(opened, "an annotator", lines.append, user)
    (again,) = desk_again.reopen()
    assert again.two_states is not None
    assert f"revision 1{' and unsaved work' if unsaved else ' ('}" in lines[-1]
    assert "revision 2" in lines[-1]
    assert same(again.session.state, library_state)
    assert same(again.two_states.scene_state, scene_state)
    assert everything_is_on_its_voxel(again)
    faint = [node for node in nodes_of(opened, LIST) if "as in the scene" in node.GetName()]
    assert len(faint) == len(again.lists.nodes)
    assert all(node.GetLocked() for node in faint)
    again.poll()
    assert not again.session.unsaved
    if keep == "scene":
        again.two_states.keep_scene()
        assert same(again.session.state, scene_state)
        assert again.save().number == 3
        assert same(library.case(case.session.case.id).load(2)[0], library_state)
    else:
        again.two_states.keep_library()
        assert same(again.session.state, library_state)
    assert not [node for node in faint if opened.IsNodePresent(node)]
    assert everything_is_on_its_voxel(again)
    desk_again.close()
    later = Session(case.session.case, "somebody", data_folder=user)
    if keep == "library" and unsaved:
        (work,) = later.recoverable
        later.recover(work)
        assert same(later.state, scene_state)
    else:
        assert later.recoverable == ()


def test_a_scene_whose_library_is_elsewhere_goes_on_in_another(
    desk: Desk,
    case: CaseInScene,
    saved_and_opened: Callable[[], Any],
    tmp_path: Path,
    lines: list[str],
    chest_template: Template,
) -> None:
    state = case.session.state
    opened = saved_and_opened()
    leave(desk)
    stranger = Desk(opened, "a colleague", lines.append, tmp_path / "another user")
    assert stranger.reopen() == ()
    assert "expected its library 'chests'" in lines[-1]
    assert opened.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == len(chest_template.structure_names)
    theirs = Library.create(tmp_path / "theirs", "theirs")
    (again,) = stranger.reopen(theirs)
    assert same(again.session.state, state)
    assert [entry.name for entry in theirs.cases()] == [case.session.case.name]
    assert again.save().number == 1
    assert "centre" in [landmark.name for landmark in theirs.new_landmarks()]
    # The image came along, grey value by grey value.
    film, _ = again.session.case.read_image()
    np.testing.assert_array_equal(film.pixels_yx, case.session.case.read_image()[0].pixels_yx)


@pytest.mark.parametrize("hardened", [False, True])
def test_a_case_under_a_transform_survives_saving_to_a_ten_thousandth_of_a_millimetre(
    scene: Any,
    desk: Desk,
    case: CaseInScene,
    saved_and_opened: Callable[[], Any],
    user: Path,
    lines: list[str],
    hardened: bool,
) -> None:
    turn = np.deg2rad(37)
    matrix = np.eye(4)
    matrix[:3, :3] = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    matrix[:3, 3] = 12.3456789, -7.1, 5
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(to_vtk(matrix))
    case.image.volume.SetAndObserveTransformNodeID(transform.GetID())
    if hardened:
        case.image.volume.HardenTransform()
    case.poll()
    state = case.session.state
    world = {name: world_ras_mm(case, name) for name in state.landmarks.names}
    opened = saved_and_opened()
    leave(desk)
    (again,) = Desk(opened, "an annotator", lines.append, user).reopen()
    assert same(again.session.state, state)
    assert everything_is_on_its_voxel(again)
    for name, point in world.items():
        np.testing.assert_allclose(world_ras_mm(again, name), point, atol=1e-4)
    again.save()
    np.testing.assert_array_equal(
        Session(case.session.case, "somebody", data_folder=user).state.landmarks.points_lps_mm,
        state.landmarks.points_lps_mm,
    )


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_a_volume_hangs_as_it_hung_when_its_scene_is_opened_again(
    scene: Any,
    desk: Desk,
    tmp_path: Path,
    saved_and_opened: Callable[[], Any],
    user: Path,
    lines: list[str],
    direction: np.ndarray,
) -> None:
    """Slicer reads a left-handed volume with its slices in reverse order."""
    image = an_image(direction, slices=12)
    case = desk.open_volume(add_volume_node(scene, image), Library.create(tmp_path / "volumes", "volumes"), "neck")
    case.session.place("bifurcation", lps_mm_from_index(image.geometry, [[10, 12, 2]])[0])
    mask = np.zeros((12, 33, 40), bool)
    mask[2:5, 4:9, 7:20] = True
    case.session.paint("artery", mask)
    state, world = case.session.state, world_ras_mm(case, "bifurcation")
    opened = saved_and_opened()
    leave(desk)
    (again,) = Desk(opened, "an annotator", lines.append, user).reopen()
    assert same(again.session.state, state)
    assert everything_is_on_its_voxel(again)
    np.testing.assert_allclose(world_ras_mm(again, "bifurcation"), world, atol=1e-4)
    np.testing.assert_array_equal(voxels_zyx(again.image.volume), sitk.GetArrayFromImage(image.volume))
    assert lines == []


def test_two_cases_and_other_peoples_nodes_in_one_saved_scene(
    scene: Any,
    desk: Desk,
    case: CaseInScene,
    library: Library,
    saved_and_opened: Callable[[], Any],
    user: Path,
    lines: list[str],
    chest_template: Template,
) -> None:
    scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "somebody else's").AddControlPoint(1, 2, 3)
    other = desk.open(library.case(library.cases()[1].id))
    predict(other.session, chest_template)
    desk.poll()
    assert other.session.state.landmarks.names[-1] == "centre"
    states = {one.session.case.name: one.session.state for one in desk.cases}
    opened = saved_and_opened()
    leave(desk)
    again = Desk(opened, "an annotator", lines.append, user).reopen()
    assert len(again) == 2
    for one in again:
        assert same(one.session.state, states[one.session.case.name])
        assert everything_is_on_its_voxel(one)
    again[0].close()
    assert everything_is_on_its_voxel(again[1])


def test_the_same_scene_added_twice_is_one_case_at_work_and_a_line(
    scene: Any,
    desk: Desk,
    case: CaseInScene,
    saved_and_opened: Callable[[], Any],
    user: Path,
    lines: list[str],
    tmp_path: Path,
) -> None:
    opened = saved_and_opened()
    leave(desk)
    again = Desk(opened, "an annotator", lines.append, user)
    (first,) = again.reopen()
    read_scene(tmp_path / "scene.mrb", opened)
    assert again.reopen() == ()
    assert "open already" in lines[-1]
    assert again.cases == (first,)


def test_a_record_that_somebody_edited_is_told_and_left_alone(
    scene: Any, desk: Desk, case: CaseInScene, saved_and_opened: Callable[[], Any], user: Path, lines: list[str]
) -> None:
    opened = saved_and_opened()
    leave(desk)
    uv = opened.GetNthNodeByClass(0, "vtkMRMLVectorVolumeNode")
    uv.GetImageData().GetPointData().GetScalars().SetComponent(0, 0, 5.0)
    nodes = opened.GetNumberOfNodes()
    assert Desk(opened, "an annotator", lines.append, user).reopen() == ()
    (line,) = lines
    assert "uv volumes" in line
    assert opened.GetNumberOfNodes() == nodes


def test_a_scene_names_no_path(scene: Any, desk: Desk, case: CaseInScene, tmp_path: Path, library: Library) -> None:
    for name, content in files_in(save_scene(scene, tmp_path / "scene.mrb")).items():
        assert str(tmp_path).encode() not in content, name
        assert b"/library" not in content, name
