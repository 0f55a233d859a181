"""The plane of a radiograph in millimetres along its own two axes: two numbers per point, and distances that mean something.

The middle of the first pixel is at (0, 0). With an unknown spacing a pixel counts as 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels, pixels_from_lps_mm
from DenseLandmarksLib.geometry.grid import Grid
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry

FloatArray = NDArray[np.float64]


def plane_mm_from_lps_mm(geometry: ImageGeometry, points_lps_mm: ArrayLike) -> FloatArray:
    """Positions (N, 2) in the plane, x along the rows and y along the columns, of physical LPS millimetres (N, 3)."""
    return pixels_from_lps_mm(geometry, points_lps_mm) * _spacing_xy(geometry)


def lps_mm_from_plane_mm(geometry: ImageGeometry, points_plane_mm: ArrayLike) -> FloatArray:
    """Physical LPS millimetres (N, 3) of positions (N, 2) in the plane."""
    return lps_mm_from_pixels(geometry, np.asarray(points_plane_mm, np.float64) / _spacing_xy(geometry))


def plane_mm_from_grid(geometry: ImageGeometry, grid: Grid, points_grid: ArrayLike) -> FloatArray:
    """Positions (N, 2) in the plane of positions (N, 2) on a model's grid over the radiograph."""
    return grid.to_pixels(points_grid) * _spacing_xy(geometry)


def grid_from_plane_mm(geometry: ImageGeometry, grid: Grid, points_plane_mm: ArrayLike) -> FloatArray:
    """Positions (N, 2) on a model's grid over the radiograph of positions (N, 2) in the plane."""
    return grid.from_pixels(np.asarray(points_plane_mm, np.float64) / _spacing_xy(geometry))


def _spacing_xy(geometry: ImageGeometry) -> FloatArray:
    return np.array(geometry.spacing_mm[:2], np.float64)
