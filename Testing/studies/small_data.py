"""``python -m Testing.studies.small_data``: does SpatialConfiguration-Net win by more the fewer images there are?

It and a localisation U-Net with as many weights learn from all training images of a fold, and from 50, 25 and 10 of them, for
as many steps; the smaller draws are parts of the larger ones. The learning rate of each network is searched for within the
training images of the first fold. Every image is measured by models that did not see it. Each run has a folder under
--output; what is done is not done again, and what was begun is gone on with.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.exit_status import exit_status
from DenseLandmarksLib.files import write_text
from DenseLandmarksLib.models.networks.localisation_unet import LocalisationUNet, equal_filters
from DenseLandmarksLib.models.networks.spatial_configuration import SpatialConfigurationNet
from Testing.studies.small_data_table import FIRST, SECOND, SizeErrors, draw_curves, table_of
from training.baselines.kept_run import Kept, Run, chosen_rate, finish
from training.grid_cases import GridCases, load_grid_cases, save_grid_cases
from training.heatmap_data import HeatmapTrainingSet, make_points_template
from training.heatmap_recipe import HeatmapNetworkRecipe, HeatmapRecipe
from training.heatmap_task import HeatmapTask
from training.recipe_values import build_from, read_values
from training.results_file import ResultsFile

logger = logging.getLogger(__name__)

# A run is kept in so many parts.
PARTS = 20
SEARCH_FOLDS = 5


@dataclass(frozen=True)
class SmallData:
    """What both networks share.

    Attributes
    ----------
    recipe : of all runs; its network, epochs, steps and learning rate are not used.
    images : how many a model learns from, 0 for all of a fold's training images; the largest first.
    draws : how often fewer than all are drawn.
    folds : each image is measured by models of the fold that it is held out of.
    steps, search_steps, learning_rates : of each run that counts; each network is trained so long with each of these rates.
    spatial_configuration, u_net : arguments of the networks; the U-Net's filters follow from the other's weights.
    """

    recipe: HeatmapRecipe
    images: tuple[int, ...]
    draws: int
    folds: int
    steps: int
    search_steps: int
    learning_rates: tuple[float, ...]
    spatial_configuration: dict[str, Any] = field(default_factory=dict)
    u_net: dict[str, Any] = field(default_factory=dict)

    def networks(self, landmarks: int) -> dict[str, HeatmapNetworkRecipe]:
        """Both networks for so many landmarks, by the names of their folders; with equal numbers of weights.

        Raises :class:`InputError` where no U-Net comes near enough.
        """
        scn = SpatialConfigurationNet(landmarks, **self.spatial_configuration)
        try:
            u_net = {**self.u_net, "filters": equal_filters(scn, **self.u_net)}
        except ValueError as error:
            raise InputError(str(error)) from error
        return {
            FIRST: HeatmapNetworkRecipe(SpatialConfigurationNet.__name__, dict(self.spatial_configuration)),
            SECOND: HeatmapNetworkRecipe(LocalisationUNet.__name__, u_net),
        }


def draw(cases: GridCases, images: int, number: int, fold: int) -> GridCases:
    """So many of the cases, 0 for all; a smaller draw of the same number is part of a larger one.

    Raises :class:`InputError` where there are not so many.
    """
    if images == 0:
        return cases
    if images > len(cases):
        raise InputError(
            f"expected to draw {images} images, got {len(cases)} to draw from in fold {fold}. Take {images} out of images in "
            "the study, or give more data."
        )
    order = np.random.default_rng((number, fold)).permutation(len(cases))
    keep = np.zeros(len(cases), bool)
    keep[order[:images]] = True
    return cases.select(keep)


def errors_in_held(task: HeatmapTask, network: nn.Module) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The cases that a task holds out and the errors there (M, L) in mm, NaN where a landmark is not annotated."""
    held = task.held
    assert held is not None
    found = np.stack([task.locate(network, image) for image in held.images])
    errors = np.linalg.norm(found - held.points, axis=2) * held.mm_per_pixel[:, None]
    return held.names, np.where(np.isfinite(held.points).all(axis=2), np.nan_to_num(errors, nan=np.inf), np.nan)


def run_of(
    study: SmallData,
    network: HeatmapNetworkRecipe,
    kept: Kept,
    name: str,
    cases: GridCases,
    held: GridCases,
    learning_rate: float,
    steps: int,
    seed: int,
) -> Run:
    """One training on ``cases``, measured on those that are ``held`` out."""
    optimiser = replace(study.recipe.optimiser, learning_rate=learning_rate, steps=steps, epochs=PARTS)
    recipe = replace(study.recipe, network=network, optimiser=optimiser, seed=seed)

    def new_task(device: str) -> HeatmapTask:
        data = HeatmapTrainingSet.build(cases, cases, (), device)
        return HeatmapTask(recipe, data, make_points_template(cases, recipe.target), cases, held)

    return Run(kept, name, recipe, new_task, errors_in_held)


def searched_rate(
    study: SmallData,
    name: str,
    network: HeatmapNetworkRecipe,
    kept: Kept,
    cases: GridCases,
    device: str,
    deadline: float,
) -> float | None:
    """The learning rate with the smallest error in a fold of ``cases``; None when time runs out first."""
    learn, look = cases.fold(0, SEARCH_FOLDS)
    found: dict[float, float] = {}
    for rate in study.learning_rates:
        run = run_of(study, network, kept, f"{name}/search-{rate:g}", learn, look, rate, study.search_steps, 0)
        result = finish(run, device, deadline)
        if result is None:
            return None
        found[rate] = result.mean_mm
    return chosen_rate(found)


def run_name(network: str, images: int, number: int, fold: int) -> str:
    """Of a run that counts."""
    return f"{network}/{f'{images}-images' if images else 'all-images'}/draw-{number}/fold-{fold}"


def numbers_of(study: SmallData, images: int) -> range:
    """The draws of so many images: all of them can be drawn once."""
    return range(study.draws if images else 1)


def train_all(
    study: SmallData,
    networks: Mapping[str, HeatmapNetworkRecipe],
    cases: GridCases,
    kept: Kept,
    device: str,
    deadline: float,
) -> bool:
    """All runs that are not done yet, the first draw of all sizes first; whether none is left."""
    for number in range(study.draws):
        for images in study.images:
            if number not in numbers_of(study, images):
                continue
            for fold in range(study.folds):
                learn, held = cases.fold(fold, study.folds)
                some = draw(learn, images, number, fold)
                for name, network in networks.items():
                    searched = cases.fold(0, study.folds)[0]
                    rate = searched_rate(study, name, network, kept, searched, device, deadline)
                    if rate is None:
                        return False
                    of_run = run_name(name, images, number, fold)
                    run = run_of(study, network, kept, of_run, some, held, rate, study.steps, 1 + number)
                    result = finish(run, device, deadline)
                    if result is None:
                        return False
                    logger.info("%s: %.2f mm in %.0f s", of_run, result.mean_mm, result.seconds)
    return True


def pooled(study: SmallData, kept: Kept, name: str, images: int, cases: GridCases) -> SizeErrors | None:
    """The errors of one network and size in all cases, of each draw that is done; None where none is."""
    of_draws = []
    rate = math.nan
    for number in numbers_of(study, images):
        results = [kept.result(run_name(name, images, number, fold)) for fold in range(study.folds)]
        whole = [one for one in results if one is not None]
        if len(whole) == study.folds:
            errors = {case: row for one in whole for case, row in zip(one.cases, one.errors_mm, strict=True)}
            of_draws.append(np.stack([errors[case] for case in cases.names]))
            rate = whole[0].learning_rate
    if not of_draws:
        return None
    learned = images or len(cases.fold(0, study.folds)[0])
    return SizeErrors(name, learned, np.stack(of_draws), rate)


def run(arguments: argparse.Namespace) -> int:
    """Run the study as far as time allows, print its table; 0 when it is whole, 3 when time ran out first."""
    study: SmallData = build_from(SmallData, read_values(arguments.study), "study")
    packed = arguments.output / "cases.npz"
    if not packed.is_file():
        if not arguments.data.exists():
            raise InputError(f"expected a data folder, {arguments.data} is not there. Correct --data.")
        save_grid_cases(packed, load_grid_cases(arguments.data, study.recipe.target.grid).of_split("train"))
    cases = load_grid_cases(packed, study.recipe.target.grid)
    networks = study.networks(len(cases.landmark_names))
    deadline = time.monotonic() + 60 * arguments.max_minutes
    kept = Kept(arguments.output, ResultsFile(arguments.results or arguments.output / "results.jsonl"))
    asked = {
        name: network for name, network in networks.items() if not arguments.networks or name in arguments.networks
    }
    done = train_all(study, asked, cases, kept, arguments.device, deadline)
    sizes = [pooled(study, kept, name, images, cases) for name in networks for images in study.images]
    found = [one for one in sizes if one is not None]
    table = table_of(found, study.learning_rates)
    write_text(arguments.output / "small_data.md", table)
    draw_curves(found, arguments.output / "small_data.png")
    print(table)
    return 0 if done else 3


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments and run; a person's mistake is told in one line with status 2."""
    parser = argparse.ArgumentParser(prog="python -m Testing.studies.small_data", description=__doc__)
    parser.add_argument("study", type=Path, help="TOML file, see training/recipes/small-data")
    parser.add_argument("--data", type=Path, required=True, help="data folder, not read again once it is packed")
    parser.add_argument("--output", type=Path, required=True, help="folder of all runs; go on by giving it again")
    parser.add_argument("--results", type=Path, help="what runs came to, by default results.jsonl in --output")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--networks", nargs="+", choices=(FIRST, SECOND), help="train only these")
    parser.add_argument("--max-minutes", type=float, default=math.inf, help="stop after this time, with status 3")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_status(lambda: run(arguments), resumes=False)


if __name__ == "__main__":
    sys.exit(main())
