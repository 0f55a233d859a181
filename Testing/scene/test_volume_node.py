"""An image in Slicer's scene: the same voxels, in the same place, whatever way it hangs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.geometry.frames import lps_mm_from_index, lps_mm_from_ras_mm
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.ras import (
    geometry_from_ijk_to_ras_mm,
    ijk_to_ras_mm,
    ras_mm_from_lps_mm,
)
from DenseLandmarksLib.scene.volume_node import add_volume_node, voxels_zyx

ANGLE = np.deg2rad(25)
OBLIQUE = np.array([[1, 0, 0], [0, np.cos(ANGLE), -np.sin(ANGLE)], [0, np.sin(ANGLE), np.cos(ANGLE)]])
LEFT_HANDED = OBLIQUE @ np.diag([1, 1, -1])
DIRECTIONS = {"upright": np.eye(3), "oblique": OBLIQUE, "left-handed": LEFT_HANDED}
TYPES = (sitk.sitkUInt8, sitk.sitkInt8, sitk.sitkUInt16, sitk.sitkInt16, sitk.sitkInt32, sitk.sitkFloat32)


def an_image(direction: np.ndarray = OBLIQUE, slices: int = 1, pixel_type: int = sitk.sitkUInt16) -> MedicalImage:
    rng = np.random.default_rng(0)
    volume = sitk.Cast(sitk.GetImageFromArray(rng.integers(0, 100, (slices, 33, 40)).astype(np.int16)), pixel_type)
    volume.SetSpacing((0.5, 0.8, 2.0))
    volume.SetOrigin((-20.0, 35.0, 4.0))
    volume.SetDirection(direction.ravel().tolist())
    return MedicalImage(volume, SpacingSource.DETECTOR, "film")


def shown_ras(node: Any, index_ijk: np.ndarray) -> np.ndarray:
    """Where Slicer shows voxels, by its own matrix."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array([matrix.MultiplyPoint((*index, 1.0))[:3] for index in index_ijk.tolist()])


@pytest.mark.parametrize("slices", [1, 12])
@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_every_voxel_is_shown_where_it_lies(scene: Any, direction: np.ndarray, slices: int) -> None:
    image = an_image(direction, slices)
    node = add_volume_node(scene, image)
    index = np.random.default_rng(1).uniform(0, [39, 32, slices], (20, 3))
    expected = lps_mm_from_index(image.geometry, index)
    np.testing.assert_allclose(shown_ras(node, index) * [-1, -1, 1], expected, atol=1e-9)
    np.testing.assert_array_equal(voxels_zyx(node), sitk.GetArrayFromImage(image.volume))


@pytest.mark.parametrize("pixel_type", TYPES)
def test_grey_values_stay_what_they_are(scene: Any, pixel_type: int) -> None:
    image = an_image(pixel_type=pixel_type)
    node = add_volume_node(scene, image)
    assert voxels_zyx(node).dtype == sitk.GetArrayFromImage(image.volume).dtype
    np.testing.assert_array_equal(voxels_zyx(node), sitk.GetArrayFromImage(image.volume))


def test_slicer_writes_what_was_shown(scene: Any, tmp_path: Path) -> None:
    import slicer

    image = an_image()
    node = add_volume_node(scene, image)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(tmp_path / "film.nrrd"))
    assert storage.WriteData(node)
    written = sitk.ReadImage(str(tmp_path / "film.nrrd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), sitk.GetArrayFromImage(image.volume))
    np.testing.assert_allclose(written.GetOrigin(), image.volume.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(written.GetDirection(), image.volume.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(written.GetSpacing(), image.volume.GetSpacing(), atol=1e-6)


def test_the_window_of_the_file_is_shown_and_the_scene_outlives_the_image(scene: Any) -> None:
    image = replace(an_image(), window=(10.0, 60.0))
    expected = sitk.GetArrayFromImage(image.volume)
    node = add_volume_node(scene, image)
    display = node.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (10, 60)
    assert not display.GetAutoWindowLevel()
    image.volume.SetSpacing((1, 1, 1))
    del image
    np.testing.assert_array_equal(voxels_zyx(node), expected)


def test_two_images_of_one_name_are_two_nodes(scene: Any) -> None:
    names = {add_volume_node(scene, an_image()).GetName() for _ in range(2)}
    assert len(names) == 2


def test_a_corrected_spacing_lays_the_node_out_anew(scene: Any) -> None:
    image = an_image()
    node = add_volume_node(scene, image)
    geometry = image.geometry.with_spacing((0.25, 0.4, 2.0), SpacingSource.GIVEN)
    ImageInScene(node, image.geometry).show(geometry)
    index = np.array([[0.0, 0, 0], [39, 32, 0]])
    np.testing.assert_allclose(shown_ras(node, index) * [-1, -1, 1], lps_mm_from_index(geometry, index), atol=1e-9)


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_a_nodes_matrix_gives_its_geometry_back(direction: np.ndarray) -> None:
    geometry = an_image(direction).geometry
    back = geometry_from_ijk_to_ras_mm(ijk_to_ras_mm(geometry), geometry.size, geometry.spacing_source)
    assert isinstance(back, ImageGeometry)
    assert back.size == geometry.size
    np.testing.assert_allclose(back.spacing_mm, geometry.spacing_mm)
    np.testing.assert_allclose(back.origin_lps_mm, geometry.origin_lps_mm)
    np.testing.assert_allclose(back.direction, geometry.direction, atol=1e-12)


def test_a_sheared_matrix_is_no_image() -> None:
    matrix = ijk_to_ras_mm(an_image().geometry)
    matrix[0, 1] = 0.4
    with pytest.raises(ValueError, match="right angles"):
        geometry_from_ijk_to_ras_mm(matrix, (40, 33, 1), SpacingSource.GIVEN)


def test_lps_and_ras_differ_by_two_signs() -> None:
    points = np.array([[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(ras_mm_from_lps_mm(points), [[-1, -2, 3]])
    np.testing.assert_array_equal(lps_mm_from_ras_mm(ras_mm_from_lps_mm(points)), points)


@pytest.mark.parametrize("pixel_type", TYPES)
def test_a_volume_is_shown_in_the_window_that_slicer_would_choose(scene: Any, pixel_type: int) -> None:
    node = add_volume_node(scene, an_image(slices=12, pixel_type=pixel_type))
    display = node.GetDisplayNode()
    shown = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    assert display.GetColorNodeID() == "vtkMRMLColorTableNodeGrey"
    display.AutoWindowLevelOn()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx(shown, abs=1)


def test_a_volume_of_which_all_looks_alike_is_shown(scene: Any) -> None:
    voxels = np.zeros((20, 40, 40), np.int16)
    voxels[0, 0, 0] = 9
    volume = MedicalImage(sitk.GetImageFromArray(voxels), SpacingSource.GIVEN, "almost nothing")
    assert add_volume_node(scene, volume).GetDisplayNode() is not None
