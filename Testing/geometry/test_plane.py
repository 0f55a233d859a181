"""The plane of a radiograph: distances in it are those of the patient, and every point comes back to where it was."""

from __future__ import annotations

import numpy as np
import pytest

from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.geometry.grid import Grid
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.plane import (
    grid_from_plane_mm,
    lps_mm_from_plane_mm,
    plane_mm_from_grid,
    plane_mm_from_lps_mm,
)
from DenseLandmarksLib.geometry.view import VIEWS, View

COSINE, SINE = np.cos(0.3), np.sin(0.3)
GEOMETRY = ImageGeometry(
    (400, 300, 1),
    (0.5, 0.8, 1.0),
    (-20.0, 35.0, 4.0),
    (COSINE, 0.0, SINE, SINE, 0.0, -COSINE, 0.0, -1.0, 0.0),
    SpacingSource.CALIBRATED,
)
PIXELS = np.random.default_rng(0).uniform(-20, 420, (50, 2))


def test_distances_are_those_between_the_points_of_the_patient() -> None:
    points_lps_mm = lps_mm_from_pixels(GEOMETRY, PIXELS)
    plane = plane_mm_from_lps_mm(GEOMETRY, points_lps_mm)
    np.testing.assert_allclose(
        np.linalg.norm(plane[:, None] - plane, axis=2),
        np.linalg.norm(points_lps_mm[:, None] - points_lps_mm, axis=2),
        atol=1e-9,
    )
    np.testing.assert_allclose(plane, PIXELS * [0.5, 0.8], atol=1e-9)
    np.testing.assert_allclose(lps_mm_from_plane_mm(GEOMETRY, plane), points_lps_mm, atol=1e-9)


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_the_models_grid_lies_where_its_pixels_lie(view: View) -> None:
    height, width = view.seen_size((300, 400))
    grid = Grid((256, 256), (300, 400), (10, 3, height // 2, width // 2), view)
    on_grid = grid.from_pixels(PIXELS)
    plane = plane_mm_from_grid(GEOMETRY, grid, on_grid)
    np.testing.assert_allclose(plane, PIXELS * [0.5, 0.8], atol=1e-9)
    np.testing.assert_allclose(grid_from_plane_mm(GEOMETRY, grid, plane), on_grid, atol=1e-9)


def test_no_points_are_no_points() -> None:
    assert plane_mm_from_lps_mm(GEOMETRY, np.zeros((0, 3))).shape == (0, 2)
    assert lps_mm_from_plane_mm(GEOMETRY, np.zeros((0, 2))).shape == (0, 3)
