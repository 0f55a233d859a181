"""A case in a scene, and everything else that people and other modules do to the nodes there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.annotation.case_masks import structure_mask
from DenseLandmarksLib.annotation.imports.read_landmarks import read_landmarks
from DenseLandmarksLib.annotation.library.export import export_library
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.desk import Desk
from DenseLandmarksLib.scene.ras import to_vtk
from DenseLandmarksLib.scene.volume_node import add_volume_node
from Testing.scene.open_cases import (
    control_point,
    edits_on_disk,
    everything_is_on_its_voxel,
    point_lps_mm,
    predict,
    world_ras_mm,
)
from Testing.scene.test_volume_node import DIRECTIONS, an_image

A, B = "right_lung_10", "right_lung_11"


@pytest.fixture
def case(desk: Desk, library: Library, chest_template: Template) -> CaseInScene:
    case = desk.open(library.case(library.cases()[0].id))
    predict(case.session, chest_template)
    case.save()
    return case


def drag(case: CaseInScene, name: str, left_mm: float) -> None:
    """What a drag leaves behind, without a view."""
    node, n = control_point(case, name)
    right, anterior, superior = node.GetNthControlPointPosition(n)
    node.InvokeEvent(node.PointStartInteractionEvent)
    node.SetNthControlPointPosition(n, right - left_mm, anterior, superior)
    node.InvokeEvent(node.PointEndInteractionEvent)
    case.poll()


def node_ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}


def visible_lists(scene: Any) -> list[str]:
    """Names of the lists that a person finds in a selector."""
    nodes = (scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes()))
    return [n.GetName() for n in nodes if n.IsA("vtkMRMLMarkupsNode") and not n.GetHideFromEditors()]


def calibrate(case: CaseInScene, factor: float) -> None:
    x, y, z = case.session.state.geometry.spacing_mm
    case.session.correct_spacing((x * factor, y * factor, z))


# ---- a prediction comes, and goes --------------------------------------------------------------------------------------


def test_one_undoable_step_brings_a_prediction_in(
    scene: Any, desk: Desk, library: Library, chest_template: Template
) -> None:
    case = desk.open(library.case(library.cases()[0].id))
    empty = node_ids(scene)
    predict(case.session, chest_template)
    structures = list(chest_template.structure_names)
    assert list(case.lists.nodes) == structures
    segmentation = case.segments.node.GetSegmentation()
    assert [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())] == structures
    assert scene.GetNumberOfNodesByClass("vtkMRMLVectorVolumeNode") == len(structures)
    assert everything_is_on_its_voxel(case)
    case.undo()
    assert not case.session.can_undo
    # What stays are the nodes that say which case this is, and an empty segmentation that costs nothing.
    assert visible_lists(scene) == []
    assert scene.GetNumberOfNodesByClass("vtkMRMLVectorVolumeNode") == 0
    assert node_ids(scene) >= empty
    case.redo()
    assert everything_is_on_its_voxel(case)


def test_nothing_of_ours_takes_part_in_slicers_undo(scene: Any, case: CaseInScene) -> None:
    ours = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    assert [node.GetName() for node in ours if node.GetUndoEnabled()] == []


# ---- calibration -------------------------------------------------------------------------------------------------------


def test_a_calibration_moves_everything_and_one_undo_takes_it_back(scene: Any, case: CaseInScene) -> None:
    for i in range(10):
        drag(case, f"right_lung_{3 * i + 1:02d}", 2.0)
    assert len(case.session.state.landmarks) == len(set(case.session.state.landmarks.names))
    before = {name: world_ras_mm(case, name) for name in case.session.state.landmarks.names}
    masks = {name: structure_mask(case.session.state, name) for name in case.session.state.structures}
    uv = scene.GetNthNodeByClass(0, "vtkMRMLVectorVolumeNode")
    uv_spacing, spacing = uv.GetSpacing(), case.image.volume.GetSpacing()
    calibrate(case, 1.25)
    assert case.image.volume.GetSpacing() == pytest.approx((spacing[0] * 1.25, spacing[1] * 1.25, spacing[2]))
    assert uv.GetSpacing()[:2] == pytest.approx((uv_spacing[0] * 1.25, uv_spacing[1] * 1.25))
    assert everything_is_on_its_voxel(case)
    assert case.segments.painted(case.session.state, case.image) == {}
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, structure_mask(case.session.state, name))
    case.undo()
    assert case.image.volume.GetSpacing() == pytest.approx(spacing)
    assert uv.GetSpacing() == pytest.approx(uv_spacing)
    for name, world in before.items():
        np.testing.assert_allclose(world_ras_mm(case, name), world, atol=1e-6)


def test_a_spacing_typed_in_the_volumes_module_is_a_calibration(case: CaseInScene, tmp_path: Path) -> None:
    x, y, z = case.image.volume.GetSpacing()
    case.image.volume.SetSpacing(x / 2, y / 2, z)
    case.poll()
    assert case.session.state.geometry.spacing_mm == pytest.approx((x / 2, y / 2, z))
    assert case.session.state.geometry.spacing_source is SpacingSource.GIVEN
    assert edits_on_disk(tmp_path / "user")[-1] == "CorrectSpacing"
    assert everything_is_on_its_voxel(case)
    case.undo()
    assert case.image.volume.GetSpacing() == pytest.approx((x, y, z))
    assert everything_is_on_its_voxel(case)


def test_a_calibration_under_a_hardened_transform_keeps_its_place(scene: Any, case: CaseInScene) -> None:
    turn = np.deg2rad(30)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(to_vtk(matrix))
    case.image.volume.SetAndObserveTransformNodeID(transform.GetID())
    case.image.volume.HardenTransform()
    case.poll()
    assert not case.session.unsaved
    calibrate(case, 0.5)
    assert everything_is_on_its_voxel(case)
    assert case.segments.painted(case.session.state, case.image) == {}
    case.undo()
    assert everything_is_on_its_voxel(case)


def test_a_case_under_a_transform_is_exported_and_imported_in_the_images_own_frame(
    scene: Any, case: CaseInScene, desk: Desk, library: Library, tmp_path: Path
) -> None:
    turn = np.deg2rad(30)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    matrix[:3, 3] = 40, -30, 20
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(to_vtk(matrix))
    case.image.volume.SetAndObserveTransformNodeID(transform.GetID())
    case.poll()
    drag(case, A, 5.0)
    case.save()
    assert export_library(library, "mrk.json", tmp_path / "out").whole
    (written,) = (tmp_path / "out").rglob(f"{case.session.case.name}*.mrk.json")
    other = desk.open(library.case(library.cases()[1].id))
    other.image.volume.SetAndObserveTransformNodeID(transform.GetID())
    other.session.import_landmarks(read_landmarks(written, other.session.state.geometry))
    other.poll()
    for name in case.session.state.landmarks.names:
        np.testing.assert_allclose(point_lps_mm(other, name), point_lps_mm(case, name), atol=1e-4)
        np.testing.assert_allclose(world_ras_mm(other, name), world_ras_mm(case, name), atol=1e-4)


# ---- what people and other modules do to our nodes -----------------------------------------------------------------------


def test_a_segment_that_is_painted_is_journalled_and_saved(case: CaseInScene, library: Library, tmp_path: Path) -> None:
    import slicer

    mask = structure_mask(case.session.state, "heart").copy()
    mask[0, :4, :5] = True
    whole = an_oriented_mask(case, mask)
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(whole, case.segments.node, "heart")
    case.poll()
    assert case.session.state.structure_review("heart") is Review.CORRECTED
    np.testing.assert_array_equal(structure_mask(case.session.state, "heart"), mask)
    assert edits_on_disk(tmp_path / "user")[-1] == "Paint"
    number = case.save().number
    case.close()
    loaded, _ = library.case(case.session.case.id).load(number)
    np.testing.assert_array_equal(structure_mask(loaded, "heart"), mask)


def an_oriented_mask(case: CaseInScene, mask: np.ndarray) -> Any:
    import slicer
    from vtkmodules.util.numpy_support import numpy_to_vtk

    data = slicer.vtkOrientedImageData()
    data.SetDimensions(*mask.shape[::-1])
    data.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    data.SetImageToWorldMatrix(to_vtk(case.image.index_to(case.segments.node)))
    return data


def test_a_prediction_that_comes_during_a_drag_does_not_take_the_point_away(
    case: CaseInScene, chest_template: Template
) -> None:
    before = point_lps_mm(case, A)
    node, n = control_point(case, A)
    node.InvokeEvent(node.PointStartInteractionEvent)
    node.SetNthControlPointPosition(n, -before[0] - 3, -before[1], before[2])
    case.poll()
    node.SetNthControlPointPosition(n, -before[0] - 5, -before[1], before[2])
    predict(case.session, chest_template, shift_px=(2.0, 0.0))
    assert node.GetNthControlPointPosition(n)[0] == -before[0] - 5
    node.InvokeEvent(node.PointEndInteractionEvent)
    case.poll()
    np.testing.assert_allclose(point_lps_mm(case, A), before + [5, 0, 0], atol=1e-6)
    assert everything_is_on_its_voxel(case)


def test_a_drag_and_a_stroke_at_once_are_both_kept(case: CaseInScene) -> None:
    import slicer

    mask = structure_mask(case.session.state, "heart").copy()
    mask[0, :4, :5] = True
    slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(
        an_oriented_mask(case, mask), case.segments.node, "heart"
    )
    before = point_lps_mm(case, A)
    drag(case, A, 4.0)
    np.testing.assert_allclose(point_lps_mm(case, A), np.add(before, [4, 0, 0]), atol=1e-6)
    np.testing.assert_array_equal(structure_mask(case.session.state, "heart"), mask)


def test_a_point_added_by_hand_is_a_landmark(case: CaseInScene, tmp_path: Path) -> None:
    node = case.lists.nodes["heart"]
    node.SetFixedNumberOfControlPoints(False)
    node.AddControlPoint(10.0, -60.0, 4.0, "clip")
    node.AddControlPoint(12.0, -60.0, 4.0, "clip")
    case.poll()
    landmarks = case.session.state.landmarks
    assert landmarks.names[-2:] == ("clip", "clip-2")
    assert landmarks.review[-2:] == (Review.PLACED, Review.PLACED)
    assert landmarks.structures[-2:] == ("heart", "heart")
    np.testing.assert_allclose(point_lps_mm(case, "clip")[:2], [-10, 60])
    assert node.GetFixedNumberOfControlPoints()
    assert everything_is_on_its_voxel(case)
    case.undo()
    case.undo()
    assert "clip" not in case.session.state.landmarks.names
    assert node.GetNumberOfControlPoints() == len(case.session.state.landmarks.of_structure("heart"))


def test_a_renamed_list_keeps_its_name_and_a_renamed_landmark_does_not(case: CaseInScene, lines: list[str]) -> None:
    node, n = control_point(case, A)
    node.SetName("my lung")
    node.SetNthControlPointLabel(n, "apex")
    case.poll()
    assert node.GetName() == "my lung"
    assert node.GetNthControlPointLabel(n) == A
    (line,) = lines
    assert A in line
    assert "'apex'" in line
    drag(case, A, 3.0)
    assert case.session.unsaved


def test_a_table_edit_without_a_drag_is_a_correction(case: CaseInScene, tmp_path: Path) -> None:
    node, n = control_point(case, A)
    right, anterior, superior = node.GetNthControlPointPosition(n)
    node.SetNthControlPointPosition(n, right - 4, anterior, superior)
    case.poll()
    assert edits_on_disk(tmp_path / "user")[-1] == "Move"


def test_lists_and_segments_that_somebody_deleted_come_back(scene: Any, case: CaseInScene, lines: list[str]) -> None:
    state = case.session.state
    scene.RemoveNode(case.lists.nodes["heart"])
    scene.RemoveNode(case.segments.node)
    scene.RemoveNode(scene.GetNthNodeByClass(0, "vtkMRMLVectorVolumeNode"))
    scene.RemoveNode(case.anchor)
    case.poll()
    assert case.session.state is state
    assert everything_is_on_its_voxel(case)
    assert case.segments.node.GetSegmentation().GetNumberOfSegments() == len(state.structures)
    assert scene.IsNodePresent(case.anchor)
    drag(case, "heart_01", 3.0)
    assert case.session.unsaved
    case.segments.node.GetSegmentation().RemoveSegment("heart")
    case.poll()
    assert case.segments.node.GetSegmentation().GetSegment("heart") is not None
    assert "heart is back" in lines[-1]


def test_an_image_that_is_deleted_ends_the_case_and_nothing_is_lost(
    scene: Any, case: CaseInScene, desk: Desk, library: Library, lines: list[str]
) -> None:
    drag(case, A, 5.0)
    corrected = point_lps_mm(case, A)
    scene.RemoveNode(case.image.volume)
    case.poll()
    assert not case.is_open
    assert desk.cases == ()
    assert scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode") == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert "taken out of the scene" in lines[-1]
    again = desk.open(library.case(case.session.case.id))
    np.testing.assert_array_equal(point_lps_mm(again, A), corrected)


def test_a_scene_that_is_closed_ends_the_case_and_nothing_is_lost(
    scene: Any, case: CaseInScene, desk: Desk, library: Library, lines: list[str]
) -> None:
    drag(case, A, 5.0)
    node, n = control_point(case, B)
    right, anterior, superior = node.GetNthControlPointPosition(n)
    node.SetNthControlPointPosition(n, right - 4, anterior, superior)  # no timer ticked since
    scene.Clear(False)
    desk.poll()
    assert not case.is_open
    assert "the scene was closed" in lines[-1]
    again = desk.open(library.case(case.session.case.id))
    np.testing.assert_array_equal(point_lps_mm(again, A), point_lps_mm_of(case, A))
    landmarks = again.session.state.landmarks
    assert landmarks.review[landmarks.names.index(B)] is Review.CORRECTED


def point_lps_mm_of(case: CaseInScene, name: str) -> np.ndarray:
    landmarks = case.session.state.landmarks
    return landmarks.points_lps_mm[landmarks.names.index(name)]


def test_an_image_whose_pixels_were_changed_stays_and_the_cases_own_comes_back(
    scene: Any, case: CaseInScene, lines: list[str]
) -> None:
    changed = case.image.volume
    data = changed.GetImageData()
    data.GetPointData().GetScalars().SetComponent(0, 0, 17)
    data.Modified()
    data.GetPointData().GetScalars().Modified()
    changed.Modified()
    case.poll()
    assert case.image.volume is not changed
    assert scene.IsNodePresent(changed)
    assert len(lines) == 1
    assert everything_is_on_its_voxel(case)


# ---- several cases -----------------------------------------------------------------------------------------------------


def test_the_next_case_saves_this_one_and_takes_only_its_own_nodes_away(
    scene: Any, case: CaseInScene, desk: Desk, library: Library, lines: list[str]
) -> None:
    others = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "somebody else's")
    mine = add_volume_node(scene, an_image())
    drag(case, A, 5.0)
    ours = node_ids(scene)
    following = desk.open_next(case, "order")
    assert following is not None
    assert following.session.case.id != case.session.case.id
    assert not case.is_open
    newest, _ = library.case(case.session.case.id).newest()
    assert newest is not None
    assert (newest.number, newest.by_review["corrected"]) == (2, 1)
    assert scene.IsNodePresent(others)
    assert scene.IsNodePresent(mine)
    assert visible_lists(scene) == ["somebody else's"]
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 2
    assert following.session.case.name in lines[-1]
    following.close()
    left = node_ids(scene)
    assert {scene.GetNodeByID(i).GetClassName() for i in left} == {
        *("vtkMRMLMarkupsFiducialNode", "vtkMRMLScalarVolumeNode", "vtkMRMLScalarVolumeDisplayNode")
    }
    assert left < ours


def test_a_case_that_cannot_be_saved_stays_open(
    case: CaseInScene, desk: Desk, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    drag(case, A, 5.0)

    def full(*arguments: Any, **others: Any) -> None:
        raise InputError("expected room, got a full disk. Make room.")

    monkeypatch.setattr(type(case.session.case), "save", full)
    with pytest.raises(InputError, match="full disk"):
        desk.open_next(case)
    assert case.is_open
    assert case.session.unsaved
    assert everything_is_on_its_voxel(case)


def test_two_cases_in_one_scene_do_not_disturb_each_other(
    case: CaseInScene, desk: Desk, library: Library, chest_template: Template
) -> None:
    other = desk.open(library.case(library.cases()[1].id))
    predict(other.session, chest_template)
    state = other.session.state
    drag(case, A, 5.0)
    desk.poll()
    assert other.session.state is state
    drag(other, A, -3.0)
    desk.poll()
    assert point_lps_mm(other, A)[0] < point_lps_mm(case, A)[0]
    case.close()
    assert everything_is_on_its_voxel(other)
    drag(other, B, -3.0)
    assert len(other.session.state.landmarks) == len(chest_template.landmark_names)
    assert desk.open(other.session.case) is other


def test_an_image_that_is_in_the_scene_already_is_used_and_stays(
    scene: Any, desk: Desk, library: Library, tmp_path: Path, chest_template: Template
) -> None:
    film, _ = library.case(library.cases()[0].id).read_image()
    volume = add_volume_node(scene, film)
    x, y, z = volume.GetSpacing()
    volume.SetSpacing(2 * x, 2 * y, z)  # as whoever loaded it understood its file
    case = desk.open(library.case(library.cases()[0].id), volume)
    assert volume.GetSpacing() == pytest.approx((x, y, z))
    predict(case.session, chest_template)
    assert everything_is_on_its_voxel(case)
    assert not np.allclose(case.image.volume.GetSpacing(), (2 * x, 2 * y, z))
    case.close()
    assert scene.IsNodePresent(volume)
    with pytest.raises(InputError, match="Choose the case's image"):
        desk.open(library.case(library.cases()[1].id), volume)
    assert desk.cases == ()


# ---- volumes, without structures and without uv ------------------------------------------------------------------------


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_a_volume_without_structures_goes_through_the_same_session(
    scene: Any, desk: Desk, tmp_path: Path, direction: np.ndarray, lines: list[str]
) -> None:
    image = an_image(direction, slices=12)
    library = Library.create(tmp_path / "volumes", "volumes")
    volume = add_volume_node(scene, image)
    case = desk.open_volume(volume, library, "neck")
    case.session.place("bifurcation", lps_mm_from_index(image.geometry, [[10, 12, 5]])[0])
    case.session.place("sella", lps_mm_from_index(image.geometry, [[20, 3, 9]])[0])
    assert list(case.lists.nodes) == [""]
    assert everything_is_on_its_voxel(case)
    assert case.lists.nodes[""].GetDisplayNode().GetPointLabelsVisibility()
    before = point_lps_mm(case, "sella")
    node, n = control_point(case, "sella")
    node.SetNthControlPointPosition(n, *np.add(node.GetNthControlPointPosition(n), [-1.0, -2.0, 3.0]))
    case.poll()
    np.testing.assert_allclose(point_lps_mm(case, "sella"), np.add(before, [1, 2, 3]), atol=1e-6)
    x, y, z = image.geometry.spacing_mm
    case.session.correct_spacing((x, y, z * 1.5))
    assert everything_is_on_its_voxel(case)
    assert case.save().number == 1
    case.close()
    assert scene.IsNodePresent(volume)
    again = desk.open(library.case(case.session.case.id))
    assert again.session.state.landmarks.names == ("bifurcation", "sella")
    assert everything_is_on_its_voxel(again)
    assert [line for line in lines if "every point stays on its pixel" not in line] == []


@pytest.mark.parametrize("name", ["../../outside", "/outside", "a\\b", "...", "x" * 300, "Röntgen 1 (a.p.)"])
def test_a_name_out_of_a_scene_names_no_other_place(scene: Any, desk: Desk, tmp_path: Path, name: str) -> None:
    library = Library.create(tmp_path / "deep" / "enough" / "volumes", "volumes")
    case = desk.open_volume(add_volume_node(scene, an_image(slices=12)), library, name)
    assert case.session.case.folder.parent.parent == library.folder
    assert [path for path in tmp_path.rglob("*outside*") if library.folder not in path.parents] == []
    assert "/" not in case.session.case.name
    assert "Röntgen" not in name or case.session.case.name == name


def test_a_picture_in_colour_is_refused_in_one_line(scene: Any, desk: Desk, library: Library) -> None:
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing in it")
    with pytest.raises(InputError, match="nothing in it"):
        desk.open_volume(volume, library)


def test_after_a_poll_nothing_is_left_to_do(scene: Any, case: CaseInScene) -> None:
    """Else what the session does next would not be shown before the timer ticks again."""
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    case.image.volume.SetAndObserveTransformNodeID(transform.GetID())
    case.poll()
    case.session.place("clip", point_lps_mm(case, A), "heart")
    control_point(case, "clip")


def test_a_scene_that_would_save_lists_without_points_is_refused(tmp_path: Path) -> None:
    import slicer

    with pytest.raises(InputError, match="expected a scene that can save landmarks"):
        Desk(slicer.vtkMRMLScene(), "an annotator", print, tmp_path)
