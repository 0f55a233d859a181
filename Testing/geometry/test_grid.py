"""The model's grid over an image: true proportions, and every position and mask finds its way back."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image

from DenseLandmarksLib.geometry.grid import Grid, fit_grid
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import VIEWS, View

# Pixels (height, width), spacing (x, y), and where the image must lie in a grid of 64 x 64: top, left, height, width.
IMAGES = {
    "square": ((100, 100), (0.7, 0.7), (0, 0, 64, 64)),
    "wide": ((100, 200), (0.5, 0.5), (16, 0, 32, 64)),
    "tall": ((320, 80), (0.4, 0.4), (0, 24, 64, 16)),
    "unequal spacing": ((100, 100), (1.0, 0.5), (16, 0, 32, 64)),
    "smaller than the grid": ((40, 20), (1.0, 1.0), (0, 16, 64, 32)),
    "a strip": ((3, 3000), (0.1, 0.1), (31, 0, 1, 64)),
}


def radiograph(pixels: NDArray[np.generic], spacing_xy: tuple[float, float]) -> MedicalImage:
    volume = sitk.GetImageFromArray(pixels[None])
    volume.SetSpacing((*spacing_xy, 1.0))
    return MedicalImage(volume, SpacingSource.CALIBRATED)


def grid_over(name: str) -> Grid:
    size, spacing, _ = IMAGES[name]
    return fit_grid(radiograph(np.zeros(size, np.uint8), spacing), (64, 64))


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_fills_the_grid_in_true_proportions(name: str) -> None:
    assert grid_over(name).inner == IMAGES[name][2]


@pytest.mark.parametrize("name", IMAGES)
def test_positions_come_back(name: str) -> None:
    grid = grid_over(name)
    points = np.random.default_rng(0).uniform(-20, 220, (50, 2))
    np.testing.assert_allclose(grid.to_pixels(grid.from_pixels(points)), points, atol=1e-9)


def test_known_pixels_lie_where_they_must() -> None:
    grid = grid_over("wide")  # 200 x 100 pixels on 64 x 32, 16 rows of padding above
    # The outer corners of the image are the outer corners of its part of the grid.
    np.testing.assert_allclose(grid.from_pixels([[-0.5, -0.5], [199.5, 99.5]]), [[-0.5, 15.5], [63.5, 47.5]])
    np.testing.assert_allclose(grid.from_pixels([[99.5, 49.5]]), [[31.5, 31.5]])
    np.testing.assert_allclose(grid.pixels_per_grid, np.eye(2) / 0.32)
    np.testing.assert_allclose(grid.pixel_size((0.5, 0.25)), [0.5 / 0.32, 0.25 / 0.32])


@pytest.mark.parametrize("size", [(480, 640), (130, 100), (33, 50), (1600, 1200), (1003, 757)])
def test_what_is_seen_at_a_pixel_is_seen_at_its_grid_position(size: tuple[int, int]) -> None:
    """An image and its landmarks half a pixel apart would teach the network that half pixel."""
    height, width = size
    points = np.array([[0.3, 0.3], [0.62, 0.41], [0.45, 0.74]]) * [width, height]
    y, x = np.mgrid[:height, :width]
    sigma = max(size) / 40
    for point in points:
        blob = np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * sigma**2))
        image = radiograph(1000 * blob, (0.5, 0.5))
        grid = fit_grid(image, (128, 96))
        seen = grid.resample(image.pixels_yx).astype(np.float64)
        top, left, h, w = grid.inner
        seen[top : top + h, left : left + w] -= seen[top : top + h, left : left + w].min()
        rows, columns = np.mgrid[:128, :96]
        centroid = np.array([(seen * columns).sum(), (seen * rows).sum()]) / seen.sum()
        np.testing.assert_allclose(centroid, grid.from_pixels([point])[0], atol=0.02)


@pytest.mark.parametrize("size", [(128, 128), (256, 192), (48, 64)])
def test_a_ramp_stays_a_ramp(size: tuple[int, int]) -> None:
    y, x = np.mgrid[: size[0], : size[1]]
    image = radiograph((3.0 * x + 2.0 * y).astype(np.float32), (1.0, 1.0))
    grid = fit_grid(image, (64, 64))
    seen = grid.resample(image.pixels_yx)
    top, left, height, width = grid.inner
    rows, columns = np.mgrid[top + 2 : top + height - 2, left + 2 : left + width - 2]
    at = grid.to_pixels(np.stack([columns.ravel(), rows.ravel()], axis=1))
    ramp = at @ [3.0, 2.0]
    inner = seen[top + 2 : top + height - 2, left + 2 : left + width - 2].ravel()
    slope, offset = np.polyfit(ramp, inner, 1)
    np.testing.assert_allclose(inner, slope * ramp + offset, atol=1e-5)
    # Mean 0 and standard deviation 1 over the image: nearly those of the ramp itself.
    assert slope == pytest.approx(1 / (3.0 * x + 2.0 * y).std(), rel=0.02)
    assert offset == pytest.approx(-(3.0 * x + 2.0 * y).mean() * slope, rel=0.02)


def test_the_networks_input_is_normalised_and_its_padding_is_the_mean() -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (100, 200)).astype(np.uint16)
    image = radiograph(pixels, (0.5, 0.5))
    grid = fit_grid(image, (64, 64))
    seen = grid.resample(image.pixels_yx)
    assert seen.dtype == np.float32
    assert not seen[:16].any()
    assert not seen[48:].any()
    assert seen[16:48].mean() == pytest.approx(0, abs=1e-5)
    assert seen[16:48].std() == pytest.approx(1, abs=1e-4)
    # Exposure and bit depth are not the patient.
    np.testing.assert_allclose(grid.resample(pixels * 7.0 + 300), seen, atol=1e-4)


def test_a_constant_image_is_no_division_by_zero() -> None:
    image = radiograph(np.full((50, 50), 7, np.uint8), (1.0, 1.0))
    np.testing.assert_array_equal(fit_grid(image, (64, 64)).resample(image.pixels_yx), 0)


@pytest.mark.parametrize("name", ["square", "wide", "tall", "unequal spacing", "smaller than the grid"])
def test_masks_come_back_to_the_pixels_of_the_image(name: str) -> None:
    grid, (height, width) = grid_over(name), IMAGES[name][0]
    box = np.array([[0.25, 0.25], [0.75, 0.625]]) * [width, height] - 0.5  # corners x, y between pixels
    (left, top), (right, bottom) = grid.from_pixels(box)
    y, x = np.mgrid[:64, :64]
    mask = (x > left) & (x < right) & (y > top) & (y < bottom)
    full = grid.mask_on_image(mask)
    assert full.shape == (height, width)
    columns, rows = np.arange(width), np.arange(height)[:, None]
    inside = (columns > box[0, 0]) & (columns < box[1, 0]) & (rows > box[0, 1]) & (rows < box[1, 1])
    # The border may move by what one grid pixel is wide, and no more.
    distance = np.minimum(
        np.minimum(np.abs(columns - box[0, 0]), np.abs(columns - box[1, 0])) * grid.inner[3] / width,
        np.minimum(np.abs(rows - box[0, 1]), np.abs(rows - box[1, 1])) * grid.inner[2] / height,
    )
    np.testing.assert_array_equal(full[distance > 0.75], inside[distance > 0.75])
    assert full.sum() == pytest.approx(inside.sum(), rel=0.05)


@pytest.mark.parametrize("image_size", [(2048, 2048), (1700, 901), (512, 512), (200, 180), (97, 300), (1, 50)], ids=str)
def test_masks_lie_on_the_image_as_pillow_resamples_them(image_size: tuple[int, int]) -> None:
    """The network saw the image through Pillow; that masks come back without it must not move them."""
    y, x = np.mgrid[:64, :64]
    angle = np.arctan2(y - 30, x - 33)
    mask = np.hypot(y - 30, x - 33) < 20 + 6 * np.sin(3 * angle)
    for view in VIEWS[::3]:
        grid = Grid((64, 64), image_size, (6, 2, 50, 60), view)
        seen = grid.mask_on_image(mask)
        stored = np.ascontiguousarray(view.restore(mask[6:56, 2:62]), np.float32)
        full = np.asarray(Image.fromarray(stored).resize(image_size[::-1], Image.Resampling.BILINEAR))
        different = (full >= 0.5) != seen
        assert seen.dtype == bool
        assert np.abs(full[different] - 0.5).max(initial=0) < 1e-5  # only where the border runs through a centre
        assert different.sum() <= 0.01 * (np.abs(np.diff(full >= 0.5, axis=0)).sum() + 1)


def test_a_mask_of_everything_and_of_nothing_stays_so() -> None:
    grid = grid_over("tall")
    assert grid.mask_on_image(np.ones((64, 64), bool)).all()
    assert not grid.mask_on_image(np.zeros((64, 64), bool)).any()


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_a_turned_film_looks_upright_to_the_model_and_its_points_come_back(view: View) -> None:
    upright = np.random.default_rng(3).random((60, 40))
    stored = view.inverse.see(upright)
    spacing = (0.5, 0.25) if view.turn_deg % 180 else (0.25, 0.5)  # of the stored image, x first
    as_seen = fit_grid(radiograph(upright, (0.25, 0.5)), (64, 64))
    grid = fit_grid(radiograph(stored, spacing), (64, 64), view)
    assert grid.inner == as_seen.inner
    np.testing.assert_allclose(grid.resample(stored), as_seen.resample(upright), atol=1e-5)
    np.testing.assert_allclose(grid.pixel_size(spacing), as_seen.pixel_size((0.25, 0.5)))
    points = np.array([[3.0, 7.5], [31.0, 50.0]])
    in_stored = view.to_stored(points, stored.shape)
    np.testing.assert_allclose(grid.from_pixels(in_stored), as_seen.from_pixels(points))
    np.testing.assert_allclose(grid.to_pixels(grid.from_pixels(in_stored)), in_stored)
    step = grid.to_pixels([[11.0, 10.0], [10.0, 11.0]]) - grid.to_pixels([[10.0, 10.0]])
    np.testing.assert_allclose(grid.pixels_per_grid, step.T, atol=1e-12)
    mask = np.zeros((64, 64), bool)
    mask[10:30, 20:28] = True
    np.testing.assert_array_equal(view.see(grid.mask_on_image(mask)), as_seen.mask_on_image(mask))


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_a_mask_painted_on_the_image_lies_where_the_network_sees_it(view: View) -> None:
    mask = np.zeros((300, 200), bool)
    mask[60:150, 30:120] = True
    grid = fit_grid(radiograph(mask.astype(np.uint16), (0.5, 0.5)), (64, 64), view)
    on_grid = grid.mask_from_image(mask)
    seen = grid.resample(mask.astype(np.uint16))
    assert (seen[on_grid] > 0).all()
    # The brightest is all mask, and half of the way to it half of a pixel.
    assert (on_grid == (seen >= (seen.max() + seen[seen < 0].min()) / 2)).all()
    assert (grid.mask_on_image(on_grid) ^ mask).mean() < 0.03
