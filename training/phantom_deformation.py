"""The shapes of phantoms: one smooth random deformation of a template's mean shapes, and of all drawn with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from DenseLandmarksLib.landmarks.template import FloatArray, Template

MARGIN_MM = 4.0
"""Every structure stays this far inside the field of view."""


@dataclass(frozen=True)
class Deformation:
    """Gaussian bumps, then an affine map: millimetres of the template to millimetres of the image, points (N, 2)."""

    bump_centres: FloatArray  # (K, 2)
    bump_lengths: FloatArray  # (K,)
    bump_shifts: FloatArray  # (K, 2)
    matrix: FloatArray
    offset: FloatArray

    def _bumps(self, points: FloatArray) -> FloatArray:
        squared = ((points[:, None] - self.bump_centres) ** 2).sum(axis=2)
        return np.asarray(np.exp(-squared / (2 * self.bump_lengths**2)) @ self.bump_shifts)

    def __call__(self, points: FloatArray) -> FloatArray:
        return np.asarray((points + self._bumps(points)) @ self.matrix.T + self.offset)

    def back(self, points: FloatArray) -> FloatArray:
        """Millimetres of the image to millimetres of the template, (N, 2), to about 1 mm."""
        target = np.asarray((points - self.offset) @ np.linalg.inv(self.matrix).T)
        found = target
        for _ in range(4):  # the bumps are gentle, so the fixed point comes closer in each round
            found = target - self._bumps(found)
        return found


def _rotation(degrees: float) -> FloatArray:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def random_deformation(template: Template, rng: np.random.Generator) -> Deformation:
    height, width = template.field_of_view_mm
    extent = np.array([width, height])
    broad, fine = 12, 16
    matrix = _rotation(rng.uniform(-6, 6)) @ np.diag(rng.uniform(0.88, 1.12, 2))
    offset = extent / 2 - matrix @ extent / 2 + rng.uniform(-0.06, 0.06, 2) * extent
    # Shifts much shorter than the length they fade over: neighbours keep their order, nothing folds.
    return Deformation(
        rng.uniform(0, 1, (broad + fine, 2)) * extent,
        np.concatenate([rng.uniform(0.17, 0.28, broad), rng.uniform(0.08, 0.13, fine)]) * height,
        np.vstack([rng.normal(0, 0.016, (broad, 2)), rng.normal(0, 0.007, (fine, 2))]) * height,
        matrix,
        offset,
    )


def fit_inside(points: FloatArray, template: Template) -> tuple[float, FloatArray]:
    """Factor and shift that bring points (N, 2) mm inside the field of view; 1 and 0 for most phantoms."""
    height, width = template.field_of_view_mm
    extent = np.array([width, height])
    low, high = points.min(axis=0), points.max(axis=0)
    shrink = min(1.0, float(((extent - 2 * MARGIN_MM) / (high - low)).min()))
    return shrink, np.clip(0, MARGIN_MM - shrink * low, extent - MARGIN_MM - shrink * high)


def jitter(points: FloatArray, name: str, rng: np.random.Generator) -> FloatArray:
    """A small similarity of one structure (P, 2) mm: anatomy that a common deformation does not explain."""
    centre = points.mean(axis=0)
    scale = 1 + np.clip(rng.normal(0, 0.05 if name == "heart" else 0.015), -0.1, 0.1)  # hearts differ most in size
    shift = np.clip(rng.normal(0, 1.5, 2), -3, 3)
    return np.asarray((points - centre) @ (scale * _rotation(rng.uniform(-3, 3))).T + centre + shift)
