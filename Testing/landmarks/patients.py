"""Patients whose landmarks follow a shape that is known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.landmarks.joint_shape import JointShape
from DenseLandmarksLib.landmarks.similarity import turn_matrix

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Patients:
    """The shape that they are drawn from; how far their turns spread, in radians."""

    shape: JointShape
    turn_rad: float

    def draw(self, number: int, seed: int) -> FloatArray:
        """Landmarks (M, N, D) of so many patients, in mm, somewhere within half a metre."""
        generator = np.random.default_rng(seed)
        dimension = self.shape.mean_mm.shape[1]
        patients = []
        for _ in range(number):
            coefficients = generator.normal(size=len(self.shape.mode_sd_mm)) * self.shape.mode_sd_mm
            points = self.shape.at(coefficients)
            points = points + generator.normal(size=points.shape) * self.shape.residual_sd_mm[:, None]
            turn = turn_matrix(generator.normal(0, self.turn_rad, 1 if dimension == 2 else 3), dimension)
            size = np.exp(generator.normal(0, self.shape.size_sd))
            patients.append(size * points @ turn.T + generator.uniform(-500, 500, dimension))
        return np.array(patients)


def draw_patients(
    count: int, dimension: int, modes: int = 2, turn_rad: float = 2.0, residual_mm: float = 1.0
) -> Patients:
    """A shape of ``count`` landmarks within some 40 mm, with modes of 6, 3, 2 mm ... that do not change its pose."""
    generator = np.random.default_rng(count + dimension)
    mean = generator.normal(0, 25, (count, dimension))
    mean -= mean.mean(axis=0)
    # Orthogonal to all small shifts, turns and growth, as modes are after alignment.
    pose = [np.tile(axis, count) for axis in np.eye(dimension)] + [mean.ravel()]
    for a in range(dimension):
        for b in range(a):
            plane = np.zeros((dimension, dimension))
            plane[a, b], plane[b, a] = 1, -1
            pose.append((mean @ plane).ravel())
    random = generator.normal(size=(modes, count * dimension))
    basis = np.linalg.qr(np.vstack([pose, random]).T)[0].T[len(pose) :]
    shape = JointShape(
        mean,
        basis.reshape(modes, count, dimension),
        np.sqrt(count) * 6 / (2 * np.arange(modes) + 1.0),
        residual_mm * generator.uniform(0.7, 1.3, count),
        0.1,
        np.inf if turn_rad > 0.5 else turn_rad,
    )
    return Patients(shape, turn_rad)
