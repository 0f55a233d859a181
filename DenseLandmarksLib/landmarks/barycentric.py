"""Piecewise affine maps over a triangulation: the one interpolation behind every uv map.

DenseSeg warps an identity map by interpolated displacements. As every displacement is a barycentric mean and the
identity map is affine, that equals interpolating the template's uv directly: no alignment, no rounding.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt

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


def interpolate_on_grid(
    vertices: FloatArray,
    triangles: NDArray[np.intp],
    values: FloatArray,
    size: tuple[int, int],
    margin: float = np.inf,
) -> NDArray[np.float32]:
    """Piecewise affine interpolation (C, height, width) of vertex values (P, C) at every pixel centre.

    Outside the triangulation, up to ``margin`` pixels away, the value of the nearest covered pixel is continued by
    the affine map that fits all vertices; beyond it is NaN. Where an image folds triangles over each other, the one
    in which the pixel lies deepest counts.
    """
    height, width = size
    corners = vertices[triangles]
    low = np.clip(np.ceil(corners.min(axis=1)), 0, [width, height]).astype(np.intp)
    high = np.clip(np.floor(corners.max(axis=1)) + 1, 0, [width, height]).astype(np.intp)
    extent = np.maximum(high - low, 0)
    # Every (triangle, pixel of its bounding box) pair in one flat list: no Python loop over triangles.
    count = extent[:, 0] * extent[:, 1]
    owner = np.repeat(np.arange(len(triangles)), count)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    x = low[owner, 0] + within % extent[owner, 0]
    y = low[owner, 1] + within // extent[owner, 0]
    matrix, origin = _affine_per_triangle(vertices, triangles)
    dx, dy = x - origin[owner, 0], y - origin[owner, 1]
    l1 = matrix[owner, 0, 0] * dx + matrix[owner, 0, 1] * dy
    l2 = matrix[owner, 1, 0] * dx + matrix[owner, 1, 1] * dy
    depth = np.minimum(np.minimum(l1, l2), 1 - l1 - l2)
    inside = np.flatnonzero(depth >= -1e-9)
    inside = inside[np.argsort(depth[inside], kind="stable")]  # the deepest is written last and stays
    owner, x, y, l1, l2 = owner[inside], x[inside], y[inside], l1[inside], l2[inside]
    corner_values = values[triangles[owner]]
    found = (
        (1 - l1 - l2)[:, None] * corner_values[:, 0]
        + l1[:, None] * corner_values[:, 1]
        + l2[:, None] * corner_values[:, 2]
    )
    field = np.full((height, width, values.shape[1]), np.nan)
    field[y, x] = found
    empty = np.isnan(field[..., 0])
    if margin > 0 and not empty.all():
        distance, nearest = distance_transform_edt(empty, return_indices=True)
        rows, columns = np.nonzero(empty & (distance <= margin))
        from_y, from_x = nearest[:, rows, columns]
        offset = np.column_stack([columns - from_x, rows - from_y])
        field[rows, columns] = field[from_y, from_x] + offset @ fit_affine(vertices, values)[:2]
    return np.ascontiguousarray(field.transpose(2, 0, 1), np.float32)
