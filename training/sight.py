"""Parts of volumes as a network of one level sees them: their values, and where the landmarks are in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from DenseLandmarksLib.models.networks.pyramid import Pyramid


@dataclass(frozen=True)
class Sight:
    """Parts of B volumes at one scale: ``values`` (B, 1, z, y, x) about ``centres_lps_mm`` (B, 3)."""

    values: Tensor
    centres_lps_mm: Tensor
    spacing_mm: float

    @property
    def _last(self) -> Tensor:
        return torch.tensor(self.values.shape[:1:-1], device=self.values.device) - 1

    def index_of(self, points_lps_mm: Tensor) -> Tensor:
        """Voxel indices (B, N, 3), order x, y, z, of positions (B, N, 3)."""
        return (points_lps_mm - self.centres_lps_mm[:, None]) / self.spacing_mm + self._last / 2

    def holds(self, index: Tensor, beyond: float = 0.0) -> Tensor:
        """Which (B, N) voxel indices (B, N, 3) are inside, or so many voxels ``beyond``."""
        return ((index >= -beyond) & (index <= self._last + beyond)).all(dim=2)

    def lps_mm_of(self, index: Tensor) -> Tensor:
        """Positions (B, N, 3) of voxel indices (B, N, 3)."""
        return (index - self._last / 2) * self.spacing_mm + self.centres_lps_mm[:, None]


def middles_of(pyramids: Sequence[Pyramid]) -> Tensor:
    """The middles (B, 3) of volumes, LPS mm."""
    return torch.stack([torch.from_numpy(pyramid.centre_lps_mm).float() for pyramid in pyramids])


def see(pyramids: Sequence[Pyramid], centres_lps_mm: Tensor, size: tuple[int, int, int], device: str) -> Sight:
    """The first level of volumes, ``size`` (x, y, z) voxels about ``centres_lps_mm`` (B, 3)."""
    centres = centres_lps_mm.to(device)
    values = torch.cat([p.crop(0, c[None], size) for p, c in zip(pyramids, centres, strict=True)])
    return Sight(values, centres, pyramids[0].grids[0].spacing_mm)
