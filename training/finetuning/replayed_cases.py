"""The radiographs that a model was trained on, behind those that people decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from DenseLandmarksLib.errors import InputError
from training.dense_shape_recipe import DenseShapeRecipe
from training.grid_cases import GridCases, load_grid_cases
from training.heatmap_recipe import HeatmapRecipe


def original_cases(
    recipe: DenseShapeRecipe | HeatmapRecipe, data: Path, between_cases: Callable[[], None] = lambda: None
) -> GridCases:
    """The cases that a model was trained on: without the fold that its recipe held out.

    ``between_cases`` is called before each is read and may raise what ends it.
    """
    cases = load_grid_cases(data, recipe.target.grid, between_cases).of_split("train")
    return cases if recipe.validation_fold < 0 else cases.fold(recipe.validation_fold, recipe.folds)[0]


def joined(decided: GridCases, original: GridCases) -> GridCases:
    """The decided cases and then the original ones, in which nobody knows of landmarks that they lack.

    In the original ones everything teaches fully, and nothing was decided to be absent. Raises :class:`InputError` where they
    share no landmark.
    """
    if not set(decided.landmark_names) & set(original.landmark_names):
        raise InputError(
            f"expected data of the model's landmarks to replay, {original.data_name} has none of them. Give the data that "
            "the model was trained on."
        )
    assert decided.weights is not None
    assert decided.absent is not None
    points = np.full((len(original), len(decided.landmark_names), 2), np.nan)
    for row, name in enumerate(decided.landmark_names):
        if name in original.landmark_names:
            points[:, row] = original.points[:, original.landmark_names.index(name)]
    nobody = np.zeros(points.shape[:2], bool)
    none: tuple[dict[str, Any], ...] = tuple({} for _ in original.names)
    return replace(
        decided,
        names=decided.names + original.names,
        splits=decided.splits + original.splits,
        images=np.concatenate([decided.images, original.images]),
        points=np.concatenate([decided.points, points]),
        mm_per_pixel=np.concatenate([decided.mm_per_pixel, original.mm_per_pixel]),
        weights=np.concatenate([decided.weights, np.ones(nobody.shape, np.float32)]),
        absent=np.concatenate([decided.absent, nobody]),
        masks=None if decided.masks is None else decided.masks + none,
        mask_weights=None if decided.mask_weights is None else decided.mask_weights + none,
    )
