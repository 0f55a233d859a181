"""Continuous voxel index to physical LPS millimetres and back. No other file flips a sign or an axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DenseLandmarksLib.geometry.image_geometry import ImageGeometry


def lps_mm_from_index(geometry: ImageGeometry, index_ijk: ArrayLike) -> NDArray[np.float64]:
    """Physical LPS millimetres (N, 3) of continuous indices (N, 3), order i, j, k; pixel centres at integers."""
    return np.asarray(index_ijk, np.float64) @ geometry.index_to_lps_mm.T + np.array(geometry.origin_lps_mm)


def index_from_lps_mm(geometry: ImageGeometry, points_lps_mm: ArrayLike) -> NDArray[np.float64]:
    """Continuous indices (N, 3), order i, j, k, of physical LPS millimetres (N, 3)."""
    offsets = np.asarray(points_lps_mm, np.float64) - np.array(geometry.origin_lps_mm)
    return np.asarray(np.linalg.solve(geometry.index_to_lps_mm, offsets.T).T, np.float64)


def inside_border_mm(geometry: ImageGeometry, points_lps_mm: ArrayLike) -> NDArray[np.float64]:
    """How far (N,) positions (N, 3) lie within the border of the image's voxels, negative outside."""
    index = index_from_lps_mm(geometry, points_lps_mm)
    nearest = np.minimum(index + 0.5, np.array(geometry.size) - 0.5 - index) * np.array(geometry.spacing_mm)
    return np.asarray(nearest.min(axis=1))


def lps_mm_from_pixels(geometry: ImageGeometry, points_px: ArrayLike) -> NDArray[np.float64]:
    """Physical LPS millimetres (N, 3) of continuous pixel positions (N, 2), order x, y, on a radiograph."""
    points_px = np.asarray(points_px, np.float64)
    return lps_mm_from_index(geometry, np.column_stack([points_px, np.zeros(len(points_px))]))


def pixels_from_lps_mm(geometry: ImageGeometry, points_lps_mm: ArrayLike) -> NDArray[np.float64]:
    """Continuous pixel positions (N, 2), order x, y, on a radiograph, of physical LPS millimetres (N, 3)."""
    return index_from_lps_mm(geometry, points_lps_mm)[:, :2]


def lps_mm2_from_pixel_covariance(geometry: ImageGeometry, covariance_px2: ArrayLike) -> NDArray[np.float64]:
    """Covariances (N, 3, 3) in mm^2 along LPS of pixel covariances (N, 2, 2), order x, y, on a radiograph."""
    matrix = geometry.index_to_lps_mm[:, :2]
    return np.einsum("ai,nij,bj->nab", matrix, np.asarray(covariance_px2, np.float64), matrix)


def lps_mm_from_ras_mm(points_ras_mm: ArrayLike) -> NDArray[np.float64]:
    """Physical LPS millimetres (N, 3) of RAS millimetres (N, 3).

    RAS lives in ``scene/``; files that state RAS (markups, fcsv, Slicer's tables) are the exception, and this is for them.
    """
    return np.asarray(points_ras_mm, np.float64) * np.array([-1.0, -1.0, 1.0])
