"""The report of an evaluation as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from training.point_error_table import NOTHING, point_error_differences, point_error_section, table

# What only radiographs can have: masks, contours, areas.
_OF_RADIOGRAPHS = frozenset(
    {
        *("dsc", "asd_mm", "asd_one_sided_mm", "asd_predicted_to_truth_mm", "tre_normal_mm", "tre_tangential_mm"),
        "median_ellipse_90_mm2",
    }
)
_OF_VOLUMES = frozenset({"median_ellipsoid_90_ml"})

# Metric, its heading (with unit and region filled in), the factor and the decimals it is printed with; without
# decimals, three digits that count.
_COLUMNS = (
    ("dsc", "DSC %", 1, 1),
    ("asd_mm", "ASD {unit}", 1, 2),
    ("asd_one_sided_mm", "ASD one-sided {unit}", 1, 2),
    ("asd_predicted_to_truth_mm", "ASD mask to truth {unit}", 1, 2),
    ("tre_mm", "TRE {unit}", 1, 2),
    ("tre_normal_mm", "TRE normal {unit}", 1, 2),
    ("tre_tangential_mm", "TRE tangential {unit}", 1, 2),
    ("over_10_mm_share", "over 10 {unit} %", 100, 2),
    ("missed_share", "missed %", 100, 2),
    ("in_ellipse_90_share", "in 90 % {region} %", 100, 1),
    ("median_ellipse_90_mm2", "90 % region {unit}²", 1, None),
    ("median_ellipsoid_90_ml", "90 % region ml", 1, None),
    ("false_alarm_share", "false alarms %", 100, 2),
)


class _Wording(NamedTuple):
    """Words of a report's headings."""

    unit: str
    region: str

    def heading(self, text: str) -> str:
        return text.format(unit=self.unit, region=self.region)


def _cell(summary: Mapping[str, Any], factor: float, decimals: int | None) -> str:
    if summary["mean"] is None:
        return NOTHING

    def number(value: float) -> str:
        return f"{factor * value:.3g}" if decimals is None else f"{factor * value:.{decimals}f}"

    spread = "" if summary["sd"] is None else f" ± {number(summary['sd'])}"
    text = f"{number(summary['mean'])}{spread} [{', '.join(map(number, summary['ci95']))}]"
    if "wilcoxon_p" in summary:
        p = summary["wilcoxon_p"]
        text += " p<0.001" if p < 0.001 else f" p={p:.3f}"
    return text


def _table(rows: Sequence[tuple[str, Mapping[str, Any]]], words: _Wording) -> list[str]:
    nothing = {"mean": None}
    columns = [column for column in _COLUMNS if any(row.get(column[0], nothing)["mean"] is not None for _, row in rows)]
    body = [
        [name, *(_cell(row.get(metric, nothing), factor, decimals) for metric, _, factor, decimals in columns)]
        for name, row in rows
    ]
    return table(["", *(words.heading(heading) for _, heading, _, _ in columns)], body)


def _rows(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    # A group of one structure of the same name would only repeat it.
    structures = [(name, row) for name, row in report["structures"].items() if name not in report["groups"]]
    return [*report["groups"].items(), ("**average**", report["average"]), *structures]


def _notes(report: Mapping[str, Any], words: _Wording) -> list[str]:
    """What a reader of the table must know."""
    average, volumes = report["average"], report["images"] == "volumes"
    lines = []
    if not average["asd_mm"]["defined"] == average["asd_one_sided_mm"]["defined"] == 0:
        lines.append(
            "* ASD is symmetric, between the masks on the model's grid; one-sided is DenseSeg's, the predicted landmarks' "
            "distance from the truth's surface by its distance map."
        )
    lines.append(
        "* TRE is over all annotated landmarks; one that is called absent enters with its best guess."
        + (
            " Normal and tangential are across and along the true contour."
            if average["tre_normal_mm"]["defined"]
            else ""
        )
    )
    undefined = average["dsc"]["defined"] - average["asd_mm"]["defined"]
    if undefined:
        lines.append(
            f"* In {undefined} of {report['cases']} cases a structure's mask is empty. It has no ASD, and these cases are "
            "not in the ASD of its group and of the average; its Dice (0) and its landmarks count everywhere."
        )
    foreign = _OF_RADIOGRAPHS if volumes else _OF_VOLUMES
    unmeasured = [
        words.heading(heading)
        for metric, heading, _, _ in _COLUMNS
        if average[metric]["mean"] is None
        and metric not in foreign
        and not (undefined and metric in ("asd_mm", "asd_predicted_to_truth_mm"))
    ]
    if unmeasured:
        lines.append(f"* Not measured, because data or model do not tell: {', '.join(unmeasured)}.")
    if report["spacing"] and report["spacing"]["note"]:
        lines.append(f"* {report['spacing']['note']}")
    if report["skipped_landmarks"]["count"]:
        names = report["skipped_landmarks"]["names"]
        shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        lines.append(f"* {len(names)} landmarks of the data set are not named by the model and were skipped: {shown}.")
    return lines


def markdown_of(report: Mapping[str, Any]) -> str:
    """The report as Markdown: groups, average, structures, then point errors; mean ± sd over cases [95 % bootstrap interval]."""
    model = report["model"]
    words = _Wording(report["unit"], "ellipsoid" if report["images"] == "volumes" else "ellipse")
    lines = [
        f"# {model['name']} {model['version']} on {report['data']}, split {report['split']}",
        "",
        f"{report['cases']} cases; mean ± sd over cases [95 % bootstrap interval]; ran on {model['device']}.",
        "",
        *_table(_rows(report), words),
        "",
        *_notes(report, words),
        "",
        *point_error_section(report),
    ]
    comparison = report.get("comparison")
    if comparison:
        other = comparison["other"]
        lines += [
            "",
            f"## Difference from {other['name']} {other['version']}",
            "",
            f"This model minus the other, paired over {comparison['cases']} cases; p of Wilcoxon's signed-rank test. "
            "Below zero is better; for DSC and errors of at most a distance, above zero.",
            "",
            *_table(_rows(comparison), words),
            *point_error_differences(comparison, report["unit"]),
            *([""] if comparison["notes"] else []),
            *(f"* {note}" for note in comparison["notes"]),
        ]
    return "\n".join(lines) + "\n"
