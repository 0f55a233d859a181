"""Looking at a grid several times, each time a little moved: what the passes differ by is what the network is unsure of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from DenseLandmarksLib.landmarks.heat_read_out import HeatReadOut

FloatArray = NDArray[np.float64]

# How far a pass is moved at most: a share of the grid's height, an angle, and a share of the size. Small beside what the
# networks are trained on (10 degrees and more), so that no pass sees what the network does not know.
LARGEST_SHIFT = 0.02
LARGEST_TURN_DEG = 4.0
LARGEST_GROWTH = 0.04


@dataclass(frozen=True)
class SmallMove:
    """``points -> matrix @ (points - centre) + centre + shift``, positions x, y in grid pixels."""

    matrix: FloatArray
    centre: FloatArray
    shift: FloatArray

    @property
    def is_still(self) -> bool:
        """Whether nothing moves."""
        return bool((self.matrix == np.eye(2)).all() and not self.shift.any())

    def move(self, grid_pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """The moved grid (H, W); what comes in from outside is 0, as padding is."""
        if self.is_still:
            return grid_pixels
        back = np.linalg.inv(self.matrix)[::-1, ::-1]  # from x, y to rows and columns
        centre, shift = self.centre[::-1], self.shift[::-1]
        offset = centre - back @ (centre + shift)
        return np.asarray(affine_transform(grid_pixels, back, offset, order=1), np.float32)

    def undo(self, read: HeatReadOut) -> HeatReadOut:
        """What was read on the moved grid, where it was before."""
        back = np.linalg.inv(self.matrix)
        points = (read.points - self.centre - self.shift) @ back.T + self.centre
        return HeatReadOut(points, back @ read.covariance @ back.T, read.strength)


def small_moves(passes: int, grid_size: tuple[int, int]) -> tuple[SmallMove, ...]:
    """The moves of so many passes over a grid (height, width), the first of them none; the same in every prediction."""
    height, width = grid_size
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    moves = [SmallMove(np.eye(2), centre, np.zeros(2))]
    for number in range(1, passes):
        turn, growth, x, y = np.random.default_rng((passes, number)).uniform(-1, 1, 4)
        angle = np.deg2rad(LARGEST_TURN_DEG * turn)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shift = LARGEST_SHIFT * height * np.array([x, y])
        moves.append(SmallMove((1 + LARGEST_GROWTH * growth) * rotation, centre, shift))
    return tuple(moves)


def join_passes(passes: Sequence[HeatReadOut]) -> tuple[HeatReadOut, FloatArray]:
    """What passes say together whose moves are taken back, and the covariances (N, D, D) of what they differ by about that.

    A point is where the middle pass has it along each axis, of an even number half-way between the middle two: a peak that
    one pass sees elsewhere draws a mean away from where all others see it. Out of fold on 90 hands, four passes of a small
    network: 2.4 % of the landmarks 10 mm off or more, 3.2 % of the means, 2.5 % of the first pass.
    """
    points = np.array([read.points for read in passes])
    middle = np.median(points, axis=0)
    off = points - middle
    apart = np.einsum("pni,pnj->nij", off, off) / max(len(off) - 1, 1)
    covariance = np.mean([read.covariance for read in passes], axis=0)
    return HeatReadOut(middle, covariance, np.mean([read.strength for read in passes], axis=0)), apart
