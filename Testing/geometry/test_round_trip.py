"""Index, LPS, RAS, file and index again: whatever the scanner's geometry, a place stays that place, in Slicer too.

The truth is SimpleITK's and Slicer's own: none of the expected positions comes from the functions under test.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from DenseLandmarksLib.annotation.exports.markups import write_markups
from DenseLandmarksLib.annotation.exports.segmentation import write_segmentation
from DenseLandmarksLib.geometry.frames import (
    index_from_lps_mm,
    lps_mm_from_index,
    lps_mm_from_pixels,
    pixels_from_lps_mm,
)
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.models.structure_style import StructureStyle

ReadInSlicer = Callable[[str, str, Path], Any]
FloatArray = NDArray[np.float64]

STYLES = Path(__file__).parents[2] / "training/recipes/structures/chest-xray.json"
KINDS = ("permuted", "oblique", "left-handed permuted", "left-handed oblique")
SEEDS = range(3)
CASES = list(product(KINDS, ("radiograph", "volume"), SEEDS))
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)).replace(" ", "-"))
each_radiograph = pytest.mark.parametrize(
    "case",
    [case for case in CASES if case[1] == "radiograph"],
    ids=lambda case: "-".join(map(str, case)).replace(" ", "-"),
)
# NIfTI keeps its geometry in numbers of 32 bits, so 500 mm are known to 3e-5 mm; a micrometre is asked of the rest.
FORMATS = {".nrrd": 1e-6, ".nii": 1e-4, ".nii.gz": 1e-4, ".mha": 1e-6}
# Positions in a markups file have 5 decimals.
SLICER_FORMATS = {".nrrd": 2e-5, ".nii.gz": 1e-4}


def random_direction(kind: str, rng: np.random.Generator) -> FloatArray:
    """Directions (3, 3) of the image's axes, as columns: a permutation with signs or any rotation, of either hand."""
    if "permuted" in kind:
        direction = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    else:
        direction = Rotation.random(random_state=rng).as_matrix()
    if (np.linalg.det(direction) < 0) != ("left-handed" in kind):
        direction[:, rng.integers(3)] *= -1
    return direction


def random_image(case: tuple[str, str, int]) -> tuple[sitk.Image, np.random.Generator]:
    """An image without two voxels alike: 0.05 to 5 mm along each axis, its first voxel up to 500 mm away."""
    kind, what, seed = case
    rng = np.random.default_rng([KINDS.index(kind), what == "volume", seed])
    size = (*rng.integers(32, 90, 2), 1) if what == "radiograph" else tuple(rng.integers(6, 26, 3))
    image = sitk.GetImageFromArray(rng.permutation(np.prod(size)).astype(np.uint16).reshape(size[::-1]))
    image.SetSpacing(np.exp(rng.uniform(np.log(0.05), np.log(5), 3)).tolist())
    image.SetOrigin(rng.uniform(-500, 500, 3).tolist())
    image.SetDirection(random_direction(kind, rng).ravel().tolist())
    return image, rng


def positions(image: sitk.Image, rng: np.random.Generator, count: int = 30) -> FloatArray:
    """Indices (N, 3) i, j, k off the voxel centres, those of a radiograph in its plane; none halfway between voxels."""
    voxel = rng.integers(0, image.GetSize(), (count, 3))
    return voxel + rng.uniform(-0.4, 0.4, (count, 3)) * (np.array(image.GetSize()) > 1)


def simpleitk_lps_mm(image: sitk.Image, index_ijk: FloatArray) -> FloatArray:
    return np.array([image.TransformContinuousIndexToPhysicalPoint(i.tolist()) for i in index_ijk])


def voxels_at(voxels_zyx: NDArray[Any], index_ijk: FloatArray) -> NDArray[Any]:
    i, j, k = np.rint(index_ijk).astype(int).T
    return voxels_zyx[k, j, i]


def landmarks_at(points_lps_mm: FloatArray) -> LandmarkSet:
    count = len(points_lps_mm)
    return LandmarkSet(
        names=tuple(f"point_{i}" for i in range(count)),
        structures=("heart",) * count,
        points_lps_mm=points_lps_mm,
        predicted_lps_mm=points_lps_mm,
        presence=(Presence.PRESENT,) * count,
        review=(Review.PREDICTED,) * count,
        confidence=np.ones(count),
        covariance_mm2=np.zeros((count, 3, 3)),
        template_uv=np.zeros((count, 2)),
    )


def slicer_matrix(fill: Callable[[Any], None]) -> FloatArray:
    """The matrix (4, 4) that one of Slicer's getters fills."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    fill(matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def slicer_voxels(image_data: Any) -> NDArray[Any]:
    """Voxels (z, y, x) of Slicer's image."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    return vtk_to_numpy(image_data.GetPointData().GetScalars()).reshape(image_data.GetDimensions()[::-1])


@each_case
def test_a_landmark_has_the_millimetres_that_simpleitk_gives_it(case: tuple[str, str, int]) -> None:
    image, rng = random_image(case)
    index = rng.uniform(-10, 100, (100, 3))
    expected = simpleitk_lps_mm(image, index)
    np.testing.assert_allclose(
        lps_mm_from_index(ImageGeometry.of(image, SpacingSource.GIVEN), index), expected, rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(
        index_from_lps_mm(ImageGeometry.of(image, SpacingSource.GIVEN), expected), index, rtol=1e-9, atol=1e-9
    )
    back = [
        image.TransformPhysicalPointToContinuousIndex(p)
        for p in lps_mm_from_index(ImageGeometry.of(image, SpacingSource.GIVEN), index).tolist()
    ]
    np.testing.assert_allclose(back, index, rtol=1e-9, atol=1e-9)


@each_radiograph
def test_a_pixel_of_a_radiograph_has_the_millimetres_that_simpleitk_gives_it(case: tuple[str, str, int]) -> None:
    image, rng = random_image(case)
    points_px = rng.uniform(-10, 100, (100, 2))
    expected = simpleitk_lps_mm(image, np.column_stack([points_px, np.zeros(100)]))
    np.testing.assert_allclose(
        lps_mm_from_pixels(ImageGeometry.of(image, SpacingSource.GIVEN), points_px), expected, rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(
        pixels_from_lps_mm(ImageGeometry.of(image, SpacingSource.GIVEN), expected), points_px, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("suffix", FORMATS)
@each_radiograph
def test_a_saved_radiograph_hangs_where_it_hung(tmp_path: Path, case: tuple[str, str, int], suffix: str) -> None:
    image, rng = random_image(case)
    sitk.WriteImage(image, tmp_path / f"a{suffix}")
    index = positions(image, rng)
    read = read_image(tmp_path / f"a{suffix}").volume
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read), sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(
        lps_mm_from_index(ImageGeometry.of(read, SpacingSource.GIVEN), index),
        simpleitk_lps_mm(image, index),
        atol=FORMATS[suffix],
    )


@pytest.mark.parametrize("suffix", [".nrrd", ".nii", ".mha"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_radiograph_with_two_axes_hangs_where_slicer_hangs_it(
    tmp_path: Path, read_in_slicer: ReadInSlicer, mirrored: bool, suffix: str
) -> None:
    """Its file says nothing about the third axis: everybody must add the same one."""
    cosine, sine = np.cos(0.5), np.sin(0.5)
    direction = np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([1, -1 if mirrored else 1])
    image = sitk.GetImageFromArray(np.arange(48 * 64, dtype=np.uint16).reshape(48, 64))
    image.SetSpacing((0.5, 0.8))
    image.SetOrigin((-20, 35))
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, tmp_path / f"a{suffix}")
    points_px = np.array([[0, 0], [63, 0], [0, 47], [20.5, 30.25]])
    expected = np.column_stack([points_px * [0.5, 0.8] @ direction.T + [-20, 35], np.zeros(4)])
    np.testing.assert_allclose(
        lps_mm_from_pixels(read_image(tmp_path / f"a{suffix}").geometry, points_px), expected, atol=1e-4
    )
    node = read_in_slicer("vtkMRMLScalarVolumeNode", "vtkMRMLVolumeArchetypeStorageNode", tmp_path / f"a{suffix}")
    to_ras = slicer_matrix(node.GetIJKToRASMatrix)
    shown_ras = points_px @ to_ras[:3, :2].T + to_ras[:3, 3]
    np.testing.assert_allclose(shown_ras * [-1, -1, 1], expected, atol=1e-4)


@pytest.mark.parametrize("suffix", SLICER_FORMATS)
@each_case
def test_slicer_shows_a_landmark_on_the_voxel_that_it_was_found_on(
    tmp_path: Path, read_in_slicer: ReadInSlicer, case: tuple[str, str, int], suffix: str
) -> None:
    image, rng = random_image(case)
    index = positions(image, rng)
    write_markups(
        tmp_path / "a.mrk.json",
        landmarks_at(lps_mm_from_index(ImageGeometry.of(image, SpacingSource.GIVEN), index)),
        "mm",
    )
    sitk.WriteImage(image, tmp_path / f"a{suffix}")

    markups = read_in_slicer("vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsJsonStorageNode", tmp_path / "a.mrk.json")
    volume = read_in_slicer("vtkMRMLScalarVolumeNode", "vtkMRMLVolumeArchetypeStorageNode", tmp_path / f"a{suffix}")
    ras = np.array([markups.GetNthControlPointPositionWorld(i) for i in range(len(index))])
    np.testing.assert_allclose(ras * [-1, -1, 1], simpleitk_lps_mm(image, index), atol=1e-5)
    ras_to_ijk = slicer_matrix(volume.GetRASToIJKMatrix)
    found = ras @ ras_to_ijk[:3, :3].T + ras_to_ijk[:3, 3]

    shown = slicer_voxels(volume.GetImageData())
    stored = sitk.GetArrayFromImage(image)
    np.testing.assert_array_equal(voxels_at(shown, found), voxels_at(stored, index))
    # Slicer turns left-handed volumes round as it reads them: the same voxel then has another k, so only places, never
    # indices, may be handed to it or taken from it.
    if "left-handed" in case[0] and image.GetSize()[2] > 1:
        found[:, 2] = image.GetSize()[2] - 1 - found[:, 2]
    np.testing.assert_allclose((found - index) * image.GetSpacing(), 0, atol=SLICER_FORMATS[suffix])


@each_case
def test_slicer_lays_structures_on_the_voxels_that_they_were_found_on(
    tmp_path: Path, read_in_slicer: ReadInSlicer, case: tuple[str, str, int]
) -> None:
    import slicer

    image, rng = random_image(case)
    styles = [StructureStyle.from_dict(raw) for raw in json.loads(STYLES.read_text())][:3]
    masks = np.stack([random_blob(image, rng) for _ in styles])
    write_segmentation(tmp_path / "a.seg.nrrd", masks, ImageGeometry.of(image, SpacingSource.GIVEN), styles)
    node = read_in_slicer("vtkMRMLSegmentationNode", "vtkMRMLSegmentationStorageNode", tmp_path / "a.seg.nrrd")
    for style, mask in zip(styles, masks, strict=True):
        segment = slicer.vtkOrientedImageData()
        assert node.GetBinaryLabelmapRepresentation(style.name, segment)
        to_ras = slicer_matrix(segment.GetImageToWorldMatrix)
        shown_ijk = np.argwhere(slicer_voxels(segment) > 0)[:, ::-1] + np.array(segment.GetExtent()[::2])
        shown_lps_mm = (shown_ijk @ to_ras[:3, :3].T + to_ras[:3, 3]) * [-1, -1, 1]
        centroid = simpleitk_lps_mm(image, np.argwhere(mask)[:, ::-1].mean(axis=0)[None])[0]
        np.testing.assert_allclose(shown_lps_mm.mean(axis=0), centroid, atol=1e-6)
        on_image = np.zeros_like(mask)
        for point in shown_lps_mm.tolist():
            i, j, k = image.TransformPhysicalPointToIndex(point)
            on_image[k, j, i] = True
        np.testing.assert_array_equal(on_image, mask)


def random_blob(image: sitk.Image, rng: np.random.Generator) -> NDArray[np.bool_]:
    """An ellipsoid (z, y, x) with a bite taken out, so that none of its mirror images is itself."""
    size = np.array(image.GetSize())
    index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1)
    centre, radius = rng.uniform(0.3, 0.7, 3) * (size - 1), rng.uniform(0.15, 0.3, 3) * size + 1
    away = (index - centre) / radius
    blob = ((away**2).sum(axis=-1) < 1) & ~((away > 0.1) | (size == 1)).all(axis=-1)
    assert blob.any()
    return blob.transpose(2, 1, 0)


@each_radiograph
def test_another_spacing_moves_landmarks_in_millimetres_and_leaves_them_on_their_pixels(
    tmp_path: Path, case: tuple[str, str, int]
) -> None:
    """A person corrects the spacing: distances change, what a landmark lies on does not."""
    image, rng = random_image(case)
    direction, origin = np.array(image.GetDirection()).reshape(3, 3), np.array(image.GetOrigin())
    points_px = rng.uniform(0, 80, (30, 2))
    sitk.WriteImage(image, tmp_path / "a.nrrd")
    for spacing in ((0.05, 5.0), (0.143, 0.143), tuple(rng.uniform(0.05, 5, 2))):
        corrected = read_image(tmp_path / "a.nrrd", spacing_mm=spacing)
        np.testing.assert_array_equal(corrected.pixels_yx, sitk.GetArrayFromImage(image)[0])
        lps_mm = lps_mm_from_pixels(corrected.geometry, points_px)
        in_plane = (points_px * spacing) @ direction[:, :2].T
        np.testing.assert_allclose(lps_mm, origin + in_plane, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(pixels_from_lps_mm(corrected.geometry, lps_mm), points_px, rtol=1e-9, atol=1e-9)
