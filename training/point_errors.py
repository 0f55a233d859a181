"""Errors of landmarks pooled over all cases, as papers on few landmarks report them, as JSON types.

What is counted: the landmarks that are annotated and that the model names, of all cases (Ma et al. 2020; Payer et al.
2019). One that the model calls absent enters with its best guess; whether it was missed is a measure of its own.

* *point error*: the distance of one landmark from its truth;
* *image error*: the mean of the point errors of one image, over those that were counted (the released code of Payer et
  al., ``nansum / len``, counts what is missing as 0);
* *outlier rate* at r: the share of point errors >= r (``pe >= r`` in the released code of Payer et al.);
* *success detection rate* at r: the share <= r (Wang et al., "no greater than", ISBI 2015). An error of r to the last bit
  is both; but for such ties the two make 100 %.

Rates are of millimetres: there are none where the spacing is unknown. Intervals resample the cases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.metrics import FAR_MM, bootstrap_pooled_ci95, rank_correlation
from training.summary import plain, summarise, summarise_differences, summarise_pooled

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

OUTLIER_RADII_MM = (2.0, 4.0, 10.0)
SUCCESS_RADII_MM = (2.0, 2.5, 3.0, 4.0)

Hit = Callable[[FloatArray, float], BoolArray]


def is_outlier(errors_mm: FloatArray, radius_mm: float) -> BoolArray:
    """Which errors are of at least ``radius_mm``; a NaN is none."""
    return np.asarray(errors_mm >= radius_mm)


def is_detected(errors_mm: FloatArray, radius_mm: float) -> BoolArray:
    """Which errors are of at most ``radius_mm``; a NaN is none."""
    return np.asarray(errors_mm <= radius_mm)


# Key in the report, what counts, and at which radii.
RATES: tuple[tuple[str, Hit, tuple[float, ...]], ...] = (
    ("outliers", is_outlier, OUTLIER_RADII_MM),
    ("detected", is_detected, SUCCESS_RADII_MM),
)


def radius_key(radius_mm: float) -> str:
    """The name of a radius in a report: ``"2.5_mm"``."""
    return f"{radius_mm:g}_mm"


def image_errors(errors: FloatArray) -> FloatArray:
    """The mean error of each image (N,) from errors (N, L), over its landmarks that are not NaN; NaN without any."""
    valid = np.isfinite(errors)
    return np.divide(
        np.where(valid, errors, 0).sum(axis=1),
        valid.sum(axis=1),
        out=np.full(len(errors), np.nan),
        where=valid.any(axis=1),
    )


def count_rate(hits: BoolArray, valid: BoolArray) -> dict[str, Any]:
    """How many of the ``valid`` landmarks (N, L) are ``hits`` (N, L): ``count``, ``share``, and its ``ci95`` over cases.

    The interval is null where none or all are: resampling cannot tell how rare the other kind is.
    """
    count, of = int(hits.sum()), int(valid.sum())
    interval = bootstrap_pooled_ci95(hits.sum(axis=1), valid.sum(axis=1)) if 0 < count < of else None
    return {
        "count": count,
        "share": plain(count / of) if of else None,
        "ci95": None if interval is None else [plain(bound) for bound in interval],
    }


def _rates(errors: FloatArray, unit: str) -> dict[str, Any]:
    valid = np.isfinite(errors)
    return {
        key: {radius_key(radius): count_rate(hit(errors, radius), valid) for radius in radii if unit == "mm"}
        for key, hit, radii in RATES
    }


def _shares(errors: FloatArray, unit: str) -> dict[str, Any]:
    # Over the cases of one landmark the case is the landmark: counts say it all.
    valid = errors[np.isfinite(errors)]
    return {
        key: {
            radius_key(radius): {
                "count": int(hit(valid, radius).sum()),
                "share": plain(float(hit(valid, radius).mean())) if len(valid) else None,
            }
            for radius in radii
            if unit == "mm"
        }
        for key, hit, radii in RATES
    }


def summarise_landmarks(
    names: Sequence[str], errors: FloatArray, present: BoolArray, region: FloatArray, unit: str
) -> dict[str, Any]:
    """Errors (N, L) of N cases per landmark and of all, and how they go with the claimed uncertainty.

    ``present`` (N, L) is what the model said of each, ``region`` (N, L) the sizes of their 90 % regions, NaN where
    none is claimed. Errors are NaN where nothing was measured.
    """
    valid = np.isfinite(errors)
    known = errors[valid]
    return {
        "landmarks": {
            name: {
                "tre_mm": summarise(column.tolist()),
                **_shares(column, unit),
                "missed": int((was_valid & ~was_present).sum()),
            }
            for name, column, was_valid, was_present in zip(names, errors.T, valid.T, present.T, strict=True)
        },
        "all_landmarks": {
            "count": len(known),
            "tre_mm": summarise_pooled([row[there] for row, there in zip(errors, valid, strict=True)]),
            "over_10_mm_share": plain(float((known > FAR_MM).mean())) if len(known) and unit == "mm" else None,
            "image_error_mm": summarise(image_errors(errors).tolist()),
            **_rates(errors, unit),
        },
        "spearman_uncertainty_error": plain(rank_correlation(region.ravel(), errors.ravel())),
    }


def has_point_errors(report: Mapping[str, Any]) -> bool:
    """Whether a report keeps the error of every landmark; reports of before did not."""
    return all("landmark_tre_mm" in entry for entry in report["per_case"])


def point_errors(report: Mapping[str, Any], names: Sequence[str], cases: Sequence[str]) -> FloatArray:
    """The errors (N, L) of some cases and landmarks in a report that keeps them; NaN where it has nothing."""
    column_of = {name: column for column, name in enumerate(report["landmarks"])}
    of_case = {entry["case"]: entry["landmark_tre_mm"] for entry in report["per_case"]}
    errors = np.full((len(cases), len(names)), np.nan)
    for row, case in enumerate(cases):
        for column, name in enumerate(names):
            value = of_case[case][column_of[name]] if case in of_case and name in column_of else None
            errors[row, column] = np.nan if value is None else value
    return errors


def compare_point_errors(errors: FloatArray, other: FloatArray, unit: str) -> dict[str, Any]:
    """Paired differences over cases of image error and rates, errors (N, L) minus ``other`` (N, L).

    Only over landmarks that both have measured in a case.
    """
    both = np.isfinite(errors) & np.isfinite(other)
    used = both.any(axis=1)
    ours, theirs = (np.where(both, of, np.nan)[used] for of in (errors, other))
    counts = both[used].sum(axis=1)

    def rate(hit: Hit, radius: float) -> dict[str, Any]:
        hits, other_hits = hit(ours, radius).sum(axis=1), hit(theirs, radius).sum(axis=1)
        return summarise_differences(np.asarray((hits - other_hits) / counts))

    return {
        "image_error_mm": summarise_differences(image_errors(ours) - image_errors(theirs)),
        **{
            key: {radius_key(radius): rate(hit, radius) for radius in radii if unit == "mm"}
            for key, hit, radii in RATES
        },
    }
