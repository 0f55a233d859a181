"""What all studies of landmarks that were never trained have in common: the cases, what defines a landmark, the figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.models.prediction import Prediction, Predictor
from training.data import Case, Dataset
from training.evaluation_report import group_structures
from training.metrics import bootstrap_ci95

FloatArray = NDArray[np.float64]
PointsOf = Callable[[Case], FloatArray]
"""True pixel positions (N, 2) of the points in question."""

EXAMPLES = (1, 3, 5)
# How often the k defining images are drawn anew; the figures are means over the draws.
DRAWS = 20


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
