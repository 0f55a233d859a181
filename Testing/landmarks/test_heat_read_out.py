"""Peaks are found where they are: between pixels, at the border, in the plane and in space."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from DenseLandmarksLib.landmarks.heat_read_out import SPREAD_REACH, HeatKind, read_heat, taught_peak

FloatArray = NDArray[np.float64]

PLANE, SPACE = (40, 52), (24, 30, 27)


def gaussians(points: FloatArray, size: tuple[int, ...], sigma: float = 2.0) -> NDArray[np.float32]:
    """Heatmaps (N, *size) with a Gaussian 1 high at each of the points (N, D), order x, y(, z)."""
    places = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1)[..., ::-1]
    squared = ((places - points.reshape(len(points), *[1] * len(size), -1)) ** 2).sum(axis=-1)
    return np.exp(-squared / (2 * sigma**2)).astype(np.float32)


def somewhere(size: tuple[int, ...], count: int = 20, margin: float = 9.0) -> FloatArray:
    rng = np.random.default_rng(0)
    return rng.uniform(margin, np.array(size[::-1]) - 1 - margin, (count, len(size)))


@pytest.mark.parametrize("size", [PLANE, SPACE], ids=["plane", "space"])
def test_a_peak_between_pixels_is_found_there(size: tuple[int, ...]) -> None:
    points = somewhere(size)
    heat = gaussians(points, size)
    read = read_heat(heat, "regression")
    # A parabola through three points of a Gaussian of this sigma is right to a hundredth of a pixel.
    np.testing.assert_allclose(read.points, points, atol=0.015)
    as_distribution = read_heat(np.log(gaussians(points, size, 1.2) + 1e-30), "distribution")
    np.testing.assert_allclose(as_distribution.points, points, atol=0.03)
    for kind in ("regression", "distribution"):
        whole = read_heat(heat, kind, sub_pixel=False)
        np.testing.assert_array_equal(whole.points, np.rint(points))


@pytest.mark.parametrize("size", [PLANE, SPACE], ids=["plane", "space"])
def test_the_spread_is_that_of_the_heatmap_in_the_order_of_the_point(size: tuple[int, ...]) -> None:
    """A Gaussian that is wide along x and narrow along the last axis."""
    points = somewhere(size)
    sds = np.array([2.2, 1.6, 1.2])[: len(size)]
    places = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), axis=-1)[..., ::-1]
    squared = (((places - points.reshape(len(points), *[1] * len(size), -1)) / sds) ** 2).sum(axis=-1)
    expected = np.broadcast_to(np.diag(sds**2), (len(points), len(size), len(size)))
    for kind, heat in (("regression", np.exp(-squared / 2)), ("distribution", -squared / 2)):
        read = read_heat(heat.astype(np.float32), kind)  # type: ignore[arg-type]
        np.testing.assert_allclose(read.covariance, expected, atol=0.12)


def test_a_tilted_spread_is_tilted_as_the_heatmap() -> None:
    y, x = np.indices(PLANE) - np.array([18, 25])[:, None, None]
    squared = ((x + y) / np.sqrt(2) / 2.0) ** 2 + ((x - y) / np.sqrt(2) / 1.0) ** 2
    read = read_heat(np.exp(-squared / 2)[None].astype(np.float32), "regression")
    np.testing.assert_allclose(read.covariance[0], [[2.5, 1.5], [1.5, 2.5]], atol=0.05)


def test_the_strength_of_a_regression_is_its_height_as_taught() -> None:
    sigma = np.array([2.0, 3.0])
    points = np.array([[20.0, 18.0], [30.0, 20.0]])
    # SCN's: 100 / (2 pi sigma^2), of which the second is half as high as it should be.
    heat = np.concatenate(
        [gaussians(points[:1], PLANE) * 100 / (2 * np.pi * 4), gaussians(points[1:], PLANE, 3.0) * 50 / (2 * np.pi * 9)]
    )
    read = read_heat(heat, "regression", peak=taught_peak(100.0, True, sigma, 2))
    np.testing.assert_allclose(read.strength, [1.0, 0.5], atol=1e-5)
    np.testing.assert_allclose(taught_peak(44.0, False, sigma, 2), [44.0, 44.0])
    np.testing.assert_allclose(taught_peak(1000.0, True, 4.0, 3), 1000 / ((2 * np.pi) ** 1.5 * 64))


def test_the_strength_of_a_distribution_is_the_probability_of_the_peak() -> None:
    """Two places, one of which has three quarters: half a peak is no sure landmark."""
    both = 0.75 * gaussians(np.array([[12.0, 12.0]]), PLANE, 0.8) + 0.25 * gaussians(
        np.array([[40.0, 25.0]]), PLANE, 0.8
    )
    logits = np.log(both + 1e-12) + 123.0  # logits have no zero of their own
    read = read_heat(logits.astype(np.float32), "distribution")
    np.testing.assert_allclose(read.points, [[12, 12]], atol=1e-4)
    np.testing.assert_allclose(read.strength, [0.75], atol=1e-3)
    flat = read_heat(np.zeros((1, *PLANE), np.float32), "distribution")
    assert flat.strength[0] < 49 / np.prod(PLANE) + 1e-9


def test_a_peak_at_the_border_stays_in_the_map() -> None:
    corners = np.array([[0.0, 0.0], [51.0, 39.0], [51.0, 20.3], [-0.4, 10.0]])
    heat = gaussians(corners, PLANE)
    read = read_heat(heat, "regression")
    np.testing.assert_allclose(read.points, [[0, 0], [51, 39], [51, 20.3], [0, 10]], atol=0.02)
    soft = read_heat(np.log(heat + 1e-30), "distribution")
    assert (soft.points >= 0).all()
    assert (soft.points <= [51, 39]).all()
    for found in (read, soft):
        # A quarter of a Gaussian of 2 pixels is no wider than all of it: beyond the border there is nothing.
        np.testing.assert_array_less(np.diagonal(found.covariance, axis1=1, axis2=2), 4.2)
        np.testing.assert_array_less(1.3, np.diagonal(found.covariance, axis1=1, axis2=2))


def test_no_parabola_throws_a_landmark_away() -> None:
    """Plateaus and steps have no curvature to divide by, and none moves a point by more than half a pixel."""
    heat = np.zeros((3, *PLANE), np.float32)
    heat[0, 10:13, 10:13] = 1.0  # a plateau, whose first pixel is the maximum
    heat[1, :, 20:] = 1.0
    heat[2] = 7.0
    read = read_heat(heat, "regression")
    first = np.array([[10, 10], [20, 0], [0, 0]])
    assert (np.abs(read.points - first) <= 0.5).all()
    assert np.isfinite(read.covariance).all()


def test_heat_below_zero_is_no_heat() -> None:
    heat = gaussians(np.array([[20.0, 18.0]]), PLANE)
    read = read_heat(heat - 0.2 * (heat < 1e-3), "regression")
    np.testing.assert_allclose(read.covariance, read_heat(heat, "regression").covariance, atol=0.1)
    # Nowhere any heat: the landmark is anywhere, and nothing says that it is there.
    nothing = read_heat(np.full((1, *PLANE), -1.0, np.float32), "regression", peak=1.0)
    assert nothing.strength[0] == 0
    empty = read_heat(np.zeros((1, 41, 41), np.float32) - (np.indices((41, 41)) != 20).any(axis=0), "regression")
    width = 2 * SPREAD_REACH + 1
    np.testing.assert_allclose(empty.covariance[0], (width**2 - 1) / 12 * np.eye(2), atol=1e-9)


@pytest.mark.parametrize("kind", ["regression", "distribution"])
def test_each_landmark_is_read_for_itself(kind: HeatKind) -> None:
    heat = np.random.default_rng(0).normal(size=(5, *PLANE)).astype(np.float32)
    peaks = np.arange(1.0, 6.0)
    together = read_heat(heat, kind, peak=peaks)
    for n in range(5):
        alone = read_heat(heat[n : n + 1], kind, peak=peaks[n])
        for name in ("points", "covariance", "strength"):
            np.testing.assert_allclose(getattr(alone, name)[0], getattr(together, name)[n], rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 4, 5, 6), (0, 8, 8)])
def test_what_is_no_stack_of_heatmaps_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected heatmaps"):
        read_heat(np.zeros(shape, np.float32), "regression")
