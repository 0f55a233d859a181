"""The table of the ladder: what each row's errors are, and whether it is better than the row before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.metrics import bootstrap_ci95


@dataclass(frozen=True)
class RowErrors:
    """Errors (S, M, L) in mm of S seeds in M cases with L landmarks: NaN where nobody knows, infinite where training failed."""

    title: str
    paper_mm: tuple[float, float]
    errors_mm: NDArray[np.float64]
    learning_rates: tuple[float, ...]

    @property
    def known_mm(self) -> NDArray[np.float64]:
        """All errors in one row."""
        return self.errors_mm[~np.isnan(self.errors_mm)]

    @property
    def of_seeds_mm(self) -> NDArray[np.float64]:
        """Mean error of each seed (S,)."""
        return np.asarray(np.nanmean(self.errors_mm, axis=(1, 2)))

    @property
    def of_cases_mm(self) -> NDArray[np.float64]:
        """Mean error of each case (M,), NaN where nothing of it is known."""
        known = ~np.isnan(self.errors_mm)
        count = known.sum(axis=(0, 2))
        total = np.where(known, self.errors_mm, 0).sum(axis=(0, 2))
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def gained_mm(before: RowErrors, row: RowErrors) -> tuple[float, float, float]:
    """By how much a row's error is smaller than that of the row before, in the same cases, with its 95 % interval.

    NaN where training failed.
    """
    with np.errstate(invalid="ignore"):
        gained = before.of_cases_mm - row.of_cases_mm
    if np.isinf(before.of_cases_mm).any() or np.isinf(row.of_cases_mm).any():
        return math.nan, math.nan, math.nan
    gained = gained[~np.isnan(gained)]
    return float(gained.mean()), *bootstrap_ci95(gained)


def table_of(rows: Sequence[RowErrors], far_mm: float) -> str:
    """The table as Markdown, one line per row, in the paper's order."""
    lines = [
        f"| row | mean ± SD mm | median | each seed | over {far_mm:g} mm | better than the row before by mm [95 % interval] "
        "| paper mm | learning rate |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for number, row in enumerate(rows):
        errors = row.known_mm
        with np.errstate(invalid="ignore"):
            mean, sd, median = errors.mean(), errors.std(), np.median(errors)
        gained = "–"
        if number:
            better, low, high = gained_mm(rows[number - 1], row)
            gained = f"{better:+.2f} [{low:+.2f}, {high:+.2f}]"
        cells = [
            row.title,
            f"{mean:.2f} ± {sd:.2f}",
            f"{median:.2f}",
            ", ".join(f"{one:.2f}" for one in row.of_seeds_mm),
            f"{100 * (errors > far_mm).mean():.1f} %",
            gained,
            "–" if math.isnan(row.paper_mm[0]) else f"{row.paper_mm[0]:.2f} ± {row.paper_mm[1]:.2f}",
            ", ".join(f"{rate:g}" for rate in sorted(set(row.learning_rates))),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
