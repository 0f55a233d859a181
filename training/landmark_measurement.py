"""Predicted landmarks against their truth: what radiographs and volumes have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.models.ellipsoids import ellipsoid_volume
from DenseLandmarksLib.models.prediction import Prediction
from training.evaluation_report import Values
from training.metrics import FAR_MM, LandmarkErrors, landmark_errors_mm, within_ellipse

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class MatchedLandmarks:
    """Predicted landmarks in the order of a data set's L landmarks.

    ``named`` (L,) where the model names the landmark; elsewhere ``points_lps_mm`` (L, 3) is NaN, ``present`` (L,) false
    and ``covariance_mm2`` (L, 3, 3) zero.
    """

    named: NDArray[np.bool_]
    points_lps_mm: FloatArray
    present: NDArray[np.bool_]
    covariance_mm2: FloatArray


def match_landmarks(prediction: Prediction, landmark_names: Sequence[str], case: str) -> MatchedLandmarks:
    """Find the data set's landmarks in a prediction.

    Raises ``ValueError`` when the model gives no position for a landmark that it names: a best guess is part of its
    contract, and leaving the landmark out would flatter it.
    """
    row_of = {name: row for row, name in enumerate(prediction.landmarks.names)}
    rows = np.array([row_of.get(name, -1) for name in landmark_names], np.intp)
    named = rows >= 0
    points_lps_mm, covariance_mm2 = np.full((len(rows), 3), np.nan), np.zeros((len(rows), 3, 3))
    points_lps_mm[named] = prediction.landmarks.points_lps_mm[rows[named]]
    covariance_mm2[named] = prediction.landmarks.covariance_mm2[rows[named]]
    lost = np.flatnonzero(named & ~np.isfinite(points_lps_mm).all(axis=1))
    if len(lost):
        names = ", ".join(landmark_names[int(i)] for i in lost)
        raise ValueError(f"model {prediction.model_name} gives no best guess for {names} in case {case}")
    present = np.zeros(len(rows), bool)
    present[named] = [prediction.landmarks.presence[row] is Presence.PRESENT for row in rows[named]]
    return MatchedLandmarks(named, points_lps_mm, present, covariance_mm2)


def ellipse_areas_mm2(covariance_mm2: FloatArray, axes_lps: FloatArray) -> FloatArray:
    """Areas (L,) of the 90 % ellipses of covariances (L, 3, 3) in the plane of a radiograph; NaN where none is claimed.

    ``axes_lps`` (3, 2) are the directions of its rows and columns; the unit is mm^2, px^2 where the spacing is unknown.
    """
    in_plane = axes_lps.T @ covariance_mm2 @ axes_lps
    return np.where(covariance_mm2.any(axis=(1, 2)), ellipsoid_volume(in_plane), np.nan)


def measure_landmarks(
    matched: MatchedLandmarks,
    truth_lps_mm: FloatArray,
    measured: NDArray[np.intp],
    absent: NDArray[np.intp],
    unit: str,
    tangents: FloatArray | None = None,
) -> tuple[Values, LandmarkErrors]:
    """The values of one structure in one case, and the errors of its landmarks.

    ``measured`` are the positions of its landmarks that are annotated and named, ``absent`` of those that are truly
    absent and named. ``tangents`` (M, 3), where the structure has a contour, are the truth's directions there.
    """
    values: Values = {}
    points, truth = matched.points_lps_mm[measured], truth_lps_mm[measured]
    errors = landmark_errors_mm(points, truth, tangents)
    if len(measured):
        values["tre_mm"] = float(errors.tre_mm.mean())
        if tangents is not None:
            values["tre_normal_mm"] = float(errors.normal_mm.mean())
            values["tre_tangential_mm"] = float(errors.tangential_mm.mean())
        if unit == "mm":
            values["over_10_mm_share"] = float((errors.tre_mm > FAR_MM).mean())
        values["missed_share"] = float(1 - matched.present[measured].mean())
        covariance_mm2 = matched.covariance_mm2[measured]
        if covariance_mm2.any():  # a model that claims no uncertainty has none to measure
            values["in_ellipse_90_share"] = float(within_ellipse(points, truth, covariance_mm2).mean())
    if len(absent):
        values["false_alarm_share"] = float(matched.present[absent].mean())
    return values, errors
