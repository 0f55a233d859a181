"""``python -m training fit``: train a model from a recipe, with exact resume."""

from __future__ import annotations

import argparse
import logging
import time
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from DenseLandmarksLib.files import write_json
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.registry import find_bundle
from training.dense_shape_recipe import DenseShapeRecipe
from training.heatmap_recipe import HeatmapRecipe
from training.heatmap_volume_recipe import HeatmapVolumeRecipe
from training.recipe import AnyRecipe, read_recipe, recipe_to_dict
from training.run_epochs import (
    CHECKPOINT,
    RECIPE,
    VALIDATION_CURVE,
    append_row,
    check_goes_on,
    forget_rows,
    run_epochs,
)
from training.run_origin import TaskOfCases, check_did_not_see, check_origin, origin_of, write_origin
from training.trainer import Trainer, read_checkpoint, save_checkpoint, start_with

logger = logging.getLogger(__name__)


def read_task(recipe: AnyRecipe, data: Path, device: str, parent: Bundle | None = None) -> TaskOfCases:
    """The data and the network of a recipe's family; only that family's code is loaded."""
    if isinstance(recipe, DenseShapeRecipe):
        from training.dense_shape_task import DenseShapeTask

        return DenseShapeTask.read(recipe, data, device, parent)
    if isinstance(recipe, HeatmapRecipe):
        from training.heatmap_task import HeatmapTask

        return HeatmapTask.read(recipe, data, device, parent)
    if isinstance(recipe, HeatmapVolumeRecipe):
        from training.heatmap_volume_task import HeatmapVolumeTask

        return HeatmapVolumeTask.read(recipe, data, device, parent)
    from training.volume_task import VolumeTask

    return VolumeTask.read(recipe, data, device, parent)


def fit(
    recipe: AnyRecipe,
    data: Path,
    output: Path,
    device: str = "cpu",
    resume: bool = False,
    max_minutes: float = float("inf"),
    stop_after_epoch: int | None = None,
    start_from: Path | None = None,
) -> bool:
    """Train ``recipe`` on the ``train`` split of ``data`` and write the run to ``output``.

    ``start_from`` is a bundle whose weights and template the run begins with, instead of random ones and a new template;
    heads that it lacks begin at random. A run goes on with the data and ``start_from`` that it was begun with.

    Returns whether the last epoch is done; if so ``output/bundle`` holds the model. ``max_minutes`` and
    ``stop_after_epoch`` end the run early with a checkpoint, from which ``resume`` goes on exactly.
    """
    begun = time.monotonic()
    checkpoint = output / CHECKPOINT
    check_goes_on(output, recipe, resume)
    parent = None if start_from is None else load_bundle(start_from)
    task = read_task(recipe, data, device, parent)
    check_did_not_see(parent, recipe, task.cases.data_name)
    origin, goes_on = origin_of(task.cases, parent), resume and checkpoint.is_file()
    if goes_on:
        check_origin(output, origin)
    trainer = Trainer(task)
    if parent is not None:
        start_with(trainer, parent)
    if goes_on:
        trainer.restore(read_checkpoint(checkpoint, device))
    else:
        write_origin(output, origin)
    write_json(output / RECIPE, recipe_to_dict(recipe))
    forget_rows(output / VALIDATION_CURVE, trainer.epoch)

    from torch.utils.tensorboard import SummaryWriter

    epochs = recipe.optimiser.epochs
    seconds_before_start = time.monotonic() - begun
    with (
        SummaryWriter(str(output / "tensorboard")) as curves,
        tqdm(total=epochs, initial=trainer.epoch, desc=recipe.name, unit="epoch") as bar,
    ):
        for row in run_epochs(trainer, output):
            last = trainer.epoch == epochs
            if recipe.validation_fold >= 0 and (last or trainer.epoch % 10 == 0):
                measured = task.validate(trainer.best_network)
                append_row(output / VALIDATION_CURVE, {"epoch": row["epoch"], **measured})
                row.update(measured)
            for name, value in row.items():
                curves.add_scalar(name, value, trainer.epoch)
            bar.update()
            bar.set_postfix({k: f"{row[k]:.3f}" for k in ("loss", *task.validated) if k in row})
            out_of_time = (time.monotonic() - begun + row["seconds"]) / 60 > max_minutes
            stop = last or out_of_time or trainer.epoch == stop_after_epoch
            if stop or trainer.epoch % 5 == 0:
                save_checkpoint(checkpoint, trainer)
            if stop and not last:
                logger.info("stopped after epoch %d; --resume goes on", trainer.epoch)
                return False
    logger.info(
        "%.1f minutes, of which %.1f to read the data", (time.monotonic() - begun) / 60, seconds_before_start / 60
    )
    task.export(output / "bundle", trainer.best_network, parent)
    return True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``python -m training fit``."""
    parser.add_argument("recipe", type=Path, help="TOML recipe, see training/recipes")
    parser.add_argument("--data", type=Path, required=True, help="data folder, or a file of 'training pack'")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run; the model is in OUTPUT/bundle")
    parser.add_argument("--fold", type=int, help="hold this fold of the training cases out and validate on it")
    parser.add_argument("--start-from", metavar="NAME|FOLDER", help="begin with the weights and template of a model")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint, exactly")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--max-minutes", type=float, default=float("inf"), help="stop with a checkpoint after this time"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run ``python -m training fit``; 0 when done, 3 when time ran out first."""
    device = (
        "cuda" if arguments.device == "auto" and torch.cuda.is_available() else arguments.device.replace("auto", "cpu")
    )
    recipe = read_recipe(arguments.recipe)
    if arguments.fold is not None:
        recipe = replace(recipe, validation_fold=arguments.fold)
    done = fit(
        recipe,
        arguments.data,
        arguments.output,
        device,
        arguments.resume,
        arguments.max_minutes,
        start_from=None if arguments.start_from is None else find_bundle(arguments.start_from),
    )
    return 0 if done else 3
