"""A landmark that lies beside where the others suggest it says so by how far, whatever pose they are in."""

from __future__ import annotations

import numpy as np
import pytest

from DenseLandmarksLib.landmarks.off_others import off_others_mm

MM_PER_PIXEL = 0.5
TEMPLATE_MM = np.random.default_rng(0).uniform(20, 180, (12, 2))


def posed(scale: float, turn_deg: float) -> np.ndarray:
    """The template's landmarks in a pose, grid pixels."""
    angle = np.deg2rad(turn_deg)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (scale * TEMPLATE_MM @ rotation.T + [30.0, -8.0]) / MM_PER_PIXEL


@pytest.mark.parametrize(("scale", "turn_deg"), [(1.0, 0.0), (0.6, 25.0), (1.7, -170.0)])
def test_what_is_moved_is_as_far_off_as_it_was_moved_at_the_templates_size(scale: float, turn_deg: float) -> None:
    points = posed(scale, turn_deg)
    np.testing.assert_allclose(off_others_mm(points, np.ones(12), TEMPLATE_MM, MM_PER_PIXEL), 0, atol=1e-9)
    points[4] += np.array([3.0, 4.0]) * scale * 8 / MM_PER_PIXEL
    off = off_others_mm(points, np.ones(12), TEMPLATE_MM, MM_PER_PIXEL)
    assert off[4] == pytest.approx(40, rel=1e-6)  # it has no part in what it is held against
    assert np.delete(off, 4).max() < 1.5


def test_what_is_hardly_seen_hardly_tells_where_the_others_are() -> None:
    points = posed(1.0, 0.0)
    points[:5] += np.random.default_rng(1).normal(0, 60, (5, 2))
    strength = np.where(np.arange(12) < 5, 0.02, 1.0)
    off = off_others_mm(points, strength, TEMPLATE_MM, MM_PER_PIXEL)
    assert off[5:].max() < 0.1
    np.testing.assert_allclose(off[:5], np.linalg.norm(points[:5] - posed(1.0, 0.0)[:5], axis=1) / 2, atol=0.1)


def test_two_landmarks_and_landmarks_in_one_place_say_nothing_wrong() -> None:
    assert off_others_mm(posed(1, 0)[:2], np.ones(2), TEMPLATE_MM[:2], MM_PER_PIXEL).tolist() == [0, 0]
    faint = off_others_mm(np.random.default_rng(2).uniform(0, 400, (12, 2)), np.zeros(12), TEMPLATE_MM, MM_PER_PIXEL)
    strong = off_others_mm(np.random.default_rng(2).uniform(0, 400, (12, 2)), np.ones(12), TEMPLATE_MM, MM_PER_PIXEL)
    np.testing.assert_allclose(faint, strong)  # all alike
    heap = off_others_mm(np.zeros((12, 2)), np.ones(12), TEMPLATE_MM, MM_PER_PIXEL)
    assert np.isfinite(heap).all()
