"""How sure a model of volumes may say it is: ellipsoids, use of the joint shape and limits, from cases it did not see."""

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
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.ellipsoids import EllipsoidCalibration, ellipsoid_volume
from DenseLandmarksLib.models.predictors.volume_predictor import Seen, VolumePredictor
from DenseLandmarksLib.models.presence import PresenceCalibration
from DenseLandmarksLib.models.registry import open_bundle
from training.calibrate_presence import calibrate_presence, look_at_cuts
from training.ellipsoids import coverage_over_halves, fit_ellipsoids, size_error_correlation
from training.out_of_fold import with_folds
from training.plausibility_limits import FALSE_ALARMS, joint_limits
from training.rewrite_bundle import rewrite_bundle
from training.volume_data import VolumeCase, read_volume_dataset

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class OutOfFold:
    """One case as the model saw it that was trained without it."""

    predictor: VolumePredictor
    case: VolumeCase
    seen: Seen

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which landmarks (N,) are annotated."""
        return np.asarray(np.isfinite(self.case.points_lps_mm).all(axis=1))

    def with_presence(self, calibration: PresenceCalibration) -> OutOfFold:
        """The same with the calibrated probability that each landmark is there."""
        features = self.predictor.presence_features(self.seen, read_image(self.case.image_path).geometry)
        return replace(self, seen=replace(self.seen, presence=calibration.probability(features)))


def look_out_of_fold(bundles: Sequence[Bundle], data: Path, device: str) -> list[OutOfFold]:
    """Every training case by the model that was trained without it.

    Raises :class:`InputError` for a model that was trained on all cases, or when two held out the same fold.
    """
    dataset = read_volume_dataset(data).of_split("train")
    found: list[OutOfFold] = []
    for bundle, fold, folds in with_folds(bundles):
        predictor = open_bundle(bundle, device)
        if not isinstance(predictor, VolumePredictor):
            raise InputError(f"expected models for volumes, got {bundle.folder}. Calibrate models of one family.")
        cases = dataset.fold(fold, folds)[1].cases
        for case in tqdm(cases, desc=f"fold {fold}", unit="case", file=sys.stderr, leave=False):
            found.append(OutOfFold(predictor, case, predictor.look(read_image(case.image_path))))
    return found


def calibrate_volumes(model: Path, folders: Sequence[Path], data: Path, device: str = "cpu") -> dict[str, Any]:
    """Write the calibration into the bundle ``model`` and return what was measured.

    Of a model that says which landmarks are there, that is calibrated first, on volumes that are cut so that some are not.
    The raw covariances are weighed first; where the joint shape makes the landmarks of these cases better on average it is
    used, and then the ellipsoids are made to hold 90 % of the errors that are left.
    """
    bundle = load_bundle(model)
    looks = look_out_of_fold([load_bundle(folder) for folder in folders], data, device)
    changes: dict[str, Any] = {}
    if all(look.predictor.says_presence for look in looks):
        presence, presence_measured = calibrate_presence(look_at_cuts([(look.predictor, look.case) for look in looks]))
        looks = [look.with_presence(presence) for look in looks]
        changes["presence"] = {**presence.to_dict(), "measured": presence_measured}
    structures, cases = _labels(looks, bundle.landmark_structures)
    plain = _errors(looks, [look.seen.points_lps_mm for look in looks])
    names = looks[0].predictor.components
    raw = {name: np.concatenate([look.seen.components[name][look.known] for look in looks]) for name in names}
    first = fit_ellipsoids(raw, plain, structures, cases)
    shaped, measures = _with_shape(looks, first)
    errors, components, uses_shape = plain, raw, False
    if shaped is not None:
        better = _errors(looks, [points for points, _ in shaped])
        uses_shape = _mean_mm(better) < _mean_mm(plain)
        if uses_shape:
            errors = better
            joint = [covariance[look.known] for (_, covariance), look in zip(shaped, looks, strict=True)]
            components = {"joint": np.concatenate(joint)}
    final = fit_ellipsoids(components, errors, structures, cases) if uses_shape else first
    covariance = final.apply(components, structures)
    halves = coverage_over_halves(components, errors, structures, cases)
    correlation = size_error_correlation(covariance, errors)
    measured = {
        "cases": len(looks),
        "landmarks": len(errors),
        "coverage": halves.mean,
        "coverage_interval": [halves.low, halves.high],
        "median_ellipsoid_90_ml": float(np.median(ellipsoid_volume(covariance))) / 1000,
        # Where no component tells anything of the errors, all ellipsoids are alike.
        "spearman": correlation.rho if np.isfinite(correlation.rho) else None,
        "tre_mm": _mean_mm(plain),
        "tre_with_shape_mm": None if shaped is None else _mean_mm(_errors(looks, [points for points, _ in shaped])),
        "over_10_mm_share": float((np.linalg.norm(errors, axis=1) > 10).mean()),
    }
    ellipsoids: dict[str, Any] = {**first.to_dict(), "measured": measured}
    if uses_shape:
        # Weighed before the shape takes part, scaled and given a floor after it.
        ellipsoids["after_shape"] = final.to_dict()
    changes |= {"ellipsoids": ellipsoids, "uses_shape": uses_shape}
    if measures:
        limit = float(np.ceil(joint_limits(np.array(measures)[:, None])[0] * 100) / 100)
        above = int((np.array(measures) > limit).sum())
        changes["plausibility"] = {
            "limits": {"shape_sd": limit},
            "cases": len(measures),
            "above": above,
            "false_alarms": FALSE_ALARMS,
        }
    rewrite_bundle(bundle, inference=changes)
    return {**measured, "uses_shape": uses_shape, "presence": changes.get("presence", {}).get("measured")}


def _labels(looks: Sequence[OutOfFold], of_landmarks: Sequence[str]) -> tuple[list[str], list[str]]:
    """Structure and case of each annotated landmark, case after case."""
    structures = [of_landmarks[row] for look in looks for row in np.flatnonzero(look.known).tolist()]
    return structures, [look.case.name for look in looks for _ in range(int(look.known.sum()))]


def _errors(looks: Sequence[OutOfFold], points: Sequence[FloatArray]) -> FloatArray:
    """Errors (n, 3) in mm of the annotated landmarks, case after case."""
    pairs = zip(looks, points, strict=True)
    return np.concatenate([(found - look.case.points_lps_mm)[look.known] for look, found in pairs])


def _mean_mm(errors: FloatArray) -> float:
    return float(np.linalg.norm(errors, axis=1).mean())


def _with_shape(
    looks: Sequence[OutOfFold], calibration: EllipsoidCalibration
) -> tuple[list[tuple[FloatArray, FloatArray]] | None, list[float]]:
    """Points and covariances of each case with its own fold's joint shape, and how far off that shape they were."""
    found: list[tuple[FloatArray, FloatArray]] = []
    measures: list[float] = []
    for look in looks:
        covariance = calibration.apply(look.seen.components, look.predictor.structures)
        combined = look.predictor.with_shape(look.seen.points_lps_mm, covariance, look.seen.presence >= 0.5)
        if combined is None:
            if look.predictor.joint_shape is None:
                return None, []
            found.append((look.seen.points_lps_mm, covariance))
            continue
        found.append((combined[0], combined[1]))
        measures.append(combined[2])
    return found, measures
