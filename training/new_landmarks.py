"""``python -m training new-landmarks``: how well landmarks are found that the model was never trained on.

Two studies, both without retraining:

* *held out*: the model was trained without every n-th landmark of each structure (recipe ``target.hold_out_every``).
  Each of these is defined by its true position in k training images, brought to the template through that image's
  exact uv map, and looked up in the predicted uv field of every test image. Beside it: the trained landmarks, the mean
  shape, and a thin-plate warp of the template through the landmarks that the model itself found.
* *the paper's four*: clavicle points, lung centre, contour midpoint and corner midpoint, all read out of the left
  lung's map with the template's frozen box.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from tqdm import tqdm

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_json, write_text
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.landmarks.template import StructureTemplate
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.predictors.dense_shape import DenseShapePredictor
from DenseLandmarksLib.models.registry import find_bundle, open_bundle
from training.data import Case, Dataset, read_dataset
from training.evaluation_report import group_structures
from training.metrics import bootstrap_ci95

FloatArray = NDArray[np.float64]

EXAMPLES = (1, 3, 5)
# How often the k defining images are drawn anew; the figures are means over the draws.
DRAWS = 20

# The paper's studies on jsrt, as landmarks whose mean defines the point (indices 158:162, all, 54-55, 63 and 67).
PAPER_STUDIES: dict[str, tuple[tuple[str, ...], ...]] = {
    "clavicle points": tuple((f"left_clavicle_{i:02d}",) for i in range(15, 19)),
    "lung centre": (tuple(f"left_lung_{i:02d}" for i in range(50)),),
    "contour midpoint": (("left_lung_10", "left_lung_11"),),
    "corner midpoint": (("left_lung_19", "left_lung_23"),),
}
PAPER_STRUCTURE = "left_lung"


@dataclass(frozen=True)
class PredictedCase:
    """A test case, what the model says, and mm per pixel x, y of the stored image."""

    case: Case
    prediction: Prediction
    mm_per_px: FloatArray

    def error_mm(self, points_grid: FloatArray, truth_px: FloatArray) -> FloatArray:
        """Distances (N,) in mm of grid positions (N, 2) from true pixel positions (N, 2)."""
        points_px = self.prediction.grid.to_pixels(points_grid)
        return np.linalg.norm((points_px - truth_px) * self.mm_per_px, axis=1)

    def look_up(self, structure: str, uv: FloatArray) -> FloatArray:
        """Grid positions (N, 2) of template coordinates; NaN where the structure was not found."""
        assert self.prediction.uv_field is not None
        found = self.prediction.uv_field.read(structure, uv)
        return np.full((len(uv), 2), np.nan) if found is None else found.points


def predict_cases(predictor: DenseShapePredictor, dataset: Dataset) -> list[PredictedCase]:
    """Predict every case once."""
    return [
        PredictedCase(case, predictor.predict(read_image(case.image_path, case.spacing_mm)), np.array(case.spacing_mm))
        for case in tqdm(dataset.cases, desc="predicting", leave=False)
    ]


def relative(case: Case, points_px: FloatArray) -> FloatArray:
    """Pixel positions as shares of the image, so that images of different size can be averaged."""
    return (points_px + 0.5) / np.array(case.size_px)


def from_relative(case: Case, points: FloatArray) -> FloatArray:
    """Inverse of :func:`relative`."""
    return points * np.array(case.size_px) - 0.5


def contour_of(dataset: Dataset, case: Case, structure: StructureTemplate) -> FloatArray:
    """The true positions (P, 2) of the landmarks that shape ``structure`` in the template, in pixels."""
    return case.points_px[[dataset.landmark_names.index(name) for name in structure.landmark_names]]


def held_out_study(
    predictor: DenseShapePredictor, dataset: Dataset, predicted: list[PredictedCase], seed: int = 0
) -> dict[str, Any]:
    """Errors in mm of trained and held-out landmarks; per row the mean over groups of structures, then over cases."""
    train = dataset.of_split("train").cases
    rng = np.random.default_rng(seed)
    rows: dict[str, dict[str, FloatArray]] = {}

    def add(row: str, structure: str, per_case: list[float]) -> None:
        rows.setdefault(row, {})[structure] = np.array(per_case)

    for structure in predictor.template.structures:
        known = set(structure.landmark_names)
        names = [dataset.landmark_names[i] for i in dataset.landmarks_of(structure.name)]
        new = [dataset.landmark_names.index(name) for name in names if name not in known]
        trained = [dataset.landmark_names.index(name) for name in structure.landmark_names]
        # (M, N, 2): the template coordinate of each new landmark according to each training image.
        uv_by_image = np.stack([structure.uv_at(contour_of(dataset, c, structure), c.points_px[new]) for c in train])
        mean_px = np.mean([relative(c, c.points_px[new]) for c in train], axis=0)
        found_trained = [p.look_up(structure.name, structure.landmark_uv) for p in predicted]
        add(
            "trained landmarks",
            structure.name,
            [p.error_mm(f, p.case.points_px[trained]).mean() for p, f in zip(predicted, found_trained, strict=True)],
        )
        for k in EXAMPLES:
            draws = [rng.choice(len(train), k, replace=False) for _ in range(DRAWS)]
            uv = np.stack([uv_by_image[draw].mean(axis=0) for draw in draws])
            template_points = structure.position_at(uv.reshape(-1, 2))
            looked_up, warped = [], []
            for p, found in zip(predicted, found_trained, strict=True):
                truth = np.tile(p.case.points_px[new], (DRAWS, 1))
                looked_up.append(p.error_mm(p.look_up(structure.name, uv.reshape(-1, 2)), truth).mean())
                warp = RBFInterpolator(structure.points_mm, found, kernel="thin_plate_spline")
                warped.append(p.error_mm(warp(template_points), truth).mean())
            add(f"new, looked up, k = {k}", structure.name, looked_up)
            add(f"new, thin-plate warp, k = {k}", structure.name, warped)
        add(
            "new, mean shape",
            structure.name,
            [
                float(
                    np.linalg.norm(
                        (from_relative(p.case, mean_px) - p.case.points_px[new]) * p.mm_per_px, axis=1
                    ).mean()
                )
                for p in predicted
            ],
        )
    return {row: summarise(structures) for row, structures in rows.items()}


def summarise(structures: dict[str, FloatArray]) -> dict[str, Any]:
    """Mean TRE of each structure, and the average over groups per case with its bootstrap interval."""
    groups = group_structures(list(structures)).values()
    per_case = np.mean([np.mean([structures[name] for name in members], axis=0) for members in groups], axis=0)
    defined = per_case[np.isfinite(per_case)]
    return {
        "average": {
            "mean": float(defined.mean()),
            "sd": float(defined.std(ddof=1)),
            "ci95": list(bootstrap_ci95(defined)),
        },
        "cases_without_structure": int(len(per_case) - len(defined)),
        "structures": {name: float(np.nanmean(values)) for name, values in structures.items()},
    }


def paper_studies(predictor: DenseShapePredictor, dataset: Dataset, predicted: list[PredictedCase]) -> dict[str, Any]:
    """The paper's four studies: looked up in the left lung's map, against the mean position in training."""
    structure = predictor.template.structure(PAPER_STRUCTURE)
    train = dataset.of_split("train").cases
    result = {}
    for study, points in PAPER_STUDIES.items():
        rows = [[dataset.landmark_names.index(name) for name in names] for names in points]

        def truth_of(case: Case, rows: list[list[int]] = rows) -> FloatArray:
            return np.stack([case.points_px[members].mean(axis=0) for members in rows])

        uv = np.mean([structure.uv_at(contour_of(dataset, c, structure), truth_of(c)) for c in train], axis=0)
        mean_px = np.mean([relative(c, truth_of(c)) for c in train], axis=0)
        looked_up = [p.error_mm(p.look_up(structure.name, uv), truth_of(p.case)).mean() for p in predicted]
        mean_shape = [
            np.linalg.norm((from_relative(p.case, mean_px) - truth_of(p.case)) * p.mm_per_px, axis=1).mean()
            for p in predicted
        ]
        result[study] = {
            "looked_up_mm": float(np.nanmean(looked_up)),
            "mean_position_mm": float(np.mean(mean_shape)),
            "uv": uv.round(4).tolist(),
        }
    return result


def to_markdown(report: dict[str, Any]) -> str:
    """The report as Markdown tables."""
    lines = [f"# New landmarks: {report['model']} on {report['cases']} cases of {report['data']} {report['split']}", ""]
    if "held_out" in report:
        names = list(next(iter(report["held_out"].values()))["structures"])
        lines += ["| TRE mm | average [95 % ci] | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
        for row, values in report["held_out"].items():
            low, high = values["average"]["ci95"]
            cells = [f"{values['average']['mean']:.2f} [{low:.2f}, {high:.2f}]"]
            cells += [f"{values['structures'][name]:.2f}" for name in names]
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    if "paper_studies" in report:
        lines += ["", "| read out of the left lung's map | looked up, mm | mean position, mm |", "|---|---|---|"]
        lines += [
            f"| {study} | {values['looked_up_mm']:.2f} | {values['mean_position_mm']:.2f} |"
            for study, values in report["paper_studies"].items()
        ]
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


def run(arguments: argparse.Namespace) -> int:
    """Run ``python -m training new-landmarks``."""
    predictor = open_bundle(load_bundle(find_bundle(arguments.model)), arguments.device)
    dataset = read_dataset(arguments.data)
    predicted = predict_cases(predictor, dataset.of_split(arguments.split))
    report: dict[str, Any] = {
        "model": f"{predictor.name} {predictor.version}",
        "data": dataset.name,
        "split": arguments.split,
        "cases": len(predicted),
    }
    asked = set(predictor.template.landmark_names)
    if asked < set(dataset.landmark_names):
        report["held_out"] = held_out_study(predictor, dataset, predicted)
    points = {name for study in PAPER_STUDIES.values() for names in study for name in names}
    if points <= set(dataset.landmark_names) and PAPER_STRUCTURE in predictor.template.structure_names:
        report["paper_studies"] = paper_studies(predictor, dataset, predicted)
    if len(report) == 4:
        raise InputError(
            "expected a model trained without some landmarks of the data, or the jsrt landmarks; this is neither. "
            "Train one with target.hold_out_every in the recipe."
        )
    write_json(arguments.report, report)
    write_text(arguments.report.with_suffix(".md"), to_markdown(report))
    print(to_markdown(report))
    return 0
