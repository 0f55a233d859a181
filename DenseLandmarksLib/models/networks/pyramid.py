"""Where a multi-scale network's crops come from: the levels of a volume, sampled in millimetres, differentiably."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DenseLandmarksLib.geometry.level_grid import LevelGrid

OUTSIDE = -1.0
"""What there is outside of a volume: the darkest value of normalised images."""


def crop_offsets_mm(size: Sequence[int], spacing_mm: float, device: torch.device | str = "cpu") -> Tensor:
    """Where the voxels of a crop of ``size`` (x, y, z) lie about its centre: (z, y, x, 3), order x, y, z."""
    x, y, z = ((torch.arange(count, device=device) - (count - 1) / 2) * spacing_mm for count in size)
    grid_z, grid_y, grid_x = torch.meshgrid(z, y, x, indexing="ij")
    return torch.stack([grid_x, grid_y, grid_z], dim=-1)


def part_of(
    values: NDArray[np.floating], start: tuple[int, int, int], size: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Values (z, y, x) from voxel ``start`` (x, y, z) on, ``OUTSIDE`` where there are none."""
    out = np.full(size[::-1], OUTSIDE, np.float32)
    there, here = [], []
    for first, count, whole in zip(start[::-1], size[::-1], values.shape, strict=True):
        low, high = max(first, 0), min(first + count, whole)
        if low >= high:
            return out
        there.append(slice(low, high))
        here.append(slice(low - first, high - first))
    out[tuple(here)] = values[tuple(there)]
    return out


def middle_of(grid: LevelGrid) -> NDArray[np.float64]:
    """The middle (3,) of a level."""
    return grid.lps_mm_from_index([(np.array(grid.size) - 1) / 2])[0]


class Pyramid(ABC):
    """One volume at all levels, the coarsest first. Grey values are normalised, from the darkest at -1 to 1.

    Positions are LPS mm as the network sees them; :meth:`to_stored` brings them to where the volume is stored, which in
    training is elsewhere.
    """

    def __init__(self, grids: Sequence[LevelGrid]) -> None:
        self.grids = tuple(grids)

    @abstractmethod
    def region(self, level: int, start: tuple[int, int, int], size: tuple[int, int, int]) -> NDArray[np.float32]:
        """Normalised values (z, y, x) from voxel ``start`` (x, y, z) on, ``OUTSIDE`` where the level has none."""

    @property
    @abstractmethod
    def centre_lps_mm(self) -> NDArray[np.float64]:
        """Middle (3,) of what the coarsest level must see, as it is seen."""

    def to_stored(self, points_lps_mm: Tensor) -> Tensor:
        """Positions (..., 3) in the stored volume of positions as they are seen."""
        return points_lps_mm

    def finish(self, crops: Tensor, points_lps_mm: Tensor) -> Tensor:
        """Last changes to crops (M, 1, z, y, x) whose voxels are seen at (M, z, y, x, 3)."""
        return crops

    def crop(
        self, level: int, centres_lps_mm: Tensor, size: tuple[int, int, int], frame: Tensor | None = None
    ) -> Tensor:
        """Crops (M, 1, z, y, x) of ``size`` (x, y, z) about ``centres_lps_mm`` (M, 3), which get gradients.

        Their axes are the columns of ``frame`` (3, 3), by default those of LPS.
        """
        grid = self.grids[level]
        offsets = crop_offsets_mm(size, grid.spacing_mm, centres_lps_mm.device)
        if frame is not None:
            offsets = offsets @ frame.T
        seen = centres_lps_mm[:, None, None, None] + offsets
        origin = torch.tensor(grid.origin_lps_mm, device=seen.device, dtype=torch.float32)
        index = (self.to_stored(seen) - origin) / grid.spacing_mm
        crops = torch.cat([self._sample(level, one) for one in index])
        return self.finish(crops, seen)

    def _sample(self, level: int, index: Tensor) -> Tensor:
        """Values (1, 1, z, y, x) at continuous voxel indices (z, y, x, 3), order x, y, z, of one level."""
        size = self.grids[level].size
        # One voxel beyond each border, so that the volume ends in its outside; nothing is read further away.
        limits = torch.tensor(size, device=index.device).float()
        flat = torch.minimum(index.detach().reshape(-1, 3).nan_to_num().clamp(min=-1), limits)
        low = flat.amin(dim=0).floor().int()
        high = flat.amax(dim=0).ceil().int() + 1
        start, end = low.tolist(), high.tolist()
        wanted = (end[0] - start[0] + 1, end[1] - start[1] + 1, end[2] - start[2] + 1)
        region = torch.from_numpy(self.region(level, (start[0], start[1], start[2]), wanted)).to(index.device)
        extent = torch.tensor(wanted, device=index.device) - 1
        normalised = 2 * (index - low) / extent - 1
        return torch.nn.functional.grid_sample(
            region[None, None], normalised[None], mode="bilinear", padding_mode="border", align_corners=True
        )
