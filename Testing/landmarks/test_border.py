"""Landmarks of a contour are drawn to the border of their mask; nothing else is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from DenseLandmarksLib.landmarks.border import TRUST, draw_to_border, trace_border
from DenseLandmarksLib.landmarks.locate import locate_landmarks
from DenseLandmarksLib.landmarks.template import Template, build_template
from DenseLandmarksLib.landmarks.uv_field import UvField
from DenseLandmarksLib.landmarks.uv_maps import draw_uv_map

SIZE = (64, 64)
CENTRE, RADIUS = np.array([30.3, 33.8]), 17.4


def disc() -> NDArray[np.float32]:
    """Logits whose zero crossing is a circle of RADIUS about CENTRE."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return (RADIUS - np.hypot(x - CENTRE[0], y - CENTRE[1])).astype(np.float32)


def test_the_border_of_a_disc_is_found_to_a_fraction_of_a_pixel() -> None:
    border = trace_border(disc(), disc() > 0)
    assert len(border) > 60
    np.testing.assert_allclose(np.linalg.norm(border - CENTRE, axis=1), RADIUS, atol=0.02)
    np.testing.assert_array_equal(border[0], border[-1])


def test_an_island_beside_the_structure_leaves_no_border() -> None:
    logits = disc()
    mask = logits > 0
    logits[2:8, 2:60] = 5.0
    np.testing.assert_allclose(np.linalg.norm(trace_border(logits, mask) - CENTRE, axis=1), RADIUS, atol=0.02)


@pytest.mark.parametrize("filled", [False, True])
def test_a_mask_without_a_border_moves_nothing(filled: bool) -> None:
    mask = np.full(SIZE, filled)
    border = trace_border(np.where(mask, 1, -1).astype(np.float32), mask)
    assert border.shape == (0, 2)
    points = np.array([[3.0, 4.0]])
    np.testing.assert_array_equal(draw_to_border(points, border, 10), points)


def test_a_landmark_near_the_border_moves_towards_it_and_one_far_away_stays() -> None:
    border = trace_border(disc(), disc() > 0)
    direction = np.array([0.6, -0.8])
    near, far = CENTRE + (RADIUS + 2.0) * direction, CENTRE + (RADIUS - 9.0) * direction
    moved = draw_to_border(np.stack([near, far]), border, reach=5.0)
    np.testing.assert_allclose(moved[0], CENTRE + (RADIUS + 2.0 * (1 - TRUST)) * direction, atol=0.05)
    np.testing.assert_array_equal(moved[1], far)


def test_where_a_closed_border_begins_makes_no_difference() -> None:
    border = trace_border(disc(), disc() > 0)
    turned = np.vstack([np.roll(border[:-1], 7, axis=0), np.roll(border[:-1], 7, axis=0)[:1]])
    beside_the_seam = border[-1] + 0.3 * (border[-2] - border[-1]) + np.array([[0.4, 0.3], [-0.2, 0.5]])
    moved = draw_to_border(beside_the_seam, border, reach=5.0)
    np.testing.assert_allclose(moved, draw_to_border(beside_the_seam, turned, reach=5.0), atol=1e-12)


def test_only_landmarks_of_the_contour_are_drawn_to_it() -> None:
    """A uv map that is a little too large puts the contour outside the mask: its landmarks come back, others stay."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    template: Template = build_template(
        {"disc": (CENTRE + RADIUS * circle + 0.5)[None]}, {"disc": [f"p{i}" for i in range(24)]}, (64.0, 64.0)
    ).with_landmark("disc", "inside", (0.5, 0.0))
    (structure,) = template.structures
    uv = draw_uv_map(structure, CENTRE + (RADIUS + 1.5) * circle, SIZE)
    plain = UvField(("disc",), uv[None], None, np.ones((1, *SIZE), bool), 1)
    border = replace(plain, borders=(trace_border(disc(), disc() > 0),), _indices={})
    before, after = (locate_landmarks(field, template, SIZE).points for field in (plain, border))
    # The reach on this small grid is 1.9 pixels.
    np.testing.assert_allclose(np.linalg.norm(before[:24] - CENTRE, axis=1), RADIUS + 1.5, atol=0.1)
    np.testing.assert_allclose(np.linalg.norm(after[:24] - CENTRE, axis=1), RADIUS + 1.5 * (1 - TRUST), atol=0.1)
    np.testing.assert_array_equal(after[24], before[24])
