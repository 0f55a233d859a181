"""Whether a landmark is there: the weights of what speaks for it, from images cut so that it truly is not."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from tqdm import tqdm

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.models.predictors.volume_predictor import VolumePredictor
from DenseLandmarksLib.models.presence import PresenceCalibration
from training.cut_volumes import cut_volumes
from training.volume_data import VolumeCase

FloatArray = NDArray[np.float64]

# Keeps weights finite where the features tell all landmarks apart.
_PRIOR_SD = 10.0
_FOLDS = 5


@dataclass(frozen=True)
class PresenceEvidence:
    """Features (n,) by name of n landmarks, whether each is ``present`` (n,), 1 or 0, and of which case (n,) it is."""

    features: Mapping[str, FloatArray]
    present: FloatArray
    cases: NDArray[np.intp]

    @classmethod
    def of_looks(cls, looks: Iterable[tuple[int, Mapping[str, FloatArray], FloatArray]]) -> PresenceEvidence:
        """Of looks at images: the case's number, features (N,) by name, and what is true (N,): 1, 0, NaN where nobody knows."""
        features: dict[str, list[FloatArray]] = {}
        present, of_case = [], []
        for number, values, truth in looks:
            known = np.isfinite(truth)
            for name, value in values.items():
                features.setdefault(name, []).append(value[known])
            present.append(truth[known])
            of_case.append(np.full(int(known.sum()), number))
        joined = {name: np.concatenate(values) for name, values in features.items()}
        return cls(joined, np.concatenate(present), np.concatenate(of_case))

    @property
    def has_both(self) -> bool:
        """Whether some are there and others are not: else nothing tells the one from the other."""
        return bool(0 < (self.present == 1).sum() < len(self.present))

    def select(self, keep: NDArray[np.bool_]) -> PresenceEvidence:
        """Those where ``keep`` (n,) is true."""
        features = {name: values[keep] for name, values in self.features.items()}
        return PresenceEvidence(features, self.present[keep], self.cases[keep])


def fit_presence(features: Mapping[str, ArrayLike], present: ArrayLike) -> PresenceCalibration:
    """The logistic regression of ``present`` (n,), 1 or 0, on features (n,) by name, by maximum likelihood.

    Weights of features that are brought to deviation 1 have a wide normal prior.
    """
    raw = np.stack([np.asarray(values, np.float64) for values in features.values()], axis=1)
    sign = 2 * np.asarray(present, np.float64) - 1
    middle, sd = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-9)
    scaled = np.column_stack([(raw - middle) / sd, np.ones(len(raw))])

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        margin = sign * (scaled @ weights)
        prior = np.append(weights[:-1], 0.0) / _PRIOR_SD**2
        slope = -(scaled * (sign / (1 + np.exp(np.clip(margin, -50, 50))))[:, None]).sum(axis=0)
        return float(np.logaddexp(0, -margin).sum() + (prior * weights).sum() / 2), slope + prior

    best = minimize(loss, np.zeros(scaled.shape[1]), jac=True, method="L-BFGS-B").x
    weights = best[:-1] / sd
    return PresenceCalibration(tuple(features), weights, float(best[-1] - weights @ middle))


def look_at_cuts(looks: Sequence[tuple[VolumePredictor, VolumeCase]]) -> PresenceEvidence:
    """Cases as models saw them that were trained without them, whole and cut; what is not known counts nowhere."""

    def seen() -> Iterator[tuple[int, Mapping[str, FloatArray], FloatArray]]:
        for number, (predictor, case) in enumerate(tqdm(looks, "cut", unit="case", file=sys.stderr, leave=False)):
            whole = read_image(case.image_path)
            there = np.where(np.isfinite(case.points_lps_mm).all(axis=1), 1.0, np.where(case.absent, 0.0, np.nan))
            for image, truth in [(whole, there), *cut_volumes(whole, case.points_lps_mm, case.absent, number)]:
                yield number, predictor.presence_features(predictor.look(image), image.geometry), truth

    return PresenceEvidence.of_looks(seen())


def calibrate_presence(evidence: PresenceEvidence) -> tuple[PresenceCalibration, dict[str, Any]]:
    """The calibration, and what it is worth on cases that it was not fitted to: both shares of landmarks called present.

    Raises :class:`InputError` where all landmarks are there, or none is: then nothing tells the one from the other.
    """
    is_there = evidence.present == 1
    if not evidence.has_both:
        raise InputError(
            f"expected landmarks that are there and others that are not, got {int(is_there.sum())} of {len(is_there)} that are. "
            "Give volumes that are large enough to cut landmarks off, or that lack some."
        )
    called = np.zeros(len(evidence.present), bool)
    for fold in range(_FOLDS):
        out = evidence.cases % _FOLDS == fold
        if out.any() and not out.all():
            others = evidence.select(~out)
            fitted = fit_presence(others.features, others.present)
            called[out] = fitted.probability(evidence.select(out).features) >= 0.5
    measured = {
        "present": int(is_there.sum()),
        "absent": int((~is_there).sum()),
        "sensitivity": float(called[is_there].mean()),
        "false_alarms": float(called[~is_there].mean()),
    }
    return fit_presence(evidence.features, evidence.present), measured
