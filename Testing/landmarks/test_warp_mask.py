"""The outline of a structure goes where its landmarks are dragged, to a pixel, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt

from DenseLandmarksLib.geometry.grid import Grid
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.plane import grid_from_plane_mm, plane_mm_from_grid
from DenseLandmarksLib.geometry.view import AS_STORED, VIEWS, View
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.landmarks.propagation import landmark_propagation, propagate
from DenseLandmarksLib.landmarks.warp import Warp
from DenseLandmarksLib.landmarks.warp_mask import fold_in_mask, warp_mask

FloatArray = NDArray[np.float64]
SIZE = (256, 256)
GEOMETRY = ImageGeometry(
    (600, 500, 1), (0.6, 0.7, 1.0), (-20.0, 35.0, 4.0), (1.0, 0, 0, 0, 0, 1, 0, -1, 0), SpacingSource.CALIBRATED
)


def grid_of(view: View = AS_STORED) -> Grid:
    """A grid of about 1.4 mm over the radiograph, which is padded above and below."""
    height, width = view.seen_size((250, 256))
    return Grid(SIZE, (500, 600), ((256 - height) // 2, (256 - width) // 2, height, width), view)


def outline(count: int) -> FloatArray:
    """A lung-like outline (count, 2) in grid pixels: an egg with a bay."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    radius = 1 - 0.25 * np.exp(-(((angle - 3.0) / 0.4) ** 2))
    return np.column_stack([120 + 38 * radius * np.cos(angle), 128 + 70 * radius * np.sin(angle)])


def bulged(points: FloatArray) -> FloatArray:
    """The outline after a person drew a part of it out by eight pixels."""
    near = np.exp(-(((points - outline(44)[6]) ** 2).sum(axis=1)) / (2 * 18**2))
    return points + near[:, None] * [7.0, 4.0]


def warp_of(
    points_from: FloatArray, points_to: FloatArray, grid: Grid, certain: NDArray[np.bool_] | None = None
) -> Warp:
    plane = [plane_mm_from_grid(GEOMETRY, grid, points) for points in (points_from, points_to)]
    return Warp.between(*plane, certain)


def to_border(mask: NDArray[np.bool_], points: FloatArray) -> FloatArray:
    """Distances (N,) in pixels of grid positions from the border of a mask, which runs between pixels."""
    border = np.argwhere(mask & ~binary_erosion(mask))[:, ::-1], np.argwhere(~mask & binary_dilation(mask))[:, ::-1]
    inner, outer = (np.linalg.norm(points[:, None] - side, axis=2).min(axis=1) for side in border)
    return np.minimum(inner, outer)


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_the_outline_follows_the_curve_that_was_drawn(view: View) -> None:
    grid = grid_of(view)
    landmarks = outline(44)
    mask = polygon_mask(outline(2000), SIZE)
    warped = warp_mask(mask, warp_of(landmarks, bulged(landmarks), grid), GEOMETRY, grid)
    truth = polygon_mask(bulged(outline(2000)), SIZE)
    assert (truth != mask).sum() > 300  # the bulge is no trifle
    assert to_border(warped, bulged(landmarks)).max() < 1.0
    # Nowhere is the outline farther than a pixel from the curve: what differs hugs the border.
    from_border = np.where(truth, distance_transform_edt(truth), distance_transform_edt(~truth))
    assert from_border[warped != truth].max(initial=0) <= 1.0
    assert 2 * (warped & truth).sum() / (warped.sum() + truth.sum()) > 0.99


def test_one_landmark_dragged_in_a_session_takes_the_outline_along() -> None:
    """Through propagation, as a person does it: one drag of 10 mm, the neighbours follow, nobody reviewed them."""
    grid, axes = grid_of(), GEOMETRY.axes_lps[:, :2]
    plane = plane_mm_from_grid(GEOMETRY, grid, outline(44))
    points = plane @ axes.T
    landmarks = replace(
        LandmarkSet.unplaced(tuple(f"lung_{i}" for i in range(44)), ("lung",) * 44),
        points_lps_mm=points,
        predicted_lps_mm=points.copy(),
        presence=(Presence.PRESENT,) * 44,
    )
    moved_lps = points.copy()
    moved_lps[6] += axes @ [9.0, 5.0]
    review = [Review.PREDICTED] * 44
    review[6] = Review.CORRECTED
    moved = propagate(
        replace(landmarks, points_lps_mm=moved_lps, review=tuple(review)), landmark_propagation(landmarks, axes), axes
    )
    now = moved.points_lps_mm @ axes
    assert np.linalg.norm(now - plane, axis=1)[[5, 7]].min() > 5  # the neighbours did follow
    warp = Warp.between(plane, now, np.arange(44) == 6)
    warped = warp_mask(polygon_mask(outline(2000), SIZE), warp, GEOMETRY, grid)
    distance = to_border(warped, grid_from_plane_mm(GEOMETRY, grid, now))
    assert distance[6] < 1.0
    assert distance.mean() < 0.75
    assert fold_in_mask(polygon_mask(outline(2000), SIZE), warp, GEOMETRY, grid) is None


def test_a_shifted_structure_is_the_same_mask_elsewhere() -> None:
    grid = grid_of()
    mask = polygon_mask(outline(2000), SIZE)
    warped = warp_mask(mask, warp_of(outline(44), outline(44) + np.array([11.0, -7.0]), grid), GEOMETRY, grid)
    np.testing.assert_array_equal(warped, np.roll(mask, (-7, 11), axis=(0, 1)))


@pytest.mark.parametrize("scale", [0.9, 0.97, 1.02, 1.1])
def test_a_structure_drawn_larger_or_smaller_has_the_area_of_what_was_drawn(scale: float) -> None:
    grid = grid_of()
    warp = warp_of(outline(44), (outline(44) - 128) * scale + 128, grid)
    warped = warp_mask(polygon_mask(outline(2000), SIZE), warp, GEOMETRY, grid)
    truth = polygon_mask((outline(2000) - 128) * scale + 128, SIZE)
    assert warped.sum() == pytest.approx(truth.sum(), rel=0.005)


@pytest.mark.parametrize("mask", [np.zeros(SIZE, bool), polygon_mask(outline(100), SIZE)], ids=["empty", "whole"])
def test_where_nothing_moved_the_mask_is_a_copy(mask: NDArray[np.bool_]) -> None:
    grid = grid_of()
    unmoved = warp_of(outline(44), outline(44), grid)
    warped = warp_mask(mask, unmoved, GEOMETRY, grid)
    np.testing.assert_array_equal(warped, mask)
    assert not np.shares_memory(warped, mask)
    assert fold_in_mask(mask, unmoved, GEOMETRY, grid) is None


def test_a_structure_that_was_not_found_stays_empty() -> None:
    grid = grid_of()
    moved = warp_of(outline(44), bulged(outline(44)), grid)
    assert not warp_mask(np.zeros(SIZE, bool), moved, GEOMETRY, grid).any()
    assert fold_in_mask(np.zeros(SIZE, bool), moved, GEOMETRY, grid) is None


@pytest.mark.parametrize("by", [(60.0, 0.0), (0.0, 200.0), (-500.0, 0.0)], ids=["partly", "below", "far"])
def test_what_leaves_the_image_is_lost_and_no_crash(by: tuple[float, float]) -> None:
    grid = grid_of()
    right = np.array([60.0, 0.0])
    before, after = outline(44) + right, outline(44) + right + np.array(by)
    warped = warp_mask(polygon_mask(outline(2000) + right, SIZE), warp_of(before, after, grid), GEOMETRY, grid)
    np.testing.assert_array_equal(warped, polygon_mask(outline(2000) + right + np.array(by), SIZE))


def test_a_mask_at_the_edge_of_the_image_loses_nothing_there() -> None:
    grid = grid_of()
    mask = np.zeros(SIZE, bool)
    mask[:40, 200:] = True
    corners = np.array([[200.0, 0.0], [255.0, 0.0], [255.0, 39.0], [200.0, 39.0]])
    moved = corners.copy()
    moved[3] += [-4, 4]
    warped = warp_mask(mask, warp_of(corners, moved, grid), GEOMETRY, grid)
    assert warped[0, 210:].all()
    assert warped[:20, 255].all()
    assert warped[42, 198]


def across(points: FloatArray) -> FloatArray:
    """One landmark pulled through the opposite side of the outline."""
    moved = points.copy()
    moved[0] = [60.0, 128.0]
    return moved


@pytest.mark.parametrize(("change", "folds"), [(bulged, False), (across, True)])
def test_an_edit_that_turns_the_structure_over_is_seen(change: Callable[[FloatArray], FloatArray], folds: bool) -> None:
    grid = grid_of()
    mask = polygon_mask(outline(2000), SIZE)
    warp = warp_of(outline(44), change(outline(44)), grid)
    fold = fold_in_mask(mask, warp, GEOMETRY, grid)
    assert (fold is not None) == folds
    if fold is not None:
        assert fold.determinant < 0
        assert 0 < fold.share < 1
        x, y = grid_from_plane_mm(GEOMETRY, grid, fold.point[None])[0]
        assert 40 < x < 165  # between where the landmark was and where it went
        assert 90 < y < 165


def test_a_fold_outside_of_the_structure_does_not_count() -> None:
    """A landmark that lies inside, dragged a little beyond the border, folds nothing that is drawn."""
    grid = grid_of()
    mask = polygon_mask(outline(2000), SIZE)
    far = np.array([[230.0, 20.0], [240.0, 20.0], [230.0, 30.0]])
    points = np.vstack([outline(44), far])
    moved = points.copy()
    moved[44], moved[45] = far[1], far[0]  # two points that change places, far from the structure
    warp = warp_of(points, moved, grid)
    assert warp.fold_over(plane_mm_from_grid(GEOMETRY, grid, far.mean(axis=0, keepdims=True))) is not None
    drawn = warp_mask(mask, warp, GEOMETRY, grid)
    y, x = np.nonzero(binary_dilation(drawn, iterations=2))
    assert warp.fold_over(plane_mm_from_grid(GEOMETRY, grid, np.column_stack([x, y]))) is None
