"""One level of a volume's pyramid, without its values: an isotropic grid along L, P and S."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class LevelGrid:
    """One level of a pyramid: an isotropic grid whose axes x, y, z run along L, P, S, however the volume is stored.

    Attributes
    ----------
    origin_lps_mm : centre of voxel (0, 0, 0).
    spacing_mm : distance of voxel centres.
    size : voxels along x, y, z.
    """

    origin_lps_mm: tuple[float, float, float]
    spacing_mm: float
    size: Triple

    def index_from_lps_mm(self, points_lps_mm: ArrayLike) -> FloatArray:
        """Continuous indices (N, 3), order x, y, z, voxel centres at integers, of physical LPS millimetres (N, 3)."""
        return (np.asarray(points_lps_mm, np.float64) - np.array(self.origin_lps_mm)) / self.spacing_mm

    def lps_mm_from_index(self, index_xyz: ArrayLike) -> FloatArray:
        """Physical LPS millimetres (N, 3) of continuous indices (N, 3), order x, y, z."""
        return np.asarray(index_xyz, np.float64) * self.spacing_mm + np.array(self.origin_lps_mm)
