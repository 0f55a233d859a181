"""Why a model put a landmark where it did: maps over the image, high where the model saw something that speaks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.grid import Grid
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry


@dataclass(frozen=True)
class EvidenceMap:
    """One map of one landmark.

    Attributes
    ----------
    name : as people choose it.
    explanation : what is high where, one line.
    values : (K, J, I) float32, 0 to 1; one slice over a radiograph.
    to_index : (4, 4), from a map's index (i, j, k) to the continuous voxel index (i, j, k) of the image, so that the map
        stays on its voxels when a spacing is corrected.

    Raises
    ------
    ValueError : for values that are not between 0 and 1, and arrays of other shapes.
    """

    name: str
    explanation: str
    values: NDArray[np.float32]
    to_index: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or not self.values.size or self.to_index.shape != (4, 4):
            raise ValueError(
                f"expected values (K, J, I) and a matrix (4, 4), got {self.values.shape} and one of another"
            )
        if not (self.values.min() >= 0 and self.values.max() <= 1):  # NaN neither
            raise ValueError(f"expected values from 0 to 1, got {self.values.min()} to {self.values.max()}")

    @property
    def is_empty(self) -> bool:
        """Whether nothing speaks for the landmark anywhere."""
        return not self.values.any()


@dataclass(frozen=True)
class Evidence:
    """All maps of one landmark, the most telling first; at least one."""

    landmark: str
    maps: tuple[EvidenceMap, ...]


def relative(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Values as parts of the highest, 0 to 1; what is below zero, or not finite, is 0, and all of it where nothing is above."""
    above = np.clip(np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0), 0, None)
    highest = float(above.max(initial=0.0))
    return np.asarray(above / highest if highest > 0 else above, np.float32)


def grid_to_index(grid: Grid, stride: float = 1) -> NDArray[np.float64]:
    """The matrix (4, 4) from pixels (x, y, 0) of a map, ``stride`` grid pixels each, to the image's voxels (i, j, k)."""
    pixels = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    corner, right, below = grid.to_pixels((pixels + 0.5) * stride - 0.5)
    matrix = np.eye(4)
    matrix[:2, 0], matrix[:2, 1], matrix[:2, 3] = right - corner, below - corner, corner
    return matrix


def lps_to_index(geometry: ImageGeometry, to_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix (4, 4) from a map's index to the continuous voxel index (i, j, k) of an image, of that to LPS mm."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = geometry.index_to_lps_mm, geometry.origin_lps_mm
    return np.asarray(np.linalg.solve(matrix, to_lps_mm), np.float64)


def need_landmark(landmark: str, names: Sequence[str], model: str) -> int:
    """The row of a landmark among those of a model; raises :class:`InputError` where it has none of that name."""
    if landmark not in names:
        raise InputError(
            f"expected a landmark that {model} looks for, got {landmark!r}, of which it has no map. Choose another landmark."
        )
    return list(names).index(landmark)
