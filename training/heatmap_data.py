"""What heatmap networks learn from: radiographs on the model's grid, the landmarks that are asked for, masks, the template."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.landmarks.template import Template, build_template
from training.grid_cases import GridCases
from training.heatmap_recipe import HeatmapTargetRecipe


@dataclass(frozen=True)
class HeatmapTrainingSet:
    """All training tensors of M cases, N landmarks and K structures with masks, on the device.

    ``images`` (M, 1, H, W) float16; ``points`` (M, N, 2) float32 grid pixels, NaN where not annotated; ``masks``
    (M, K, H, W) bool; ``annotated`` (M, K) float32, whether the whole contour is there; ``positive_weight`` (K,) pixels
    outside of the masks per pixel within. ``weights`` (M, N) float32 say how much each landmark counts, ``absent`` (M, N) bool
    which are truly not there; ``None`` that all count alike, and that nobody says.
    """

    images: Tensor
    points: Tensor
    masks: Tensor
    annotated: Tensor
    positive_weight: Tensor
    weights: Tensor | None = None
    absent: Tensor | None = None

    @classmethod
    def build(cls, cases: GridCases, every: GridCases, structures: tuple[str, ...], device: str) -> HeatmapTrainingSet:
        """Tensors of ``cases``; ``every`` are the same with all landmarks of the contours that make the masks."""
        masks, annotated = contour_masks(every, structures)
        drawn = torch.from_numpy(masks).to(device)
        share = drawn.float().mean(dim=(0, 2, 3))
        return cls(
            torch.from_numpy(cases.images)[:, None].to(device),
            torch.from_numpy(cases.points).float().to(device),
            drawn,
            torch.from_numpy(annotated).float().to(device),
            (1 - share) / share.clamp_min(1e-6),
        )


def contour_masks(cases: GridCases, structures: tuple[str, ...]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks (M, K, H, W) of the polygons of all landmarks of each structure, and which (M, K) have all of them."""
    masks = np.zeros((len(cases), len(structures), *cases.images.shape[1:]), bool)
    annotated = np.zeros(masks.shape[:2], bool)
    for k, name in enumerate(structures):
        contours = cases.points[:, np.asarray(cases.landmark_structures) == name]
        annotated[:, k] = np.isfinite(contours).all(axis=(1, 2))
        for m in np.flatnonzero(annotated[:, k]).tolist():
            masks[m, k] = polygon_mask(contours[m], masks.shape[2:])
    return masks, annotated


def chosen_landmarks(cases: GridCases, recipe: HeatmapTargetRecipe) -> NDArray[np.intp]:
    """Positions of the landmarks that a recipe asks for, structure after structure as a template has them.

    Raises :class:`InputError` for a structure that the data lack.
    """
    names = recipe.structures or tuple(dict.fromkeys(cases.landmark_structures))
    unknown = sorted(set(names) - set(cases.landmark_structures))
    if unknown:
        raise InputError(
            f"expected structures of {cases.data_name}, which has {', '.join(dict.fromkeys(cases.landmark_structures))}, got "
            f"{', '.join(unknown)}. Change target.structures in the recipe."
        )
    structure_of = np.asarray(cases.landmark_structures)
    chosen = []
    for name in names:
        rows = np.flatnonzero(structure_of == name)
        # Fewer than three have no shape.
        count = min(max(round(recipe.landmarks_share * len(rows)), 3), len(rows))
        chosen.append(rows[np.sort(farthest_points(np.nanmean(cases.points[:, rows], axis=0), count))])
    return np.concatenate(chosen)


def farthest_points(points: ArrayLike, count: int) -> NDArray[np.intp]:
    """Positions of ``count`` of the points (N, D): first the one farthest from their centre, then each time the one farthest
    from all that were taken (Gonzalez 1985)."""
    at = np.asarray(points, np.float64)
    taken = [int(np.linalg.norm(at - at.mean(axis=0), axis=1).argmax())]
    nearest = np.linalg.norm(at - at[taken[0]], axis=1)
    while len(taken) < count:
        taken.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(at - at[taken[-1]], axis=1))
    return np.array(taken, np.intp)


def make_points_template(cases: GridCases, recipe: HeatmapTargetRecipe) -> Template:
    """The template of the landmarks of ``cases``; a case that lacks some of a structure does not shape it.

    Raises :class:`InputError` where no case has all of a structure, or it has fewer than three.
    """
    structure_of = np.asarray(cases.landmark_structures)
    shapes, names = {}, {}
    for structure in dict.fromkeys(cases.landmark_structures):
        rows = np.flatnonzero(structure_of == structure)
        in_mm = (cases.points[:, rows] + 0.5) * cases.mm_per_pixel[:, None, None]
        shapes[structure] = in_mm[np.isfinite(in_mm).all(axis=(1, 2))]
        names[structure] = [cases.landmark_names[i] for i in rows]
        if not len(shapes[structure]) or len(rows) < 3:
            raise InputError(
                f"expected at least three landmarks of {structure!r} and a training case with all of them, got "
                f"{len(rows)} and {len(shapes[structure])}. Annotate more, or leave the structure out with target.structures."
            )
    height, width = cases.images.shape[1:]
    size = float(np.median(cases.mm_per_pixel))
    chart = "cartesian" if recipe.contours else "points"
    return build_template(shapes, names, (height * size, width * size), chart)  # type: ignore[arg-type]
