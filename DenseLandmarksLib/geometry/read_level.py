"""The levels of a volume's pyramid: isotropic grids along L, P and S, and reading any part of one, anti-aliased."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.frames import index_from_lps_mm, lps_mm_from_index
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.level_grid import FloatArray, LevelGrid, Triple

# Voxels averaged at a time: 16 MiB in float32.
_SLAB_VOXELS = 2**22
# Parts of a voxel: positions that differ by rounding only are on the same side of a border.
_TOLERANCE = 1e-6


def level_grids(geometry: ImageGeometry, spacings_mm: Sequence[float]) -> tuple[LevelGrid, ...]:
    """Grids of ``spacings_mm`` over the box in LPS that holds all voxels of an image, borders included.

    They share the box's corner of lowest L, P and S, so that the centres of voxels are aligned: voxel i of a level of
    spacing s lies (i + 0.5) s from the corner. Raises ``ValueError`` for a spacing that is not a positive number.
    """
    if not all(np.isfinite(spacing) and spacing > 0 for spacing in spacings_mm):
        raise ValueError(f"expected positive spacings in mm, got {tuple(spacings_mm)}")
    borders = [(-0.5, voxels - 0.5) for voxels in geometry.size]
    box_lps_mm = lps_mm_from_index(geometry, list(product(*borders)))
    corner, extent_mm = box_lps_mm.min(axis=0), np.ptp(box_lps_mm, axis=0)
    grids = []
    for spacing in map(float, spacings_mm):
        x, y, z = (max(1, int(np.ceil(voxels - _TOLERANCE))) for voxels in extent_mm / spacing)
        left, posterior, superior = (float(value) for value in corner + spacing / 2)
        grids.append(LevelGrid((left, posterior, superior), spacing, (x, y, z)))
    return tuple(grids)


def read_level(
    volume: sitk.Image, grid: LevelGrid, start: Sequence[int], size: Sequence[int], outside: float
) -> NDArray[np.float32]:
    """The part (z, y, x) of a level that begins at voxel ``start`` (x, y, z) and has ``size`` (x, y, z) voxels.

    The part may begin below zero and end beyond the level. Voxels whose centre is outside the stored volume get the
    value ``outside``. Where the level is coarser than the stored voxels, blocks of them (as many along each stored axis
    as fit into a voxel of the level) are averaged first, so that fine detail does not alias; then linear interpolation.
    Blocks are counted from the volume's first voxel, so a part equals the same part of the whole level. Never more than
    a slab of the volume is copied at a time.

    Raises ``ValueError`` when ``size`` is not positive.
    """
    if min(size) < 1:
        raise ValueError(f"expected a part of at least one voxel along each axis, got {tuple(size)}")
    first_lps_mm = grid.lps_mm_from_index([start])[0]
    corners = list(product(*((0, voxels - 1) for voxels in size)))
    geometry = ImageGeometry.of(volume, SpacingSource.GIVEN)
    # Stored index = base + step @ (x, y, z) of the part.
    base = index_from_lps_mm(geometry, [first_lps_mm])[0]
    step = np.asarray(np.linalg.inv(geometry.index_to_lps_mm) * grid.spacing_mm, np.float64)
    reached = base + np.array(corners) @ step.T
    if (reached.max(axis=0) < -0.5).any() or (reached.min(axis=0) > np.array(geometry.size) - 0.5).any():
        return np.full(tuple(size)[::-1], outside, np.float32)
    blocks = np.maximum(np.floor(grid.spacing_mm / np.array(geometry.spacing_mm) + _TOLERANCE), 1).astype(int)
    source = volume if (blocks == 1).all() else _block_means(volume, geometry, blocks, reached)
    part = sitk.Resample(
        source,
        [int(voxels) for voxels in size],
        sitk.Transform(),
        sitk.sitkLinear,
        first_lps_mm.tolist(),
        [grid.spacing_mm] * 3,
        np.eye(3).ravel().tolist(),
        float(outside),
        sitk.sitkFloat32,
    )
    values: NDArray[np.float32] = sitk.GetArrayFromImage(part)
    _fill_outside(values, base, step, reached, geometry.size, outside)
    return values


def _block_means(
    volume: sitk.Image, geometry: ImageGeometry, blocks: NDArray[np.intp], reached: FloatArray
) -> sitk.Image:
    """Means over ``blocks`` (i, j, k) of voxels, of as many blocks as the box of indices ``reached`` (N, 3) needs."""
    in_blocks = np.floor((reached + 0.5) / blocks - 0.5).astype(int)
    # One block more on both sides: rounding never leaves interpolation without its neighbour.
    first = np.maximum(in_blocks.min(axis=0) - 1, 0)
    last = np.minimum(in_blocks.max(axis=0) + 2, -(-np.array(geometry.size) // blocks) - 1)
    count = last - first + 1
    stored_kji = sitk.GetArrayViewFromImage(volume)
    columns = tuple(slice(first[axis] * blocks[axis], (last[axis] + 1) * blocks[axis]) for axis in (1, 0))
    means = np.empty(count[::-1], np.float32)
    slab = max(1, int(_SLAB_VOXELS // (count[0] * count[1] * blocks.prod())))
    for begin in range(0, count[2], slab):
        end = min(begin + slab, count[2])
        rows = slice((first[2] + begin) * blocks[2], (first[2] + end) * blocks[2])
        wanted = np.array([end - begin, count[1], count[0]]) * blocks[::-1]
        means[begin:end] = _means_of(_completed(stored_kji[(rows, *columns)], wanted), blocks[::-1])
    result = sitk.GetImageFromArray(means)
    result.SetDirection(volume.GetDirection())
    result.SetSpacing((np.array(geometry.spacing_mm) * blocks).tolist())
    result.SetOrigin(lps_mm_from_index(geometry, [(first + 0.5) * blocks - 0.5])[0].tolist())
    return result


def _completed(values: NDArray[Any], shape: NDArray[np.intp]) -> NDArray[Any]:
    """The last, incomplete blocks of a volume filled up with its border."""
    lacking = shape - np.array(values.shape)
    return np.pad(values, [(0, int(lack)) for lack in lacking], mode="edge") if lacking.any() else values


def _means_of(values: NDArray[Any], blocks: NDArray[np.intp]) -> NDArray[np.float32]:
    """Means over ``blocks`` of values, axis by axis; strided sums, as numpy is slow over a short last axis."""
    for axis, block in enumerate(blocks):
        at = [np.s_[:]] * axis
        total = values[(*at, np.s_[::block])].astype(np.float32)
        for offset in range(1, block):
            total += values[(*at, np.s_[offset::block])]
        values = total / np.float32(block)
    return np.asarray(values, np.float32)


def _fill_outside(
    values: NDArray[np.float32],
    base: FloatArray,
    step: FloatArray,
    reached: FloatArray,
    size: Triple,
    outside: float,
) -> None:
    """Write ``outside`` to the voxels (z, y, x) whose stored index, ``base + step @ (x, y, z)``, is beyond a border.

    ``reached`` (8, 3) are the stored indices of the part's corners. A border itself is outside: there rounding would
    decide, in a part otherwise than in the whole.
    """
    low, high = np.array([-0.5] * 3) + _TOLERANCE, np.array(size) - 0.5 - _TOLERANCE
    leaving = np.flatnonzero(((reached < low) | (reached > high)).any(axis=0))
    if len(leaving) == 0:
        return
    depth, height, width = values.shape
    for z in range(depth):
        inside = np.ones((height, width), bool)
        for axis in leaving:
            along_y = base[axis] + step[axis, 2] * z + step[axis, 1] * np.arange(height)
            index = along_y[:, None] + step[axis, 0] * np.arange(width)
            inside &= (index >= low[axis]) & (index <= high[axis])
        values[z][~inside] = outside
