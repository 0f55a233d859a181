"""Where the voxels of a phantom's volume lie: in LPS, and in the rest anatomy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from training.neck_parts import Floats
from training.neck_pose import NeckPose

Grey = NDArray[np.float32]
KNOTS_MM = 8.0
"""The pose is smooth: between knots this far apart a straight line is within 0.2 mm. Tubes do not depend on it."""


@dataclass(frozen=True, eq=False)
class VolumeGrid:
    """Where a volume's voxels lie: size and spacing_mm (x, y, z), the first voxel's centre, direction (3, 3).

    The columns of ``direction`` are the axes x, y, z of the voxels in LPS.
    """

    size: tuple[int, int, int]
    spacing_mm: Floats
    origin_lps_mm: Floats
    direction: Floats

    def along_axes(self, points_lps_mm: Floats) -> Floats:
        """Points (N, 3) LPS mm as millimetres from the first voxel's centre along the volume's own axes."""
        return np.asarray((points_lps_mm - self.origin_lps_mm) @ self.direction)

    def back(self, points_mm: Floats) -> Floats:
        """The inverse of :meth:`along_axes`."""
        return np.asarray(points_mm @ self.direction.T + self.origin_lps_mm)

    def outside_mm(self, point_lps_mm: Floats) -> float:
        """How far a point (3,) lies outside of the volume's outer faces; negative inside."""
        at = self.along_axes(point_lps_mm[None])[0]
        beyond = np.maximum(-0.5 * self.spacing_mm - at, at - (np.array(self.size) - 0.5) * self.spacing_mm)
        return float(np.linalg.norm(np.maximum(beyond, 0))) if beyond.max() > 0 else float(beyond.max())


@dataclass(frozen=True, eq=False)
class FineGrid:
    """The grid that is painted: every voxel of thick slices is cut into several, whose mean it will be.

    ``edge_mm`` is how wide a sharp border looks.
    """

    grid: VolumeGrid
    parts: NDArray[np.intp]
    edge_mm: float

    @property
    def spacing_mm(self) -> Floats:
        return self.grid.spacing_mm / self.parts

    @property
    def first_mm(self) -> Floats:
        """The first fine voxel's centre, measured as :meth:`VolumeGrid.along_axes` does."""
        return (self.spacing_mm - self.grid.spacing_mm) / 2

    @property
    def size(self) -> NDArray[np.intp]:
        return np.array(self.grid.size) * self.parts

    @cached_property
    def positions_mm(self) -> tuple[Floats, ...]:
        """Where the fine voxels lie along each axis, measured as :meth:`VolumeGrid.along_axes` does."""
        axes = zip(self.first_mm, self.spacing_mm, self.size, strict=True)
        return tuple(first + spacing * np.arange(n) for first, spacing, n in axes)

    def box(self, low_mm: Floats, high_mm: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """First and past-the-last fine voxels (..., 3) between two corners, within the volume."""
        low = np.floor((low_mm - self.first_mm) / self.spacing_mm).astype(np.intp)
        high = np.ceil((high_mm - self.first_mm) / self.spacing_mm).astype(np.intp) + 1
        return np.clip(low, 0, self.size), np.clip(high, 0, self.size)


def cut_thick(grid: VolumeGrid, sharpness_mm: float) -> FineGrid:
    """Cut the voxels along axes that are much longer than the shortest into parts of at least 0.6 mm."""
    finest = float(grid.spacing_mm.min())
    parts = np.clip(np.round(grid.spacing_mm / max(1.25 * finest, 0.6)), 1, 8).astype(np.intp)
    parts[grid.spacing_mm < 1.5 * finest] = 1
    return FineGrid(grid, parts, max(sharpness_mm, float((grid.spacing_mm / parts).max())))


class RestLattice:
    """Rest coordinates of all fine voxels, from few knots at which the pose was inverted."""

    def __init__(self, pose: NeckPose, fine: FineGrid) -> None:
        self.at: list[Floats] = []
        axes = []
        for n, spacing, first in zip(fine.size, fine.spacing_mm, fine.first_mm, strict=True):
            knots = max(2, int(np.ceil(n * spacing / KNOTS_MM)) + 1)
            self.at.append(np.linspace(0, knots - 1, n))
            axes.append(first + np.linspace(0, (n - 1) * spacing, knots))
        z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
        points = fine.grid.back(np.stack([x, y, z], axis=-1).reshape(-1, 3))
        self.knots = np.moveaxis(pose.back(points).astype(np.float32).reshape(*x.shape, 3), -1, 0)

    def rest(self, first: int, last: int) -> list[Grey]:
        """x, y, z (K, J, I) in the rest anatomy of the fine slices from ``first`` to before ``last``."""
        x, y, z = self.at
        return [_between(_between(_between(knots, z[first:last], 0), x, 2), y, 1) for knots in self.knots]


def _between(values: Grey, at: Floats, axis: int) -> Grey:
    """Linear interpolation along one axis at the positions ``at``."""
    low = np.minimum(at.astype(np.intp), values.shape[axis] - 2)
    weight = (at - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    found = values.take(low, axis=axis)
    found += weight * (values.take(low + 1, axis=axis) - found)
    return np.asarray(found)
