"""``python -m training new-landmarks``: how well landmarks are found that the model was never trained on.

Models with uv maps: see :mod:`training.held_out_landmarks`; models of heatmaps have none: see
:mod:`training.left_out_landmarks`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.predictors.dense_shape import open_dense_shape
from DenseLandmarksLib.models.registry import choose_device, find_bundle, open_bundle
from training.data import Dataset, read_dataset
from training.held_out_landmarks import PAPER_STRUCTURE, PAPER_STUDIES, held_out_study, paper_studies
from training.left_out_landmarks import left_out_study
from training.measuring import write_report
from training.new_landmark_cases import predict_cases


def in_mm(value: float | None) -> str:
    """A length for a table."""
    return "-" if value is None else f"{value:.2f}"


def _by_warp_lines(of_warp: dict[str, Any]) -> list[str]:
    """What must be known of landmarks that were looked up by the template's warp alone."""
    share = of_warp["in_ellipse_90_share"]
    return [
        "",
        f"* {len(of_warp['measured'])} landmarks, each looked up by the warp of a template that does not know it"
        + ("." if share is None else f"; {share:.1%} of them lie in the ellipse that is to hold 90 % (k = 1)."),
        f"* {of_warp['refused_definitions']} of {of_warp['definitions']} definitions lie too far outside of the other landmarks: a "
        "session refuses them, they are not measured.",
    ]


def to_markdown(report: dict[str, Any]) -> str:
    """The report as Markdown tables."""
    lines = [f"# New landmarks: {report['model']} on {report['cases']} cases of {report['data']} {report['split']}", ""]
    if "held_out" in report:
        names = list(next(iter(report["held_out"].values()))["structures"])
        lines += ["| TRE mm | average [95 % ci] | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
        for row, values in report["held_out"].items():
            low, high = values["average"]["ci95"] or (None, None)
            cells = [f"{in_mm(values['average']['mean'])} [{in_mm(low)}, {in_mm(high)}]"]
            cells += [in_mm(values["structures"][name]) for name in names]
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    if "by_warp" in report:
        lines += _by_warp_lines(report["by_warp"])
    if "paper_studies" in report:
        lines += ["", "| read out of the left lung's map | looked up, mm | mean position, mm |", "|---|---|---|"]
        lines += [
            f"| {study} | {in_mm(values['looked_up_mm'])} | {in_mm(values['mean_position_mm'])} |"
            for study, values in report["paper_studies"].items()
        ]
    if report["spacing"]["note"]:
        lines += ["", f"* {report['spacing']['note']}"]
    return "\n".join(lines) + "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``python -m training new-landmarks``."""
    parser.add_argument(
        "--model", required=True, help="name or bundle folder; held-out landmarks are found by their absence"
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--report", type=Path, required=True, help="JSON to write; a Markdown table goes beside it")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def measure_dense_shape(bundle: Bundle, device: str, dataset: Dataset, split: str) -> dict[str, Any]:
    """Both studies of uv maps, as far as model and data allow.

    Raises :class:`InputError` where they allow neither.
    """
    predictor = open_dense_shape(bundle, choose_device(device))
    template, named = predictor.template, set(dataset.landmark_names)
    points = {name for study in PAPER_STUDIES.values() for names in study for name in names}
    has_held_out = set(template.landmark_names) < named
    has_paper = points <= named and PAPER_STRUCTURE in template.structure_names
    if not has_held_out and not has_paper:
        raise InputError(
            "expected a model trained without some landmarks of the data, or the jsrt landmarks; this is neither. "
            "Train one with target.hold_out_every in the recipe."
        )
    predicted = predict_cases(predictor, dataset.of_split(split))
    report: dict[str, Any] = {}
    if has_held_out:
        report["held_out"] = held_out_study(predictor, dataset, predicted)
    if has_paper:
        report["paper_studies"] = paper_studies(dataset, predicted, template.structure(PAPER_STRUCTURE))
    return report


def measure_heatmap(bundle: Bundle, device: str, dataset: Dataset, split: str) -> dict[str, Any]:
    """The study of models without uv maps; raises :class:`InputError` when the data lack landmarks that the model finds."""
    missing = [name for name in bundle.landmark_names if name not in dataset.landmark_names]
    if missing:
        raise InputError(
            f"expected landmarks of {dataset.name}, {bundle.name} finds {missing[0]}. Give the data that it was trained on."
        )
    predicted = predict_cases(open_bundle(bundle, device), dataset.of_split(split))
    return left_out_study(bundle.need_template(), bundle.grid_size, dataset, predicted)


def run(arguments: argparse.Namespace) -> int:
    """Run ``python -m training new-landmarks``."""
    bundle = load_bundle(find_bundle(arguments.model))
    bundle.need_template()  # told here for a model without one
    dataset = read_dataset(arguments.data)
    measure = measure_heatmap if bundle.family.name == "heatmap" else measure_dense_shape
    report = {
        "model": f"{bundle.name} {bundle.version}",
        "data": dataset.name,
        "split": arguments.split,
        "cases": len(dataset.of_split(arguments.split).cases),
        "spacing": dataset.spacing,
        **measure(bundle, arguments.device, dataset, arguments.split),
    }
    write_report(arguments.report, report, to_markdown(report))
    return 0
