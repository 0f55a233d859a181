"""From the library's LPS to MRML's RAS; no other file of this room flips a sign.

The way back for points is :func:`~DenseLandmarksLib.geometry.frames.lps_mm_from_ras_mm`, which files need as well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource

FloatArray = NDArray[np.float64]

# A point's two frames differ by two signs; the same matrix goes both ways.
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def ras_mm_from_lps_mm(points_lps_mm: ArrayLike) -> FloatArray:
    """RAS millimetres (N, 3) of LPS millimetres (N, 3)."""
    return np.asarray(points_lps_mm, np.float64) * np.diag(_FLIP)[:3]


def ijk_to_ras_mm(geometry: ImageGeometry) -> FloatArray:
    """The matrix (4, 4) from voxel index to RAS in the image's own frame."""
    to_lps = np.eye(4)
    to_lps[:3, :3] = geometry.index_to_lps_mm
    to_lps[:3, 3] = geometry.origin_lps_mm
    return np.asarray(_FLIP @ to_lps)


def geometry_from_ijk_to_ras_mm(matrix: ArrayLike, size: tuple[int, int, int], source: SpacingSource) -> ImageGeometry:
    """The geometry of a volume node of ``size`` voxels (i, j, k) with that matrix (4, 4).

    Raises ``ValueError`` for a sheared matrix, which no image has.
    """
    to_lps = _FLIP @ np.asarray(matrix, np.float64)
    spacing = np.linalg.norm(to_lps[:3, :3], axis=0)
    direction = to_lps[:3, :3] / spacing
    if not np.allclose(direction.T @ direction, np.eye(3), atol=1e-4):
        raise ValueError("expected voxels at right angles, got a sheared matrix")
    x, y, z = spacing.tolist()
    left, posterior, superior = to_lps[:3, 3].tolist()
    return ImageGeometry(size, (x, y, z), (left, posterior, superior), tuple(direction.ravel().tolist()), source)


def to_vtk(matrix: ArrayLike) -> vtkMatrix4x4:
    """A matrix (4, 4) as nodes take it."""
    made = vtkMatrix4x4()
    made.DeepCopy(np.asarray(matrix, np.float64).ravel().tolist())
    return made


def from_vtk(matrix: vtkMatrix4x4) -> FloatArray:
    """A matrix of a node as an array (4, 4)."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
