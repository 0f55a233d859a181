"""Structures must arrive in Slicer whole, overlaps included, with their names, colours and codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.exports.segmentation import write_segmentation
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.structure_style import StructureStyle, Terminology

ReadInSlicer = Callable[[str, str, Path], Any]
GIVEN = SpacingSource.GIVEN
STYLES = Path(__file__).parents[2] / "training/recipes/structures/chest-xray.json"
SEGMENTATION = ("vtkMRMLSegmentationNode", "vtkMRMLSegmentationStorageNode")


@pytest.fixture
def masks() -> NDArray[np.bool_]:
    """Right lung and heart on the radiograph's grid; they overlap."""
    masks = np.zeros((2, 1, 100, 120), bool)
    masks[0, 0, 10:60, 5:70] = True
    masks[1, 0, 50:90, 40:110] = True
    return masks


def _voxels(node: Any, segment: str) -> tuple[NDArray[np.bool_], Any]:
    """A segment on its whole extent (z, y, x), and Slicer's image that it came in."""
    import slicer
    from vtkmodules.util.numpy_support import vtk_to_numpy

    image = slicer.vtkOrientedImageData()
    assert node.GetBinaryLabelmapRepresentation(segment, image)
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1]) > 0, image


def test_overlapping_structures_stay_whole_in_slicer(
    tmp_path: Path,
    radiograph: MedicalImage,
    styles: list[StructureStyle],
    masks: NDArray[np.bool_],
    read_in_slicer: ReadInSlicer,
) -> None:
    write_segmentation(tmp_path / "a.seg.nrrd", masks, radiograph.geometry, styles)
    node = read_in_slicer(*SEGMENTATION, tmp_path / "a.seg.nrrd")
    for style, mask in zip(styles, masks, strict=True):
        np.testing.assert_array_equal(_voxels(node, style.name)[0], mask)


def test_names_colours_and_codes_survive_in_slicer(
    tmp_path: Path,
    radiograph: MedicalImage,
    styles: list[StructureStyle],
    masks: NDArray[np.bool_],
    read_in_slicer: ReadInSlicer,
) -> None:
    import vtk

    write_segmentation(tmp_path / "a.seg.nrrd", masks, radiograph.geometry, styles)
    segmentation = read_in_slicer(*SEGMENTATION, tmp_path / "a.seg.nrrd").GetSegmentation()
    codes = []
    for i, style in enumerate(styles):
        segment = segmentation.GetNthSegment(i)
        assert (segment.GetName(), segment.GetColor()) == (style.name, pytest.approx(style.colour))
        entry = vtk.reference("")
        assert segment.GetTag("TerminologyEntry", entry)
        codes.append(str(entry).split("~")[1:4])
    assert codes == [
        ["SCT^123037004^Anatomical Structure", "SCT^39607008^Lung", "SCT^24028007^Right"],
        ["SCT^123037004^Anatomical Structure", "SCT^80891009^Heart", "^^"],
    ]


def test_structures_lie_on_the_image_in_slicer_also_when_it_is_turned(
    tmp_path: Path,
    radiograph: MedicalImage,
    styles: list[StructureStyle],
    masks: NDArray[np.bool_],
    read_in_slicer: ReadInSlicer,
) -> None:
    import vtk

    volume = sitk.Image(radiograph.volume)
    cosine, sine = np.cos(0.3), np.sin(0.3)
    volume.SetDirection((cosine, -sine, 0, sine, cosine, 0, 0, 0, 1))
    write_segmentation(tmp_path / "a.seg.nrrd", masks, ImageGeometry.of(volume, SpacingSource.GIVEN), styles)
    _, image = _voxels(read_in_slicer(*SEGMENTATION, tmp_path / "a.seg.nrrd"), "heart")
    to_ras = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(to_ras)
    ras = np.array(to_ras.MultiplyPoint((40.0, 50.0, 0.0, 1.0)))[:3]
    np.testing.assert_allclose(ras * [-1, -1, 1], volume.TransformIndexToPhysicalPoint((40, 50, 0)), atol=1e-6)


def test_structures_that_do_not_overlap_share_a_layer_and_an_empty_one_is_kept(
    tmp_path: Path,
    radiograph: MedicalImage,
    styles: list[StructureStyle],
    masks: NDArray[np.bool_],
    read_in_slicer: ReadInSlicer,
) -> None:
    masks[1] = False
    write_segmentation(tmp_path / "a.seg.nrrd", masks, radiograph.geometry, styles)
    node = read_in_slicer(*SEGMENTATION, tmp_path / "a.seg.nrrd")
    assert node.GetSegmentation().GetNumberOfSegments() == 2
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    assert _voxels(node, "right_lung")[0].sum() == masks[0].sum()
    assert _voxels(node, "heart")[0].sum() == 0


def test_the_same_masks_make_the_same_file(
    tmp_path: Path, radiograph: MedicalImage, styles: list[StructureStyle], masks: NDArray[np.bool_]
) -> None:
    """Nothing of the day or the program is in it: files can be compared, and say nothing about who wrote them."""
    for name in ("a.seg.nrrd", "b.seg.nrrd"):
        write_segmentation(tmp_path / name, masks, radiograph.geometry, styles)
    assert (tmp_path / "a.seg.nrrd").read_bytes() == (tmp_path / "b.seg.nrrd").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.seg.nrrd", "b.seg.nrrd"]


@pytest.mark.parametrize("count", [1, 2, 300])
def test_many_overlapping_structures_have_a_layer_and_enough_labels_each(
    tmp_path: Path, styles: list[StructureStyle], read_in_slicer: ReadInSlicer, count: int
) -> None:
    """More structures than a byte has values, and voxels that say where they are."""
    rng = np.random.default_rng(0)
    masks = np.zeros((count, 2, 5, 130), bool)
    for i in range(count):
        masks[i, i // 130 % 2, 0, i % 130] = True  # beside each other
    masks[-1, :, 2:] = rng.random((2, 3, 130)) < 0.5
    masks[0, :, 1:4] |= rng.random((2, 3, 130)) < 0.5
    named = [replace(styles[0], name=f"structure_{i}") for i in range(count)]
    geometry = ImageGeometry((130, 5, 2), (0.1, 3.0, 1e-4), (1e3, -2.5, 1 / 3), (1, 0, 0, 0, 1, 0, 0, 0, 1), GIVEN)
    write_segmentation(tmp_path / "a.seg.nrrd", masks, geometry, named)
    node = read_in_slicer(*SEGMENTATION, tmp_path / "a.seg.nrrd")
    assert node.GetSegmentation().GetNumberOfSegments() == count
    for i in {0, 1, count // 2, count - 1} & set(range(count)):
        np.testing.assert_array_equal(_voxels(node, f"structure_{i}")[0], masks[i])


def test_masks_of_another_size_are_refused_instead_of_shifted(
    tmp_path: Path, radiograph: MedicalImage, styles: list[StructureStyle], masks: NDArray[np.bool_]
) -> None:
    with pytest.raises(ValueError, match=r"\(2, 1, 100, 120\).*got \(2, 1, 99, 120\)"):
        write_segmentation(tmp_path / "a.seg.nrrd", masks[:, :, 1:], radiograph.geometry, styles)
    assert not list(tmp_path.iterdir())


def test_the_chest_styles_survive_a_bundle_and_tell_left_from_right() -> None:
    raw = json.loads(STYLES.read_text())
    styles = [StructureStyle.from_dict(entry) for entry in raw]
    assert [style.to_dict() for style in styles] == raw
    colours = np.array([style.colour for style in styles])
    apart = np.abs(colours[:, None] - colours).max(axis=2) + np.eye(len(styles))
    assert apart.min() > 0.1


def test_a_code_that_would_break_slicers_file_is_refused() -> None:
    with pytest.raises(ValueError, match="may not hold"):
        Terminology(("SCT", "1", "A~B"), ("SCT", "2", "C"))
