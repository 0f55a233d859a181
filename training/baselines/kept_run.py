"""One training of a study in a folder of its own: begun, gone on with, or done already."""

from __future__ import annotations

import csv
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_json
from training.recipe import AnyRecipe, recipe_from_dict, recipe_to_dict
from training.run_epochs import append_row, forget_rows
from training.trainer import Task, Trainer, read_checkpoint, save_checkpoint

logger = logging.getLogger(__name__)

HARDLY_MORE = 1.05


@dataclass(frozen=True)
class Result:
    """What one training came to.

    Attributes
    ----------
    cases : the M that it was measured on.
    errors_mm : (M, L), NaN where nobody knows, infinite when the training failed.
    """

    cases: tuple[str, ...]
    errors_mm: NDArray[np.float64]
    learning_rate: float
    seconds: float

    @property
    def mean_mm(self) -> float:
        """Of all errors that are known."""
        return float(np.nanmean(self.errors_mm))


@dataclass(frozen=True)
class Run:
    """One training and the folder that keeps it.

    Attributes
    ----------
    new_task : what is trained, on a device.
    measure : the cases that a trained network is measured on and its errors (M, L) in mm, NaN where nobody knows.
    """

    folder: Path
    recipe: AnyRecipe
    new_task: Callable[[str], Any]
    measure: Callable[[Any, nn.Module], tuple[tuple[str, ...], NDArray[np.float64]]]


def read_result(folder: Path) -> Result | None:
    """The result that a folder holds, None where it is not done."""
    path = folder / "result.json"
    if not path.is_file():
        return None
    raw = json.loads(path.read_text())
    errors = np.array([[np.nan if e is None else e for e in case] for case in raw["errors_mm"]], np.float64)
    if raw["failed"]:
        errors = np.where(np.isnan(errors), np.nan, np.inf)
    return Result(tuple(raw["cases"]), errors, raw["learning_rate"], raw["seconds"])


def finish(run: Run, device: str, deadline: float) -> Result | None:
    """The run's result, from where it was left; None when ``deadline`` (of ``time.monotonic``) comes first.

    Raises :class:`InputError` when the folder was begun with another recipe.
    """
    begun = run.folder / "recipe.json"
    if begun.is_file() and recipe_from_dict(json.loads(begun.read_text())) != run.recipe:
        raise InputError(
            f"expected to go on with the recipe that {run.folder} was begun with, but it differs. Give another --output."
        )
    done = read_result(run.folder)
    if done is not None:
        return done
    write_json(begun, recipe_to_dict(run.recipe))
    task: Task = run.new_task(device)
    trainer = Trainer(task)
    checkpoint, curve = run.folder / "checkpoint.pt", run.folder / "training.csv"
    if checkpoint.is_file():
        trainer.restore(read_checkpoint(checkpoint, device))
    forget_rows(curve, trainer.epoch + 1)  # of an epoch that ended before its checkpoint was written
    failed = False
    while trainer.epoch < run.recipe.optimiser.epochs and not failed:
        started = time.monotonic()
        if started > deadline:
            return None
        try:
            loss = trainer.run_epoch()["loss"]
        except InputError as error:  # a rate that is too large is a result
            logger.warning("%s: %s", run.folder, error)
            failed = True
            break
        row = {"epoch": float(trainer.epoch), "loss": loss, "seconds": time.monotonic() - started}
        append_row(curve, row)
        save_checkpoint(checkpoint, trainer)
    cases, errors = run.measure(task, trainer.best_network.eval())
    known = ~np.isnan(errors)
    failed = failed or not np.isfinite(errors[known]).all()
    # JSON has no infinity: what a failed training says of the landmarks is not kept at all.
    errors = np.where(known, 0.0 if failed else errors, np.nan)
    kept = [[round(float(error), 4) if np.isfinite(error) else None for error in case] for case in errors]
    write_json(
        run.folder / "result.json",
        {
            "cases": list(cases),
            "errors_mm": kept,
            "failed": failed,
            "learning_rate": run.recipe.optimiser.learning_rate,
            "seconds": _seconds_of(curve),
        },
    )
    return read_result(run.folder)


def chosen_rate(errors_mm: Mapping[float, float]) -> float:
    """Of learning rates with their errors the smallest that is hardly worse than the best.

    Beyond it some seeds do not learn at all, which one seed of a search need not show.
    """
    return min(rate for rate, error_mm in errors_mm.items() if error_mm <= HARDLY_MORE * min(errors_mm.values()))


def _seconds_of(curve: Path) -> float:
    """How long the epochs of a training took together."""
    if not curve.is_file():
        return 0.0
    with curve.open(newline="") as file:
        return round(sum(float(row["seconds"]) for row in csv.DictReader(file)), 1)
