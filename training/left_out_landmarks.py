"""How well new landmarks are found by a model without uv maps: by the warp of its template, as sessions find them.

Each landmark in turn is left out of the template and of what the model says, defined by a click on its true position in
training images in which the others lie at theirs, and looked up in every test image. Where the model was trained without
some landmarks of the data, these are the new ones instead. What a session refuses to define, because it lies too far
outside the other landmarks, is counted and not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.geometry.grid import fit_grid
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.template import Template, fan, triangulate, triangulate_points
from DenseLandmarksLib.models.look_up import define, find
from DenseLandmarksLib.models.prediction import Prediction
from training.data import Case, Dataset
from training.evaluate import read_case
from training.metrics import within_ellipse
from training.new_landmark_cases import (
    DRAWS,
    EXAMPLES,
    PredictedCase,
    complete_cases,
    from_relative,
    mean_position,
    summarise,
)

FloatArray = NDArray[np.float64]

DEFINING = 20
"""So many training images, at most, define each landmark, one at a time or k together."""
TRAINED, EXPECTED, MEAN_SHAPE = "trained landmarks", "new, as the model expects, k = 1", "new, mean shape"
_TRIANGULATE = {"points": triangulate_points, "cartesian": triangulate, "polar": lambda points: fan(len(points))}


def looked_up(k: int) -> str:
    """The row of landmarks that k images defined."""
    return f"new, looked up, k = {k}"


def without(template: Template, structure: str, landmark: str) -> Template:
    """The template that does not know one landmark of a structure; the coordinates of the others stay what they are.

    Raises ``ValueError`` where fewer than three points are left, or all on one line.
    """
    old = template.structure(structure)
    if landmark not in old.landmark_names:
        return template
    row = old.landmark_names.index(landmark)
    names = old.landmark_names[:row] + old.landmark_names[row + 1 :]
    new = replace(old, landmark_names=names, landmark_uv=np.delete(old.landmark_uv, row, axis=0))
    if row < len(old.points_mm):  # the others lie on the structure and do not shape it
        points_mm, uv = np.delete(old.points_mm, row, axis=0), np.delete(old.uv, row, axis=0)
        new = replace(new, points_mm=points_mm, uv=uv, triangles=_TRIANGULATE[old.chart](points_mm))
    return replace(template, structures=tuple(new if s is old else s for s in template.structures))


def marked_case(dataset: Dataset, case: Case, template: Template, grid_size: tuple[int, int]) -> PredictedCase:
    """An annotated image as a model would see it that finds the template's landmarks exactly."""
    image = read_case(case, dataset)
    known = [name for name in template.landmark_names if name in dataset.landmark_names]
    points_px = case.points_px[[dataset.landmark_names.index(name) for name in known]]
    there = np.asarray(np.isfinite(points_px).all(axis=1))
    names = [name for name, is_there in zip(known, there, strict=True) if is_there]
    owner = {name: s.name for s in template.structures for name in s.landmark_names}
    uv = {name: at for s in template.structures for name, at in zip(s.landmark_names, s.landmark_uv, strict=True)}
    points_lps_mm = lps_mm_from_pixels(image.geometry, points_px[there])
    landmarks = replace(
        LandmarkSet.unplaced(names, [owner[name] for name in names]),
        points_lps_mm=points_lps_mm,
        predicted_lps_mm=points_lps_mm,
        presence=(Presence.PRESENT,) * len(names),
        confidence=np.ones(len(names)),
        covariance_mm2=np.zeros((len(names), 3, 3)),
        template_uv=np.array([uv[name] for name in names]).reshape(-1, 2),
    )
    grid = fit_grid(image, grid_size)
    prediction = Prediction(landmarks, (), np.zeros((0, *grid.size), bool), grid, None, "truth", "", "")
    return PredictedCase(case, prediction, np.array(case.spacing_mm), image.geometry)


def _unaware(prediction: Prediction, landmark: str) -> Prediction:
    """The prediction of a model that does not know one landmark."""
    kept = [row for row, name in enumerate(prediction.landmarks.names) if name != landmark]
    return replace(prediction, landmarks=prediction.landmarks.rows(kept))


@dataclass(frozen=True)
class NewPoint:
    """A landmark of a structure, its ``column`` in the data, and the ``template`` that does not know it.

    ``uv`` (M, 2) is its coordinate by each of the M training images in which a session defines it.
    """

    name: str
    structure: str
    column: int
    template: Template
    uv: FloatArray

    def look_up(self, seen: PredictedCase, uv: FloatArray) -> FloatArray:
        """Errors in mm, expected errors, and whether the truth is in the 90 % ellipse (3, N) of coordinates (N, 2).

        NaN where the structure is not in the image, or the truth is not known.
        """
        new = [NewLandmark(self.name, self.structure, (float(u), float(v))) for u, v in uv]
        found = find(_unaware(seen.prediction, self.name), seen.geometry, self.template, new)
        truth = lps_mm_from_pixels(seen.geometry, seen.case.points_px[[self.column]])
        errors = np.linalg.norm(found.points_lps_mm - truth, axis=1)
        inside = within_ellipse(found.points_lps_mm, np.tile(truth, (len(uv), 1)), found.covariance_mm2)
        return np.where(found.found & np.isfinite(errors), [errors, found.error_mm, inside], np.nan)


def new_points(
    template: Template, structure: str, dataset: Dataset, defining: Sequence[PredictedCase]
) -> tuple[list[NewPoint], int]:
    """The landmarks of a structure that are new, or left out in turn, and how many of the definitions are refused.

    Those that too few of the ``defining`` cases define have no place among them.
    """
    known = template.structure(structure).landmark_names
    names = [dataset.landmark_names[row] for row in dataset.landmarks_of(structure)]
    points, refused = [], 0
    for name in [name for name in names if name not in known] or names:
        try:
            unaware = without(template, structure, name)
        except ValueError:  # too few others to have a shape
            refused += len(defining)
            continue
        column, uv = dataset.landmark_names.index(name), []
        for marked in defining:
            (click,) = lps_mm_from_pixels(marked.geometry, marked.case.points_px[[column]])
            try:
                uv.append(define(_unaware(marked.prediction, name), marked.geometry, unaware, click, structure).uv)
            except InputError:
                refused += 1
        if len(uv) >= max(EXAMPLES):
            points.append(NewPoint(name, structure, column, unaware, np.array(uv)))
    return points, refused


def _mean_known(values: FloatArray) -> FloatArray:
    """Means (N,) of what is known in rows (N, M); NaN where nothing is."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=1)
    return np.divide(total, known.sum(axis=1), out=np.full(len(values), np.nan), where=known.any(axis=1))


def _rows_of(
    template: Template, dataset: Dataset, points: Sequence[NewPoint], predicted: Sequence[PredictedCase], seed: int
) -> tuple[dict[str, FloatArray], FloatArray]:
    """Per row of the table the mean error (N,) of each of N cases, and the shares (N, P) of truths within the ellipses."""
    rng = np.random.default_rng(seed)
    each = {row: np.full((len(predicted), len(points)), np.nan) for row in (*map(looked_up, EXAMPLES), EXPECTED)}
    inside = np.full((len(predicted), len(points)), np.nan)
    for column, point in enumerate(tqdm(points, desc=f"looking up on {points[0].structure}", leave=False)):
        drawn = {
            k: np.stack([point.uv[rng.choice(len(point.uv), k, replace=False)].mean(axis=0) for _ in range(DRAWS)])
            for k in EXAMPLES
        }
        for row, seen in enumerate(predicted):
            found = (
                point.look_up(seen, np.concatenate(list(drawn.values()))).reshape(3, len(EXAMPLES), DRAWS).mean(axis=2)
            )
            for k, error in zip(EXAMPLES, found[0], strict=True):
                each[looked_up(k)][row, column] = error
            each[EXPECTED][row, column], inside[row, column] = found[1:, 0]
    columns = [point.column for point in points]
    train = complete_cases(dataset, points[0].structure)
    mean = mean_position(train, lambda case: case.points_px[columns])
    known = [name for name in template.structure(points[0].structure).landmark_names if name in dataset.landmark_names]
    of_known = [dataset.landmark_names.index(name) for name in known]
    own, guessed = [], []
    for seen in predicted:
        rows = seen.prediction.landmarks.index_of(known)
        truth = lps_mm_from_pixels(seen.geometry, seen.case.points_px)
        own.append(np.linalg.norm(seen.prediction.landmarks.points_lps_mm[rows] - truth[of_known], axis=1))
        guess = lps_mm_from_pixels(seen.geometry, from_relative(seen.case, mean))
        guessed.append(np.linalg.norm(guess - truth[columns], axis=1))
    all_rows = {TRAINED: np.stack(own), **each, MEAN_SHAPE: np.stack(guessed)}
    return {row: _mean_known(errors) for row, errors in all_rows.items()}, inside


def left_out_study(
    template: Template, grid_size: tuple[int, int], dataset: Dataset, predicted: Sequence[PredictedCase], seed: int = 0
) -> dict[str, Any]:
    """Errors in mm of trained and new landmarks, what the model expects and the mean shape's, for the report.

    Raises :class:`InputError` where no landmark can be left out.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, dict[str, list[float]]] = {}
    inside, measured, refused, tried = [], [], 0, 0
    for structure in template.structure_names:
        train = complete_cases(dataset, structure)
        some = rng.choice(len(train), min(DEFINING, len(train)), replace=False)
        defining = [
            marked_case(dataset, train[i], template, grid_size) for i in tqdm(some, desc="defining", leave=False)
        ]
        points, not_defined = new_points(template, structure, dataset, defining)
        refused += not_defined
        tried += len(defining) * len(dataset.landmarks_of(structure))
        if points:
            of_rows, within = _rows_of(template, dataset, points, predicted, seed)
            inside.append(within[np.isfinite(within)])
            measured += [point.name for point in points]
            for row, per_case in of_rows.items():
                rows.setdefault(row, {})[structure] = per_case.tolist()
    if not rows:
        raise InputError(
            f"expected landmarks that can be looked up by the others, got none of {', '.join(template.structure_names)} that "
            "lies on or near the others of its structure. Choose a model with more landmarks."
        )
    shares = np.concatenate(inside)
    return {
        "held_out": {row: summarise(structures) for row, structures in rows.items()},
        "by_warp": {
            "measured": measured,
            "refused_definitions": refused,
            "definitions": tried,
            "in_ellipse_90_share": float(shares.mean()) if len(shares) else None,
        },
    }
