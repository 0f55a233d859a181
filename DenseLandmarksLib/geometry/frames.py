"""Continuous voxel index to physical LPS millimetres and back. No other file flips a sign or an axis."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import ArrayLike, NDArray


def _index_to_lps(volume: sitk.Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    direction = np.array(volume.GetDirection()).reshape(3, 3)
    matrix: NDArray[np.float64] = direction * np.array(volume.GetSpacing())
    return matrix, np.array(volume.GetOrigin())


def lps_mm_from_index(volume: sitk.Image, index_ijk: ArrayLike) -> NDArray[np.float64]:
    """Physical LPS millimetres (N, 3) of continuous indices (N, 3), order i, j, k; pixel centres at integers."""
    matrix, origin = _index_to_lps(volume)
    return np.asarray(index_ijk, np.float64) @ matrix.T + origin


def index_from_lps_mm(volume: sitk.Image, points_lps_mm: ArrayLike) -> NDArray[np.float64]:
    """Continuous indices (N, 3), order i, j, k, of physical LPS millimetres (N, 3)."""
    matrix, origin = _index_to_lps(volume)
    offsets = np.asarray(points_lps_mm, np.float64) - origin
    return np.asarray(np.linalg.solve(matrix, offsets.T).T, np.float64)


def lps_mm_from_pixels(volume: sitk.Image, points_px: ArrayLike) -> NDArray[np.float64]:
    """Physical LPS millimetres (N, 3) of continuous pixel positions (N, 2), order x, y, on a radiograph."""
    points_px = np.asarray(points_px, np.float64)
    return lps_mm_from_index(volume, np.column_stack([points_px, np.zeros(len(points_px))]))


def pixels_from_lps_mm(volume: sitk.Image, points_lps_mm: ArrayLike) -> NDArray[np.float64]:
    """Continuous pixel positions (N, 2), order x, y, on a radiograph, of physical LPS millimetres (N, 3)."""
    return index_from_lps_mm(volume, points_lps_mm)[:, :2]


def lps_mm2_from_pixel_covariance(volume: sitk.Image, covariance_px2: ArrayLike) -> NDArray[np.float64]:
    """Covariances (N, 3, 3) in mm^2 along LPS of pixel covariances (N, 2, 2), order x, y, on a radiograph."""
    matrix = _index_to_lps(volume)[0][:, :2]
    return np.einsum("ai,nij,bj->nab", matrix, np.asarray(covariance_px2, np.float64), matrix)


def lps_mm_from_ras_mm(points_ras_mm: ArrayLike) -> NDArray[np.float64]:
    """Physical LPS millimetres (N, 3) of RAS millimetres (N, 3).

    RAS lives in ``scene/``; files that state RAS (markups, fcsv, Slicer's tables) are the exception, and this is for them.
    """
    return np.asarray(points_ras_mm, np.float64) * np.array([-1.0, -1.0, 1.0])
