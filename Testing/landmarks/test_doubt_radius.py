"""The one length that stands for the doubt about a landmark."""

from __future__ import annotations

import numpy as np
import pytest

from DenseLandmarksLib.landmarks.doubt_radius import radius_90_mm


@pytest.mark.parametrize(
    "sigma_mm", [(3, 3, 0), (6, 1.5, 0), (6, 0.01, 0), (2, 2, 2), (9, 2, 1), (5, 5, 0.1)], ids=lambda one: str(one)
)
def test_nine_of_ten_points_lie_within_it(sigma_mm: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    covariance = axes @ np.diag(np.square(sigma_mm).astype(float)) @ axes.T
    points = rng.normal(size=(200_000, 3)) * sigma_mm @ axes.T
    true_mm = np.quantile(np.linalg.norm(points, axis=1), 0.9)
    assert radius_90_mm(covariance[None])[0] == pytest.approx(true_mm, rel=0.02)


def test_what_is_not_known_is_not_a_number_and_what_is_certain_is_zero() -> None:
    radius = radius_90_mm(np.stack([np.full((3, 3), np.nan), np.zeros((3, 3)), np.eye(3)]))
    assert np.isnan(radius[0])
    assert radius[1] == 0
    assert radius[2] > 0
    assert radius_90_mm(np.zeros((0, 3, 3))).shape == (0,)
