"""Whether a landmark is in an image: what the network says of it, weighed with how and where it is seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

PRESENCE = ("network", "heat", "inside")
"""What :func:`presence_features` names at most."""
PEAK_PRESENCE = ("strength", "off")
"""What :func:`peak_presence_features` names."""


@dataclass(frozen=True)
class PresenceCalibration:
    """A logistic regression: ``probability = 1 / (1 + exp(-(sum of weight * feature + bias)))``.

    Attributes
    ----------
    features : names of what speaks for a landmark, see :func:`presence_features` and :func:`peak_presence_features`.
    weights : (E,), of each.
    bias : of all together.

    Raises
    ------
    ValueError : when lengths disagree or a number is not finite.
    """

    features: tuple[str, ...]
    weights: FloatArray
    bias: float

    def __post_init__(self) -> None:
        if np.shape(self.weights) != (len(self.features),) or not np.isfinite([*self.weights, self.bias]).all():
            raise ValueError("every feature needs one finite weight, and all a finite bias")

    def probability(self, features: Mapping[str, ArrayLike]) -> FloatArray:
        """Of presence (N,), from features (N,) by name; raises ``KeyError`` when one is missing."""
        raw = np.stack([np.asarray(features[name], np.float64) for name in self.features])
        return np.asarray(1 / (1 + np.exp(-np.clip(self.weights @ raw + self.bias, -50, 50))))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        weights = [round(float(weight), 6) for weight in self.weights]
        return {"features": list(self.features), "weights": weights, "bias": round(self.bias, 6)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PresenceCalibration:
        """What :meth:`to_dict` gave; raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        return cls(tuple(values["features"]), np.array(values["weights"], np.float64), float(values["bias"]))

    @classmethod
    def from_bundle(cls, inference: Mapping[str, Any], known: Collection[str]) -> PresenceCalibration | None:
        """That of a bundle's ``inference.json``, if it has one; raises ``ValueError`` also for features that are not ``known``."""
        if not inference.get("presence"):
            return None
        found = cls.from_dict(inference["presence"])
        if unknown := sorted(set(found.features) - set(known)):
            raise ValueError(f"presence is told by {unknown[0]!r}, not one of {', '.join(known)}")
        return found


def presence_features(
    presence: ArrayLike | None, heat_covariance_mm2: ArrayLike, inside_mm: ArrayLike, limit_mm: float
) -> dict[str, FloatArray]:
    """What speaks for each of N landmarks.

    Parameters
    ----------
    presence : (N,) probability that a network's own output gives, ``None`` where it has none: ``"network"``, its logit.
    heat_covariance_mm2 : (N, 3, 3) of the finest heatmaps. Where nothing is to be seen they are flat: ``"heat"``, the logarithm of
        the trace.
    inside_mm : (N,) how far within the volume's border the position lies, negative outside: ``"inside"``, in units of
        ``limit_mm``, beyond which it tells nothing more.
    """
    trace = np.trace(np.asarray(heat_covariance_mm2, np.float64), axis1=1, axis2=2)
    found = {
        "heat": np.log(np.maximum(trace, 1e-9)),
        "inside": np.clip(np.asarray(inside_mm, np.float64) / limit_mm, -1, 1),
    }
    if presence is None:
        return found
    probability = np.clip(np.asarray(presence, np.float64), 1e-6, 1 - 1e-6)
    return {"network": np.log(probability / (1 - probability)), **found}


def peak_presence_features(strength: ArrayLike, off_others_mm: ArrayLike) -> dict[str, FloatArray]:
    """What speaks for each of N landmarks of a radiograph: ``"strength"``, the logarithm of that of its peak (N,), and ``"off"``,
    that of how far (N,) it lies from where the others suggest it, see :mod:`DenseLandmarksLib.landmarks.off_others`."""
    return {
        "strength": np.log(np.maximum(np.asarray(strength, np.float64), 1e-6)),
        "off": np.log1p(np.asarray(off_others_mm, np.float64)),
    }


def even_strength(calibration: PresenceCalibration) -> float:
    """The strength at which a landmark that lies just where the others suggest it is as likely there as not.

    0 where strength does not speak for a landmark.
    """
    weight = dict(zip(calibration.features, calibration.weights, strict=True)).get("strength", 0.0)
    return float(np.exp(np.clip(-calibration.bias / weight, -50, 50))) if weight > 0 else 0.0
