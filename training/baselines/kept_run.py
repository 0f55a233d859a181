"""The trainings of a study: begun, gone on with, or done already."""

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
from training.results_file import ResultsFile
from training.run_epochs import append_row, forget_rows
from training.trainer import Task, Trainer, read_checkpoint, save_checkpoint

logger = logging.getLogger(__name__)

HARDLY_MORE = 1.05
# Of errors that are kept, in mm.
_DIGITS = 3


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
class Kept:
    """Where a study keeps its trainings.

    Attributes
    ----------
    folder : a folder in it for each training, to go on from.
    results : what the done ones came to.
    """

    folder: Path
    results: ResultsFile

    def result(self, name: str) -> Result | None:
        """What a training came to, None where it is not done."""
        line = self.results.lines().get(name)
        return None if line is None else _result_of(line)

    def check(self, name: str, recipe: AnyRecipe) -> None:
        """Raise :class:`InputError` when a training was begun with another recipe."""
        begun = self.folder / name / "recipe.json"
        line = self.results.lines().get(name)
        if line is not None:
            where, known, option = self.results.path, line["recipe"], "--results"
        elif begun.is_file():
            where, known, option = begun.parent, json.loads(begun.read_text()), "--output"
        else:
            return
        if recipe_from_dict(known) != recipe:
            raise InputError(
                f"expected to go on with the recipe that {name} in {where} was begun with, but it differs. Give another {option}."
            )

    def add(self, name: str, recipe: AnyRecipe, result: Result) -> None:
        """Write down what a training came to."""
        known = ~np.isnan(result.errors_mm)
        failed = not np.isfinite(result.errors_mm[known]).all()
        # JSON has no infinity: what a failed training says of the landmarks is not kept at all.
        errors = np.where(known, 0.0, np.nan) if failed else result.errors_mm
        line = {
            "failed": failed,
            "seconds": result.seconds,
            "cases": list(result.cases),
            "errors_mm": [[round(float(e), _DIGITS) if np.isfinite(e) else None for e in case] for case in errors],
            "recipe": recipe_to_dict(recipe),
        }
        self.results.add(name, line)


def _result_of(line: Mapping[str, Any]) -> Result:
    errors = np.array([[np.nan if e is None else e for e in case] for case in line["errors_mm"]], np.float64)
    if line["failed"]:
        errors = np.where(np.isnan(errors), np.nan, np.inf)
    return Result(tuple(line["cases"]), errors, line["recipe"]["optimiser"]["learning_rate"], line["seconds"])


@dataclass(frozen=True)
class Run:
    """One training of a study.

    Attributes
    ----------
    name : of its folder and its result, with slashes between the parts.
    new_task : what is trained, on a device.
    measure : the cases that a trained network is measured on and its errors (M, L) in mm, NaN where nobody knows.
    """

    kept: Kept
    name: str
    recipe: AnyRecipe
    new_task: Callable[[str], Any]
    measure: Callable[[Any, nn.Module], tuple[tuple[str, ...], NDArray[np.float64]]]


def finish(run: Run, device: str, deadline: float) -> Result | None:
    """The run's result, from where it was left; None when ``deadline`` (of ``time.monotonic``) comes first.

    Raises :class:`InputError` when it was begun with another recipe.
    """
    run.kept.check(run.name, run.recipe)
    done = run.kept.result(run.name)
    if done is not None:
        return done
    folder = run.kept.folder / run.name
    write_json(folder / "recipe.json", recipe_to_dict(run.recipe))
    task: Task = run.new_task(device)
    trainer = Trainer(task)
    checkpoint, curve = folder / "checkpoint.pt", folder / "training.csv"
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
            logger.warning("%s: %s", run.name, error)
            failed = True
            break
        row = {"epoch": float(trainer.epoch), "loss": loss, "seconds": time.monotonic() - started}
        append_row(curve, row)
        save_checkpoint(checkpoint, trainer)
    cases, errors = run.measure(task, trainer.best_network.eval())
    if failed:  # some of a broken network's answers may yet be numbers
        errors = np.where(np.isnan(errors), np.nan, np.inf)
    rate = run.recipe.optimiser.learning_rate
    run.kept.add(run.name, run.recipe, Result(cases, errors, rate, _seconds_of(curve)))
    return run.kept.result(run.name)


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
