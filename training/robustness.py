"""``python -m training robustness``: what alterations of real radiographs cost, and whether foreign images are noticed."""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.geometry.view import MIRRORED
from DenseLandmarksLib.models.prediction import Prediction, Predictor
from DenseLandmarksLib.models.predictors.heatmap import HeatmapPredictor
from training.alterations import ALTERATIONS, VIEWS_TO_NOTICE, Alteration, of_other_side, seen_through
from training.data import Case, Dataset, read_dataset
from training.evaluate import contour_structures, measure_case, read_case
from training.evaluation_report import CaseMeasurement, build_report
from training.measuring import add_request, open_request, write_report

LIMIT = 1.25
"""The landmark error of altered images may be this many times that of the same images as they are."""


def _random(case: Case, name: str) -> np.random.Generator:
    """The same alteration of the same case is always the same."""
    return np.random.default_rng([zlib.crc32(case.name.encode()), zlib.crc32(name.encode())])


def _tre_mm(measurements: Sequence[CaseMeasurement], dataset: Dataset) -> float:
    return float(build_report(measurements, dataset.name, "")["average"]["tre_mm"]["mean"])


def measure_alteration(
    predictor: Predictor, dataset: Dataset, plain: Sequence[Prediction], name: str, alteration: Alteration
) -> dict[str, Any]:
    """Mean landmark error (mm) of altered images, that of the same landmarks in the images as they are, and flags.

    Landmarks that the alteration moved out of the image count on neither side. ``plain`` holds the predictions of the
    unaltered cases.
    """
    contours = contour_structures(dataset)
    before, after, flagged = [], [], 0
    for case, prediction in zip(dataset.cases, plain, strict=True):
        image = read_case(case, dataset)
        altered, points_px = alteration(image, case.points_px, _random(case, name))
        kept = np.where(np.isfinite(points_px), case.points_px, np.nan)
        before.append(measure_case(prediction, image, replace(case, points_px=kept), dataset, contours))
        moved = replace(case, points_px=points_px, size_px=altered.volume.GetSize()[:2])
        result = predictor.predict(altered)
        after.append(measure_case(result, altered, moved, dataset, contours))
        flagged += not result.plausibility.plausible
    tre, reference = _tre_mm(after, dataset), _tre_mm(before, dataset)
    return {
        "alteration": name,
        "tre_mm": tre,
        "tre_unaltered_mm": reference,
        "ratio": tre / reference,
        "flagged": flagged,
        "cases": len(plain),
    }


def _knows_either_side(predictor: Predictor) -> bool:
    return isinstance(predictor, HeatmapPredictor) and predictor.reading.either_side


def alterations_for(predictor: Predictor, dataset: Dataset) -> dict[str, Alteration]:
    """What a model must stand, by name."""
    if not _knows_either_side(predictor):
        return ALTERATIONS
    return {**ALTERATIONS, "mirrored": of_other_side(dataset.landmark_names, dataset.landmark_structures)}


def measure_views(predictor: Predictor, dataset: Dataset) -> list[dict[str, Any]]:
    """For images that a model cannot see as they are: how many are flagged, and how many with the right advice."""
    rows = []
    for view in VIEWS_TO_NOTICE:
        if view == MIRRORED and _knows_either_side(predictor):
            continue
        flagged = advised = 0
        for case in dataset.cases:
            altered, _ = seen_through(view)(read_case(case, dataset), case.points_px, _random(case, str(view)))
            plausibility = predictor.predict(altered).plausibility
            flagged += not plausibility.plausible
            advised += plausibility.suggested_view == view
        rows.append({"must_be": str(view), "flagged": flagged, "advised": advised, "cases": len(dataset.cases)})
    return rows


def measure_foreign(predictor: Predictor, folder: Path) -> dict[str, Any]:
    """How many images of a folder (a data folder, or one of image files) are flagged."""
    if (folder / "dataset.json").is_file():
        paths = [case.image_path for case in read_dataset(folder).cases]
    else:
        paths = sorted(path for path in folder.iterdir() if path.is_file())
    flagged, unread = [], 0
    for path in tqdm(paths, desc=folder.name, unit="image", file=sys.stderr, leave=False):
        try:
            image = read_image(path)
        except InputError:
            unread += 1
            continue
        flagged.append(not predictor.predict(image).plausibility.plausible)
    return {"folder": folder.name, "flagged": int(sum(flagged)), "images": len(flagged), "unread": unread}


def measure_robustness(predictor: Predictor, dataset: Dataset, foreign: Sequence[Path] = ()) -> dict[str, Any]:
    """The whole report, as JSON types."""
    images = [read_case(case, dataset) for case in dataset.cases]
    plain = [predictor.predict(image) for image in images]
    contours = contour_structures(dataset)
    measured = [
        measure_case(prediction, image, case, dataset, contours)
        for prediction, image, case in zip(plain, images, dataset.cases, strict=True)
    ]
    return {
        "model": {"name": plain[0].model_name, "version": plain[0].model_version},
        "data": dataset.name,
        "cases": len(plain),
        "tre_mm": _tre_mm(measured, dataset),
        "flagged": sum(not prediction.plausibility.plausible for prediction in plain),
        "alterations": [
            measure_alteration(predictor, dataset, plain, name, alteration)
            for name, alteration in tqdm(
                alterations_for(predictor, dataset).items(), desc="alterations", file=sys.stderr
            )
        ],
        "views": measure_views(predictor, dataset),
        "foreign": [measure_foreign(predictor, folder) for folder in foreign],
    }


def markdown_of(report: dict[str, Any]) -> str:
    """The report as Markdown tables."""
    model = report["model"]
    lines = [
        f"# {model['name']} {model['version']} on altered images of {report['data']}",
        "",
        f"{report['cases']} cases. TRE: average over the groups, over the landmarks that are still in the image.",
        "",
        "| image | TRE mm | the same landmarks, unaltered | ratio | flagged |",
        "|---|---:|---:|---:|---:|",
        f"| as it is | {report['tre_mm']:.2f} | | | {report['flagged']} of {report['cases']} |",
    ]
    for row in report["alterations"]:
        lines.append(
            f"| {row['alteration']} | {row['tre_mm']:.2f} | {row['tre_unaltered_mm']:.2f} | {row['ratio']:.2f} "
            f"| {row['flagged']} of {row['cases']} |"
        )
    lines += ["", "| to be seen | flagged | right advice |", "|---|---:|---:|"]
    for row in report["views"]:
        lines.append(f"| {row['must_be']} | {row['flagged']} of {row['cases']} | {row['advised']} of {row['cases']} |")
    if report["foreign"]:
        lines += ["", "| foreign images | flagged |", "|---|---:|"]
        lines += [f"| {row['folder']} | {row['flagged']} of {row['images']} |" for row in report["foreign"]]
    return "\n".join(lines) + "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``python -m training robustness``."""
    add_request(parser)
    parser.add_argument(
        "--foreign", type=Path, nargs="*", default=[], metavar="DIR", help="folders of images of other kinds"
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure, write the report and print it; status 1 when an alteration costs more than :data:`LIMIT` allows."""
    predictor, dataset = open_request(arguments)
    report = measure_robustness(predictor, dataset, arguments.foreign)
    write_report(arguments.report, report, markdown_of(report))
    return int(any(row["ratio"] > LIMIT for row in report["alterations"]))
