"""Boxes of one size that cover a grid, as far apart as wanted, and smooth weights that join what is said of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from DenseLandmarksLib.geometry.level_grid import FloatArray, Triple


@dataclass(frozen=True)
class Tiling:
    """Tiles over a grid of ``size`` voxels; a grid that fits into one tile lies in the middle of it.

    Attributes
    ----------
    size, tile : voxels along x, y, z.
    step : voxels from one tile to the next (Payer et al. 2019 have 64 with tiles of 96 x 96 x 192).
    stride : voxels per pixel of the maps that are joined; all tiles begin a multiple of it from voxel 0.

    Raises
    ------
    ValueError : where the stride does not divide the sides of a tile, or tiles that are a step apart leave gaps.
    """

    size: Triple
    tile: Triple
    step: int
    stride: int = 1

    def __post_init__(self) -> None:
        if any(length % self.stride for length in self.tile) or not self.stride <= self.step <= min(self.tile):
            raise ValueError(
                f"expected tiles whose sides are multiples of {self.stride}, a step apart that no side is shorter than, "
                f"got {self.tile} and {self.step}"
            )

    def _along(self, axis: int) -> tuple[int, ...]:
        """First voxels of the tiles along one axis."""
        size, tile, stride = self.size[axis], self.tile[axis], self.stride
        if size <= tile:
            return (-((tile - size) // 2 // stride * stride),)
        last = -(-(size - tile) // stride) * stride
        return *range(0, last, self.step // stride * stride), last

    @property
    def start(self) -> Triple:
        """First voxel (x, y, z) of all tiles together; below 0 where a grid is smaller than a tile."""
        x, y, z = (self._along(axis)[0] for axis in range(3))
        return x, y, z

    @property
    def covered(self) -> Triple:
        """Voxels (x, y, z) of all tiles together, from :attr:`start` on."""
        x, y, z = (self._along(axis)[-1] - self._along(axis)[0] + self.tile[axis] for axis in range(3))
        return x, y, z

    def __len__(self) -> int:
        return len(self._along(0)) * len(self._along(1)) * len(self._along(2))

    def tiles(self) -> Iterator[tuple[Triple, tuple[FloatArray, FloatArray, FloatArray]]]:
        """First voxel (x, y, z) of each tile, and the weights of its map's pixels along z, y and x.

        A pixel's weight is the product of three; those of all tiles that hold a pixel add up to 1.
        """
        starts = [self._along(axis) for axis in range(3)]
        weights = [self._weights(axis) for axis in range(3)]
        for z, y, x in product(*(range(len(starts[axis])) for axis in (2, 1, 0))):
            first = starts[0][x], starts[1][y], starts[2][z]
            yield first, (weights[2][z], weights[1][y], weights[0][x])

    def _weights(self, axis: int) -> list[FloatArray]:
        """Of each tile's pixels along one axis: high in its middle, where it sees as far to all sides."""
        pixels = self.tile[axis] // self.stride
        window = np.sin(np.pi * (np.arange(pixels) + 0.5) / pixels) ** 2
        starts = self._along(axis)
        places = [slice(offset, offset + pixels) for offset in ((s - starts[0]) // self.stride for s in starts)]
        total = np.zeros(self.covered[axis] // self.stride)
        for place in places:
            total[place] += window
        return [window / total[place] for place in places]
