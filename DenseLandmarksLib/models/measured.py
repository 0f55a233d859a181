"""A model's measured figures, as its bundle carries them, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What a list of models and a model card show, of all that an evaluation measures.
HEADLINE = {"dsc": "DSC %", "tre_mm": "TRE mm", "asd_one_sided_mm": "one-sided ASD mm"}


def figure(summaries: Mapping[str, Any], metric: str) -> str:
    """``mean ± sd`` of one metric, ``-`` where it was not measured."""
    summary = summaries.get(metric) or {}
    if summary.get("mean") is None:
        return "-"
    mean = f"{summary['mean']:.2f}"
    return mean if summary.get("sd") is None else f"{mean} ± {summary['sd']:.2f}"


def rate(pooled: Mapping[str, Any], kind: str, radius_mm: float) -> str:
    """``37 of 740, 5.00 %``: how many of ``pooled``, all landmarks of all cases, are ``"outliers"`` or ``"detected"``.

    Outliers have an error of at least ``radius_mm``, the detected ones of at most that; ``-`` where it was not measured.
    """
    counted = (pooled.get(kind) or {}).get(f"{radius_mm:g}_mm") or {}
    if counted.get("share") is None:
        return "-"
    return f"{counted['count']} of {pooled['count']}, {100 * counted['share']:.2f} %"
