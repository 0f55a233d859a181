"""Contours and masks agree: no pixel counted twice, none lost."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from DenseLandmarksLib.landmarks.polygon import contains, distance_outside, polygon_mask


def star(seed: int, points: int = 31) -> NDArray[np.float64]:
    """A jagged star-shaped contour around (40, 30)."""
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, points))
    radius = rng.uniform(4, 26, points)
    return np.array([40.0, 30.0]) + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def test_a_rectangle_covers_the_pixels_whose_centres_it_holds() -> None:
    mask = polygon_mask([(2.5, 1.5), (6.4, 1.5), (6.4, 4.6), (2.5, 4.6)], (8, 10))
    expected = np.zeros((8, 10), bool)
    expected[2:5, 3:7] = True
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_inside_agrees_with_matplotlib(seed: int) -> None:
    contour = star(seed)
    points = np.random.default_rng(100 + seed).uniform(0, 80, (2000, 2))
    np.testing.assert_array_equal(contains(contour, points), Outline(contour).contains_points(points))


@pytest.mark.parametrize("seed", range(5))
def test_how_far_outside_agrees_with_the_nearest_of_many_points_on_the_line(seed: int) -> None:
    contour = star(seed)
    points = np.random.default_rng(200 + seed).uniform(-20, 100, (300, 2))
    share = np.linspace(0, 1, 400)[:, None, None]
    line = ((1 - share) * contour + share * np.roll(contour, -1, axis=0)).reshape(-1, 2)
    expected = np.linalg.norm(points[:, None] - line, axis=2).min(axis=1)
    expected[contains(contour, points)] = 0
    np.testing.assert_allclose(distance_outside(contour, points), expected, atol=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_the_mask_is_the_inside_of_the_contour(seed: int) -> None:
    contour = star(seed) * 1.5 - 30  # reaches over the border of the image
    y, x = np.mgrid[:60, :70]
    inside = contains(contour, np.stack([x.ravel(), y.ravel()], axis=1)).reshape(60, 70)
    mask = polygon_mask(contour, (60, 70))
    assert mask[:, 0].any() or mask[0].any() or mask[-1].any()
    np.testing.assert_array_equal(mask, inside)
    np.testing.assert_array_equal(polygon_mask(contour[::-1], (60, 70)), mask)  # the direction of drawing is nothing


def test_neighbours_that_share_an_edge_through_pixel_centres_share_no_pixel_and_leave_none_out() -> None:
    left = polygon_mask([(1, 1), (5, 1), (8, 8), (1, 8)], (10, 10))
    right = polygon_mask([(5, 1), (9, 1), (9, 8), (8, 8)], (10, 10))
    whole = polygon_mask([(1, 1), (9, 1), (9, 8), (1, 8)], (10, 10))
    assert not (left & right).any()
    np.testing.assert_array_equal(left | right, whole)


def test_a_contour_that_crosses_itself_is_empty_where_it_winds_twice() -> None:
    outer, inner = [(0.5, 0.5), (9.5, 0.5), (9.5, 9.5), (0.5, 9.5)], [(3.5, 3.5), (6.5, 3.5), (6.5, 6.5), (3.5, 6.5)]
    mask = polygon_mask([*outer, outer[0], *inner, inner[0]], (11, 11))
    assert mask.sum() == 81 - 9
    assert not mask[5, 5]


def test_a_contour_beside_the_image_or_without_area_is_no_mask() -> None:
    assert not polygon_mask(star(0) + 500, (60, 70)).any()
    assert not polygon_mask(star(0) * [1, 0] + [0, 20], (60, 70)).any()
