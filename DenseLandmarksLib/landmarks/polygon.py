"""Closed polygons through contour points: masks, tangents, and which positions lie inside."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import ConvexHull, QhullError


def contains(contour: ArrayLike, points: ArrayLike) -> NDArray[np.bool_]:
    """Which positions (N, 2) lie inside the closed polygon (P, 2), by the even-odd rule."""
    start = np.asarray(contour, np.float64)
    end = np.roll(start, -1, axis=0)
    x, y = np.asarray(points, np.float64).T[..., None]
    spans = (start[:, 1] > y) != (end[:, 1] > y)
    rise = np.where(end[:, 1] == start[:, 1], 1.0, end[:, 1] - start[:, 1])
    crossing = start[:, 0] + (y - start[:, 1]) * (end[:, 0] - start[:, 0]) / rise
    return np.asarray((spans & (x < crossing)).sum(axis=1) % 2 == 1)


def polygon_mask(contour: ArrayLike, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Pixels (height, width) whose centres lie inside the closed polygon (P, 2) of positions x, y.

    Row by row: the edges that cross a row's centre line, sorted along x, are where the row enters and leaves.
    """
    height, width = size
    start = np.asarray(contour, np.float64)
    end = np.roll(start, -1, axis=0)
    rows = np.arange(height)[:, None]
    row, edge = np.nonzero((start[:, 1] > rows) != (end[:, 1] > rows))
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    crossing = x0 + (row - y0) * (x1 - x0) / (y1 - y0)
    # Each crossing flips everything to its right; the parity of the running sum is the inside.
    flips = np.zeros((height, width + 1), np.int32)
    np.add.at(flips, (row, np.clip(np.floor(crossing).astype(int) + 1, 0, width)), 1)
    return np.asarray(flips[:, :width].cumsum(axis=1) % 2 == 1)


def convex_hull(points: ArrayLike) -> NDArray[np.float64]:
    """The closed polygon (P, 2) around positions (N, 2) in any order; (0, 2) for fewer than three and for those on a line."""
    points = np.asarray(points, np.float64)
    try:
        return np.asarray(points[ConvexHull(points).vertices]) if len(points) > 2 else np.zeros((0, 2))
    except QhullError:
        return np.zeros((0, 2))


def distance_outside(contour: ArrayLike, points: ArrayLike) -> NDArray[np.float64]:
    """How far (N,) positions (N, 2) lie outside of the closed polygon (P, 2), P > 0; 0 inside."""
    start, points = np.asarray(contour, np.float64), np.asarray(points, np.float64)
    edge = np.roll(start, -1, axis=0) - start
    length2 = np.maximum((edge**2).sum(axis=1), 1e-300)
    along = np.clip(((points[:, None] - start) * edge).sum(axis=2) / length2, 0, 1)
    away = np.linalg.norm(points[:, None] - (start + along[:, :, None] * edge), axis=2).min(axis=1)
    return np.where(contains(start, points), 0.0, away)


def contour_tangents(contour: ArrayLike) -> NDArray[np.float64]:
    """Unit tangents (P, D) of a closed contour (P, D): from each point's previous to its next point.

    The zero vector where these two coincide, as there is no direction.
    """
    contour = np.asarray(contour, np.float64)
    chord = np.roll(contour, -1, axis=0) - np.roll(contour, 1, axis=0)
    length = np.linalg.norm(chord, axis=1, keepdims=True)
    return np.asarray(np.divide(chord, length, out=np.zeros_like(chord), where=length > 0))
