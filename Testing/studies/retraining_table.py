"""What corrections buy: error of the next model against drags, one factor at a time; a table and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

REPEATS = 2000
BASE = "base"
ORACLE = "oracle"
TITLES = {
    BASE: "by doubt, propagation, fine-tuning",
    "random": "in random order",
    "no-propagation": "without propagation",
    "anew": "trained anew",
    "anew-as-long": "trained anew, as many steps in all",
    "uncorrected": "nothing corrected, as many steps in all",
    "no-replay": "without the first cases",
    ORACLE: "worst first, as an oracle would (upper bound)",
}


@dataclass(frozen=True)
class Stage:
    """What one annotator and one model had come to.

    Attributes
    ----------
    corrected : cases that were gone through so far, 0 before the first.
    drags : so far.
    errors_mm : (T,) mean error of each case that is reported on.
    first_mm : mean error of the cases that the first model learned from.
    """

    corrected: int
    drags: int
    errors_mm: NDArray[np.float64]
    first_mm: float


Results = Mapping[str, Mapping[int, Sequence[Stage]]]
"""Per setting and seed the stages, that of the first model before all others."""


def paired(first: NDArray[np.float64], second: NDArray[np.float64], seed: int = 0) -> tuple[float, float, float]:
    """By how much the second of two (S, T) is larger, with its 95 % interval over T cases and S seeds, drawn together."""
    rng = np.random.default_rng(seed)
    difference = second - first
    seeds, cases = difference.shape
    drawn = [difference[rng.integers(0, seeds, seeds)][:, rng.integers(0, cases, cases)].mean() for _ in range(REPEATS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(difference.mean()), float(low), float(high)


def _at(stages: Mapping[int, Sequence[Stage]], corrected: int, seeds: Sequence[int]) -> list[Stage]:
    return [next(stage for stage in stages[seed] if stage.corrected == corrected) for seed in seeds]


def whole_seeds(results: Results, setting: str) -> list[int]:
    """Seeds of which a setting and the base setting have as many stages."""
    longest = max(len(stages) for of_seed in results.values() for stages in of_seed.values())
    if not longest:
        return []
    return [
        seed
        for seed, stages in results.get(setting, {}).items()
        if len(stages) == longest and len(results[BASE].get(seed, ())) == longest
    ]


def table_of(results: Results) -> str:
    """The table as Markdown; the difference to the base setting is paired over cases and seeds."""
    lines = [
        "| setting | corrected cases | drags | TRE mm, mean ± SD over seeds | to the base setting, mm [95 %] | first cases mm |",
        "|---|---|---|---|---|---|",
    ]
    for setting in results:
        seeds = whole_seeds(results, setting)
        if not seeds:
            continue
        for corrected in (stage.corrected for stage in results[setting][seeds[0]]):
            if corrected == 0 and setting != BASE:
                continue  # all settings begin with the same model
            stages, base = (_at(results[one], corrected, seeds) for one in (setting, BASE))
            errors, errors_base = (np.stack([stage.errors_mm for stage in these]) for these in (stages, base))
            means = errors.mean(axis=1)
            versus = ""
            if setting != BASE:
                mean, low, high = paired(errors_base, errors)
                versus = f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
            lines.append(
                f"| {TITLES[setting]} | {corrected} | {np.mean([stage.drags for stage in stages]):.0f} "
                f"| {means.mean():.2f} ± {means.std(ddof=1) if len(seeds) > 1 else 0.0:.2f} | {versus} "
                f"| {np.mean([stage.first_mm for stage in stages]):.2f} |"
            )
    return "\n".join(lines) + "\n"


def draw_curves(results: Results, path: Path) -> None:
    """Error of the next model over drags, and error of the first cases, a line per setting."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    colours = {
        BASE: "#0072b2",
        "random": "#e69f00",
        "no-propagation": "#d55e00",
        "anew": "#009e73",
        "anew-as-long": "#56b4e9",
        "uncorrected": "#000000",
        "no-replay": "#cc79a7",
        ORACLE: "#999999",
    }
    drawing = Drawing(figsize=(9.5, 4.4), layout="constrained")
    FigureCanvasAgg(drawing)
    left, right = drawing.subplots(1, 2)
    for setting in results:
        seeds = whole_seeds(results, setting)
        if not seeds:
            continue
        of_seeds = [results[setting][seed] for seed in seeds]
        drags = np.array([[stage.drags for stage in stages] for stages in of_seeds]).mean(axis=0)
        style = {"color": colours[setting], "label": TITLES[setting], "ls": "--" if setting == ORACLE else "-"}
        errors = np.array([[stage.errors_mm.mean() for stage in stages] for stages in of_seeds])
        spread = errors.std(axis=0, ddof=1) if len(seeds) > 1 else None
        left.errorbar(drags, errors.mean(axis=0), spread, marker="o", capsize=3, **style)
        first = np.array([[stage.first_mm for stage in stages] for stages in of_seeds])
        right.plot([stage.corrected for stage in of_seeds[0]], first.mean(axis=0), marker="o", **style)
    left.set(xlabel="drags", ylabel="error on images never seen, mm")
    right.set(xlabel="corrected cases", ylabel="error on the first cases, mm")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    if left.has_data():
        handles = left.get_legend_handles_labels()
        drawing.legend(*handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=150)
