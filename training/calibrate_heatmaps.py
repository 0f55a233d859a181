"""How sure a heatmap model may say it is: ellipses, presence and limits, from cases that a model did not see.

All covariances are in pixels^2 of the model's grid: millimetres may come from the landmarks themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.ellipsoids import ellipsoid_volume
from DenseLandmarksLib.models.predictors.heatmap import COMPONENTS, HeatmapPredictor, HeatSeen, open_heatmap
from DenseLandmarksLib.models.presence import PresenceCalibration, even_strength
from training.calibrate_presence import PresenceEvidence, calibrate_presence
from training.cut_radiographs import look_at_cut_radiographs
from training.ellipsoids import coverage_over_halves, fit_ellipsoids, size_error_correlation
from training.grid_cases import load_grid_cases
from training.metrics import FAR_MM
from training.out_of_fold import with_folds
from training.plausibility_limits import FALSE_ALARMS, joint_limits
from training.rewrite_bundle import rewrite_bundle

FloatArray = NDArray[np.float64]

# Nobody sees a difference below; logarithms of measures that are 0 would see nothing else.
_LEAST_MEASURE = 0.05
# Measures that are at most 1.
_SHARES = ("peak_weakness",)


@dataclass(frozen=True)
class OutOfFold:
    """One case as the model saw it that was trained without it.

    ``points`` (N, 2), grid pixels, NaN where unknown; ``presence`` what spoke for each landmark (N,), by name, in the image
    whole and cut, and what is true of it there, 1, 0 or NaN where unknown.
    """

    predictor: HeatmapPredictor
    name: str
    points: FloatArray
    mm_per_pixel: float
    seen: HeatSeen
    presence: Sequence[tuple[dict[str, FloatArray], FloatArray]]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which landmarks (N,) are annotated."""
        return np.asarray(np.isfinite(self.points).all(axis=1))

    @property
    def errors(self) -> FloatArray:
        """Errors (n, 2), grid pixels, of the annotated landmarks."""
        return np.asarray((self.seen.points - self.points)[self.known], np.float64)


def look_out_of_fold(bundles: Sequence[Bundle], data: Path, device: str) -> list[OutOfFold]:
    """Every training case of a data folder or packed file by the model that was trained without it.

    Raises :class:`InputError` for a model that was trained on all cases, when two held out the same fold, and when they find
    landmarks that the data lack.
    """
    found: list[OutOfFold] = []
    for bundle, fold, folds in with_folds(bundles):
        cases = load_grid_cases(data, bundle.grid_size).of_split("train").fold(fold, folds)[1]
        missing = [name for name in bundle.landmark_names if name not in cases.landmark_names]
        if missing:
            raise InputError(
                f"expected landmarks of {cases.data_name}, {bundle.folder} finds {missing[0]}. Give the data it was trained on."
            )
        cases = cases.of_landmarks(np.array([cases.landmark_names.index(name) for name in bundle.landmark_names]))
        predictor = open_heatmap(bundle, device)
        for row in tqdm(range(len(cases)), desc=f"fold {fold}", unit="case", file=sys.stderr, leave=False):
            pixels, points, size = (
                cases.images[row].astype(np.float32),
                cases.points[row],
                float(cases.mm_per_pixel[row]),
            )
            seen = predictor.look_on_grid(pixels)
            there = np.where(np.isfinite(points).all(axis=1), 1.0, np.nan)
            sights = [(seen, there), *look_at_cut_radiographs(predictor, pixels, points, size, row)]
            presence = [(predictor.presence_features(sight), present) for sight, present in sights]
            found.append(OutOfFold(predictor, cases.names[row], points, size, seen, presence))
    return found


def calibrate_heatmaps(model: Path, folders: Sequence[Path], data: Path, device: str = "cpu") -> dict[str, Any]:
    """Write ellipses, the strength of a landmark that is there and limits of plausibility into the bundle ``model``.

    Returns what was measured on the way. Raises :class:`InputError` when a fold's model finds other landmarks.
    """
    bundle = load_bundle(model)
    of_folds = [load_bundle(folder) for folder in folders]
    for other in of_folds:
        if other.landmark_names != bundle.landmark_names or other.grid_size != bundle.grid_size:
            raise InputError(
                f"expected models of the recipe of {bundle.name}, {other.folder} has another grid or other landmarks. "
                "Train the folds with the same recipe."
            )
    looks = look_out_of_fold(of_folds, data, device)
    structures = [bundle.landmark_structures[row] for look in looks for row in np.flatnonzero(look.known).tolist()]
    cases = [look.name for look in looks for _ in range(int(look.known.sum()))]
    errors = np.concatenate([look.errors for look in looks])
    raw = {name: np.concatenate([look.seen.components[name][look.known] for look in looks]) for name in COMPONENTS}
    calibration = fit_ellipsoids(raw, errors, structures, cases)
    covariance = calibration.apply(raw, structures)
    rho = size_error_correlation(covariance, errors).rho
    halves = coverage_over_halves(raw, errors, structures, cases)
    errors_mm = np.concatenate([np.linalg.norm(look.errors, axis=1) * look.mm_per_pixel for look in looks])
    measured = {
        "cases": len(looks),
        "landmarks": len(errors),
        "coverage": halves.mean,
        "coverage_interval": [halves.low, halves.high],
        "coverage_of_structures": halves.per_structure,
        "median_ellipse_90_px2": float(np.median(ellipsoid_volume(covariance))),
        # Where no component tells anything of the errors, all ellipses are alike.
        "spearman": rho if np.isfinite(rho) else None,
        "tre_mm": float(errors_mm.mean()),
        "from_10_mm_share": float((errors_mm >= FAR_MM).mean()),
    }
    changes: dict[str, Any] = {"ellipses": {**calibration.to_dict(), "measured": measured}, "presence": None}
    evidence = PresenceEvidence.of_looks(
        (number, features, present) for number, look in enumerate(looks) for features, present in look.presence
    )
    presence = None
    # Images so small that no cut takes a landmark away and leaves enough say nothing: the limit stays as it is.
    if evidence.has_both:
        presence, presence_measured = calibrate_presence(evidence)
        changes["presence"] = {**presence.to_dict(), "measured": presence_measured}
        changes["present_above"] = round(even_strength(presence), 4)
    changes["plausibility"] = _limits(looks, presence)
    rewrite_bundle(bundle, inference=changes)
    return {
        **measured,
        "presence": None if presence is None else presence_measured,
        "limits": changes["plausibility"]["limits"],
    }


def _limits(looks: Sequence[OutOfFold], presence: PresenceCalibration | None) -> dict[str, Any]:
    """Limits of the measures of plausibility when presence is told so, and how many cases exceed them."""
    measures = [replace(look.predictor, presence=presence).measure(look.seen) for look in looks]
    names = list(measures[0])
    table = np.maximum([[row[name] for name in names] for row in measures], _LEAST_MEASURE)
    # A share has no logarithm that is normal, its odds may; and no limit of it lies beyond 1.
    is_share = np.array([name in _SHARES for name in names])
    odds = np.where(is_share, table / np.maximum(1 - table, _LEAST_MEASURE), table)
    limits = joint_limits(odds)
    limits = np.ceil(np.where(is_share, limits / (1 + limits), limits) * 1e4) / 1e4
    return {
        "limits": dict(zip(names, limits.tolist(), strict=True)),
        "cases": len(table),
        "above": int((table > limits).any(axis=1).sum()),
        "false_alarms": FALSE_ALARMS,
    }
