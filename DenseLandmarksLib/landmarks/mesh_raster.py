"""Piecewise affine maps drawn at pixel centres: triangles are filled row by row, all structures in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from DenseLandmarksLib.landmarks.barycentric import FloatArray, fit_affine

IndexArray = NDArray[np.intp]
Field = NDArray[np.float32]
ON_EDGE_PX = 1e-9  # a pixel centre this close counts as covered


@dataclass(frozen=True)
class Mesh:
    """Vertices (P, 2) at pixel positions x, y, the triangles (T, 3) between them, and a value (P, C) at each vertex."""

    vertices: FloatArray
    triangles: IndexArray
    values: FloatArray


def interpolate_on_grid(meshes: Sequence[Mesh], size: tuple[int, int], margin: float = np.inf) -> Field:
    """Piecewise affine interpolation (M, C, height, width) of M meshes at every pixel centre, each in its own layer.

    The layer of a mesh without triangles is NaN.

    Outside the triangulation, up to ``margin`` pixels away, the value of the nearest covered pixel is continued by
    the affine map that fits all vertices; beyond it is NaN. Where an image folds triangles over each other, those
    that face as most of the mesh's area does win over those turned over; among equals the largest counts.
    """
    # All meshes in one pass: for one structure, numpy's overhead per call is as large as the work.
    corners = np.concatenate([mesh.vertices[mesh.triangles] for mesh in meshes])
    values = np.concatenate([mesh.values[mesh.triangles] for mesh in meshes])
    layer = np.repeat(np.arange(len(meshes)), [len(mesh.triangles) for mesh in meshes])
    area = _doubled_area(corners)
    area *= np.where(np.bincount(layer, area, len(meshes)) < 0, -1, 1)[layer]
    order = np.argsort(area, kind="stable")  # what is written last stays
    order = order[np.abs(area[order]) > 1e-12]  # a triangle that an image squashed to a line covers no pixel
    field = np.full((len(meshes), values.shape[2], *size), np.nan, np.float32)
    _fill(field, corners[order], values[order], layer[order])
    if margin > 0:
        for channels, mesh in zip(field, meshes, strict=True):
            if len(mesh.triangles):
                _continue_outside(channels, mesh, margin)
    return field


def _doubled_area(corners: FloatArray) -> FloatArray:
    """Twice the signed area (T,) of triangles (T, 3, 2)."""
    (x1, y1), (x2, y2) = (corners[:, 1:] - corners[:, :1]).transpose(1, 2, 0)
    return np.asarray(x1 * y2 - x2 * y1)


def _affine_maps(corners: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Coefficients a, b, c, (C, T) each: ``value = a x + b y + c`` in triangles (T, 3, 2) with values (T, 3, C)."""
    (x1, y1), (x2, y2) = (corners[:, 1:] - corners[:, :1]).transpose(1, 2, 0)
    rise1, rise2 = (values[:, 1:] - values[:, :1]).transpose(1, 2, 0)
    doubled_area = _doubled_area(corners)
    a = (rise1 * y2 - rise2 * y1) / doubled_area
    b = (rise2 * x1 - rise1 * x2) / doubled_area
    return a, b, values[:, 0].T - a * corners[:, 0, 0] - b * corners[:, 0, 1]


def _count_up(lengths: IndexArray) -> IndexArray:
    """0, 1, ... length - 1 of each of the lengths (R,), one run after another."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _whole_numbers(low: FloatArray, high: FloatArray, stop: int) -> tuple[IndexArray, IndexArray]:
    """First whole number in each interval [low, high] within [0, stop), and how many there are."""
    first = np.ceil(low - ON_EDGE_PX).clip(0, stop).astype(np.intp)
    last = np.floor(high + ON_EDGE_PX).clip(-1, stop - 1).astype(np.intp)
    return first, np.maximum(last - first + 1, 0)


def _scan_lines(corners: FloatArray, size: tuple[int, int]) -> tuple[IndexArray, IndexArray, IndexArray, IndexArray]:
    """What triangles (T, 3, 2) cut out of pixel rows: owner, row, first column and number of pixels, (N,) each."""
    by_y = np.argsort(corners[:, :, 1], axis=1)
    (low_x, middle_x, high_x), (low_y, middle_y, high_y) = corners[np.arange(len(corners))[:, None], by_y].T
    top, rows = _whole_numbers(low_y, high_y, size[0])
    owner, row = np.repeat([np.arange(len(corners)), top], rows, axis=1)
    row += _count_up(rows)
    sides = [
        _run_per_rise(high_x - low_x, high_y - low_y),
        _run_per_rise(middle_x - low_x, middle_y - low_y),
        _run_per_rise(high_x - middle_x, high_y - middle_y),
    ]
    per_row = np.repeat([low_x, middle_x, low_y, middle_y, high_y, *sides], rows, axis=1)
    low_x, middle_x, low_y, middle_y, high_y, whole, upper, lower = per_row
    # A row is as thick as the tolerance, so that a nearly flat side is not missed along its whole length.
    top_y, bottom_y = np.maximum(row - ON_EDGE_PX, low_y), np.minimum(row + ON_EDGE_PX, high_y)
    y = np.stack([top_y, np.clip(middle_y, top_y, bottom_y), bottom_y])
    # One side goes from the lowest corner to the highest; the other bends at the middle one and is measured from it.
    straight_x = low_x + whole * (y - low_y)
    bent_x = middle_x + np.where(y < middle_y, upper, lower) * (y - middle_y)
    left, right = np.minimum(straight_x, bent_x).min(axis=0), np.maximum(straight_x, bent_x).max(axis=0)
    first, count = _whole_numbers(left, right, size[1])
    return owner, row, first, count


def _run_per_rise(run: FloatArray, rise: FloatArray) -> FloatArray:
    """Slope of the sides of triangles; 0 for a flat one, which is only asked about at its own height."""
    return np.divide(run, rise, out=np.zeros_like(run), where=rise > 0)


def _fill(field: Field, corners: FloatArray, values: FloatArray, layer: IndexArray) -> None:
    """Write triangles (T, 3, 2) with values (T, 3, C) at their corners into layers of a field (M, C, H, W), in order."""
    _, channels, height, width = field.shape
    owner, row, first, count = _scan_lines(corners, (height, width))
    a, b, c = (coefficient.take(owner, axis=1) for coefficient in _affine_maps(corners, values))
    # Counted from the first pixel of its line, a value needs single precision only.
    start, slope = (a * first + b * row + c).astype(np.float32), a.astype(np.float32)
    step = _count_up(count)
    found = np.repeat(start, count, axis=1) + np.repeat(slope, count, axis=1) * step.astype(np.float32)
    pixel = np.repeat((layer[owner] * channels * height + row) * width + first, count) + step
    for channel, of_channel in enumerate(found):
        field.reshape(-1)[pixel + channel * height * width] = of_channel


def _continue_outside(channels: Field, mesh: Mesh, margin: float) -> None:
    """Fill the empty pixels of one layer (C, H, W) that are at most ``margin`` pixels from a covered one."""
    limits = channels.shape[:0:-1]
    left, top = np.clip(np.floor(mesh.vertices.min(axis=0) - margin), 0, limits).astype(int)
    right, bottom = np.clip(np.ceil(mesh.vertices.max(axis=0) + margin) + 1, 0, limits).astype(int)
    box = channels[:, top:bottom, left:right]
    empty = np.isnan(box[0])
    if empty.all():
        return
    nearest = distance_transform_edt(empty, return_distances=False, return_indices=True)
    # Flat positions: on two indices per pixel, numpy is several times slower.
    width = box.shape[2]
    rows, columns = np.nonzero(empty)
    pixel = rows * width + columns
    from_rows, from_columns = nearest.reshape(2, -1).take(pixel, axis=1)
    source = from_rows * width + from_columns
    offset = np.array([columns - from_columns, rows - from_rows], np.float32)
    if np.isfinite(margin):
        near = np.flatnonzero((offset**2).sum(axis=0) <= margin**2)
        pixel, source, offset = pixel[near], source[near], offset.take(near, axis=1)
    slope = fit_affine(mesh.vertices, mesh.values)[:2].T.astype(np.float32)
    flat = box.reshape(len(box), -1)
    continued = flat.take(source, axis=1) + slope @ offset
    for channel, of_channel in zip(flat, continued, strict=True):
        channel[pixel] = of_channel
    box[:] = flat.reshape(box.shape)  # a box smaller than the image was flattened into a copy
