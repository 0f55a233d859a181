"""``python -m training pack``: a data folder as one file, for a machine that has neither the images nor their readers."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.grid_cases import read_grid_cases, save_grid_cases
from training.heatmap_recipe import HeatmapRecipe
from training.recipe import Recipe, read_recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``python -m training pack``."""
    parser.add_argument("--data", type=Path, required=True, help="data folder")
    parser.add_argument(
        "--output", type=Path, required=True, help="the .npz to write; it holds images: do not publish it"
    )
    parser.add_argument("--grid", type=int, nargs=2, default=(256, 256), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--recipe", type=Path, help="pack on its grid; volumes at its levels, in its window of values")


def run(arguments: argparse.Namespace) -> int:
    """Run ``python -m training pack``."""
    if arguments.recipe is None:
        save_grid_cases(arguments.output, read_grid_cases(arguments.data, tuple(arguments.grid)))
        return 0
    recipe = read_recipe(arguments.recipe)
    if isinstance(recipe, (Recipe, HeatmapRecipe)):
        save_grid_cases(arguments.output, read_grid_cases(arguments.data, recipe.target.grid))
        return 0
    from training.read_volumes import read_volume_cases, spacings_of
    from training.volume_cases import save_volume_cases

    spacings_mm = spacings_of(recipe.levels, arguments.data)
    save_volume_cases(arguments.output, read_volume_cases(arguments.data, spacings_mm, recipe.intensity))
    return 0
