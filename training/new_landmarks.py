"""``python -m training new-landmarks``: how well landmarks are found that the model was never trained on.

Two studies, both without retraining:

* *held out*: the model was trained without every n-th landmark of each structure (recipe ``target.hold_out_every``).
  Each of these is defined by its true position in k training images, brought to the template through that image's
  exact uv map, and looked up in the predicted uv field of every test image. Beside it: the trained landmarks, the mean
  shape, and a thin-plate warp of the template through the landmarks that the model itself found.
* *the paper's four*: clavicle points, lung centre, contour midpoint and corner midpoint, all read out of the left
  lung's map with the template's frozen box.

Models of heatmaps have no uv maps: see :mod:`training.left_out_landmarks`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import RBFInterpolator
from tqdm import tqdm

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.landmarks.template import StructureTemplate
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.prediction import Prediction, Predictor
from DenseLandmarksLib.models.predictors.dense_shape import DenseShapePredictor, open_dense_shape
from DenseLandmarksLib.models.registry import choose_device, find_bundle, open_bundle
from training.data import Case, Dataset, read_dataset
from training.define_landmark import define_landmark
from training.evaluation_report import group_structures
from training.measuring import write_report
from training.metrics import bootstrap_ci95

FloatArray = NDArray[np.float64]
PointsOf = Callable[[Case], FloatArray]
"""True pixel positions (N, 2) of the points in question."""

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
    """A test case, what the model says, mm per pixel x, y of the stored image, and its geometry."""

    case: Case
    prediction: Prediction
    mm_per_px: FloatArray
    geometry: ImageGeometry

    def error_mm(self, points_grid: FloatArray, truth_px: FloatArray) -> FloatArray:
        """Distances (N,) in mm of grid positions (N, 2) from true pixel positions (N, 2)."""
        points_px = self.prediction.need_grid().to_pixels(points_grid)
        return np.linalg.norm((points_px - truth_px) * self.mm_per_px, axis=1)

    def look_up(self, structure: str, uv: FloatArray) -> FloatArray:
        """Grid positions (N, 2) of template coordinates; NaN where the structure was not found."""
        assert self.prediction.uv_field is not None
        found = self.prediction.uv_field.read(structure, uv)
        return np.full((len(uv), 2), np.nan) if found is None else found.points


def predict_cases(predictor: Predictor, dataset: Dataset) -> list[PredictedCase]:
    """Predict every case once."""
    predicted = []
    for case in tqdm(dataset.cases, desc="predicting", leave=False):
        image = read_image(case.image_path, case.spacing_mm)
        predicted.append(PredictedCase(case, predictor.predict(image), np.array(case.spacing_mm), image.geometry))
    return predicted


def relative(case: Case, points_px: FloatArray) -> FloatArray:
    """Pixel positions as shares of the image, so that images of different size can be averaged."""
    return (points_px + 0.5) / np.array(case.size_px)


def from_relative(case: Case, points: FloatArray) -> FloatArray:
    """Inverse of :func:`relative`."""
    return points * np.array(case.size_px) - 0.5


def mean_position(cases: Sequence[Case], points_of: PointsOf) -> FloatArray:
    """Mean of the points (N, 2) over ``cases``, as shares of the image."""
    return np.mean([relative(case, points_of(case)) for case in cases], axis=0)


def mean_shape_errors(predicted: list[PredictedCase], mean: FloatArray, points_of: PointsOf) -> list[float]:
    """Mean error in mm per case when the image is not looked at."""
    errors = []
    for p in predicted:
        offset = (from_relative(p.case, mean) - points_of(p.case)) * p.mm_per_px
        errors.append(float(np.linalg.norm(offset, axis=1).mean()))
    return errors


def complete_cases(dataset: Dataset, structure: str) -> list[Case]:
    """Training cases in which every landmark of ``structure`` is annotated: only these can define a new one."""
    rows = dataset.landmarks_of(structure)
    cases = [case for case in dataset.of_split("train").cases if np.isfinite(case.points_px[rows]).all()]
    if len(cases) < max(EXAMPLES):
        raise InputError(
            f"expected at least {max(EXAMPLES)} training cases with all of {structure} annotated, got {len(cases)}. "
            "Annotate more."
        )
    return cases


def held_out_structure(
    structure: StructureTemplate, dataset: Dataset, predicted: list[PredictedCase], rng: np.random.Generator
) -> dict[str, list[float]]:
    """Per row of the table the mean error in mm of each case, over the trained or the new landmarks of a structure."""
    known = set(structure.landmark_names)
    names = [dataset.landmark_names[i] for i in dataset.landmarks_of(structure.name)]
    new = [dataset.landmark_names.index(name) for name in names if name not in known]
    trained = [dataset.landmark_names.index(name) for name in structure.landmark_names]
    train = complete_cases(dataset, structure.name)

    def new_points(case: Case) -> FloatArray:
        return case.points_px[new]

    # (M, N, 2): the template coordinate of each new landmark according to each training image.
    uv_by_image = np.stack([define_landmark(dataset, case, structure, new_points(case)) for case in train])
    found = [p.look_up(structure.name, structure.landmark_uv) for p in predicted]
    rows = {
        "trained landmarks": [
            float(p.error_mm(points, p.case.points_px[trained]).mean())
            for p, points in zip(predicted, found, strict=True)
        ]
    }
    for k in EXAMPLES:
        draws = [rng.choice(len(train), k, replace=False) for _ in range(DRAWS)]
        uv = np.stack([uv_by_image[draw].mean(axis=0) for draw in draws]).reshape(-1, 2)
        template_points = structure.position_at(uv)
        looked_up, warped = [], []
        for p, points in zip(predicted, found, strict=True):
            truth = np.tile(new_points(p.case), (DRAWS, 1))
            looked_up.append(float(p.error_mm(p.look_up(structure.name, uv), truth).mean()))
            if np.isfinite(points).all():
                warp = RBFInterpolator(structure.points_mm, points, kernel="thin_plate_spline")
                warped.append(float(p.error_mm(warp(template_points), truth).mean()))
            else:
                warped.append(float("nan"))
        rows[f"new, looked up, k = {k}"] = looked_up
        rows[f"new, thin-plate warp, k = {k}"] = warped
    rows["new, mean shape"] = mean_shape_errors(predicted, mean_position(train, new_points), new_points)
    return rows


def held_out_study(
    predictor: DenseShapePredictor, dataset: Dataset, predicted: list[PredictedCase], seed: int = 0
) -> dict[str, Any]:
    """Errors in mm of trained and held-out landmarks; per row the mean over groups of structures, then over cases."""
    rng = np.random.default_rng(seed)
    rows: dict[str, dict[str, list[float]]] = {}
    for structure in predictor.template.structures:
        for row, per_case in held_out_structure(structure, dataset, predicted, rng).items():
            rows.setdefault(row, {})[structure.name] = per_case
    return {row: summarise(structures) for row, structures in rows.items()}


def mean_or_none(values: ArrayLike) -> float | None:
    """Mean of what is defined; ``None`` where nothing is (a structure that was found in no case)."""
    defined = np.asarray(values, np.float64)
    defined = defined[np.isfinite(defined)]
    return float(defined.mean()) if len(defined) else None


def summarise(structures: dict[str, list[float]]) -> dict[str, Any]:
    """Mean TRE of each structure, and the average over groups per case with its bootstrap interval.

    Cases in which a structure was not found have no average; ``defined`` says how many have.
    """
    groups = group_structures(list(structures)).values()
    per_case = np.mean([np.mean([structures[name] for name in members], axis=0) for members in groups], axis=0)
    defined = per_case[np.isfinite(per_case)]
    return {
        "average": {
            "mean": mean_or_none(per_case),
            "sd": float(defined.std(ddof=1)) if len(defined) > 1 else None,
            "ci95": list(bootstrap_ci95(defined)) if len(defined) else None,
            "defined": len(defined),
        },
        "structures": {name: mean_or_none(values) for name, values in structures.items()},
    }


def paper_studies(dataset: Dataset, predicted: list[PredictedCase], structure: StructureTemplate) -> dict[str, Any]:
    """The paper's four studies: looked up in the left lung's map, against the mean position in training."""
    train = complete_cases(dataset, structure.name)
    result = {}
    for study, points in PAPER_STUDIES.items():
        rows = [[dataset.landmark_names.index(name) for name in names] for names in points]

        def points_of(case: Case, rows: list[list[int]] = rows) -> FloatArray:
            return np.stack([case.points_px[members].mean(axis=0) for members in rows])

        known = [case for case in train if np.isfinite(points_of(case)).all()]
        uv = np.mean([define_landmark(dataset, case, structure, points_of(case)) for case in known], axis=0)
        looked_up = [p.error_mm(p.look_up(structure.name, uv), points_of(p.case)).mean() for p in predicted]
        result[study] = {
            "looked_up_mm": mean_or_none(looked_up),
            "mean_position_mm": mean_or_none(mean_shape_errors(predicted, mean_position(known, points_of), points_of)),
            "uv": uv.round(4).tolist(),
        }
    return result


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
    """Both studies of this file, as far as model and data allow.

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
    from training.left_out_landmarks import left_out_study

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
