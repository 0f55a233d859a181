"""What a dense-shape network is taught: template, masks, exact uv maps and landmark coordinates of each case."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.landmarks.template import Template, build_template
from DenseLandmarksLib.landmarks.uv_maps import draw_uv_maps
from training.grid_cases import GridCases
from training.recipe import TargetRecipe


@dataclass(frozen=True)
class Targets:
    """Training targets of M cases with S structures of at most P landmarks.

    ``masks`` (M, S, H, W) bool; ``uv`` (M, S, 2, H, W) float16, continued beyond the masks so that resampling needs no
    care at borders; ``points`` (M, S, P, 2) float32 grid pixels, NaN where there is no landmark; ``landmark_uv``
    (S, P, 2) float32; ``annotated`` (M, S) bool, whether the whole contour is there.
    """

    masks: NDArray[np.bool_]
    uv: NDArray[np.float16]
    points: NDArray[np.float32]
    landmark_uv: NDArray[np.float32]
    annotated: NDArray[np.bool_]


def structure_names(cases: GridCases, recipe: TargetRecipe) -> tuple[str, ...]:
    """The structures a recipe trains, in channel order."""
    return recipe.structures or tuple(dict.fromkeys(cases.landmark_structures))


def landmark_rows(cases: GridCases, structure: str, recipe: TargetRecipe) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of a structure's contour landmarks, and of those that the recipe trains (without the held-out ones)."""
    contour = np.flatnonzero(np.asarray(cases.landmark_structures) == structure)
    every = recipe.hold_out_every
    trained = contour if every == 0 else contour[np.arange(len(contour)) % every != every - 1]
    return contour, trained


def make_template(cases: GridCases, recipe: TargetRecipe) -> Template:
    """The template of the given (training) cases; a case that lacks part of a contour does not shape it."""
    contours, names = {}, {}
    for structure in structure_names(cases, recipe):
        rows = landmark_rows(cases, structure, recipe)[1]
        shapes = (cases.points[:, rows] + 0.5) * cases.mm_per_pixel[:, None, None]
        contours[structure] = shapes[np.isfinite(shapes).all(axis=(1, 2))]
        if not len(contours[structure]):
            raise InputError(
                f"expected at least one training case with all landmarks of {structure!r}, got none. "
                "Annotate one, or leave the structure out with target.structures in the recipe."
            )
        names[structure] = [cases.landmark_names[i] for i in rows]
    height, width = cases.images.shape[1:]
    size = float(np.median(cases.mm_per_pixel))
    return build_template(contours, names, (height * size, width * size), recipe.chart, recipe.align_template)


def make_targets(cases: GridCases, template: Template, recipe: TargetRecipe) -> Targets:
    """Masks, uv maps and landmark coordinates of every case."""
    size = (cases.images.shape[1], cases.images.shape[2])
    names = template.structure_names
    rows = [landmark_rows(cases, name, recipe) for name in names]
    count, most = len(cases), max(len(trained) for _, trained in rows)
    masks = np.zeros((count, len(names), *size), bool)
    uv = np.zeros((count, len(names), 2, *size), np.float16)
    points = np.full((count, len(names), most, 2), np.nan, np.float32)
    landmark_uv = np.zeros((len(names), most, 2), np.float32)
    annotated = np.zeros((count, len(names)), bool)
    for s, (contour, trained) in enumerate(rows):
        structure = template.structures[s]
        landmark_uv[s, : len(trained)] = structure.uv
        points[:, s, : len(trained)] = cases.points[:, trained]
        annotated[:, s] = np.isfinite(cases.points[:, contour]).all(axis=(1, 2))
    for m in range(count):
        known = np.flatnonzero(annotated[m]).tolist()
        for s in known:
            masks[m, s] = polygon_mask(cases.points[m, rows[s][0]], size)
        contours = {names[s]: cases.points[m, rows[s][1]] for s in known}
        maps = draw_uv_maps(template, contours, size, per_image_triangulation=recipe.per_image_triangulation)
        uv[m, known] = maps[known].clip(-60000, 60000)  # what float16 holds; far outside the masks, where nobody looks
    return Targets(masks, uv, points, landmark_uv, annotated)
