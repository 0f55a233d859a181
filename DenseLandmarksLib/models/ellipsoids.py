"""How sure a model says it is, made true: several raw covariances in, one whose 90 % ellipsoid holds 90 %, out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gamma, pi
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

FloatArray = NDArray[np.float64]
LEVEL = 0.9


@dataclass(frozen=True)
class EllipsoidCalibration:
    """``scale of the structure * (sum of weight * component + floor * identity)``.

    The unit is that of the components, whatever the names say: mm^2 of volumes; pixels^2 of the model's grid for heatmaps
    of radiographs, whose millimetres may come from the landmarks themselves.

    Attributes
    ----------
    components : names of the C raw covariances of a landmark, such as that of its shifted passes.
    weights : (C,), of each; 0 for one that tells nothing of the errors.
    floor_mm2 : variance that every landmark has in every direction.
    structures, scales : S names and (S,) factors, so that the ellipsoids of each structure hold the share ``level``.
    pooled_scale : the factor for all structures together, for those with too few calibration cases or none.
    level : the share that was calibrated. At other levels the ellipsoids of heavy-tailed errors hold another share.

    Raises
    ------
    ValueError : when lengths disagree, or a factor is negative, or nothing is left.
    """

    components: tuple[str, ...]
    weights: FloatArray
    floor_mm2: float
    structures: tuple[str, ...]
    scales: FloatArray
    pooled_scale: float
    level: float = LEVEL

    def __post_init__(self) -> None:
        if np.shape(self.weights) != (len(self.components),) or np.shape(self.scales) != (len(self.structures),):
            raise ValueError("every component needs one weight and every structure one scale")
        factors = np.concatenate([self.weights, [self.floor_mm2]])
        scales = np.concatenate([self.scales, [self.pooled_scale]])
        if not (factors >= 0).all() or not factors.any() or not (scales > 0).all() or not 0 < self.level < 1:
            raise ValueError("weights must not be negative nor all zero, scales positive, the level between 0 and 1")

    def unscaled(self, components: Mapping[str, ArrayLike]) -> FloatArray:
        """The weighted sum (N, D, D), mm^2, of raw covariances (N, D, D) by name, before the structure's factor.

        Raises ``KeyError`` when a component is missing.
        """
        raw = [np.asarray(components[name], np.float64) for name in self.components]
        dimension = raw[0].shape[-1]
        return np.asarray(np.tensordot(self.weights, raw, 1) + self.floor_mm2 * np.eye(dimension))

    def scale_of(self, structures: Sequence[str]) -> FloatArray:
        """The factor (N,) for landmarks of these N structures."""
        known = dict(zip(self.structures, self.scales.tolist(), strict=True))
        return np.array([known.get(name, self.pooled_scale) for name in structures], np.float64)

    def apply(self, components: Mapping[str, ArrayLike], structures: Sequence[str]) -> FloatArray:
        """Calibrated covariances (N, D, D), mm^2, of N landmarks of ``structures`` from their raw ones by name."""
        return self.scale_of(structures)[:, None, None] * self.unscaled(components)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "weights": dict(zip(self.components, self.weights.tolist(), strict=True)),
            "floor_mm2": self.floor_mm2,
            "scales": dict(zip(self.structures, self.scales.tolist(), strict=True)),
            "pooled_scale": self.pooled_scale,
            "level": self.level,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> EllipsoidCalibration:
        """Read what :meth:`to_dict` made; raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        weights, scales = dict(raw["weights"]), dict(raw["scales"])
        return cls(
            tuple(weights),
            np.array(list(weights.values()), np.float64),
            float(raw["floor_mm2"]),
            tuple(scales),
            np.array(list(scales.values()), np.float64),
            float(raw["pooled_scale"]),
            float(raw["level"]),
        )


def isotropic(variance_mm2: ArrayLike, dimension: int = 3) -> FloatArray:
    """Covariances (N, D, D) that are alike in all directions, as of a number (N,) that knows no direction."""
    return np.multiply.outer(np.asarray(variance_mm2, np.float64), np.eye(dimension))


def ellipsoid_volume(covariance_mm2: ArrayLike, level: float = LEVEL) -> FloatArray:
    """Volume (N,) in mm^3, or area in mm^2, of the ellipsoids that hold ``level`` of normals with these covariances.

    ``covariance_mm2`` is (N, D, D). In space and at 0.9 it is 65.5 times the product of the standard deviations along
    the axes (Ma, Gupta and Sabuncu).
    """
    covariance = np.asarray(covariance_mm2, np.float64)
    dimension = covariance.shape[-1]
    ball = pi ** (dimension / 2) / gamma(dimension / 2 + 1)
    radius = chi2.ppf(level, dimension) ** (dimension / 2)
    return np.asarray(ball * radius * np.sqrt(np.maximum(np.linalg.det(covariance), 0)))
