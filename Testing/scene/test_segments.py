"""The segments show the structures of a case, and tell what a person did to them, through everything that Slicer does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.case_masks import structure_mask, structure_style
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Accept, CorrectSpacing, Move, Paint, TakePrediction, Unpaint
from DenseLandmarksLib.annotation.exports.segmentation import terminology_entry
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.ras import to_vtk
from DenseLandmarksLib.scene.segments import Segments
from DenseLandmarksLib.scene.volume_node import add_volume_node, voxels_zyx
from Testing.annotation.perfect_answer import chest_image, perfect_answer
from Testing.scene.offscreen import OffscreenSlice
from Testing.scene.test_volume_node import DIRECTIONS, OBLIQUE, an_image

LABELMAP, SURFACE = "Binary labelmap", "Closed surface"
LOST = "heart"
TURN = np.array([[0, -1, 0, 30], [1, 0, 0, -7], [0, 0, 1, 2], [0, 0, 0, 1]]) @ np.diag([1, 1.5, 1, 1])
ODD_NAMES = (
    "right / lung",
    'l\'été "x" & <b> 心',
    "a|b:c~^",
    "a%7Cb:c~^",
    "50%25",
    " two\nlines\t\x01",
    "nothing",
)


@pytest.fixture(scope="module")
def film(chest_template: Template) -> MedicalImage:
    return chest_image(chest_template)


@pytest.fixture(scope="module")
def state(chest_template: Template, film: MedicalImage) -> CaseState:
    """A predicted case whose heart was not found."""
    answer = perfect_answer(chest_template, film, lost=(LOST,))
    return apply_edit(CaseState(film.geometry), TakePrediction(answer, film.geometry))


@pytest.fixture
def image(scene: Any, film: MedicalImage) -> ImageInScene:
    return ImageInScene(add_volume_node(scene, film), film.geometry)


@pytest.fixture
def segments(scene: Any, state: CaseState, image: ImageInScene) -> Segments:
    segments = Segments(scene, "film")
    segments.show(state, image)
    return segments


def slicers_logic() -> Any:
    import slicer

    return slicer.vtkSlicerSegmentationsModuleLogic


def segment_of(segments: Segments, structure: str) -> Any:
    assert segments.node is not None
    (found,) = [
        segment
        for segment in map(segments.node.GetSegmentation().GetNthSegment, range(len(ids(segments))))
        if segment.GetName() == structure
    ]
    return found


def ids(segments: Segments) -> tuple[str, ...]:
    assert segments.node is not None
    found: tuple[str, ...] = segments.node.GetSegmentation().GetSegmentIDs()
    return found


def labelmap_of(segments: Segments, structure: str) -> Any:
    return segment_of(segments, structure).GetRepresentation(LABELMAP)


def seen(segments: Segments, structure: str, image: ImageInScene) -> NDArray[np.bool_]:
    """A segment's mask (Z, Y, X) as Slicer itself brings it to the voxels of the image."""
    node, scene = segments.node, image.volume.GetScene()
    assert node is not None
    at = node.GetSegmentation().GetSegmentIdBySegment(segment_of(segments, structure))
    exported = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    size = image.volume.GetImageData().GetDimensions()[::-1]
    if not slicers_logic().ExportSegmentsToLabelmapNode(node, [at], exported, image.volume):
        mask = np.zeros(size, bool)  # Slicer does not export what is empty
    else:
        mask = voxels_zyx(exported) > 0
    scene.RemoveNode(exported)
    return mask


def brush(segments: Segments, image: ImageInScene, mask: NDArray[np.bool_]) -> Any:
    """A mask (Z, Y, X) as a label map on the voxels of the image, as effects of the Segment Editor make them."""
    import slicer
    from vtkmodules.util.numpy_support import numpy_to_vtk

    made = slicer.vtkOrientedImageData()
    made.SetDimensions(*mask.shape[::-1])
    made.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    made.SetImageToWorldMatrix(to_vtk(image.index_to(segments.node)))
    return made


def paint(
    segments: Segments, image: ImageInScene, at: str, mask: NDArray[np.bool_], overwrite: Sequence[str] = ()
) -> None:
    """A stroke into the segment of that ID, through what the Segment Editor does with one."""
    logic = slicers_logic()
    stroke = brush(segments, image, mask)
    assert logic.SetBinaryLabelmapToSegment(
        stroke, segments.node, at, logic.MODE_MERGE_MASK, stroke.GetExtent(), False, list(overwrite)
    )


def a_stroke(shape: Sequence[int], rows: slice, columns: slice) -> NDArray[np.bool_]:
    stroke = np.zeros(tuple(shape), bool)
    stroke[:, rows, columns] = True
    return stroke


def place(scene: Any, *nodes: Any, matrix: NDArray[np.float64] = TURN) -> Any:
    """Put nodes under a transform."""
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(to_vtk(matrix))
    for node in nodes:
        node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def tag(segment: Any, name: str) -> str:
    from vtkmodules.vtkCommonCore import mutable

    value = mutable("")
    assert segment.GetTag(name, value)
    return str(value)


# What is shown.


def test_every_structure_is_shown_where_the_session_says(
    segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    assert segments.node is not None
    assert ids(segments) == state.structures
    for structure in state.structures:
        np.testing.assert_array_equal(seen(segments, structure, image), structure_mask(state, structure))
        segment, style = segment_of(segments, structure), structure_style(state, structure)
        assert segment.GetColor() == pytest.approx(style.colour)
        assert not segment.GetNameAutoGenerated()
        assert not segment.GetColorAutoGenerated()
        assert tag(segment, "TerminologyEntry") == terminology_entry(style.terminology)
        assert tag(segment, "DenseLandmarks.Review") == "predicted"
        assert tag(segment, "Segmentation.Status") == "notstarted"
        rows, columns = np.nonzero(structure_mask(state, structure)[0])
        if structure != LOST:
            box = (columns.min(), columns.max(), rows.min(), rows.max(), 0, 0)
            assert labelmap_of(segments, structure).GetExtent() == box
    assert not seen(segments, LOST, image).any()
    assert segments.painted(state, image) == {}
    assert segments.removed(state) == ()


def test_slicers_undo_leaves_the_segments_alone(scene: Any, image: ImageInScene, state: CaseState) -> None:
    import slicer

    template = slicer.vtkMRMLSegmentationNode()
    template.SetUndoEnabled(True)  # as an application may want it for all others
    scene.AddDefaultNode(template)
    segments = Segments(scene, "film")
    segments.show(state, image)
    assert segments.node is not None
    assert not segments.node.GetUndoEnabled()
    segments.node.SetUndoEnabled(True)
    Segments(scene, "film").adopt(segments.node, state, image)
    assert not segments.node.GetUndoEnabled()


def test_a_case_without_structures_puts_nothing_into_the_scene(
    scene: Any, film: MedicalImage, image: ImageInScene, state: CaseState
) -> None:
    segments, before = Segments(scene, "film"), scene.GetNumberOfNodes()
    empty = CaseState(film.geometry)
    segments.show(empty, image)
    assert segments.node is None
    assert scene.GetNumberOfNodes() == before
    assert segments.painted(empty, image) == {}
    assert segments.removed(empty) == ()
    segments.remove()
    segments.show(state, image)
    assert ids(segments) == state.structures
    segments.show(empty, image)  # the prediction is taken back
    assert ids(segments) == ()


def test_a_structure_that_a_person_invented_is_shown_without_a_model(scene: Any, film: MedicalImage) -> None:
    mask = a_stroke((1, 128, 128), slice(3, 9), slice(5, 30))
    state = apply_edit(CaseState(film.geometry), Paint("stent", mask))
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    segments = Segments(scene, "film")
    segments.show(state, image)
    np.testing.assert_array_equal(seen(segments, "stent", image), mask)
    assert tag(segment_of(segments, "stent"), "DenseLandmarks.Review") == "corrected"
    assert tag(segment_of(segments, "stent"), "Segmentation.Status") == "completed"


@pytest.mark.parametrize("slices", [1, 5])
@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_masks_lie_and_are_painted_on_their_voxels_whatever_way_the_image_hangs(
    scene: Any, direction: NDArray[np.float64], slices: int
) -> None:
    film = an_image(direction, slices)
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    shape = film.geometry.size[::-1]
    mask = np.random.default_rng(3).random(shape) < 0.3
    mask[:, :4] = mask[:, :, 33:] = False
    state = CaseState(film.geometry, painted={"bone": mask})
    segments = Segments(scene, "film")
    segments.show(state, image)
    np.testing.assert_array_equal(seen(segments, "bone", image), mask)
    assert segments.painted(state, image) == {}
    stroke = np.zeros(shape, bool)
    stroke[slices // 2, 0:3, 30:40] = True
    paint(segments, image, "bone", stroke)
    np.testing.assert_array_equal(segments.painted(state, image)["bone"], mask | stroke)


def test_a_corrected_landmark_moves_its_structure_and_touches_no_other(
    segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    times = {structure: labelmap_of(segments, structure).GetMTime() for structure in state.structures}
    i, j, k = state.index_ijk[state.landmarks.names.index("right_lung_10")]
    after = apply_edit(state, Move((("right_lung_10", (i + 6, j, k)),)))
    segments.show(after, image)
    np.testing.assert_array_equal(seen(segments, "right_lung", image), structure_mask(after, "right_lung"))
    assert (structure_mask(after, "right_lung") != structure_mask(state, "right_lung")).sum() > 20
    now = {structure: labelmap_of(segments, structure).GetMTime() for structure in state.structures}
    assert {structure for structure in now if now[structure] != times[structure]} == {"right_lung"}
    assert segments.painted(after, image) == {}
    farther = apply_edit(after, Move((("right_lung_10", (i + 9, j, k)),)))
    segments.show(farther, image)
    np.testing.assert_array_equal(seen(segments, "right_lung", image), structure_mask(farther, "right_lung"))
    segments.show(state, image)  # undo
    np.testing.assert_array_equal(seen(segments, "right_lung", image), structure_mask(state, "right_lung"))


def test_showing_the_same_again_changes_nothing_in_the_scene(
    segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    heard: list[str] = []
    assert segments.node is not None
    for thing in (segments.node, segments.node.GetDisplayNode(), segments.node.GetSegmentation()):
        thing.AddObserver("AnyEvent", lambda thing, event: heard.append(event))
    segments.show(state, image)
    assert heard == []


def test_a_review_is_seen_at_the_segment_and_a_status_that_a_person_gave_it_stays(
    segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    lung = segment_of(segments, "right_lung")
    lung.SetTag("Segmentation.Status", "flagged")
    segments.show(state, image)
    assert tag(lung, "Segmentation.Status") == "flagged"
    segments.show(apply_edit(state, Accept((), ("right_lung",))), image)
    assert tag(lung, "DenseLandmarks.Review") == "verified"
    assert tag(lung, "Segmentation.Status") == "completed"


def test_a_corrected_spacing_takes_the_masks_along_and_comes_back_with_undo(
    segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    extent = labelmap_of(segments, "left_lung").GetExtent()
    x, y, z = state.geometry.spacing_mm
    after = apply_edit(state, CorrectSpacing((1.3 * x, 1.3 * y, z)))
    for now in (after, state):
        image.show(now.geometry)
        assert segments.painted(state, image) == {}  # nobody painted, the voxels lie elsewhere
        segments.show(now, image)
        assert labelmap_of(segments, "left_lung").GetExtent() == extent
        np.testing.assert_array_equal(seen(segments, "left_lung", image), structure_mask(now, "left_lung"))
        assert segments.painted(now, image) == {}


def test_a_stroke_just_before_the_spacing_was_corrected_stays_on_its_voxels(
    segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    stroke = a_stroke((1, 128, 128), slice(1, 6), slice(1, 6))
    paint(segments, image, "left_lung", stroke)
    x, y, z = state.geometry.spacing_mm
    image.show(apply_edit(state, CorrectSpacing((1.3 * x, 1.3 * y, z))).geometry)
    painted = segments.painted(state, image)
    assert list(painted) == ["left_lung"]
    np.testing.assert_array_equal(painted["left_lung"], structure_mask(state, "left_lung") | stroke)


# What a person paints.


def test_what_a_person_painted_becomes_the_structure_and_is_left_as_it_is(
    segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    stroke = a_stroke((1, 128, 128), slice(100, 128), slice(0, 20))
    paint(segments, image, "left_lung", stroke)
    painted = segments.painted(state, image)
    assert list(painted) == ["left_lung"]
    np.testing.assert_array_equal(painted["left_lung"], structure_mask(state, "left_lung") | stroke)
    after = apply_edit(state, Paint("left_lung", painted["left_lung"]))
    time_painted = labelmap_of(segments, "left_lung").GetMTime()
    segments.show(after, image)
    assert labelmap_of(segments, "left_lung").GetMTime() == time_painted
    assert segments.painted(after, image) == {}
    segments.show(apply_edit(after, Unpaint(("left_lung",))), image)
    np.testing.assert_array_equal(seen(segments, "left_lung", image), structure_mask(state, "left_lung"))


def test_a_stroke_that_is_not_taken_over_is_gone_when_the_case_is_shown(
    segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    paint(segments, image, "left_lung", a_stroke((1, 128, 128), slice(1, 6), slice(1, 6)))
    segments.show(state, image)
    assert segments.painted(state, image) == {}
    np.testing.assert_array_equal(seen(segments, "left_lung", image), structure_mask(state, "left_lung"))


def test_a_structure_that_was_not_found_can_be_painted_and_erased(
    segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    assert segments.node is not None
    stroke = a_stroke((1, 128, 128), slice(50, 60), slice(50, 70))
    paint(segments, image, LOST, stroke)
    np.testing.assert_array_equal(segments.painted(state, image)[LOST], stroke)
    after = apply_edit(state, Paint(LOST, stroke))
    segments.show(after, image)
    segments.node.GetSegmentation().ClearSegment(LOST)
    assert not segments.painted(after, image)[LOST].any()


def test_merged_labelmaps_are_no_gesture_and_a_stroke_in_one_is_told_for_the_right_structure(
    segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    """Slicer merges the label maps of a scene whenever it saves it."""
    assert segments.node is not None
    segmentation = segments.node.GetSegmentation()
    segmentation.CollapseBinaryLabelmaps(False)
    assert segmentation.GetNumberOfLayers() < len(state.structures)
    shared = [name for name in state.structures if labelmap_of(segments, name) is labelmap_of(segments, "right_lung")]
    assert "left_lung" in shared
    assert segments.painted(state, image) == {}
    both = a_stroke((1, 128, 128), slice(60, 64), slice(20, 110))  # from one lung into the other
    paint(segments, image, "right_lung", both, overwrite=state.structures)
    painted = segments.painted(state, image)
    assert set(painted) == {"right_lung", "left_lung"}
    np.testing.assert_array_equal(painted["right_lung"], structure_mask(state, "right_lung") | both)
    np.testing.assert_array_equal(painted["left_lung"], structure_mask(state, "left_lung") & ~both)
    segments.show(state, image)
    assert segments.painted(state, image) == {}
    for structure in state.structures:
        np.testing.assert_array_equal(seen(segments, structure, image), structure_mask(state, structure))


def test_a_structure_leaves_nothing_behind_in_a_labelmap_that_it_shared(
    segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    assert segments.node is not None
    segments.node.GetSegmentation().CollapseBinaryLabelmaps(False)
    shared, label = labelmap_of(segments, "left_lung"), segment_of(segments, "left_lung").GetLabelValue()
    empty = np.zeros((1, 128, 128), bool)
    after = apply_edit(state, Paint("left_lung", empty))
    segments.show(after, image)
    assert not seen(segments, "left_lung", image).any()
    assert (voxels_of(shared) == label).sum() == 0
    np.testing.assert_array_equal(seen(segments, "right_lung", image), structure_mask(state, "right_lung"))


def test_a_segment_keeps_what_it_holds_whatever_value_stands_for_it(
    segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    """As it is left when the others that shared its label map are gone."""
    lung = segment_of(segments, "left_lung")
    voxels_of(lung.GetRepresentation(LABELMAP))[:] *= 7
    lung.SetLabelValue(7)
    lung.GetRepresentation(LABELMAP).Modified()
    assert segments.painted(state, image) == {}
    turned_round = structure_mask(state, "left_lung")[:, ::-1]
    segments.show(apply_edit(state, Paint("left_lung", turned_round)), image)
    np.testing.assert_array_equal(seen(segments, "left_lung", image), turned_round)


def test_an_empty_structure_is_saved_as_bytes(tmp_path: Path, scene: Any, film: MedicalImage) -> None:
    state = CaseState(film.geometry, painted={"nothing": np.zeros((1, 128, 128), bool)})
    segments = Segments(scene, "film")
    segments.show(state, ImageInScene(add_volume_node(scene, film), film.geometry))
    assert segments.node is not None
    storage = scene.AddNode(segments.node.CreateDefaultStorageNode())
    storage.SetFileName(str(tmp_path / "film.seg.nrrd"))
    assert storage.WriteData(segments.node)
    assert b"type: unsigned char" in (tmp_path / "film.seg.nrrd").read_bytes()


def test_a_place_that_a_file_rounded_is_no_gesture_and_is_put_right(
    segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    labelmap = labelmap_of(segments, "left_lung")
    right, anterior, superior = labelmap.GetOrigin()
    labelmap.SetOrigin(right + 0.03, anterior, superior)
    assert segments.painted(state, image) == {}
    segments.show(state, image)
    assert labelmap_of(segments, "left_lung").GetOrigin() == pytest.approx((right, anterior, superior), abs=1e-9)


def voxels_of(labelmap: Any) -> NDArray[Any]:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    voxels: NDArray[Any] = vtk_to_numpy(labelmap.GetPointData().GetScalars())
    return voxels


def resampled(labelmap: Any, image_to_world: NDArray[np.float64], extent: Sequence[int]) -> Any:
    """A label map on other voxels, brought there by Slicer."""
    import slicer

    reference, made = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    reference.SetExtent(*extent)
    reference.SetImageToWorldMatrix(to_vtk(image_to_world))
    reference.AllocateScalars(3, 1)
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(labelmap, reference, made)
    return made


def test_finer_voxels_of_a_segmentation_are_no_gesture_and_strokes_in_them_are(
    segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    lung = segment_of(segments, "right_lung")
    finer = image.index_to(segments.node) @ np.array(
        [[0.5, 0, 0, -0.25], [0, 0.5, 0, -0.25], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    lung.AddRepresentation(LABELMAP, resampled(lung.GetRepresentation(LABELMAP), finer, (0, 255, 0, 255, 0, 0)))
    assert segments.painted(state, image) == {}
    fine = lung.GetRepresentation(LABELMAP)
    voxels_of(fine).reshape(256, 256)[:10, :20] = 1
    fine.Modified()
    expected = structure_mask(state, "right_lung").copy()
    expected[:, :5, :10] = True
    np.testing.assert_array_equal(segments.painted(state, image)["right_lung"], expected)
    segments.show(state, image)
    np.testing.assert_array_equal(seen(segments, "right_lung", image), structure_mask(state, "right_lung"))
    assert segments.painted(state, image) == {}


@pytest.mark.parametrize("slices", [1, 7])
def test_a_mask_on_turned_voxels_is_read_as_slicer_reads_it(scene: Any, slices: int) -> None:
    film = an_image(OBLIQUE, slices)
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    mask = a_stroke(film.geometry.size[::-1], slice(8, 25), slice(10, 36))
    state = CaseState(film.geometry, painted={"bone": mask})
    segments = Segments(scene, "film")
    segments.show(state, image)
    angle = np.deg2rad(31)
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turned[:3, 3] = [11.3, -8.6, 0.1]
    bone = segment_of(segments, "bone")
    matrix = image.index_to(segments.node) @ turned @ np.diag([1.4, 1.3, 0.9, 1])
    bone.AddRepresentation(LABELMAP, resampled(bone.GetRepresentation(LABELMAP), matrix, (-5, 40, -5, 40, -1, 8)))
    expected = seen(segments, "bone", image)
    assert 0 < (expected != mask).sum() < 0.2 * mask.sum()
    np.testing.assert_array_equal(segments.painted(state, image)["bone"], expected)


def test_strokes_beside_the_image_are_cut_off(segments: Segments, state: CaseState, image: ImageInScene) -> None:
    import slicer

    stroke = slicer.vtkOrientedImageData()
    stroke.SetExtent(-40, 3, 120, 160, -2, 3)
    stroke.AllocateScalars(3, 1)
    stroke.GetPointData().GetScalars().Fill(1)
    stroke.SetImageToWorldMatrix(to_vtk(image.index_to(segments.node)))
    segment_of(segments, LOST).AddRepresentation(LABELMAP, stroke)
    np.testing.assert_array_equal(
        segments.painted(state, image)[LOST], a_stroke((1, 128, 128), slice(120, 128), slice(0, 4))
    )
    stroke.SetExtent(-40, -3, 120, 160, 0, 0)
    stroke.AllocateScalars(3, 1)
    stroke.GetPointData().GetScalars().Fill(1)
    assert segments.painted(state, image) == {}


def test_values_written_with_numpy_are_seen(segments: Segments, state: CaseState, image: ImageInScene) -> None:
    """As a script does: slicer.util.arrayFromSegmentInternalBinaryLabelmap, then Modified of the array."""
    labelmap = labelmap_of(segments, "right_lung")
    voxels_of(labelmap)[:] = 0
    labelmap.GetPointData().GetScalars().Modified()
    assert not segments.painted(state, image)["right_lung"].any()


# Segments that come and go.


def test_a_segment_that_a_person_added_becomes_a_structure_and_stays_in_the_persons_hand(
    scene: Any, segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    import slicer

    assert segments.node is not None
    editor = scene.AddNode(slicer.vtkMRMLSegmentEditorNode())
    editor.SetAndObserveSegmentationNode(segments.node)
    added = segments.node.GetSegmentation().AddEmptySegment("", "stent")
    clash = segments.node.GetSegmentation().AddEmptySegment("", "right_lung")
    editor.SetSelectedSegmentID(added)
    assert segments.painted(state, image) == {}
    stroke = a_stroke((1, 128, 128), slice(3, 9), slice(5, 30))
    paint(segments, image, added, stroke)
    paint(segments, image, clash, ~stroke)
    segments.show(state, image)  # something else was done meanwhile
    painted = segments.painted(state, image)
    assert list(painted) == ["stent", "right_lung 2"]
    np.testing.assert_array_equal(painted["stent"], stroke)
    np.testing.assert_array_equal(painted["right_lung 2"], ~stroke)
    after = state
    for name, mask in painted.items():
        after = apply_edit(after, Paint(name, mask))
        segments.show(after, image)
    assert ids(segments) == (*state.structures, "stent", "right_lung 2")
    assert editor.GetSelectedSegmentID() == "stent"
    assert segments.painted(after, image) == {}
    np.testing.assert_array_equal(seen(segments, "stent", image), stroke)
    segments.show(state, image)  # undo
    assert ids(segments) == state.structures
    segments.show(after, image)  # redo
    np.testing.assert_array_equal(seen(segments, "right_lung 2", image), ~stroke)


def test_added_segments_may_go_by_each_others_names(
    scene: Any, segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    import slicer

    assert segments.node is not None
    strokes = {}
    for n, (at, name) in enumerate([("Segment_1", "Segment_2"), ("Segment_2", "Segment_3"), ("clip", "clip")]):
        strokes[name] = a_stroke((1, 128, 128), slice(5 + n, 9), slice(5, 30))
        assert segments.node.GetSegmentation().AddEmptySegment(at, name) == at
        paint(segments, image, at, strokes[name])
    editor = scene.AddNode(slicer.vtkMRMLSegmentEditorNode())
    editor.SetAndObserveSegmentationNode(segments.node)
    editor.SetSelectedSegmentID("Segment_2")
    clip = labelmap_of(segments, "clip")
    after = state
    for name, mask in segments.painted(state, image).items():
        after = apply_edit(after, Paint(name, mask))
        segments.show(after, image)
    assert ids(segments) == (*state.structures, "Segment_2", "Segment_3", "clip")
    assert editor.GetSelectedSegmentID() == "Segment_3"
    assert labelmap_of(segments, "clip") is clip
    assert segments.painted(after, image) == {}
    for name, stroke in strokes.items():
        np.testing.assert_array_equal(seen(segments, name, image), stroke)


def test_removed_and_renamed_segments_are_put_right_in_their_order(
    segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    assert segments.node is not None
    segments.node.GetSegmentation().CollapseBinaryLabelmaps(False)
    segments.node.GetSegmentation().RemoveSegment("left_lung")
    segment_of(segments, "right_lung").SetName("mine")
    assert segments.removed(state) == ("left_lung",)
    assert segments.painted(state, image) == {}
    segments.show(state, image)
    assert segments.removed(state) == ()
    assert ids(segments) == state.structures
    for structure in state.structures:
        np.testing.assert_array_equal(seen(segments, structure, image), structure_mask(state, structure))


def test_a_node_that_was_deleted_comes_back(
    scene: Any, segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    scene.RemoveNode(segments.node)
    assert segments.removed(state) == ()
    assert segments.painted(state, image) == {}
    segments.show(state, image)
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    np.testing.assert_array_equal(seen(segments, "left_lung", image), structure_mask(state, "left_lung"))


def test_only_our_node_is_removed(scene: Any, film: MedicalImage, state: CaseState) -> None:
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    other = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "somebody else's")
    other.CreateDefaultDisplayNodes()
    before = scene.GetNumberOfNodes()
    segments = Segments(scene, "film")
    segments.show(state, image)
    segments.remove()
    assert segments.node is None
    assert scene.GetNumberOfNodes() == before
    assert scene.GetNodeByID(other.GetID()) is not None


def test_how_a_person_shows_the_segments_stays_and_a_new_display_is_as_light_as_the_first(
    scene: Any, segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    assert segments.node is not None
    display = segments.node.GetDisplayNode()
    light = display.GetOpacity2DFill()
    assert light < 0.3
    display.SetOpacity2DFill(0.7)
    display.SetSegmentVisibility("left_lung", False)
    segments.show(apply_edit(state, Paint("left_lung", np.ones((1, 128, 128), bool))), image)
    assert display.GetOpacity2DFill() == 0.7
    assert not display.GetSegmentVisibility("left_lung")
    scene.RemoveNode(display)
    segments.show(state, image)
    assert segments.node.GetDisplayNode().GetOpacity2DFill() == light


# Transforms.


def test_segments_go_with_an_image_that_is_put_under_a_transform(
    scene: Any, segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    place(scene, image.volume)
    assert segments.painted(state, image) == {}  # only the image was moved
    segments.show(state, image)
    np.testing.assert_array_equal(seen(segments, "left_lung", image), structure_mask(state, "left_lung"))
    assert segments.painted(state, image) == {}
    image.volume.HardenTransform()
    assert segments.painted(state, image) == {}
    segments.show(state, image)
    np.testing.assert_array_equal(seen(segments, "left_lung", image), structure_mask(state, "left_lung"))
    assert segments.painted(state, image) == {}


def test_a_transform_that_is_hardened_on_image_and_segments_alike_paints_nothing(
    scene: Any, segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    assert segments.node is not None
    place(scene, image.volume, segments.node)
    image.volume.HardenTransform()
    segments.node.HardenTransform()
    assert segments.painted(state, image) == {}
    segments.show(state, image)
    paint(segments, image, "left_lung", a_stroke((1, 128, 128), slice(1, 6), slice(1, 6)))
    assert list(segments.painted(state, image)) == ["left_lung"]


@pytest.mark.parametrize("harden", [False, True])
def test_segments_that_are_moved_alone_are_painted_where_they_lie_now(
    scene: Any, segments: Segments, state: CaseState, image: ImageInScene, harden: bool
) -> None:
    assert segments.node is not None
    step = np.eye(4)
    step[0, 3] = -3 * state.geometry.spacing_mm[0]  # to the patient's left: three pixels to the right
    place(scene, segments.node, matrix=step)
    if harden:
        segments.node.HardenTransform()
    painted = segments.painted(state, image)
    assert set(painted) == {*state.structures} - {LOST}
    np.testing.assert_array_equal(painted["left_lung"], np.roll(structure_mask(state, "left_lung"), 3, axis=2))
    segments.show(state, image)
    assert segments.painted(state, image) == {}
    np.testing.assert_array_equal(seen(segments, "left_lung", image), structure_mask(state, "left_lung"))


def test_a_bent_segmentation_is_put_back_and_not_taken_for_painted(
    scene: Any, segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonTransforms import vtkThinPlateSplineTransform

    assert segments.node is not None
    ends = vtkPoints(), vtkPoints()
    for corner in ([0, 0, 0], [100, 0, 0], [0, 100, 0], [0, 0, 100], [50, 50, 50]):
        ends[0].InsertNextPoint(corner)
        ends[1].InsertNextPoint([value * 1.01 * value for value in corner])
    bend = vtkThinPlateSplineTransform()
    bend.SetSourceLandmarks(ends[0])
    bend.SetTargetLandmarks(ends[1])
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    transform.SetAndObserveTransformToParent(bend)
    segments.node.SetAndObserveTransformNodeID(transform.GetID())
    assert segments.painted(state, image) == {}
    segments.show(state, image)
    assert segments.node.GetTransformNodeID() is None


# Slicer's own tools.


def test_the_segment_editor_works_on_the_images_voxels(
    scene: Any, film: MedicalImage, segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    import slicer

    assert segments.node is not None
    x, y, z = state.geometry.spacing_mm
    after = apply_edit(state, CorrectSpacing((2 * x, 2 * y, z)))
    again = ImageInScene(
        add_volume_node(scene, film), film.geometry
    )  # as when somebody changed the pixels of the first
    for now, shown in ((state, image), (after, image), (after, again)):
        shown.show(now.geometry)
        segments.show(now, shown)
        assert segments.node.GetNodeReferenceID("referenceImageGeometryRef") == shown.volume.GetID()
        parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
        reference = slicer.vtkOrientedImageData()
        text = segments.node.GetSegmentation().GetConversionParameter(parameter)
        assert slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, reference, False)
        assert reference.GetExtent() == (0, 127, 0, 127, 0, 0)
        assert reference.GetSpacing() == pytest.approx(now.geometry.spacing_mm)


def test_surfaces_in_3d_follow_the_structures(scene: Any, film: MedicalImage, state: CaseState) -> None:
    logic = slicers_logic()()  # knows how surfaces are made
    logic.SetMRMLScene(scene)
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    segments = Segments(scene, "film")
    segments.show(state, image)
    assert segments.node is not None
    segments.node.CreateClosedSurfaceRepresentation()
    surfaces = {name: segment_of(segments, name).GetRepresentation(SURFACE) for name in state.structures}
    assert surfaces["left_lung"].GetNumberOfPoints()
    stroke = a_stroke((1, 128, 128), slice(50, 60), slice(50, 70))
    segments.show(apply_edit(state, Paint(LOST, stroke)), image)
    assert segment_of(segments, "left_lung").GetRepresentation(SURFACE) is surfaces["left_lung"]
    assert segment_of(segments, LOST).GetRepresentation(SURFACE).GetNumberOfPoints()
    assert all(segment_of(segments, name).GetRepresentation(SURFACE) for name in state.structures)


def test_segments_that_a_person_turned_into_surfaces_are_labelmaps_again(
    scene: Any, film: MedicalImage, state: CaseState
) -> None:
    logic = slicers_logic()()
    logic.SetMRMLScene(scene)
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    segments = Segments(scene, "film")
    segments.show(state, image)
    assert segments.node is not None
    assert segments.node.GetSegmentation().CreateRepresentation(SURFACE)
    segments.node.GetSegmentation().SetSourceRepresentationName(SURFACE)
    segments.node.GetSegmentation().RemoveRepresentation(LABELMAP)
    assert segments.painted(state, image) == {}
    segments.show(state, image)
    assert segments.node.GetSegmentation().GetSourceRepresentationName() == LABELMAP
    for structure in state.structures:
        np.testing.assert_array_equal(seen(segments, structure, image), structure_mask(state, structure))
    paint(segments, image, LOST, structure_mask(state, "left_lung"))
    assert list(segments.painted(state, image)) == [LOST]


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_a_saved_scene_has_the_same_structures_whatever_their_names(
    tmp_path: Path, scene: Any, direction: NDArray[np.float64]
) -> None:
    film = an_image(direction, slices=3)
    shape = film.geometry.size[::-1]
    rng = np.random.default_rng(5)
    masks = {name: rng.random(shape) < 0.2 for name in ODD_NAMES}
    masks["nothing"][:] = False
    state = CaseState(film.geometry, painted=masks)
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    segments = Segments(scene, "film")
    segments.show(state, image)
    assert segments.node is not None
    segments.node.GetDisplayNode().SetOpacity2DFill(0.5)
    colours = [segment_of(segments, name).GetColor() for name in ODD_NAMES]
    assert scene.WriteToMRB(str(tmp_path / "film.mrb"))
    assert segments.painted(state, image) == {}  # saving is no gesture

    again = read_scene(tmp_path / "film.mrb", tmp_path)
    node = again.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    # Slicer turns the slices of a left-handed volume round when it reads one: that is not the image of the case any more.
    volume = again.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
    turned_round = np.linalg.det(direction) < 0
    read_image = ImageInScene(add_volume_node(again, film) if turned_round else volume, film.geometry)
    adopted = Segments(again, "film")
    adopted.adopt(node, state, read_image)
    assert adopted.painted(state, read_image) == {}
    assert adopted.removed(state) == ()
    np.testing.assert_allclose([segment_of(adopted, name).GetColor() for name in ODD_NAMES], colours, atol=1e-5)
    for name in ODD_NAMES:
        segment = segment_of(adopted, name)
        np.testing.assert_array_equal(seen(adopted, name, read_image), masks[name])
        terms = terminology_entry(structure_style(state, name).terminology)
        assert tag(segment, "TerminologyEntry") == terms
        assert tag(segment, "DenseLandmarks.Review") == "corrected"
    adopted.show(state, read_image)
    assert adopted.node is node
    assert node.GetDisplayNode().GetOpacity2DFill() == 0.5
    assert again.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_a_scene_that_was_painted_and_saved_without_us_tells_what_was_painted(
    tmp_path: Path, scene: Any, segments: Segments, state: CaseState, image: ImageInScene
) -> None:
    assert segments.node is not None
    stroke = a_stroke((1, 128, 128), slice(3, 9), slice(5, 30))
    paint(segments, image, "left_lung", stroke)
    segments.node.GetSegmentation().RemoveSegment("heart")
    paint(segments, image, segments.node.GetSegmentation().AddEmptySegment("", "stent"), stroke)
    assert scene.WriteToMRB(str(tmp_path / "film.mrb"))
    again = read_scene(tmp_path / "film.mrb", tmp_path)
    read_image = ImageInScene(again.GetFirstNodeByClass("vtkMRMLScalarVolumeNode"), state.geometry)
    adopted = Segments(again, "film")
    adopted.adopt(again.GetFirstNodeByClass("vtkMRMLSegmentationNode"), state, read_image)
    painted = adopted.painted(state, read_image)
    assert set(painted) == {"left_lung", "stent"}
    np.testing.assert_array_equal(painted["left_lung"], structure_mask(state, "left_lung") | stroke)
    np.testing.assert_array_equal(painted["stent"], stroke)
    assert adopted.removed(state) == ("heart",)
    adopted.show(state, read_image)
    np.testing.assert_array_equal(seen(adopted, "left_lung", read_image), structure_mask(state, "left_lung"))


def read_scene(path: Path, folder: Path) -> Any:
    """A fresh scene out of a file."""
    import slicer

    scene, manager, cache = slicer.vtkMRMLScene(), slicer.vtkDataIOManager(), slicer.vtkCacheManager()
    cache.SetRemoteCacheDirectory(str(folder))
    manager.SetCacheManager(cache)
    scene.SetDataIOManager(manager)
    assert scene.ReadFromMRB(str(path))
    return scene


def test_structures_are_seen_lightly_and_move_on_the_screen(
    screen: OffscreenSlice, film: MedicalImage, state: CaseState
) -> None:
    image = ImageInScene(add_volume_node(screen.scene, film), film.geometry)
    screen.look_at(image.volume)
    bare = screen.pixels().astype(int)
    segments = Segments(screen.scene, "film")
    segments.show(state, image)
    shown = screen.pixels().astype(int)
    assert segments.node is not None
    for structure in ("left_lung", "right_lung"):
        rows, columns = np.nonzero(structure_mask(state, structure)[0])
        inside = [columns.mean(), rows.mean(), 0, 1]
        x, y = screen.display_xy((image.index_to(segments.node) @ inside)[:3])
        pixel, before = shown[1023 - y, x], bare[1023 - y, x]
        colour = 255 * np.array(structure_style(state, structure).colour)
        np.testing.assert_allclose(pixel, 0.85 * before + 0.15 * colour, atol=3)
    empty = np.zeros((1, 128, 128), bool)
    after = state
    for structure in state.structures:
        after = apply_edit(after, Paint(structure, empty))
    segments.show(after, image)
    np.testing.assert_array_equal(screen.pixels(), bare)


@pytest.mark.timed
def test_a_prediction_is_shown_at_once_on_a_large_film(scene: Any, chest_template: Template) -> None:
    film = chest_image(chest_template, size=1024)
    answer = perfect_answer(chest_template, film)
    state = apply_edit(CaseState(film.geometry), TakePrediction(answer, film.geometry))
    image = ImageInScene(add_volume_node(scene, film), film.geometry)
    i, j, k = state.index_ijk[state.landmarks.names.index("right_lung_10")]
    after = apply_edit(state, Move((("right_lung_10", (i + 20, j, k)),)))
    took = []
    for _ in range(3):
        segments, start = Segments(scene, "film"), time.perf_counter()
        times = []
        for now in (state, after, after):
            segments.show(now, image)
            assert segments.painted(now, image) == {}
            times.append(time.perf_counter() - start - sum(times))
        took.append(times)
    first, correction, nothing = np.min(took, axis=0)
    assert first < 0.1
    assert correction < 0.05
    assert nothing < 0.005


@pytest.mark.timed
def test_a_volume_that_nobody_touched_costs_nothing(scene: Any) -> None:
    film = an_image(slices=1)
    size = (512, 512, 60)
    geometry = replace(film.geometry, size=size)
    volume = sitk.GetImageFromArray(np.zeros(size[::-1], np.uint8))
    volume.SetSpacing(geometry.spacing_mm)
    image = ImageInScene(add_volume_node(scene, replace(film, volume=volume)), geometry)
    state = CaseState(geometry, painted={"bone": np.ones(size[::-1], bool)})
    segments = Segments(scene, "film")
    segments.show(state, image)
    labelmap_of(segments, "bone").Modified()  # as when it is merged
    assert segments.painted(state, image) == {}
    took = []
    for look in (segments.painted, segments.show):
        look(state, image)
        start = time.perf_counter()
        look(state, image)
        took.append(time.perf_counter() - start)
    assert max(took) < 0.005
