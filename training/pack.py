"""``python -m training pack``: a data folder as one file, for a machine that has neither the images nor their readers."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.dense_shape_recipe import DenseShapeRecipe
from training.grid_cases import read_grid_cases, save_grid_cases
from training.heatmap_recipe import HeatmapRecipe
from training.recipe import read_recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``python -m training pack``."""
    parser.add_argument("--data", type=Path, required=True, help="data folder")
    parser.add_argument(
        "--output", type=Path, required=True, help="the .npz to write; it holds images: do not publish it"
    )
    parser.add_argument("--train-only", action="store_true", help="leave the test cases at home")
    parser.add_argument("--grid", type=int, nargs=2, default=(256, 256), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--recipe", type=Path, help="pack on its grid; volumes at its levels, in its window of values")


def run(arguments: argparse.Namespace) -> int:
    """Run ``python -m training pack``."""
    recipe = None if arguments.recipe is None else read_recipe(arguments.recipe)
    if recipe is None or isinstance(recipe, (DenseShapeRecipe, HeatmapRecipe)):
        cases = read_grid_cases(arguments.data, tuple(arguments.grid) if recipe is None else recipe.target.grid)
        save_grid_cases(arguments.output, cases.of_split("train") if arguments.train_only else cases)
        return 0
    from training.read_volumes import read_volume_cases, spacings_of
    from training.volume_cases import save_volume_cases

    spacings_mm = spacings_of(recipe.levels, arguments.data)
    split = "train" if arguments.train_only else None
    save_volume_cases(arguments.output, read_volume_cases(arguments.data, spacings_mm, recipe.intensity, split))
    return 0
