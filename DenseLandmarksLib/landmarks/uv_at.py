"""Which template coordinate lies at a place of the image: the read-out of a uv map, the other way round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from DenseLandmarksLib.landmarks.read_out import NEIGHBOURS, REACH_PX, FloatArray, UvIndex, fit_locally
from DenseLandmarksLib.landmarks.uv_field import UvField

# Corrections after which the coordinate is read out where it was taken. The read-out takes the nearest pixels in uv,
# not in the image, so that a noisy map has it elsewhere at first: 0.47 mm on chests, 0.04 mm after five.
CORRECTIONS = 5


@dataclass(frozen=True)
class UvAt:
    """Template coordinates ``uv`` (N, 2) of places in an image.

    ``gap`` (N,) is the distance in grid pixels to the nearest pixel of the structure: of the order of half a pixel
    inside, larger outside, where the map is continued.
    """

    uv: FloatArray
    gap: FloatArray


def uv_at(field: UvField, structure: str, points_grid: ArrayLike) -> UvAt | None:
    """The template coordinates of ``structure`` at grid positions (N, 2); ``None`` if it was not found.

    An affine map is fitted to the uv of the nearest pixels of the structure, and then corrected until
    :meth:`UvField.read` finds the coordinate where it was asked for, as a person expects who clicked there. Outside of
    the structure the map is continued; farther than :data:`~DenseLandmarksLib.landmarks.read_out.REACH_PX` field pixels
    no read-out will find it there.
    """
    index = field.index(structure)
    if index is None:
        return None
    points = field.from_grid(points_grid)
    distance = cdist(points, index.positions)
    neighbour = np.argpartition(distance, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    offset = index.positions[neighbour] - points[:, None]
    uv, slope, _ = fit_locally(offset, index.uv[neighbour])
    gap = distance.min(axis=1)
    near = gap <= REACH_PX
    if near.any():
        uv[near] = _corrected(index, points[near], uv[near], slope[near])
    return UvAt(uv, gap * field.stride)


def _corrected(index: UvIndex, points: FloatArray, uv: FloatArray, slope: FloatArray) -> FloatArray:
    """Coordinates (N, 2) near ``uv`` that the index reads nearer to ``points`` (N, 2); ``slope`` is uv per pixel."""
    best = uv.copy()
    missed = np.full(len(points), np.inf)
    for _ in range(CORRECTIONS + 1):
        miss = points - index.read(uv).points
        distance = np.linalg.norm(miss, axis=1)
        better = distance < missed
        best[better], missed[better] = uv[better], distance[better]
        uv = uv + np.einsum("nab,nb->na", slope, miss)
    return best
