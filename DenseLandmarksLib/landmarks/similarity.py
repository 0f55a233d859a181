"""Similarities in the plane and in space: a size, a turn and a shift, and the small steps between two of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Similarity:
    """``points -> scale * points @ rotation.T + shift`` with rotation (D, D), never a reflection, and shift (D,)."""

    scale: float
    rotation: FloatArray
    shift: FloatArray

    def apply(self, points: FloatArray) -> FloatArray:
        """Where points (..., D) go."""
        return np.asarray(self.scale * points @ self.rotation.T + self.shift)

    def undo(self, points: FloatArray) -> FloatArray:
        """Where points (..., D) came from."""
        return np.asarray((points - self.shift) @ self.rotation / self.scale)

    def stepped(self, step: FloatArray, centre: FloatArray) -> Similarity:
        """This one followed by a small step as :func:`step_directions` counts it, about ``centre`` (D,)."""
        dimension = len(self.shift)
        turn = turn_matrix(step[dimension:-1], dimension)
        growth = float(np.exp(step[-1]))
        shift = growth * turn @ (self.shift - centre) + centre + step[:dimension]
        return Similarity(growth * self.scale, turn @ self.rotation, shift)


def align(source: FloatArray, target: FloatArray) -> Similarity:
    """The least-squares similarity without reflection (Umeyama 1991, eq. 40 to 42) of ``source`` to ``target`` (N, D)."""
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    a, b = source - source_mean, target - target_mean
    left, singular, right = np.linalg.svd(b.T @ a)
    sign = np.ones(source.shape[1])
    sign[-1] = np.sign(np.linalg.det(left @ right)) or 1.0
    rotation = (left * sign) @ right
    extent = float((a**2).sum())
    scale = float((singular * sign).sum()) / extent if extent > 0 else 1.0
    return Similarity(scale, rotation, target_mean - scale * rotation @ source_mean)


def turn_matrix(turn_rad: FloatArray, dimension: int) -> FloatArray:
    """The rotation (D, D) by an angle (1,) in the plane or by a rotation vector (3,) in space."""
    if dimension == 2:
        cosine, sine = np.cos(turn_rad[0]), np.sin(turn_rad[0])
        return np.array([[cosine, -sine], [sine, cosine]])
    return np.asarray(Rotation.from_rotvec(turn_rad).as_matrix())


def turn_of(rotation: FloatArray) -> FloatArray:
    """The angle (1,), or the rotation vector (3,), in radians, of a rotation (D, D); undoes :func:`turn_matrix`."""
    if len(rotation) == 2:
        return np.array([np.arctan2(rotation[1, 0], rotation[0, 0])])
    return np.asarray(Rotation.from_matrix(rotation).as_rotvec())


def step_directions(points: FloatArray, centre: FloatArray) -> FloatArray:
    """How points (N, D) move with a similarity: (N, D, P) along D shifts, 1 or 3 turns about ``centre``, and growth.

    The derivatives at the identity, P = 4 in the plane and 7 in space; growth is that of the logarithm of the size.
    """
    count, dimension = points.shape
    arm = points - centre
    shifts = np.tile(np.eye(dimension), (count, 1, 1))
    if dimension == 2:
        turns = np.stack([-arm[:, 1], arm[:, 0]], axis=1)[:, :, None]
    else:
        turns = np.cross(np.eye(3)[None], arm[:, None, :]).transpose(0, 2, 1)
    return np.concatenate([shifts, turns, arm[:, :, None]], axis=2)
