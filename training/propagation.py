"""``python -m training propagation``: how many drags a case takes, with and without its neighbours moving along.

A simulated annotator drags the worst landmark to where it belongs, again and again, until the mean error over all
landmarks of the case is below :data:`GOOD_ENOUGH_MM`. No landmark is dragged twice. One annotator is exact, another is
off by 1 mm across and 2 mm along the true contour (standard deviations; 1 mm in all directions where there is none).
"""

from __future__ import annotations

import argparse
import sys
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.landmarks.polygon import contour_tangents
from DenseLandmarksLib.landmarks.propagation import Propagation, landmark_propagation
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.prediction import Predictor
from training.data import Dataset
from training.evaluate import contour_structures, read_case
from training.measuring import add_request, open_request, write_report
from training.metrics import bootstrap_ci95

FloatArray = NDArray[np.float64]

GOOD_ENOUGH_MM = 2.0
NOISE_ACROSS_MM, NOISE_ALONG_MM = 1.0, 2.0
STRENGTHS = {"without propagation": 0.0, "with propagation": 1.0}


class Drags(NamedTuple):
    """How many landmarks were dragged, and whether the case was good enough then."""

    landmarks: int
    reached: bool


def drags_until_good(
    propagation: Propagation,
    truth_mm: FloatArray,
    slips_mm: FloatArray,
    strength: float,
    limit_mm: float = GOOD_ENOUGH_MM,
) -> Drags:
    """Drag the worst landmark to its truth plus ``slips_mm`` until the mean error is below ``limit_mm``.

    ``truth_mm`` and ``slips_mm`` are (N, D); a landmark whose truth is NaN neither counts nor is dragged.
    """
    count, counted = len(truth_mm), np.isfinite(truth_mm).all(axis=1)
    fixed, placed = np.zeros(count, bool), np.full(truth_mm.shape, np.nan)
    points = propagation.predicted_mm
    while True:
        error = np.linalg.norm(points - truth_mm, axis=1)
        drags = int(fixed.sum())
        if error[counted].mean() < limit_mm:
            return Drags(drags, True)
        left = counted & ~fixed
        if not left.any():
            return Drags(drags, False)
        worst = int(np.argmax(np.where(left, error, -1)))
        fixed[worst] = True
        placed[worst] = truth_mm[worst] + slips_mm[worst]
        points = propagation.given(fixed, placed, strength)


def slips_of(truth_mm: FloatArray, dataset: Dataset, rows: NDArray[np.intp], name: str) -> FloatArray:
    """How far (N, D) the inexact annotator misses each landmark of case ``name``: always the same for the same case.

    ``rows`` (N,) are the landmarks in the data set's order.
    """
    random = np.random.default_rng(zlib.crc32(name.encode())).normal(size=truth_mm.shape)
    slips = NOISE_ACROSS_MM * random
    structures = np.asarray(dataset.landmark_structures)[rows]
    for structure in contour_structures(dataset):
        members = np.flatnonzero((structures == structure) & np.isfinite(truth_mm).all(axis=1))
        tangents = contour_tangents(truth_mm[members])
        along = (slips[members] * tangents).sum(axis=1, keepdims=True)
        slips[members] += (NOISE_ALONG_MM / NOISE_ACROSS_MM - 1) * along * tangents
    return slips


def measure_propagation(predictor: Predictor, dataset: Dataset, template: Template | None = None) -> dict[str, Any]:
    """Drags of every case with and without propagation, exact and not, as JSON types.

    Raises :class:`InputError` when the model names no landmark of the data set.
    """
    drags: dict[str, dict[str, list[Drags]]] = {
        annotator: {how: [] for how in STRENGTHS} for annotator in ("exact", "noisy")
    }
    errors = []
    prediction = None
    for case in tqdm(dataset.cases, desc="propagation", unit="case", file=sys.stderr):
        image = read_case(case, dataset)
        prediction = predictor.predict(image)
        row_of = {name: row for row, name in enumerate(dataset.landmark_names)}
        named = np.array([row_of.get(name, -1) for name in prediction.landmarks.names], np.intp)
        if (named < 0).all():
            raise InputError(
                f"expected a model that names landmarks of {dataset.name} (such as {dataset.landmark_names[0]}), "
                f"{prediction.model_name} names none of them. Choose another model or another data folder."
            )
        axes = image.geometry.axes_lps[:, :2]
        truth = np.full((len(named), 2), np.nan)
        truth[named >= 0] = lps_mm_from_pixels(image.geometry, case.points_px[named[named >= 0]]) @ axes
        propagation = landmark_propagation(prediction.landmarks, axes, template)
        errors.append(float(np.nanmean(np.linalg.norm(propagation.predicted_mm - truth, axis=1))))
        slips = {"exact": np.zeros_like(truth), "noisy": slips_of(truth, dataset, named, case.name)}
        for annotator, rows in drags.items():
            for how, found in rows.items():
                found.append(drags_until_good(propagation, truth, slips[annotator], STRENGTHS[how]))
    assert prediction is not None  # a split without cases is refused when it is read
    return {
        "model": {"name": prediction.model_name, "version": prediction.model_version},
        "data": dataset.name,
        "cases": len(dataset.cases),
        "tre_mm": float(np.mean(errors)),
        "good_enough_mm": GOOD_ENOUGH_MM,
        "drags": {
            annotator: {
                how: {
                    "mean": float(np.mean([drag.landmarks for drag in found])),
                    "ci95": list(bootstrap_ci95([drag.landmarks for drag in found])),
                    "never": sum(not drag.reached for drag in found),
                    "by_case": [drag.landmarks for drag in found],
                }
                for how, found in rows.items()
            }
            for annotator, rows in drags.items()
        },
    }


def markdown_of(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    model = report["model"]
    lines = [
        f"# Drags with {model['name']} {model['version']} on {report['cases']} cases of {report['data']}",
        "",
        f"Worst landmark first, until the mean error of the case is below {report['good_enough_mm']:g} mm (it is "
        f"{report['tre_mm']:.2f} mm before, mean of the cases). Noise: {NOISE_ACROSS_MM:g} mm across, "
        f"{NOISE_ALONG_MM:g} mm along the contour. Never: cases not good enough with all landmarks dragged.",
        "",
        "| annotator | | drags | 95 % ci | never |",
        "|---|---|---:|---|---:|",
    ]
    for annotator, rows in report["drags"].items():
        for how, row in rows.items():
            low, high = row["ci95"]
            lines.append(f"| {annotator} | {how} | {row['mean']:.1f} | {low:.1f} to {high:.1f} | {row['never']} |")
    return "\n".join(lines) + "\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``python -m training propagation``."""
    add_request(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure, write the report and print it; raises :class:`InputError` for what cannot be used."""
    predictor, dataset = open_request(arguments)
    report = measure_propagation(predictor, dataset, getattr(predictor, "template", None))
    write_report(arguments.report, report, markdown_of(report))
    return 0
