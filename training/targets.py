"""What a dense-shape network is taught: template, masks, exact uv maps and landmark coordinates of each case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.landmarks.template import Template, build_template
from DenseLandmarksLib.landmarks.uv_maps import draw_uv_maps
from training.dense_shape_recipe import TargetRecipe
from training.grid_cases import GridCases


@dataclass(frozen=True)
class Targets:
    """Training targets of M cases with S structures of at most P landmarks.

    ``masks`` (M, S, H, W) bool; ``uv`` (M, S, 2, H, W) float16, continued beyond the masks so that resampling needs no
    care at borders; ``points`` (M, S, P, 2) float32 grid pixels, NaN where there is no landmark; ``landmark_uv``
    (S, P, 2) float32; ``annotated`` (M, S) bool, whether the whole contour is there.

    What each teaches, float32, 1 in data without weights: ``point_weights`` (M, S, P), ``uv_weights`` (M, S) the whole uv
    map, 0 where it is not known, ``mask_weights`` (M, S) the mask, which may be known where the contour is not.
    """

    masks: NDArray[np.bool_]
    uv: NDArray[np.float16]
    points: NDArray[np.float32]
    landmark_uv: NDArray[np.float32]
    annotated: NDArray[np.bool_]
    point_weights: NDArray[np.float32]
    uv_weights: NDArray[np.float32]
    mask_weights: NDArray[np.float32]


def structure_names(cases: GridCases, recipe: TargetRecipe) -> tuple[str, ...]:
    """The structures a recipe trains, in channel order."""
    return recipe.structures or tuple(dict.fromkeys(cases.landmark_structures))


def landmark_rows(
    cases: GridCases, structure: str, recipe: TargetRecipe, added: Sequence[str] = ()
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Positions of a structure's contour landmarks, and of those that the recipe trains (without the held-out ones).

    ``added`` are landmarks of the structure that are not on its contour.
    """
    contour = np.flatnonzero(np.asarray(cases.landmark_structures) == structure)
    contour = contour[[cases.landmark_names[i] not in added for i in contour]] if added else contour
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


def make_targets(
    cases: GridCases, template: Template, recipe: TargetRecipe, between_cases: Callable[[], None] = lambda: None
) -> Targets:
    """Masks, uv maps and landmark coordinates of every case; raises :class:`InputError` for those of another template.

    ``between_cases`` is called before the maps of each are drawn and may raise what ends it.
    """
    size = (cases.images.shape[1], cases.images.shape[2])
    names = template.structure_names
    added = [structure.landmark_names[len(structure.points_mm) :] for structure in template.structures]
    rows = [landmark_rows(cases, name, recipe, more) for name, more in zip(names, added, strict=True)]
    count, most = len(cases), max(len(trained) + len(more) for (_, trained), more in zip(rows, added, strict=True))
    masks = np.zeros((count, len(names), *size), bool)
    uv = np.zeros((count, len(names), 2, *size), np.float16)
    points = np.full((count, len(names), most, 2), np.nan, np.float32)
    point_weights = np.ones((count, len(names), most), np.float32)
    landmark_uv = np.zeros((len(names), most, 2), np.float32)
    annotated = np.zeros((count, len(names)), bool)
    for s, (contour, trained) in enumerate(rows):
        structure = template.structures[s]
        if len(trained) != len(structure.uv):
            raise InputError(
                f"expected the {len(structure.uv)} landmarks of {structure.name} that the template has, got {len(trained)} in "
                f"{cases.data_name}. Give the data that the template was made of, or begin without --start-from."
            )
        landmark_uv[s, : len(trained)] = structure.uv
        points[:, s, : len(trained)] = cases.points[:, trained]
        if cases.weights is not None:
            point_weights[:, s, : len(trained)] = cases.weights[:, trained]
        for column, name in enumerate(added[s], len(trained)):
            landmark_uv[s, column] = structure.landmark_uv[structure.landmark_names.index(name)]
            if name in cases.landmark_names:
                row = cases.landmark_names.index(name)
                points[:, s, column] = cases.points[:, row]
                if cases.weights is not None:
                    point_weights[:, s, column] = cases.weights[:, row]
        annotated[:, s] = np.isfinite(cases.points[:, contour]).all(axis=(1, 2))
    for m in range(count):
        between_cases()
        for s in np.flatnonzero(annotated[m]).tolist():
            masks[m, s] = polygon_mask(cases.points[m, rows[s][0]], size)
            annotated[m, s] = masks[
                m, s
            ].any()  # one that covers no pixel of the grid says nothing but where its points are
        known = np.flatnonzero(annotated[m]).tolist()
        contours = {names[s]: cases.points[m, rows[s][1]] for s in known}
        maps = draw_uv_maps(template, contours, size, per_image_triangulation=recipe.per_image_triangulation)
        uv[m, known] = maps[known].clip(-60000, 60000)  # what float16 holds; far outside the masks, where nobody looks
    uv_weights = annotated.astype(np.float32)
    if cases.weights is not None:
        for s, (contour, _) in enumerate(rows):
            uv_weights[:, s] *= cases.weights[:, contour].mean(axis=1)
    mask_weights = uv_weights.copy()
    take_decided_masks(cases, template, masks, mask_weights)
    return Targets(masks, uv, points, landmark_uv, annotated, point_weights, uv_weights, mask_weights)


def take_decided_masks(
    cases: GridCases, template: Template, masks: NDArray[np.bool_], mask_weights: NDArray[np.float32]
) -> None:
    """Put what people decided of masks themselves over those (M, S, H, W) that the contours give, and what it teaches (M, S).

    A structure whose landmarks were all decided to be absent has no pixels, and that is known.
    """
    for s, structure in enumerate(template.structures):
        rows = [i for i, name in enumerate(cases.landmark_names) if name in structure.point_names]
        if cases.absent is not None and rows:
            gone = cases.absent[:, rows].all(axis=1)
            mask_weights[gone, s] = 1.0 if cases.weights is None else cases.weights[gone][:, rows].mean(axis=1)
        for m, decided in enumerate(cases.masks or ()):
            if structure.name in decided:
                masks[m, s] = decided[structure.name]
                mask_weights[m, s] = 1.0 if cases.mask_weights is None else cases.mask_weights[m][structure.name]
