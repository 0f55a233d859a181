"""Piecewise affine maps over a triangulation: the one interpolation behind every uv map.

DenseSeg warps an identity map by interpolated displacements. As every displacement is a barycentric mean and the
identity map is affine, that equals interpolating the template's uv directly: no alignment, no rounding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def _affine_per_triangle(vertices: FloatArray, triangles: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
    """Rows that give barycentric coordinates: ``l12 = matrix @ (p - origin)``, (T, 2, 2) and (T, 2)."""
    corners = vertices[triangles]
    edges = np.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]], axis=2)
    determinant = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    # A triangle that an image squashed to a line covers no pixel: NaN, which no comparison below accepts.
    safe = np.where(np.abs(determinant) < 1e-12, np.nan, determinant)
    inverse = np.stack(
        [
            np.stack([edges[:, 1, 1], -edges[:, 0, 1]], axis=1),
            np.stack([-edges[:, 1, 0], edges[:, 0, 0]], axis=1),
        ],
        axis=1,
    )
    return inverse / safe[:, None, None], corners[:, 0]


def fit_affine(vertices: FloatArray, values: FloatArray) -> FloatArray:
    """Least-squares affine map (3, C) with ``values ~ [x, y, 1] @ map`` for vertices (P, 2) and values (P, C)."""
    design = np.column_stack([vertices, np.ones(len(vertices))])
    return np.asarray(np.linalg.lstsq(design, values, rcond=None)[0], np.float64)


def interpolate_at(
    vertices: FloatArray, triangles: NDArray[np.intp], values: FloatArray, points: ArrayLike
) -> FloatArray:
    """Piecewise affine interpolation (N, C) of vertex values (P, C) at positions (N, 2).

    Where the triangulation does not reach, the value at its closest point is continued by the affine map that fits
    all vertices: a single thin triangle at the border would send it anywhere.
    """
    points = np.asarray(points, np.float64).reshape(-1, 2)
    matrix, origin = _affine_per_triangle(vertices, triangles)
    l12 = np.einsum("tab,ntb->nta", matrix, points[:, None] - origin)
    bary = np.concatenate([1 - l12.sum(axis=2, keepdims=True), l12], axis=2)
    worst = np.nan_to_num(bary.min(axis=2), nan=-np.inf)
    best = worst.argmax(axis=1)
    rows = np.arange(len(points))
    found = np.einsum("nc,ncd->nd", bary[rows, best], values[triangles[best]])
    outside = worst[rows, best] < -1e-9
    if outside.any():
        closest, value = _closest_on_edges(vertices, triangles, values, points[outside])
        found[outside] = value + (points[outside] - closest) @ fit_affine(vertices, values)[:2]
    return found


def _closest_on_edges(
    vertices: FloatArray, triangles: NDArray[np.intp], values: FloatArray, points: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Closest position (N, 2) on any triangle edge, and the value (N, C) there."""
    edges = np.unique(
        np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])), axis=0
    )
    start, step = vertices[edges[:, 0]], vertices[edges[:, 1]] - vertices[edges[:, 0]]
    length2 = np.maximum((step**2).sum(axis=1), 1e-12)
    along = np.clip(((points[:, None] - start) * step).sum(axis=2) / length2, 0, 1)
    candidate = start + along[..., None] * step
    best = ((candidate - points[:, None]) ** 2).sum(axis=2).argmin(axis=1)
    rows = np.arange(len(points))
    weight = along[rows, best][:, None]
    value = (1 - weight) * values[edges[best, 0]] + weight * values[edges[best, 1]]
    return candidate[rows, best], value
