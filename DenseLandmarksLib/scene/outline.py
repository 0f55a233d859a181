"""What a ball looks like on a radiograph and in a volume: points, and the lines or triangles between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.scene.ras import FloatArray

Cells = NDArray[np.int64]

_SEGMENTS = 32
_AROUND, _FROM_POLE_TO_POLE = 12, 8


@dataclass(frozen=True)
class Outline:
    """Points (P, D), and the lines (L, 2) and triangles (T, 3) of their numbers that are drawn."""

    points: FloatArray
    lines: Cells
    triangles: Cells

    def cells_of(self, times: int) -> tuple[Cells, Cells]:
        """Lines (times L, 2) and triangles (times T, 3) of as many outlines, whose points follow each other."""
        first = np.arange(times, dtype=np.int64)[:, None, None] * len(self.points)
        return (first + self.lines).reshape(-1, 2), (first + self.triangles).reshape(-1, 3)


def _unit_circle() -> Outline:
    angle = np.linspace(0, 2 * np.pi, _SEGMENTS, endpoint=False)
    here = np.arange(_SEGMENTS)
    return Outline(
        np.stack([np.cos(angle), np.sin(angle)], axis=1),
        np.stack([here, np.roll(here, -1)], axis=1),
        np.zeros((0, 3), np.int64),
    )


def _unit_sphere() -> Outline:
    """Rings about the first axis, and the two poles."""
    ring = np.linspace(0, np.pi, _FROM_POLE_TO_POLE + 1)[1:-1, None]
    angle = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    rings = np.stack(np.broadcast_arrays(np.cos(ring), np.sin(ring) * np.cos(angle), np.sin(ring) * np.sin(angle)), -1)
    points = np.concatenate([rings.reshape(-1, 3), [[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]])
    here = np.arange(rings.shape[0] * _AROUND).reshape(-1, _AROUND)
    beside = np.roll(here, -1, axis=1)
    first, last = np.full(_AROUND, len(points) - 2), np.full(_AROUND, len(points) - 1)
    triangles = (
        np.stack([here[:-1], here[1:], beside[1:]], -1).reshape(-1, 3),
        np.stack([here[:-1], beside[1:], beside[:-1]], -1).reshape(-1, 3),
        np.stack([first, here[0], beside[0]], -1),
        np.stack([last, beside[-1], here[-1]], -1),
    )
    return Outline(points, np.zeros((0, 2), np.int64), np.concatenate(triangles))


UNIT = {2: _unit_circle(), 3: _unit_sphere()}
"""What a ball of radius 1 looks like on a radiograph and in a volume, by the number of axes."""
