"""An altered image and its landmarks stay together: a table of robustness is worth nothing otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass

from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import VIEWS
from training.alterations import ALTERATIONS, CROP, DICOM_BITS, Alteration, seen_through

SIZE, SPACING = (180, 220), (0.8, 0.5)  # height, width; x, y
DOTS = np.array([[60.0, 50.0], [150.0, 60.0], [110.0, 95.0], [70.0, 130.0], [160.0, 140.0]])
MOVING = {**ALTERATIONS, **{f"seen {view}": seen_through(view) for view in VIEWS}}


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def with_dots(dots: NDArray[np.float64]) -> MedicalImage:
    """Gaussian dots on a grey ground between a black and a white corner, so that nothing rescales the grey values."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    pixels = np.full(SIZE, 0.5)
    for centre in dots:
        pixels += 0.45 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * 3.0**2))
    pixels[:2, :2], pixels[-2:, -2:] = 0, 1
    volume = sitk.GetImageFromArray((pixels * 60000).astype(np.uint16)[None])
    volume.SetSpacing((*SPACING, 1.0))
    return MedicalImage(volume, SpacingSource.GIVEN, "dots")


@pytest.mark.parametrize("name", MOVING)
def test_a_dot_lies_under_its_landmark(name: str) -> None:
    image = with_dots(DOTS)
    altered, points = MOVING[name](image, DOTS, rng())
    pixels = altered.pixels_yx.astype(float)
    empty, _ = MOVING[name](with_dots(np.zeros((0, 2))), DOTS, rng())
    difference = np.abs(pixels - empty.pixels_yx)
    kept = np.isfinite(points).all(axis=1)
    assert kept.sum() >= 3
    for x, y in points[kept]:
        window = np.s_[max(round(y) - 12, 0) : round(y) + 13, max(round(x) - 12, 0) : round(x) + 13]
        if min(x, y, pixels.shape[1] - 1 - x, pixels.shape[0] - 1 - y) < 12 or not difference[window].any():
            continue  # cut by the border, or beneath a collimator
        row, column = center_of_mass(difference[window])
        assert window[1].start + column == pytest.approx(x, abs=0.4)
        assert window[0].start + row == pytest.approx(y, abs=0.4)


@pytest.mark.parametrize("name", MOVING)
def test_the_spacing_still_says_how_large_things_are(name: str) -> None:
    altered, points = MOVING[name](with_dots(DOTS), DOTS, rng())
    kept = np.isfinite(points).all(axis=1)
    spacing = np.array(altered.volume.GetSpacing()[:2])

    def distances(of: NDArray[np.float64], mm: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.linalg.norm((of[:, None] - of[None]) * mm, axis=2)

    np.testing.assert_allclose(distances(points[kept], spacing), distances(DOTS[kept], np.array(SPACING)), rtol=1e-6)


def test_a_crop_takes_a_fifth_and_what_lies_outside_is_no_landmark_any_more() -> None:
    corners = np.array([[1.0, 1.0], [218.0, 1.0], [1.0, 178.0], [218.0, 178.0], [110.0, 90.0]])
    altered, points = ALTERATIONS["20 % cropped"](with_dots(DOTS), corners, rng())
    assert altered.volume.GetSize()[:2] == (round(220 * (1 - CROP)), round(180 * (1 - CROP)))
    assert np.isnan(points[:4]).any()
    assert np.isfinite(points[4]).all()


def test_inverting_twice_gives_the_image_back() -> None:
    image = with_dots(DOTS)
    inverted: Alteration = ALTERATIONS["inverted"]
    twice, _ = inverted(inverted(image, DOTS, rng())[0], DOTS, rng())
    once = ALTERATIONS["gamma 0.5"](image, DOTS, rng())[0].pixels_yx / 65535
    np.testing.assert_allclose(twice.pixels_yx / 65535, image.pixels_yx / 60000, atol=1e-4)
    np.testing.assert_allclose(once**2, image.pixels_yx / 60000, atol=1e-4)


def test_the_dicom_file_really_has_twelve_bits_and_its_own_spacing() -> None:
    altered, _ = ALTERATIONS["12-bit DICOM"](with_dots(DOTS), DOTS, rng())
    assert altered.spacing_source is SpacingSource.DETECTOR
    assert altered.volume.GetSpacing()[:2] == pytest.approx(SPACING)
    assert altered.acquisition.modality == "DX"
    pixels = altered.pixels_yx
    assert pixels.max() - pixels.min() == 2**DICOM_BITS - 1
    # Stored as MONOCHROME1: bright stays bright.
    assert pixels[round(DOTS[2, 1]), round(DOTS[2, 0])] > pixels[30, 30]
