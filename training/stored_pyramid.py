"""Training volumes at all levels, in memory, and how one is seen in one step: turned, scaled, bent, cut, in other greys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DenseLandmarksLib.geometry.level_grid import LevelGrid
from DenseLandmarksLib.models.networks.pyramid import OUTSIDE, Pyramid, middle_of, part_of

# Not zero, at which a root has no slope: where a crop lies gets its gradient through the grey values.
_DARKEST = 1e-3


def to_bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Normalised values in 256 steps."""
    return np.rint((values.astype(np.float32) + 1) * np.float32(127.5)).astype(np.uint8)


def from_bytes(steps: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Normalised values of 256 steps."""
    return (steps.astype(np.float32) / np.float32(127.5) - 1).astype(np.float16)


class StoredPyramid(Pyramid):
    """One volume; ``levels`` are its normalised values (z, y, x) as float16, the coarsest level first."""

    def __init__(self, grids: Sequence[LevelGrid], levels: Sequence[NDArray[np.float16]]) -> None:
        super().__init__(grids)
        self.levels = tuple(levels)

    def region(self, level: int, start: tuple[int, int, int], size: tuple[int, int, int]) -> NDArray[np.float32]:
        """As :meth:`Pyramid.region` says."""
        return part_of(self.levels[level], start, size)

    @property
    def centre_lps_mm(self) -> NDArray[np.float64]:
        """Middle (3,) of the volume."""
        return middle_of(self.grids[0])


@dataclass(frozen=True)
class Greys:
    """What happens to the normalised values: ``out = in ** gamma * contrast + brightness`` on 0 to 1, and noise."""

    contrast: float = 1.0
    brightness: float = 0.0
    gamma: float = 1.0
    noise: float = 0.0

    def change(self, crops: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Change values from -1 to 1; noise is drawn from ``generator``."""
        values = ((crops + 1) / 2).clamp(_DARKEST, 1) ** self.gamma
        values = values * self.contrast + self.brightness
        if self.noise:
            values = values + self.noise * torch.randn(values.shape, generator=generator).to(values.device)
        return 2 * values - 1


@dataclass(frozen=True)
class Bend:
    """A displacement: ``knots_mm`` (3, z, y, x), ``every_mm`` apart, the first at ``origin_lps_mm``, linear between."""

    origin_lps_mm: Tensor
    every_mm: float
    knots_mm: Tensor

    def at(self, points_lps_mm: Tensor) -> Tensor:
        """Displacements (..., 3) at positions (..., 3)."""
        device = points_lps_mm.device
        size = torch.tensor(self.knots_mm.shape[:0:-1], dtype=torch.float32, device=device)
        index = (points_lps_mm - self.origin_lps_mm.to(device)) / self.every_mm
        grid = (2 * index / (size - 1) - 1).reshape(1, 1, 1, -1, 3)
        knots = self.knots_mm[None].to(device)
        found = torch.nn.functional.grid_sample(knots, grid, padding_mode="border", align_corners=True)
        return found.reshape(3, -1).T.reshape(points_lps_mm.shape)


@dataclass(frozen=True)
class Seen:
    """How a volume is seen: ``stored = matrix @ (seen - middle) + middle + shift (+ bend)``, all in LPS mm.

    ``box_lps_mm`` (2, 3) is what is left of the stored volume after it was cut.
    """

    middle_lps_mm: Tensor
    matrix: Tensor = field(default_factory=lambda: torch.eye(3))
    shift_mm: Tensor = field(default_factory=lambda: torch.zeros(3))
    bend: Bend | None = None
    box_lps_mm: Tensor | None = None
    greys: Greys = Greys()

    def to_stored(self, points_lps_mm: Tensor) -> Tensor:
        """Positions (..., 3) in the stored volume of positions as they are seen."""
        middle, matrix, shift = (of.to(points_lps_mm.device) for of in (self.middle_lps_mm, self.matrix, self.shift_mm))
        stored = (points_lps_mm - middle) @ matrix.T + middle + shift
        return stored if self.bend is None else stored + self.bend.at(stored)

    def to_seen(self, points_lps_mm: Tensor) -> Tensor:
        """Where stored positions (..., 3) are seen: the inverse, through the bend by fixed-point steps."""
        straight = points_lps_mm
        if self.bend is not None:
            for _ in range(20):  # the bend is gentle: each step makes the rest several times smaller
                straight = points_lps_mm - self.bend.at(straight)
        return (straight - self.middle_lps_mm - self.shift_mm) @ torch.linalg.inv(self.matrix).T + self.middle_lps_mm


class SeenPyramid(Pyramid):
    """A stored volume as it is seen in one step."""

    def __init__(self, stored: StoredPyramid, seen: Seen, generator: torch.Generator | None = None) -> None:
        """``generator`` draws the noise."""
        super().__init__(stored.grids)
        self._stored, self._seen, self._generator = stored, seen, generator

    def region(self, level: int, start: tuple[int, int, int], size: tuple[int, int, int]) -> NDArray[np.float32]:
        """As the stored volume's."""
        return self._stored.region(level, start, size)

    @property
    def centre_lps_mm(self) -> NDArray[np.float64]:
        """Middle (3,) of the stored volume, or of what a cut has left of it: what is shifted is seen beside it."""
        return np.asarray(self._seen.middle_lps_mm.numpy(), np.float64)

    def to_stored(self, points_lps_mm: Tensor) -> Tensor:
        """As :meth:`Seen.to_stored`."""
        return self._seen.to_stored(points_lps_mm)

    def finish(self, crops: Tensor, points_lps_mm: Tensor) -> Tensor:
        """Other greys inside, nothing where the volume was cut."""
        changed = self._seen.greys.change(crops, self._generator)
        box = self._seen.box_lps_mm
        if box is None:
            return changed
        stored = self._seen.to_stored(points_lps_mm.detach())
        low, high = box.to(stored.device)
        inside = ((stored >= low) & (stored <= high)).all(dim=-1)
        return torch.where(inside[:, None], changed, torch.full_like(changed, OUTSIDE))
