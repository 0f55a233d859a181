"""How a neck lies in the scanner: bent and twisted along the spine, uneven, turned, scaled and shifted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.spatial.transform import Rotation

from training.neck_parts import Floats

BENDS_BETWEEN_MM = 65.0
"""The neck bends from this far below the fourth cervical vertebra to this far above; chest and head stay rigid."""
LORDOSIS_MM = 75.0
MIRROR = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class NeckPose:
    """Maps the rest anatomy to the image's frame, LPS mm: bumps and lordosis, then bending, then a similarity.

    Attributes
    ----------
    bump_centres_mm, bump_shifts_mm : (B, 3); bump_lengths_mm : (B,). Gaussian shifts that make the anatomy uneven.
    lordosis_per_mm : how fast the spine recedes from its middle: y grows by ``lordosis_per_mm * z^2 / 2``, and less
        from about ``LORDOSIS_MM`` away.
    bend_rad : (3,) the rotation vector from the chest to the head: flexion, lateral bending, twist.
    matrix : (3, 3) similarity; a negative determinant mirrors.
    offset_mm : (3,).
    """

    bump_centres_mm: Floats
    bump_lengths_mm: Floats
    bump_shifts_mm: Floats
    lordosis_per_mm: float
    bend_rad: Floats
    matrix: Floats
    offset_mm: Floats

    @property
    def scale(self) -> float:
        """How much longer than in the rest anatomy lengths are in the image."""
        return float(abs(np.linalg.det(self.matrix)) ** (1 / 3))

    def mirrored(self) -> NeckPose:
        """The mirror image: what lay at x lies at -x."""
        return replace(self, matrix=MIRROR @ self.matrix, offset_mm=MIRROR @ self.offset_mm)

    @cached_property
    def _spine(self) -> tuple[Floats, Floats]:
        """Heights (H,) of the rest anatomy, and where the bent spine is there, (H, 3)."""
        # Turned about a point of the spine that is itself carried along: the spine's length does not change.
        heights = np.arange(-400.0, 401.0)
        upright = Rotation.from_rotvec(_share(heights)[:, None] * self.bend_rad).apply([0.0, 0.0, 1.0])
        spine = np.vstack([np.zeros(3), np.cumsum((upright[1:] + upright[:-1]) / 2, axis=0)])
        return heights, spine - spine[len(spine) // 2]

    def _bent(self, points: Floats) -> Floats:
        squared = ((points[:, None] - self.bump_centres_mm) ** 2).sum(axis=2)
        bumped = points + np.exp(-squared / (2 * self.bump_lengths_mm**2)) @ self.bump_shifts_mm
        z2 = bumped[:, 2] ** 2
        bumped[:, 1] += self.lordosis_per_mm / 2 * z2 / (1 + z2 / LORDOSIS_MM**2)
        heights, spine = self._spine
        at = np.stack([np.interp(bumped[:, 2], heights, axis) for axis in spine.T], axis=1)
        level = bumped * [1, 1, 0]
        return np.asarray(at + Rotation.from_rotvec(_share(bumped[:, 2])[:, None] * self.bend_rad).apply(level))

    def __call__(self, points_mm: Floats) -> Floats:
        """Points (N, 3) of the rest anatomy in the image's frame, LPS mm."""
        return np.asarray(self._bent(np.asarray(points_mm, np.float64)) @ self.matrix.T + self.offset_mm)

    def back(self, points_lps_mm: Floats) -> Floats:
        """Points (N, 3) LPS mm in the rest anatomy, to better than 0.01 mm within the neck."""
        target = np.asarray((points_lps_mm - self.offset_mm) @ np.linalg.inv(self.matrix).T)
        found = target
        for _ in range(25):  # the bend differs little from the identity: the fixed point comes closer in each round
            found = np.clip(found + target - self._bent(found), -390, 390)
        return found


def _share(z_mm: Floats) -> Floats:
    """Part of the whole bend, -1/2 below the neck to 1/2 above, reached at heights (N,) mm."""
    t = np.clip(z_mm / BENDS_BETWEEN_MM, -1, 1)
    return np.asarray(t * (3 - t**2) / 4)


def random_pose(rng: np.random.Generator) -> NeckPose:
    """Scale 0.8 to 1.2, turned by up to 10 degrees about each axis, head to chest bent by up to 18, 8 and 14 more."""
    bumps = 12
    turn = Rotation.from_euler("xyz", rng.uniform(-10, 10, 3), degrees=True).as_matrix()
    stretch = rng.uniform(0.8, 1.2) * (1 + rng.uniform(-0.04, 0.04, 3))
    return NeckPose(
        bump_centres_mm=rng.uniform(-1, 1, (bumps, 3)) * [60, 70, 90],
        bump_lengths_mm=rng.uniform(28, 50, bumps),
        bump_shifts_mm=np.clip(rng.normal(0, 1.8, (bumps, 3)), -4, 4),
        lordosis_per_mm=rng.uniform(0.0, 0.009),
        bend_rad=np.deg2rad(rng.uniform(-1, 1, 3) * [18, 8, 14]),
        matrix=turn @ np.diag(stretch),
        offset_mm=rng.uniform(-150, 150, 3),
    )
