"""Calibrating ellipsoids on errors that a model made on cases it did not see, and measuring whether they hold.

Plain functions of arrays: n landmarks of several cases in a row, errors (n, D) in mm, raw covariances (n, D, D) by name,
the structure and the case of each. Rows that are not annotated are left out beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.stats import chi2, spearmanr

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.ellipsoids import LEVEL, EllipsoidCalibration, ellipsoid_volume
from training.metrics import within_ellipse

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Degrees of freedom of the errors' Student distribution: a few gross errors must not choose the weights.
FREEDOM = 4.0
# A component is left out whose part of the mean variance is below this; the search goes no farther down.
LEAST_SHARE = 1e-4


class HalvesCoverage(NamedTuple):
    """Shares within the ellipsoids of cases that did not calibrate them: mean, and 2.5 % to 97.5 % of the repeats."""

    mean: float
    low: float
    high: float
    per_structure: dict[str, float]


class Correlation(NamedTuple):
    """Spearman's rank correlation and the probability of one as strong without any relation."""

    rho: float
    p: float


def fit_ellipsoids(
    components: Mapping[str, ArrayLike],
    errors: ArrayLike,
    structures: Sequence[str],
    cases: Sequence[str],
    level: float = LEVEL,
) -> EllipsoidCalibration:
    """Weights of the components, and per structure the scale at which the ellipsoids hold ``level`` of the errors.

    The weights and a floor are those of maximum likelihood under Student's distribution, over all structures. The scale
    is the quantile of the squared Mahalanobis distances over that of chi-square with D degrees of freedom; its rank
    allows for how few cases there are and how alike the landmarks of one are (:func:`corrected_level`).

    Raises :class:`InputError` for shapes that disagree, for values that are not finite and without any error.
    """
    raw, errors_mm, structure_of, case_of = _checked(components, errors, structures, cases)
    dimension = errors_mm.shape[1]
    weights = likely_weights(np.stack([*raw.values(), np.tile(np.eye(dimension), (len(errors_mm), 1, 1))]), errors_mm)
    covariance = np.tensordot(weights[:-1], np.stack(list(raw.values())), 1) + weights[-1] * np.eye(dimension)
    squared = _squared_distances(covariance, errors_mm)
    expected = chi2.ppf(level, dimension)
    pooled = np.quantile(squared, min(corrected_level(squared, case_of, level), 1), method="interpolated_inverted_cdf")
    scales = {}
    for name in dict.fromkeys(map(str, structures)):
        rows = structure_of == name
        corrected = corrected_level(squared[rows], case_of[rows], level)
        # Beyond 1 not even the largest error of so few would do: the other structures know better.
        if corrected <= 1:
            scales[name] = np.quantile(squared[rows], corrected, method="interpolated_inverted_cdf") / expected
    return EllipsoidCalibration(
        tuple(raw),
        weights[:-1],
        float(weights[-1]),
        tuple(scales),
        np.array(list(scales.values())),
        float(pooled / expected),
        level,
    )


def likely_weights(components: FloatArray, errors_mm: FloatArray) -> FloatArray:
    """Weights (C,) >= 0 of ``components`` (C, n, D, D) under which errors (n, D) are the likeliest.

    The errors are Student's with the weighted sum as scale matrix (Lange, Little and Taylor 1989); the last
    component must be regular.
    """
    dimension = errors_mm.shape[1]
    traces = np.trace(components, axis1=2, axis2=3).mean(axis=1)
    mean_square = float((errors_mm**2).sum(axis=1).mean())
    # As shares of the mean squared error the weights are numbers about 1, whatever the units of a component.
    unit = np.where(traces > 0, mean_square / np.where(traces > 0, traces, 1), 0)
    scaled = unit[:, None, None, None] * components

    def loss(logarithms: FloatArray) -> tuple[float, FloatArray]:
        weights = np.exp(logarithms)
        inverse = np.linalg.inv(np.tensordot(weights, scaled, 1))
        turned = np.einsum("nab,nb->na", inverse, errors_mm)
        squared = (errors_mm * turned).sum(axis=1)
        half = (FREEDOM + dimension) / 2
        value = half * np.log1p(squared / FREEDOM).sum() - np.linalg.slogdet(inverse)[1].sum() / 2
        of_size = np.einsum("nab,cnba->cn", inverse, scaled) / 2
        of_error = np.einsum("na,cnab,nb->cn", turned, scaled, turned) * (half / (FREEDOM + squared))
        return float(value) / len(errors_mm), weights * (of_size - of_error).mean(axis=1)

    count = len(components)
    bounds = [(np.log(LEAST_SHARE) - 1, 5.0)] * count
    best = minimize(loss, np.full(count, -np.log(count)), jac=True, method="TNC", bounds=bounds, tol=1e-7)
    shares = np.exp(best.x)
    kept = shares > LEAST_SHARE
    kept[-1] = True  # what keeps flat components regular
    return np.asarray(np.where(kept, shares * unit, 0.0))


def corrected_level(squared: FloatArray, cases: NDArray[np.intp], level: float = LEVEL) -> float:
    """The level whose quantile of these values holds ``level`` of *new* ones, on average; above 1 where none does.

    Of n independent values the one of rank k holds k / (n + 1) of new ones, so the rank is ``level * (n + 1)``. The
    landmarks of one case are alike: n is divided by the design effect 1 + (landmarks per case - 1) * correlation within
    cases (Kish 1965), of being beyond the quantile.
    """
    beyond = (squared > np.quantile(squared, level)).astype(np.float64)
    _, of_case, sizes = np.unique(cases, return_inverse=True, return_counts=True)
    number, groups = len(beyond), len(sizes)
    independent = float(number)
    if 1 < groups < number:
        means = np.bincount(of_case, beyond) / sizes
        between = float((sizes * (means - beyond.mean()) ** 2).sum()) / (groups - 1)
        within = float(((beyond - means[of_case]) ** 2).sum()) / (number - groups)
        typical = (number - float((sizes**2).sum()) / number) / (groups - 1)
        total = between + (typical - 1) * within
        alike = max((between - within) / total, 0.0) if total > 0 else 0.0
        independent /= 1 + (number / groups - 1) * alike
    elif groups == 1:
        independent = 1.0
    return level * (independent + 1) / independent


def coverage_over_halves(
    components: Mapping[str, ArrayLike],
    errors: ArrayLike,
    structures: Sequence[str],
    cases: Sequence[str],
    repeats: int = 200,
    seed: int = 0,
    level: float = LEVEL,
) -> HalvesCoverage:
    """Calibrate on a random half of the cases and measure the share within the ellipsoids on the other, ``repeats`` times.

    Weights, floor and scales are those of the calibrating half. Raises as :func:`fit_ellipsoids`, and for fewer than
    four cases.
    """
    raw, errors_mm, structure_of, case_of = _checked(components, errors, structures, cases)
    number = case_of.max() + 1
    if number < 4:
        raise InputError(f"expected at least 4 cases to halve, got {number}. Predict more cases out of fold.")
    generator = np.random.default_rng(seed)
    shares: list[float] = []
    of_structure: dict[str, list[float]] = {name: [] for name in dict.fromkeys(map(str, structures))}
    for _ in range(repeats):
        chosen = np.isin(case_of, generator.permutation(number)[: number // 2])
        half = {name: value[chosen] for name, value in raw.items()}
        calibration = fit_ellipsoids(
            half, errors_mm[chosen], list(structure_of[chosen]), list(case_of[chosen].astype(str)), level
        )
        other = {name: value[~chosen] for name, value in raw.items()}
        inside = inside_ellipsoid(errors_mm[~chosen], calibration.apply(other, list(structure_of[~chosen])), level)
        shares.append(float(inside.mean()))
        for name, values in of_structure.items():
            rows = structure_of[~chosen] == name
            if rows.any():
                values.append(float(inside[rows].mean()))
    low, high = np.percentile(shares, [2.5, 97.5])
    means = {name: float(np.mean(values)) for name, values in of_structure.items() if values}
    return HalvesCoverage(float(np.mean(shares)), float(low), float(high), means)


def inside_ellipsoid(errors: ArrayLike, covariance_mm2: ArrayLike, level: float = LEVEL) -> BoolArray:
    """Whether errors (n, D) lie within the ellipsoids of covariances (n, D, D) that hold ``level`` of a normal."""
    errors_mm = np.asarray(errors, np.float64)
    return within_ellipse(errors_mm, np.zeros_like(errors_mm), covariance_mm2, level)


def case_bootstrap_interval(inside: ArrayLike, seed: int = 0, n: int = 2000) -> tuple[float, float]:
    """Percentile interval (2.5 %, 97.5 %) of the share of ones in ``inside`` (cases, landmarks), resampling the cases.

    1 within, 0 outside, NaN where a landmark is not annotated. Raises ``ValueError`` when no landmark is.
    """
    values = np.asarray(inside, np.float64)
    known = np.isfinite(values)
    values, known = values[known.any(axis=1)], known[known.any(axis=1)]
    if len(values) == 0:
        raise ValueError("expected at least one annotated landmark, got none")
    drawn = np.random.default_rng(seed).integers(0, len(values), (n, len(values)))
    shares = np.nansum(values, axis=1)[drawn].sum(axis=1) / known.sum(axis=1)[drawn].sum(axis=1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(low), float(high)


def size_error_correlation(covariance_mm2: ArrayLike, errors: ArrayLike, level: float = LEVEL) -> Correlation:
    """Whether larger ellipsoids mean larger errors: of the volumes of (n, D, D) with the lengths of errors (n, D).

    NaN where all volumes, or all errors, are the same.
    """
    volumes, lengths = ellipsoid_volume(covariance_mm2, level), np.linalg.norm(np.asarray(errors, np.float64), axis=1)
    if np.ptp(volumes) == 0 or np.ptp(lengths) == 0:
        return Correlation(math.nan, math.nan)
    found = spearmanr(volumes, lengths)
    return Correlation(float(found.statistic), float(found.pvalue))


def _squared_distances(covariance: FloatArray, errors_mm: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("na,na->n", errors_mm, np.linalg.solve(covariance, errors_mm[:, :, None])[:, :, 0]))


def _checked(
    components: Mapping[str, ArrayLike], errors: ArrayLike, structures: Sequence[str], cases: Sequence[str]
) -> tuple[dict[str, FloatArray], FloatArray, NDArray[np.object_], NDArray[np.intp]]:
    """Components, errors, structures and the number of the case of each row, as arrays that fit each other."""
    raw = {name: np.asarray(value, np.float64) for name, value in components.items()}
    errors_mm = np.asarray(errors, np.float64)
    if errors_mm.ndim != 2 or len(errors_mm) == 0 or not np.isfinite(errors_mm).all() or not errors_mm.any():
        raise InputError(
            f"expected errors (n, D) of annotated landmarks, got {errors_mm.shape} with {np.isnan(errors_mm).sum()} "
            "undefined. Leave out what is not annotated."
        )
    number, dimension = errors_mm.shape
    for name, value in raw.items():
        if value.shape != (number, dimension, dimension) or not np.isfinite(value).all():
            raise InputError(
                f"expected finite covariances ({number}, {dimension}, {dimension}) of {name}, got {value.shape}. "
                "Predict all cases with the same model family."
            )
    if not raw or len(structures) != number or len(cases) != number:
        raise InputError(
            f"expected a covariance, a structure and a case for each of {number} errors, got {len(raw)} kinds, "
            f"{len(structures)} and {len(cases)}. Give all rows alike."
        )
    return raw, errors_mm, np.array(structures, object), np.unique(np.array(cases, object), return_inverse=True)[1]
