"""Heatmaps of a whole volume from a network that sees a tile of it at a time, in little memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from DenseLandmarksLib.geometry.level_grid import LevelGrid, Triple
from DenseLandmarksLib.geometry.tiles import Tiling
from DenseLandmarksLib.landmarks.heat_read_out import HeatReadOut
from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork
from DenseLandmarksLib.models.networks.pyramid import Pyramid, middle_of
from DenseLandmarksLib.models.prediction import do_nothing
from DenseLandmarksLib.models.predictors.heat_reading import HeatReading

FloatArray = NDArray[np.float64]
Heat = NDArray[np.floating]

# How far a pass is moved at most. Small beside what networks are trained on, so that no pass sees what they do not know.
LARGEST_SHIFT_VOXELS = 2.0
LARGEST_TURN_DEG = 4.0


@dataclass(frozen=True)
class Tiles:
    """Sides (x, y, z) in voxels of the boxes that a network sees at a time, and how far they are apart."""

    size: Triple
    step: int

    def over(self, grid: LevelGrid, stride: int) -> Tiling:
        """The tiles of one volume, for maps of a network of this ``stride``."""
        return Tiling(grid.size, self.size, self.step, stride)


@dataclass(frozen=True)
class RigidMove:
    """``seen = matrix @ (point - centre) + centre + shift``, LPS mm: where a pass looks for what lies at a point of the grid."""

    matrix: FloatArray
    centre_lps_mm: FloatArray
    shift_mm: FloatArray

    def of(self, points_lps_mm: FloatArray) -> FloatArray:
        """Where points (N, 3) of the grid are looked for."""
        return (points_lps_mm - self.centre_lps_mm) @ self.matrix.T + self.centre_lps_mm + self.shift_mm


def rigid_moves(passes: int, grid: LevelGrid) -> tuple[RigidMove, ...]:
    """The moves of so many passes over a volume, the first of them none; the same in every prediction."""
    moves = [RigidMove(np.eye(3), middle_of(grid), np.zeros(3))]
    for number in range(1, passes):
        turn, shift = np.random.default_rng((passes, number)).uniform(-1, 1, (2, 3))
        matrix = Rotation.from_rotvec(turn / np.sqrt(3) * LARGEST_TURN_DEG, degrees=True).as_matrix()
        moves.append(RigidMove(matrix, middle_of(grid), shift * LARGEST_SHIFT_VOXELS * grid.spacing_mm))
    return tuple(moves)


@dataclass(frozen=True)
class JoinedHeat:
    """Heatmaps of one volume, N or the one that was asked for.

    ``heat`` (N, Z, Y, X) and the ``parts`` that it is made of, by name, in pixels of ``stride`` voxels from voxel
    ``start`` (x, y, z) of the level on, which is below zero where a volume is smaller than a tile. Of several tiles they
    are float16: its steps, a two-thousandth of the height, move a peak by hundredths of a voxel.
    """

    heat: Heat
    parts: Mapping[str, Heat]
    start: Triple
    stride: int

    def within(self, heat: Heat, grid: LevelGrid) -> Heat:
        """The part (Z, Y, X) of a map that is inside of the volume."""
        inside = [
            slice(-min(first, 0) // self.stride, -(-(size - min(first, 0)) // self.stride))
            for first, size in zip(self.start[::-1], grid.size[::-1], strict=True)
        ]
        return heat[tuple(inside)]


@torch.inference_mode()
def join_heat(
    network: HeatmapNetwork,
    pyramid: Pyramid,
    tiles: Tiles,
    move: RigidMove,
    between_tiles: Callable[[], None] = do_nothing,
    row: int | None = None,
) -> JoinedHeat:
    """The heatmaps of a volume, tile by tile, each weighed by how far inside of it a pixel lies; ``row`` of one landmark.

    ``between_tiles`` is called before each tile but the first. What the network says of a single tile is not weighed, and
    of the parts nothing is kept unless one landmark is asked for.
    """
    grid, stride = pyramid.grids[0], network.stride
    tiling = tiles.over(grid, stride)
    device, rows = network.sigma.device, slice(None) if row is None else slice(row, row + 1)
    frame = torch.from_numpy(move.matrix).float().to(device)
    joined: dict[str, Heat] = {}
    whole = tuple(length // stride for length in tiling.covered[::-1])
    for number, (first, weights) in enumerate(tiling.tiles()):
        if number:
            between_tiles()
        middle = grid.lps_mm_from_index([np.array(first) + (np.array(tiles.size) - 1) / 2])
        centre = torch.from_numpy(move.of(middle)).float().to(device)
        output = network(pyramid.crop(0, centre, tiles.size, frame))
        maps = {"": output.heat, **({} if row is None else output.parts)}
        said = {name: one[0, rows].float().cpu().numpy() for name, one in maps.items()}
        del output, maps
        if len(tiling) == 1:
            joined = said
            continue
        place = tuple(
            slice((begin - start) // stride, (begin - start + length) // stride)
            for begin, start, length in zip(first[::-1], tiling.start[::-1], tiles.size[::-1], strict=True)
        )
        z, y, x = (along.astype(np.float32) for along in weights)
        share = z[:, None, None] * y[:, None] * x
        for name, one in said.items():
            into = joined.setdefault(name, np.zeros((len(one), *whole), np.float16))
            for total, tile in zip(into, one, strict=True):
                total[place] += (share * tile).astype(np.float16)
    heat = joined.pop("")
    return JoinedHeat(heat, {name: one[0] for name, one in joined.items()}, tiling.start, stride)


def read_joined(
    joined: JoinedHeat, grid: LevelGrid, reading: HeatReading, sigma: FloatArray, move: RigidMove
) -> HeatReadOut:
    """Landmarks in LPS mm, where they are, and their covariances in mm^2; ``sigma`` (N,) in heatmap pixels."""
    reads = [
        # One landmark at a time, so that only one map is float32.
        reading.read(np.asarray(one, np.float32)[None], sigma[row : row + 1], joined.stride)
        for row, one in enumerate(joined.heat)
    ]
    index_xyz = np.concatenate([read.points for read in reads]) + np.array(joined.start)
    voxels2 = np.concatenate([read.covariance for read in reads])
    return HeatReadOut(
        move.of(grid.lps_mm_from_index(index_xyz)),
        move.matrix @ voxels2 @ move.matrix.T * grid.spacing_mm**2,
        np.concatenate([read.strength for read in reads]),
    )


def find_in_tiles(
    network: HeatmapNetwork,
    pyramid: Pyramid,
    tiles: Tiles,
    reading: HeatReading,
    move: RigidMove,
    between_tiles: Callable[[], None] = do_nothing,
) -> HeatReadOut:
    """Landmarks (N, 3) in LPS mm of a volume in one pass, covariances in mm^2."""
    sigma = network.sigma.detach().cpu().numpy().astype(np.float64)
    joined = join_heat(network, pyramid, tiles, move, between_tiles)
    return read_joined(joined, pyramid.grids[0], reading, sigma, move)
