"""Measures of a prediction against the truth: overlap, surface distance, landmark error, and how sure a mean is.

Plain functions of arrays. A measure that does not exist (a distance to an empty mask) is NaN here; whoever averages
decides, and says, what becomes of it. Lengths are in the unit of the spacing that is given, millimetres as a rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, map_coordinates
from scipy.stats import chi2, spearmanr

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

FAR_MM = 10.0
"""Beyond this a landmark counts as lost."""

# A variance below this share of the largest is rounding: the covariance does not span its direction.
_FLAT = 1e-9


def dice_percent(predicted: BoolArray, truth: BoolArray) -> float:
    """Dice similarity of two masks (H, W) in percent; 100 when both are empty."""
    total = int(predicted.sum()) + int(truth.sum())
    return 100.0 if total == 0 else 200.0 * int((predicted & truth).sum()) / total


class SurfaceDistances(NamedTuple):
    """Mean distances between the surfaces of two masks; both NaN when either mask is empty.

    ``asd_mm`` is symmetric: the mean over both directed sets of distances, pooled.
    ``predicted_to_truth_mm`` is the mean over the predicted surface's pixels only.
    """

    asd_mm: float
    predicted_to_truth_mm: float


def surface_distances_mm(
    predicted: BoolArray, truth: BoolArray, spacing_yx_mm: tuple[float, float]
) -> SurfaceDistances:
    """Average surface distances of two masks (H, W) whose pixels measure ``spacing_yx_mm``.

    The surface is the mask without its 4-connected erosion; what touches the border of the array is surface.
    Distances run between pixel centres.
    """
    if not predicted.any() or not truth.any():
        return SurfaceDistances(float("nan"), float("nan"))
    surfaces = [mask & ~binary_erosion(mask) for mask in (predicted, truth)]
    to_predicted, to_truth = (distance_transform_edt(~surface, sampling=spacing_yx_mm) for surface in surfaces)
    there, back = to_truth[surfaces[0]], to_predicted[surfaces[1]]
    return SurfaceDistances(float(np.concatenate([there, back]).mean()), float(there.mean()))


def landmark_surface_distances_mm(
    points_xy: ArrayLike, truth: BoolArray, spacing_yx_mm: tuple[float, float]
) -> FloatArray:
    """Distances (N,) of predicted landmarks (N, 2), pixel positions x, y, from the surface of the truth mask (H, W).

    This is what DenseSeg calls ASD (released code: ``evaluation/quantitative_uv_jsrt.py`` samples the truth's signed
    distance map, bilinearly, at the predicted landmarks and takes the absolute value; ``dataset/create_grazer_h5.py``
    makes that map as the distance to the nearest mask pixel outside minus that to the nearest background pixel
    inside). As both count from pixel centre to pixel centre, the result is half a pixel too long: the true landmarks
    of ``jsrt`` are 0.6 mm from their own surface on a 1.4 mm grid. It is kept so that figures can stand beside the
    published ones. Positions outside the array take the value at its border. All NaN when the mask is empty or fills
    the array.
    """
    points_xy = np.asarray(points_xy, np.float64).reshape(-1, 2)
    if truth.all() or not truth.any():
        return np.full(len(points_xy), np.nan)
    outside = distance_transform_edt(~truth, sampling=spacing_yx_mm)
    inside = distance_transform_edt(truth, sampling=spacing_yx_mm)
    return np.abs(map_coordinates(outside - inside, points_xy[:, ::-1].T, order=1, mode="nearest"))


class LandmarkErrors(NamedTuple):
    """Target registration error (N,) and its absolute components along and across the contour (N,)."""

    tre_mm: FloatArray
    normal_mm: FloatArray
    tangential_mm: FloatArray


def landmark_errors_mm(points_mm: ArrayLike, truth_mm: ArrayLike, tangents: ArrayLike | None = None) -> LandmarkErrors:
    """Errors of landmarks (N, D) against their truth (N, D), D = 2 or 3, in millimetres.

    ``tangents`` (N, D) are unit vectors of the truth contour (:func:`contour_tangents`); ``tre^2 = normal^2 +
    tangential^2``. Where the tangent is zero all error counts as normal. Without tangents both components are NaN.
    """
    error = np.asarray(points_mm, np.float64) - np.asarray(truth_mm, np.float64)
    tre = np.linalg.norm(error, axis=1)
    if tangents is None:
        return LandmarkErrors(tre, np.full(len(tre), np.nan), np.full(len(tre), np.nan))
    tangents = np.asarray(tangents, np.float64)
    along = (error * tangents).sum(axis=1)
    return LandmarkErrors(tre, np.linalg.norm(error - along[:, None] * tangents, axis=1), np.abs(along))


def within_ellipse(
    points_mm: ArrayLike, truth_mm: ArrayLike, covariance_mm2: ArrayLike, level: float = 0.9
) -> BoolArray:
    """Whether true positions (N, D) lie in the ellipsoid that holds ``level`` of a Gaussian about points (N, D).

    ``covariance_mm2`` (N, D, D) may be flat, as it is across a radiograph: then the ellipsoid is an ellipse in the
    directions that it spans, and a position beside their plane is not in it. For a model whose uncertainty is right, the
    share of true values is ``level``.
    """
    error = np.asarray(points_mm, np.float64) - np.asarray(truth_mm, np.float64)
    variances, axes = np.linalg.eigh(np.asarray(covariance_mm2, np.float64))
    spanned = variances > _FLAT * variances[:, -1:]
    along = np.einsum("nai,na->ni", axes, error)
    squared = (along**2 / np.where(spanned, variances, 1)).sum(axis=1, where=spanned)
    beside = np.abs(along).max(axis=1, where=~spanned, initial=0)
    limit = chi2.ppf(level, np.maximum(spanned.sum(axis=1), 1))
    return np.asarray((squared <= limit) & (beside <= 1e-6 * np.maximum(np.linalg.norm(error, axis=1), 1)))


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's correlation of two sets of values (N,), pairs with a NaN left out.

    NaN where there are fewer than three pairs, or one of the two is the same everywhere.
    """
    pairs = np.column_stack([np.asarray(first, np.float64), np.asarray(second, np.float64)])
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    if len(pairs) < 3 or (pairs == pairs[0]).all(axis=0).any():
        return float("nan")
    return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)


def is_simple_polygon(contour: ArrayLike) -> bool:
    """Whether the closed polygon (P, 2) has an inside: at least three points, and no edge crosses another."""
    start = np.asarray(contour, np.float64)
    if len(start) < 3:
        return False
    end = np.roll(start, -1, axis=0)

    def side(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
        return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])

    a, b, c, d = start[:, None], end[:, None], start[None], end[None]
    return not bool(((side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)).any())


def bootstrap_ci95(values: ArrayLike, seed: int = 0, n: int = 2000) -> tuple[float, float]:
    """Percentile interval (2.5 %, 97.5 %) of the mean of ``values`` (N,), one per case, resampling the cases.

    The same values and seed give the same interval. Raises ``ValueError`` when there is no value or one is NaN.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) == 0 or np.isnan(values).any():
        raise ValueError(f"bootstrap_ci95 needs one defined value per case, got {values!r}")
    drawn = np.random.default_rng(seed).integers(0, len(values), (n, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def bootstrap_pooled_ci95(sums: ArrayLike, counts: ArrayLike, seed: int = 0, n: int = 2000) -> tuple[float, float]:
    """Percentile interval (2.5 %, 97.5 %) of ``sum(sums) / sum(counts)``, both (N,), one per case, resampling the cases.

    This is the mean of values pooled over cases that have different numbers of them; cases without any are left out.
    Raises ``ValueError`` when no case has one.
    """
    sums, counts = np.asarray(sums, np.float64), np.asarray(counts, np.float64)
    sums, counts = sums[counts > 0], counts[counts > 0]
    if len(counts) == 0 or np.isnan(sums).any():
        raise ValueError(f"bootstrap_pooled_ci95 needs a case with defined values, got sums {sums!r} of {counts!r}")
    drawn = np.random.default_rng(seed).integers(0, len(counts), (n, len(counts)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [2.5, 97.5])
    return float(low), float(high)


def bootstrap_median_ci95(values: Sequence[FloatArray], seed: int = 0, n: int = 2000) -> tuple[float, float]:
    """Percentile interval (2.5 %, 97.5 %) of the median of the values of all cases together, resampling the cases.

    ``values`` has an array (n_i,) per case; cases without any are left out. Raises ``ValueError`` when there is no value
    or one is NaN.
    """
    known = [np.asarray(of_case, np.float64) for of_case in values if len(of_case)]
    if not known or any(np.isnan(of_case).any() for of_case in known):
        raise ValueError(f"bootstrap_median_ci95 needs defined values, got {values!r}")
    pooled, case = np.concatenate(known), np.repeat(np.arange(len(known)), [len(of_case) for of_case in known])
    order = np.argsort(pooled)
    pooled, case = pooled[order], case[order]
    medians = []
    for draw in np.random.default_rng(seed).integers(0, len(known), (n, len(known))):
        # Each value counts as often as its case was drawn; the middle one or two of them, without sorting again.
        passed = np.bincount(draw, minlength=len(known))[case].cumsum()
        middle = passed[-1] / 2
        medians.append(pooled[[np.searchsorted(passed, middle, side) for side in ("left", "right")]].mean())
    low, high = np.percentile(medians, [2.5, 97.5])
    return float(low), float(high)
