"""How well new landmarks are found by uv maps: two studies, both without retraining.

* *held out*: the model was trained without every n-th landmark of each structure (recipe ``target.hold_out_every``).
  Each of these is defined by its true position in k training images, brought to the template through that image's
  exact uv map, and looked up in the predicted uv field of every test image. Beside it: the trained landmarks, the mean
  shape, and a thin-plate warp of the template through the landmarks that the model itself found.
* *the paper's four*: clavicle points, lung centre, contour midpoint and corner midpoint, all read out of the left
  lung's map with the template's frozen box.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from DenseLandmarksLib.landmarks.template import StructureTemplate
from DenseLandmarksLib.models.predictors.dense_shape import DenseShapePredictor
from training.data import Case, Dataset
from training.define_landmark import define_landmark
from training.new_landmark_cases import (
    DRAWS,
    EXAMPLES,
    PredictedCase,
    complete_cases,
    mean_or_none,
    mean_position,
    mean_shape_errors,
    summarise,
)

FloatArray = NDArray[np.float64]

# The paper's studies on jsrt, as landmarks whose mean defines the point (indices 158:162, all, 54-55, 63 and 67).
PAPER_STUDIES: dict[str, tuple[tuple[str, ...], ...]] = {
    "clavicle points": tuple((f"left_clavicle_{i:02d}",) for i in range(15, 19)),
    "lung centre": (tuple(f"left_lung_{i:02d}" for i in range(50)),),
    "contour midpoint": (("left_lung_10", "left_lung_11"),),
    "corner midpoint": (("left_lung_19", "left_lung_23"),),
}
PAPER_STRUCTURE = "left_lung"


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
