"""Levels of a volume's pyramid: closed-form pictures come back where they are, whatever way the volume is stored."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.frames import index_from_lps_mm, lps_mm_from_index
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.level_grid import LevelGrid
from DenseLandmarksLib.geometry.read_level import level_grids, read_level

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = -3000.0
LEVELS_MM = (8.0, 4.0, 2.0, 1.0)


def _turned(*degrees: float) -> tuple[float, ...]:
    transform = sitk.Euler3DTransform((0, 0, 0), *np.deg2rad(degrees))
    return tuple(transform.GetMatrix())


DIRECTIONS = {
    "identity": (1.0, 0, 0, 0, 1, 0, 0, 0, 1),
    "flipped": (-1.0, 0, 0, 0, 1, 0, 0, 0, -1),
    "permuted": (0.0, 0, 1, -1, 0, 0, 0, -1, 0),
    "oblique": _turned(16.5, -4, 9),
}


def geometry_of(volume: sitk.Image) -> ImageGeometry:
    return ImageGeometry.of(volume, SpacingSource.GIVEN)


def volume_of(values_kji: NDArray[np.generic], direction: Sequence[float], spacing: Sequence[float]) -> sitk.Image:
    volume = sitk.GetImageFromArray(values_kji)
    volume.SetSpacing(tuple(map(float, spacing)))
    volume.SetDirection(tuple(map(float, direction)))
    volume.SetOrigin((31.0, -12.5, 107.25))
    return volume


def ramp_at(points_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Even steps along L, P and S, of whole grey values on the stored voxels of ``ramp_volume``'s integer kind."""
    return points_lps_mm @ np.array([3.0, -5.0, 2.0]) + 400


def ramp_volume(
    direction: Sequence[float],
    size: tuple[int, int, int] = (50, 41, 37),
    spacing: tuple[float, float, float] = (1.0, 1.25, 2.5),
    dtype: type = np.float64,
) -> sitk.Image:
    empty = volume_of(np.zeros(size[::-1], dtype), direction, spacing)
    index_kji = np.stack(np.indices(size[::-1]), axis=-1).reshape(-1, 3)
    values = ramp_at(lps_mm_from_index(geometry_of(empty), index_kji[:, ::-1])).reshape(size[::-1])
    return volume_of(values.astype(dtype), direction, spacing)


def centres_lps_mm(grid: LevelGrid, start: Sequence[int], size: Sequence[int]) -> NDArray[np.float64]:
    """Centres (N, 3) of the voxels of a part, in the order of its values (z, y, x)."""
    index_zyx = np.stack(np.indices(tuple(size)[::-1]), axis=-1).reshape(-1, 3)
    return grid.lps_mm_from_index(index_zyx[:, ::-1] + np.array(start))


def whole(volume: sitk.Image, grid: LevelGrid, outside: float = OUTSIDE) -> NDArray[np.float32]:
    return read_level(volume, grid, (0, 0, 0), grid.size, outside)


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_the_voxel_centres_of_all_levels_are_aligned_and_cover_the_volume(direction: Sequence[float]) -> None:
    geometry = geometry_of(ramp_volume(direction))
    grids = level_grids(geometry, (4.0, 2.0, 1.0, 0.5))
    finest = grids[-1]
    for grid in grids:
        # papers.md, section 3.3: a voxel i of a level lies (i + 0.5) s - 0.5 s_0 from the finest level's first voxel.
        expected = (3 + 0.5) * grid.spacing_mm - 0.5 * finest.spacing_mm
        placed = grid.lps_mm_from_index([[3, 3, 3]]) - np.array(finest.origin_lps_mm)
        np.testing.assert_allclose(placed, expected, atol=1e-9)
        corners = lps_mm_from_index(geometry, [(-0.5, -0.5, -0.5), np.array(geometry.size) - 0.5, (-0.5, 40.5, -0.5)])
        index = grid.index_from_lps_mm(corners)
        assert (index >= -0.5 - 1e-9).all()
        assert (index <= np.array(grid.size) - 0.5 + 1e-5).all()
        np.testing.assert_allclose(grid.lps_mm_from_index(index), corners, atol=1e-9)
    if direction == DIRECTIONS["flipped"]:
        assert finest.size == (100, 103, 185)  # 50, 51.25 and 92.5 mm


def test_a_spacing_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="positive spacings"):
        level_grids(geometry_of(ramp_volume(DIRECTIONS["identity"])), (4.0, 0.0))


@pytest.mark.parametrize("spacing_mm", LEVELS_MM)
@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_a_ramp_comes_back_at_every_level_and_outside_is_filled(direction: Sequence[float], spacing_mm: float) -> None:
    volume = ramp_volume(direction)
    geometry = geometry_of(volume)
    (grid,) = level_grids(geometry, [spacing_mm])
    values = whole(volume, grid).ravel()
    points = centres_lps_mm(grid, (0, 0, 0), grid.size)
    index = index_from_lps_mm(geometry, points)
    to_border = np.minimum(index + 0.5, np.array(geometry.size) - 0.5 - index) * np.array(geometry.spacing_mm)
    # Where the neighbours of interpolation are whole blocks of stored voxels the ramp is exact.
    inside = (to_border > 1.5 * max(spacing_mm, *geometry.spacing_mm)).all(axis=1)
    assert inside.sum() > 50
    np.testing.assert_allclose(values[inside], ramp_at(points[inside]), atol=2e-3)
    # Up to the border a value is the ramp's within a block: not the filling, not a mix with it.
    rim = (to_border > 1e-3).all(axis=1) & ~inside
    steepest = np.linalg.norm([3.0, -5.0, 2.0])
    assert np.abs(values[rim] - ramp_at(points[rim])).max() < 2.5 * steepest * max(spacing_mm, 2.5)
    beyond = (to_border < -1e-3).any(axis=1)
    assert (values[beyond] == OUTSIDE).all()
    assert (values[~beyond & (to_border > 1e-3).all(axis=1)] != OUTSIDE).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("spacing_mm", [0.5, 2.0, 3.0])
def test_every_pixel_type_is_read_as_it_is(dtype: type, spacing_mm: float) -> None:
    rng = np.random.default_rng(0)
    kinds = {np.uint8: (0, 255), np.uint16: (0, 65535), np.int16: (-32768, 32767)}
    low, high = kinds.get(dtype, (-40000, 40000))
    stored = rng.integers(low, high, (12, 12, 12), endpoint=True).astype(dtype)
    volume = volume_of(stored, DIRECTIONS["identity"], (1, 1, 1))
    (grid,) = level_grids(geometry_of(volume), [spacing_mm])
    values = whole(volume, grid)
    if spacing_mm >= 1:  # blocks of whole voxels
        block = int(spacing_mm)
        expected = stored.astype(float).reshape(12 // block, block, 12 // block, block, -1, block).mean(axis=(1, 3, 5))
        np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-2)
    else:  # between two voxels, at a quarter of the way
        expected = 0.75 * stored[5, 5, 5].astype(float) + 0.25 * stored[5, 5, 6].astype(float)
        middle = 0.75 * stored[5, 6, 5].astype(float) + 0.25 * stored[5, 6, 6].astype(float)
        lower = 0.75 * stored[6, 5, 5].astype(float) + 0.25 * stored[6, 5, 6].astype(float)
        corner = 0.75 * stored[6, 6, 5].astype(float) + 0.25 * stored[6, 6, 6].astype(float)
        mixed = 0.75 * (0.75 * expected + 0.25 * middle) + 0.25 * (0.75 * lower + 0.25 * corner)
        assert values[11, 11, 11] == pytest.approx(mixed, rel=1e-5)


@pytest.mark.parametrize("spacing_mm", [0.7, 1.0, 2.0, 2.6, 5.5])
@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_a_part_is_the_same_part_of_the_whole_level(direction: Sequence[float], spacing_mm: float) -> None:
    stored = np.random.default_rng(1).integers(-1000, 3000, (29, 33, 47)).astype(np.int16)
    volume = volume_of(stored, direction, (0.6, 0.6, 1.1))
    (grid,) = level_grids(geometry_of(volume), [spacing_mm])
    level = np.pad(whole(volume, grid), 4, constant_values=OUTSIDE)
    for start, size in (((-4, -2, -3), (7, 9, 8)), ((1, 0, 2), (3, 4, 2)), (np.array(grid.size) - 4, (8, 7, 6))):
        x, y, z = np.array(start) + 4
        expected = level[z : z + size[2], y : y + size[1], x : x + size[0]]
        np.testing.assert_allclose(read_level(volume, grid, start, size, OUTSIDE), expected, atol=2e-3)


def test_a_part_far_away_is_filled_and_an_empty_one_refused() -> None:
    volume = ramp_volume(DIRECTIONS["oblique"])
    (grid,) = level_grids(geometry_of(volume), [1.0])
    assert (read_level(volume, grid, (500, 0, 0), (4, 5, 6), OUTSIDE) == OUTSIDE).all()
    assert read_level(volume, grid, (-900, 0, 0), (4, 5, 6), OUTSIDE).shape == (6, 5, 4)
    with pytest.raises(ValueError, match="at least one voxel"):
        read_level(volume, grid, (0, 0, 0), (4, 0, 6), OUTSIDE)


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
def test_fine_detail_becomes_its_mean_and_no_pattern(direction: Sequence[float]) -> None:
    checkers = np.where(np.indices((48, 48, 48)).sum(axis=0) % 2, 1000, -1000).astype(np.int16)
    volume = volume_of(checkers, direction, (0.5, 0.5, 0.5))
    geometry = geometry_of(volume)
    for spacing_mm in (1.0, 2.0, 4.0):
        (grid,) = level_grids(geometry, [spacing_mm])
        values = whole(volume, grid).ravel()
        index = index_from_lps_mm(geometry, centres_lps_mm(grid, (0, 0, 0), grid.size))
        inside = ((index > -0.4) & (index < 47.4)).all(axis=1)
        assert inside.any()
        assert np.abs(values[inside]).max() < 1e-3


@pytest.mark.parametrize("size", [(41, 40, 39), (1, 17, 2)])
def test_blocks_that_the_volume_does_not_fill_lose_no_voxel(size: tuple[int, int, int]) -> None:
    volume = volume_of(np.full(size[::-1], 7, np.uint8), DIRECTIONS["flipped"], (1, 1, 1))
    (grid,) = level_grids(geometry_of(volume), [8.0])
    index = index_from_lps_mm(geometry_of(volume), centres_lps_mm(grid, (0, 0, 0), grid.size))
    inside = ((index > -0.5) & (index < np.array(size) - 0.5)).all(axis=1)
    np.testing.assert_array_equal(whole(volume, grid, 0.0).ravel(), np.where(inside, 7, 0))


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads the peak of memory as Linux tells it")
def test_a_coarse_level_of_a_large_volume_takes_little_memory() -> None:
    """In a process of its own, as only a process's peak tells; the volume in float32 would be 63 MiB."""
    code = """
import SimpleITK as sitk
from pathlib import Path
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.read_level import level_grids, read_level
volume = sitk.Image((223, 255, 287), sitk.sitkInt16)
volume.SetSpacing((0.5, 0.5, 0.5))
volume[100, 100, 100] = 512  # alone in a block of 8 x 8 x 8
small = sitk.Image((16, 16, 16), sitk.sitkInt16)

def peak_kib():
    # Not getrusage: its peak is inherited from the process that started this one.
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

for image in (small, volume):
    before = peak_kib()
    for spacing in (0.5, 4.0):
        (grid,) = level_grids(ImageGeometry.of(image, SpacingSource.GIVEN), [spacing])
        values = read_level(image, grid, (0, 0, 0), (28, 32, 36), 0.0)
assert values.max() == 1
print(peak_kib() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 24 * 1024, done.stdout
