"""Point errors of a report as Markdown: of all landmarks, of each one, and beside those of another model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from DenseLandmarksLib.models.measured import rate
from training.point_errors import OUTLIER_RADII_MM, SUCCESS_RADII_MM, radius_key

NOTHING = "–"
# Up to so many landmarks have a row each; dense contours have hundreds, of which no single one is of interest.
FEW = 45

# What the rates of a report count, as the heading of their column.
_RATES = {
    "outliers": "at least this far off (outlier rate)",
    "detected": "at most this far off (success detection rate)",
}
_RADII_MM = tuple(sorted({*OUTLIER_RADII_MM, *SUCCESS_RADII_MM}))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table whose first column is of names and the others of numbers."""
    lines = [f"| {' | '.join(header)} |".replace("|  |", "| |"), "|---|" + "---:|" * (len(header) - 1)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows)]


def _interval(bounds: Sequence[float] | None, factor: float = 1) -> str:
    return "" if bounds is None else f" [{', '.join(f'{factor * bound:.2f}' for bound in bounds)}]"


def _errors(summary: Mapping[str, Any]) -> list[str]:
    """Cells of mean and median."""
    if summary["mean"] is None:
        return [NOTHING, NOTHING]
    spread = "" if summary["sd"] is None else f" ± {summary['sd']:.2f}"
    median = f"{summary['median']:.2f}{_interval(summary.get('median_ci95'))}"
    return [f"{summary['mean']:.2f}{spread}{_interval(summary['ci95'])}", median]


def _of_all(report: Mapping[str, Any]) -> list[list[str]]:
    pooled, unit = report["all_landmarks"], report["unit"]
    rows = [
        [f"point error {unit}, {pooled['count']} landmarks", *_errors(pooled["tre_mm"])],
        [f"image error {unit}, {pooled['image_error_mm']['defined']} images", *_errors(pooled["image_error_mm"])],
    ]
    known = [r for r in report["references"] if r["landmark"] is None]
    return rows + [[f"for comparison: {r['name']}", f"{r['error_mm']:.2f}", NOTHING] for r in known]


def _rate(pooled: Mapping[str, Any], kind: str, radius_mm: float) -> str:
    counted = pooled[kind].get(radius_key(radius_mm))
    return NOTHING if counted is None else rate(pooled, kind, radius_mm) + _interval(counted["ci95"], 100)


def _rates(pooled: Mapping[str, Any]) -> list[str]:
    if not pooled["outliers"]:
        return []
    rows = [[f"{radius:g} mm", *(_rate(pooled, kind, radius) for kind in _RATES)] for radius in _RADII_MM]
    return ["", *table(["landmarks", *_RATES.values()], rows)]


def _of_each(report: Mapping[str, Any]) -> list[str]:
    landmarks: Mapping[str, Any] = report["landmarks"]
    if len(landmarks) > FEW:
        return []
    in_mm, missed = report["unit"] == "mm", any(row["missed"] for row in landmarks.values())
    known = [r for r in report["references"] if r["landmark"] is not None]
    header = ["landmark", f"point error {report['unit']}", "median", "images"]
    header += [f"≥ {radius:g} mm" for radius in OUTLIER_RADII_MM if in_mm] + ["missed"] * missed
    header += ["for comparison"] * bool(known)
    rows = []
    for name, row in landmarks.items():
        cells = [name, *_errors(row["tre_mm"]), str(row["tre_mm"]["defined"])]
        cells += [str(row["outliers"][radius_key(radius)]["count"]) for radius in OUTLIER_RADII_MM if in_mm]
        cells += [str(row["missed"])] * missed
        if known:
            cells.append("; ".join(f"{r['name']} {r['error_mm']:.2f}" for r in known if r["landmark"] == name))
        rows.append(cells)
    return ["", *table(header, rows)]


def point_error_section(report: Mapping[str, Any]) -> list[str]:
    """All landmarks of all cases, and where they are few each of them."""
    pooled = report["all_landmarks"]
    if not pooled["count"]:
        return []
    correlation = report["spearman_uncertainty_error"]
    lines = [
        "## Point errors",
        "",
        *table(["", "mean ± sd [95 % bootstrap interval]", "median"], _of_all(report)),
        *_rates(pooled),
        *_of_each(report),
        "",
        "* Counted are the landmarks that are annotated and that the model names, of all cases, one that is called absent "
        "with its best guess. The image error is the mean over those of one image. Intervals resample the cases; there is "
        "none where no error or every error counts.",
    ]
    if correlation is not None:
        lines.append(f"* Spearman correlation of the region's size with the error: {correlation:.2f}.")
    return lines


def _difference(summary: Mapping[str, Any], factor: float = 1) -> str:
    if summary["mean"] is None:
        return NOTHING
    p = summary["wilcoxon_p"]
    return f"{factor * summary['mean']:.2f}{_interval(summary['ci95'], factor)} " + (
        "p<0.001" if p < 0.001 else f"p={p:.3f}"
    )


def point_error_differences(comparison: Mapping[str, Any], unit: str) -> list[str]:
    """Differences of image error and rates; none where one of the reports does not keep point errors."""
    pooled = comparison.get("all_landmarks")
    if pooled is None:
        return []
    rows = [[f"image error {unit}", _difference(pooled["image_error_mm"])]]
    for radius in _RADII_MM if unit == "mm" else ():
        # Where both are rates one is the other's mirror.
        kind, words = ("outliers", "least") if radius in OUTLIER_RADII_MM else ("detected", "most")
        rows.append([f"errors of at {words} {radius:g} mm, %", _difference(pooled[kind][radius_key(radius)], 100)])
    return ["", *table(["per image, over landmarks that both name", "difference"], rows)]
