"""Tiles leave nothing of a volume out, and what is said of them is joined without seams."""

from __future__ import annotations

import numpy as np
import pytest

from DenseLandmarksLib.geometry.tiles import Tiling


@pytest.mark.parametrize(
    ("size", "tile", "step", "stride"),
    [
        ((112, 112, 112), (96, 96, 192), 64, 1),
        ((250, 97, 401), (96, 96, 192), 64, 2),
        ((7, 40, 33), (16, 16, 16), 10, 4),
        ((5, 5, 5), (8, 8, 8), 8, 8),
    ],
)
def test_every_voxel_is_seen_and_the_weights_add_up_to_one(
    size: tuple[int, int, int], tile: tuple[int, int, int], step: int, stride: int
) -> None:
    tiling = Tiling(size, tile, step, stride)
    total = np.zeros([covered // stride for covered in tiling.covered[::-1]])
    smallest = 1.0
    for first, (z, y, x) in tiling.tiles():
        assert all((begin - start) % stride == 0 for begin, start in zip(first, tiling.start, strict=True))
        weights = z[:, None, None] * y[:, None] * x
        assert weights.shape == tuple(length // stride for length in tile[::-1])
        place = tuple(
            slice((begin - start) // stride, (begin - start) // stride + pixels)
            for begin, start, pixels in zip(first[::-1], tiling.start[::-1], weights.shape, strict=True)
        )
        total[place] += weights
        smallest = min(smallest, float(weights.min()))
    np.testing.assert_allclose(total, 1)
    assert smallest > 0
    for start, covered, length in zip(tiling.start, tiling.covered, size, strict=True):
        assert start <= 0
        assert start + covered >= length


def test_a_volume_smaller_than_a_tile_lies_in_its_middle() -> None:
    tiling = Tiling((10, 16, 3), (16, 16, 16), 8, 2)
    assert len(tiling) == 1
    assert tiling.start == (-2, 0, -6)  # whole pixels of the map: 3 of 6, and 6 of 13, voxels are before it
    assert tiling.covered == (16, 16, 16)


def test_neighbours_are_a_step_apart_and_the_last_tile_ends_with_the_volume() -> None:
    firsts = [first for first, _ in Tiling((200, 96, 192), (96, 96, 192), 64).tiles()]
    assert firsts == [(0, 0, 0), (64, 0, 0), (104, 0, 0)]


def test_the_weights_have_no_steps() -> None:
    for _, (_, _, x) in Tiling((200, 8, 8), (96, 8, 8), 8).tiles():
        assert np.abs(np.diff(x)).max() < 0.1


@pytest.mark.parametrize(("tile", "step", "stride"), [((16, 16, 15), 8, 2), ((16, 16, 16), 17, 1), ((8, 8, 8), 1, 2)])
def test_tiles_that_leave_gaps_are_refused(tile: tuple[int, int, int], step: int, stride: int) -> None:
    with pytest.raises(ValueError, match="expected tiles"):
        Tiling((40, 40, 40), tile, step, stride)
