"""What a training run does, as data: a TOML recipe of one family, checked, and saved beside what it produced."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeAlias

from DenseLandmarksLib.errors import InputError
from training.dense_shape_recipe import DenseShapeRecipe
from training.heatmap_recipe import HeatmapRecipe
from training.heatmap_volume_recipe import HeatmapVolumeRecipe
from training.recipe_values import build_from, read_values
from training.volume_recipe import VolumeRecipe

AnyRecipe: TypeAlias = DenseShapeRecipe | VolumeRecipe | HeatmapRecipe | HeatmapVolumeRecipe

_FAMILIES = {
    "dense_shape": DenseShapeRecipe,
    "multi_scale": VolumeRecipe,
    "heatmap": HeatmapRecipe,
    "heatmap_volume": HeatmapVolumeRecipe,
}


def _recipe_class(values: dict[str, Any]) -> Any:
    """The class of the recipe's family."""
    family = values.get("family", "dense_shape")
    if family not in _FAMILIES:
        raise InputError(f"expected family to be one of {', '.join(_FAMILIES)}, got {family!r}. Change the recipe.")
    return _FAMILIES[family]


def read_recipe(path: Path) -> AnyRecipe:
    """Read a TOML recipe; raises :class:`InputError` for a missing file, an unknown key or a value of another type."""
    values = read_values(path)
    recipe: AnyRecipe = build_from(_recipe_class(values), {"name": path.stem, **values}, "recipe")
    return recipe


def recipe_to_dict(recipe: AnyRecipe) -> dict[str, Any]:
    """The recipe as plain values, for JSON."""
    return dataclasses.asdict(recipe)


def recipe_from_dict(values: dict[str, Any]) -> AnyRecipe:
    """The recipe of :func:`recipe_to_dict`, also after a journey through JSON."""
    recipe: AnyRecipe = build_from(_recipe_class(values), values, "recipe")
    return recipe
