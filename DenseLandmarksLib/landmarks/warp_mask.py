"""A structure's mask under its warp: what is drawn after a landmark was dragged, and whether it can be drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, map_coordinates

from DenseLandmarksLib.geometry.grid import Grid
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.geometry.plane import grid_from_plane_mm, plane_mm_from_grid
from DenseLandmarksLib.landmarks.warp import Fold, Warp

Mask = NDArray[np.bool_]

# A fold this many pixels outside of the mask would still turn over what is next to its border.
MARGIN_PX = 2
# The border is brought forward at every so many of its pixels to see where the mask goes; a box around these is missing
# less than this many pixels.
EVERY = 3


def warp_mask(mask: Mask, warp: Warp, geometry: ImageGeometry, grid: Grid) -> Mask:
    """A mask (H, W) on ``grid`` where ``warp``, in the plane of the radiograph, brings it.

    Each pixel is pulled back to the predicted mask and read there between pixels, so that the border moves by fractions
    of a pixel. What leaves the grid is lost. Always warp the predicted mask: nothing is worn away by many small drags.
    """
    mask = np.asarray(mask, bool)
    if warp.is_identity or not mask.any():
        return mask.copy()
    rows, columns = _box(mask, warp, geometry, grid)
    y, x = np.mgrid[rows, columns]
    pixels = np.column_stack([x.ravel(), y.ravel()])
    pulled = grid_from_plane_mm(geometry, grid, warp.backward(plane_mm_from_grid(geometry, grid, pixels)))
    level = map_coordinates(mask.astype(np.float32), pulled.T[::-1], order=1, mode="grid-constant")
    warped = np.zeros_like(mask)
    warped[rows, columns] = level.reshape(x.shape) >= 0.5
    return warped


def fold_in_mask(mask: Mask, warp: Warp, geometry: ImageGeometry, grid: Grid, every: int = 1) -> Fold | None:
    """The worst place where ``warp`` turns a structure over, in the plane of the radiograph; ``None`` if there is none.

    Asked are every so many pixels, in both directions, of the corrected image whose way back ends in the predicted mask
    (H, W) or up to :data:`MARGIN_PX` beside it, and the places of the given points.
    """
    mask = np.asarray(mask, bool)
    if warp.is_identity or not mask.any():
        return None
    rows, columns = _box(mask, warp, geometry, grid)
    y, x = np.mgrid[rows.start : rows.stop : every, columns.start : columns.stop : every]
    places = plane_mm_from_grid(geometry, grid, np.column_stack([x.ravel(), y.ravel()]))
    origin = np.rint(grid_from_plane_mm(geometry, grid, warp.backward(places))).astype(int)
    on_grid = np.flatnonzero(((origin >= 0) & (origin < mask.shape[::-1])).all(axis=1))
    near = binary_dilation(mask, iterations=MARGIN_PX)
    inside = on_grid[near[origin[on_grid, 1], origin[on_grid, 0]]]
    return warp.fold_over(np.vstack([places[inside], warp.centres]))


def _box(mask: Mask, warp: Warp, geometry: ImageGeometry, grid: Grid) -> tuple[slice, slice]:
    """Rows and columns of the grid that hold the warped mask."""
    inside = mask.copy()
    inside[1:-1, 1:-1] &= mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    inside[[0, -1]] = False
    inside[:, [0, -1]] = False
    y, x = np.nonzero(mask & ~inside)
    border = plane_mm_from_grid(geometry, grid, np.column_stack([x, y])[::EVERY])
    reached = grid_from_plane_mm(geometry, grid, np.vstack([warp.forward(border), warp.centres]))
    height, width = mask.shape
    left, top = np.clip(np.floor(reached.min(axis=0)) - EVERY, 0, [width, height]).astype(int)
    right, bottom = np.clip(np.ceil(reached.max(axis=0)) + EVERY + 1, 0, [width, height]).astype(int)
    return slice(top, bottom), slice(left, right)
