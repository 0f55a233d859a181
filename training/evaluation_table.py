"""The report of an evaluation as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# What only images with masks or contours can have.
_OF_MASKS = frozenset(
    {"dsc", "asd_mm", "asd_one_sided_mm", "asd_predicted_to_truth_mm", "tre_normal_mm", "tre_tangential_mm"}
)
_OF_VOLUMES = frozenset({"median_ellipsoid_90_ml"})
# So many landmarks have a row each.
_FEW = 10

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
        return "–"

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
    lines = [
        "| | " + " | ".join(words.heading(heading) for _, heading, _, _ in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for name, row in rows:
        cells = [_cell(row.get(metric, nothing), factor, decimals) for metric, _, factor, decimals in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _rows(report: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    # A group of one structure of the same name would only repeat it.
    structures = [(name, row) for name, row in report["structures"].items() if name not in report["groups"]]
    landmarks = report.get("landmarks", {})
    few = landmarks.items() if len(landmarks) <= _FEW else ()
    return [*report["groups"].items(), ("**average**", report["average"]), *structures, *few]


def _all_landmarks(report: Mapping[str, Any]) -> list[str]:
    """How far off all landmarks of all cases are, and whether the model knows of which it cannot be sure."""
    pooled, correlation = report["all_landmarks"], report["spearman_uncertainty_error"]
    tre, far = pooled["tre_mm"], pooled["over_10_mm_share"]
    if tre["mean"] is None:
        return []
    spread = "" if tre["sd"] is None else f" ± {tre['sd']:.2f}"
    text = f"* All {pooled['count']} landmarks of all cases: TRE {tre['mean']:.2f}{spread} {report['unit']}, median {tre['median']:.2f}"
    text += "" if far is None else f"; {100 * far:.2f} % over 10 mm"
    text += (
        "" if correlation is None else f"; Spearman correlation of the region's size with the error {correlation:.2f}"
    )
    return [f"{text}."]


def _notes(report: Mapping[str, Any], words: _Wording) -> list[str]:
    """What a reader of the table must know."""
    average, volumes = report["average"], report["images"] == "volumes"
    lines = _all_landmarks(report)
    if not volumes:
        lines.append(
            "* ASD is symmetric, between the masks on the model's grid; one-sided is DenseSeg's, the predicted landmarks' "
            "distance from the truth's surface by its distance map."
        )
    lines.append(
        "* TRE is over all annotated landmarks; one that is called absent enters with its best guess."
        + ("" if volumes else " Normal and tangential are across and along the true contour.")
    )
    undefined = average["dsc"]["defined"] - average["asd_mm"]["defined"]
    if undefined:
        lines.append(
            f"* In {undefined} of {report['cases']} cases a structure's mask is empty. It has no ASD, and these cases are "
            "not in the ASD of its group and of the average; its Dice (0) and its landmarks count everywhere."
        )
    foreign = _OF_MASKS if volumes else _OF_VOLUMES
    unmeasured = [
        words.heading(heading)
        for metric, heading, _, _ in _COLUMNS
        if average[metric]["mean"] is None
        and metric not in foreign
        and not (undefined and metric in ("asd_mm", "asd_predicted_to_truth_mm"))
    ]
    if unmeasured:
        lines.append(f"* Not measured, because data or model do not tell: {', '.join(unmeasured)}.")
    if report["skipped_landmarks"]["count"]:
        names = report["skipped_landmarks"]["names"]
        shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        lines.append(f"* {len(names)} landmarks of the data set are not named by the model and were skipped: {shown}.")
    return lines


def markdown_of(report: Mapping[str, Any]) -> str:
    """The report as Markdown: groups, average, structures, few landmarks; mean ± sd over cases [95 % bootstrap interval]."""
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
    ]
    comparison = report.get("comparison")
    if comparison:
        other = comparison["other"]
        lines += [
            "",
            f"## Difference from {other['name']} {other['version']}",
            "",
            f"This model minus the other, paired over {comparison['cases']} cases; p of Wilcoxon's signed-rank test. "
            "Below zero is better; for DSC, above zero.",
            "",
            *_table(_rows(comparison), words),
            *([""] if comparison["notes"] else []),
            *(f"* {note}" for note in comparison["notes"]),
        ]
    return "\n".join(lines) + "\n"
