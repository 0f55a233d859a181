"""Index, pixel and LPS millimetres: the same place, however the image lies in space."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.geometry.frames import (
    index_from_lps_mm,
    lps_mm2_from_pixel_covariance,
    lps_mm_from_index,
    lps_mm_from_pixels,
    pixels_from_lps_mm,
)
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage

ANGLE = np.deg2rad(30)
# Columns are where the image's i, j and k axes point to: turned by 30 degrees about the first axis.
OBLIQUE = np.array([[1, 0, 0], [0, np.cos(ANGLE), -np.sin(ANGLE)], [0, np.sin(ANGLE), np.cos(ANGLE)]])
CORONAL = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])  # a standing patient's radiograph: j runs from head to foot


def volume(size: tuple[int, int, int], direction: np.ndarray = OBLIQUE) -> sitk.Image:
    image = sitk.Image(size, sitk.sitkInt16)
    image.SetSpacing((0.5, 0.8, 2.0))
    image.SetOrigin((-20.0, 35.0, 4.0))
    image.SetDirection(direction.ravel().tolist())
    return image


def geometry_of(image: sitk.Image) -> ImageGeometry:
    return ImageGeometry.of(image, SpacingSource.GIVEN)


@pytest.mark.parametrize("direction", [np.eye(3), OBLIQUE, CORONAL, OBLIQUE @ CORONAL])
def test_frames_are_those_of_simpleitk(direction: np.ndarray) -> None:
    image = volume((40, 30, 20), direction)
    index = np.random.default_rng(0).uniform(-5, 45, (30, 3))
    expected = [image.TransformContinuousIndexToPhysicalPoint(i.tolist()) for i in index]
    np.testing.assert_allclose(lps_mm_from_index(geometry_of(image), index), expected, atol=1e-9)
    np.testing.assert_allclose(index_from_lps_mm(geometry_of(image), expected), index, atol=1e-9)


def test_a_known_pixel_of_a_standing_radiograph_is_where_it_hangs() -> None:
    image = volume((40, 30, 1), CORONAL)
    # 10 pixels of 0.5 mm to the patient's left, 20 pixels of 0.8 mm towards the feet.
    np.testing.assert_allclose(lps_mm_from_pixels(geometry_of(image), [[10, 20]]), [[-20 + 5, 35, 4 - 16]])


def test_pixels_come_back_from_millimetres() -> None:
    image = volume((40, 30, 1))
    points_px = np.random.default_rng(1).uniform(-2, 42, (25, 2))
    np.testing.assert_allclose(
        pixels_from_lps_mm(geometry_of(image), lps_mm_from_pixels(geometry_of(image), points_px)), points_px, atol=1e-9
    )


def test_correcting_the_spacing_leaves_every_point_on_its_pixel() -> None:
    image = volume((40, 30, 1))
    before = lps_mm_from_pixels(geometry_of(image), [[12.5, 7.25]])
    image.SetSpacing((1.0, 1.6, 2.0))
    after = lps_mm_from_pixels(geometry_of(image), [[12.5, 7.25]])
    np.testing.assert_allclose(after - image.GetOrigin(), 2 * (before - image.GetOrigin()))


def test_a_covariance_turns_and_stretches_with_the_image() -> None:
    image = volume((40, 30, 1), OBLIQUE @ CORONAL)
    covariance_px2 = np.array([[[2.0, 0.6], [0.6, 0.5]], [[1.0, 0.0], [0.0, 3.0]]])
    got = lps_mm2_from_pixel_covariance(geometry_of(image), covariance_px2)
    draws = np.random.default_rng(2).multivariate_normal([10, 10], covariance_px2[0], 200_000)
    np.testing.assert_allclose(got[0], np.cov(lps_mm_from_pixels(geometry_of(image), draws).T), atol=0.01)
    # Closed form of the second: variances times squared spacings along the image's axes, nothing across its plane.
    i, j, k = (OBLIQUE @ CORONAL).T
    np.testing.assert_allclose(got[1], 1.0 * 0.25 * np.outer(i, i) + 3.0 * 0.64 * np.outer(j, j), atol=1e-12)
    np.testing.assert_allclose(got[1] @ k, 0, atol=1e-12)


def test_a_length_without_a_known_spacing_is_never_called_millimetres() -> None:
    image = volume((40, 30, 1))
    assert MedicalImage(image, SpacingSource.UNKNOWN).unit == "px"
    assert {MedicalImage(image, s).unit for s in SpacingSource if s is not SpacingSource.UNKNOWN} == {"mm"}


def test_only_a_scalar_image_with_three_axes_is_an_image() -> None:
    for wrong in (sitk.Image((4, 4), sitk.sitkUInt8), sitk.Image((4, 4, 1), sitk.sitkVectorUInt8, 3)):
        with pytest.raises(ValueError, match="three axes"):
            MedicalImage(wrong, SpacingSource.UNKNOWN)


def test_the_pixels_of_a_volume_are_not_taken_for_a_radiograph() -> None:
    image = MedicalImage(volume((40, 30, 2)), SpacingSource.CALIBRATED)
    assert not image.is_radiograph
    with pytest.raises(ValueError, match="radiograph"):
        _ = image.pixels_yx
