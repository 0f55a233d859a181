"""The epochs of a run, one after the other, with a line of its log for each: what every command that trains does alike."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_text
from training.recipe import AnyRecipe, recipe_from_dict
from training.trainer import Trainer

CHECKPOINT, RECIPE, TRAINING_CURVE, VALIDATION_CURVE = (
    *("checkpoint.pt", "recipe.json"),
    *("training.csv", "validation.csv"),
)


def append_row(path: Path, row: dict[str, float]) -> None:
    """One line of the run's log as CSV; the first has the names above it."""
    new = not path.exists() or path.stat().st_size == 0
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow({name: f"{value:.6g}" for name, value in row.items()})


def check_goes_on(output: Path, recipe: AnyRecipe, resume: bool) -> None:
    """Raise :class:`InputError` unless ``output`` is free for a new run, or holds one of this recipe to go on with."""
    checkpoint, begun_with = output / CHECKPOINT, output / RECIPE
    if resume and checkpoint.exists():
        if not begun_with.is_file() or recipe_from_dict(json.loads(begun_with.read_text())) != recipe:
            raise InputError(
                f"expected to resume the recipe that {output} was begun with, but it differs. Give another --output."
            )
    elif checkpoint.exists():
        raise InputError(
            f"expected an empty --output, {output} already holds a run. Add --resume or give another folder."
        )


def run_epochs(
    trainer: Trainer, output: Path, between_steps: Callable[[int], None] = lambda step: None
) -> Iterator[dict[str, float]]:
    """Train the epochs that are left; each gives its row of ``output/training.csv`` as soon as it is done.

    Rows of epochs that a run which was killed had done, and that no checkpoint knows, are taken out first.
    ``between_steps`` as in :meth:`Trainer.run_epoch`.
    """
    curve = output / TRAINING_CURVE
    forget_rows(curve, trainer.epoch)
    while trainer.epoch < trainer.task.optimiser.epochs:
        started = time.monotonic()
        row = {"epoch": float(trainer.epoch), **trainer.run_epoch(between_steps)}
        row["seconds"] = time.monotonic() - started
        append_row(curve, row)
        yield row


def forget_rows(path: Path, epoch: int) -> None:
    """Take the rows of ``epoch`` and later ones out of a log, and blank lines; one in which no row is left goes."""
    if not path.is_file():
        return
    header, *rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()] or [""]
    kept = [row for row in rows if float(row.split(",")[header.split(",").index("epoch")]) < epoch]
    if kept:
        write_text(path, "\n".join([header, *kept]) + "\n")
    else:
        path.unlink()
