"""Figures over cases, as JSON types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from training.metrics import bootstrap_ci95, bootstrap_median_ci95, bootstrap_pooled_ci95


def plain(value: float | None) -> float | None:
    """The value as JSON has it, to six decimals; None where it is undefined."""
    return None if value is None or not np.isfinite(value) else round(float(value), 6)


def summarise(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean, sd, median, ci95 and the number of ``defined`` values over cases; null where there are too few."""
    known = np.array([value for value in values if value is not None and np.isfinite(value)], np.float64)
    if len(known) == 0:
        return {"mean": None, "sd": None, "median": None, "ci95": None, "defined": 0}
    return {
        "mean": plain(known.mean()),
        "sd": plain(known.std(ddof=1)) if len(known) > 1 else None,
        "median": plain(float(np.median(known))),
        "ci95": [plain(bound) for bound in bootstrap_ci95(known)],
        "defined": len(known),
    }


def summarise_pooled(values: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
    """Mean, sd and median of the values of all cases together, each case giving an array of any length.

    ``ci95`` of the mean and ``median_ci95`` resample the cases, for the landmarks of one image err together.
    """
    known = np.concatenate([*values, np.zeros(0)])
    if len(known) == 0:
        return dict.fromkeys(("mean", "sd", "median", "ci95", "median_ci95"))
    interval = bootstrap_pooled_ci95([v.sum() for v in values], [len(v) for v in values])
    return {
        "mean": plain(known.mean()),
        "sd": plain(known.std(ddof=1)) if len(known) > 1 else None,
        "median": plain(float(np.median(known))),
        "ci95": [plain(bound) for bound in interval],
        "median_ci95": [plain(bound) for bound in bootstrap_median_ci95(values)],
    }


def summarise_differences(differences: NDArray[np.float64]) -> dict[str, Any]:
    """Paired differences (N,) over cases, with the two-sided p value of Wilcoxon's signed-rank test."""
    p_value: float | None = None
    if len(differences):
        # Wilcoxon drops zero differences; without any other there is no sign of a difference.
        p_value = float(wilcoxon(differences).pvalue) if np.any(differences != 0) else 1.0
    return {**summarise(differences.tolist()), "wilcoxon_p": plain(p_value)}
