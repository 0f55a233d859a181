"""The middle of fine-tuning: the model learns, and whoever looks sees how far it is."""

from __future__ import annotations

import copy
import dataclasses
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_json
from DenseLandmarksLib.models.bundle import load_bundle
from training.dense_shape_recipe import DenseShapeRecipe
from training.finetuning.blind_truth import blind_truths
from training.finetuning.origin import changed_versions, check_origin, origin_of
from training.finetuning.recipe import FinetuneRecipe, finetuned, recipe_of
from training.finetuning.replayed_patients import ReplayedPatients, replayed_patients
from training.finetuning.request import BegunRun, write_cases
from training.finetuning.run_folder import CASES, READ, RUN, TRAINED, CancelledError
from training.finetuning.task import FinetuneTask
from training.finetuning.validation import Validation, cases_of_curve
from training.heatmap_recipe import HeatmapRecipe
from training.recipe import AnyRecipe, recipe_to_dict
from training.run_epochs import CHECKPOINT, RECIPE, TRAINING_CURVE, VALIDATION_CURVE, check_goes_on, run_epochs
from training.trainer import Trainer, read_checkpoint, write_checkpoint

logger = logging.getLogger(__name__)

# What to do where training leads to values that are no numbers; the rest of the model's recipe is not to be changed.
ADVICE = "Lower finetune.learning_rate_share in a --recipe."
# A checkpoint after each epoch, unless the last one is so young.
CHECKPOINT_EVERY_S = 60.0


class Learned(NamedTuple):
    """A model that has learned all: its ``trainer``, and ``lines`` on what was left out.

    ``replayed`` says of whom it saw original cases, ``compared`` how many cases for comparison its error curve is of: where
    there are none it is of those that it learned from.
    """

    trainer: Trainer
    task: Any
    lines: tuple[str, ...]
    replayed: ReplayedPatients
    compared: int


def read_finetune_task(
    recipe: AnyRecipe, run: BegunRun, decisions: tuple[Decisions, ...], options: FinetuneRecipe, device: str
) -> FinetuneTask:
    """The data and the network of a recipe's family; only that family's code is loaded.

    Raises :class:`CancelledError` where somebody asked for it while cases are read.
    """
    finetune_task: Callable[..., FinetuneTask]
    if isinstance(recipe, DenseShapeRecipe):
        from training.finetuning.dense_shape import finetune_task
    elif isinstance(recipe, HeatmapRecipe):
        from training.finetuning.heatmap import finetune_task
    else:
        from training.finetuning.volumes import finetune_task
    replay, cancelled = run.request.replay, run.folder.check_cancelled
    return finetune_task(recipe, decisions, run.library, replay, run.parent, options, device, cancelled)


def learn(run: BegunRun) -> Learned:
    """Train from where the run is; where the memory of the device is short, once more with half the batch.

    A run that has a checkpoint when it begins keeps it: where its batch once fitted, the memory is short for now.

    Raises :class:`CancelledError`, with a checkpoint, where somebody asked for it or time is over, and
    :class:`InputError` for all that goes wrong.
    """
    options, goes_on = _options_so_far(run), (run.request.output / CHECKPOINT).is_file()
    batch = options.batch or recipe_of(run.parent).optimiser.batch
    try:
        return _learn(run, options)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
    if goes_on:
        raise InputError(
            f"expected enough memory on the device to go on with a batch of {batch}, got too little. Free some and go on with "
            "--resume, or begin in another folder with a smaller finetune.batch in a --recipe."
        )
    if batch > 1 and options == run.request.options:
        line = f"the memory of the device is too small for a batch of {batch}: beginning again with {batch // 2}"
        logger.warning("%s", line)
        run.folder.tell("reading", line, 0.0)
        for name in (CHECKPOINT, TRAINING_CURVE, VALIDATION_CURVE):
            (run.request.output / name).unlink(missing_ok=True)
        batch //= 2
        try:
            return _learn(run, dataclasses.replace(options, batch=batch))
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
    raise InputError(
        f"expected enough memory on the device, got too little for a batch of {batch}. Make finetune.batch in a --recipe "
        "smaller, or take --device cpu."
    )


def _options_so_far(run: BegunRun) -> FinetuneRecipe:
    """Those that were asked for; of a run that goes on after its batch was halved, with that batch."""
    options = run.request.options
    kept = run.folder.read(RECIPE) if run.request.resume else None
    batch = (kept or {}).get("optimiser", {}).get("batch")
    asked = options.batch or recipe_of(run.parent).optimiser.batch
    return options if batch != asked // 2 else dataclasses.replace(options, batch=batch)


def _learn(run: BegunRun, options: FinetuneRecipe) -> Learned:
    request, folder, output = run.request, run.folder, run.request.output
    begun = time.monotonic()
    recipe = finetuned(recipe_of(run.parent), options)
    check_goes_on(output, recipe, request.resume)
    task = read_finetune_task(recipe, run, run.training, options, request.device)
    more = _goes_on_with_the_same(run, task)
    if len(task.run.case_ids) == 1:
        more.append("it learns from one case alone, which says little about others; correct more")
    lines = tuple(dict.fromkeys((*run.lines, *task.run.lines, *more)))  # those of a run that goes on are known
    known = folder.read(CASES)
    if known is not None and known["new_landmarks"] != list(task.run.new_landmarks):
        raise InputError(
            f"expected the new landmarks that the run in {output} was begun with, got others. Begin in another folder."
        )
    write_cases(run, task.run.new_landmarks, lines)
    replayed = replayed_patients(run, task)
    for line in lines:
        logger.warning("%s", line)
    trainer = Trainer(task, ADVICE)
    # Where no old case is seen again, also for want of a share of the batches, the weights are held.
    if not task.run.mix.is_mixed and options.pull > 0 and not options.anew:
        trainer.pull_to({name: torch.from_numpy(w0).float() for name, w0 in run.parent.weights.items()}, options.pull)
    with tempfile.TemporaryDirectory() as beside:
        task.export(Path(beside) / "start", trainer.best_network, run.parent)
        start = load_bundle(Path(beside) / "start")
    if (output / CHECKPOINT).is_file():
        trainer.restore(read_checkpoint(output / CHECKPOINT, request.device))
    write_json(output / RECIPE, recipe_to_dict(recipe))
    truths = blind_truths(run.parent, start, run.library, run.decisions, replayed.case_ids).cases
    compared = cases_of_curve(truths, run.library, folder.check_cancelled)
    validation = Validation(task, start, run.library, compared, output, request.device, folder.check_cancelled)
    _Loop(run, trainer, validation, begun).train()
    return Learned(trainer, task, lines, replayed, len(compared))


def _goes_on_with_the_same(run: BegunRun, task: FinetuneTask) -> list[str]:
    """Write down what a run begins with; a run that goes on is held to it, and a line says where the program is another.

    Raises :class:`InputError` where cases, images or weights are others.
    """
    begun, origin = run.folder.read(RUN) or {}, origin_of(task)
    changed = changed_versions(begun.get("versions", {}))
    if "origin" not in begun:  # it begins, or was begun by a program that did not write it down
        run.folder.write(RUN, {**begun, "origin": origin})
    else:
        check_origin(run.request.output, begun["origin"], origin, changed)
    return [f"{changed} What comes out is not the same to the last bit."] if changed else []


class _Loop:
    """The epochs that are left: told, measured, and kept so that nothing is lost."""

    def __init__(self, run: BegunRun, trainer: Trainer, validation: Validation, begun: float) -> None:
        self._run, self._trainer, self._validation, self._begun = run, trainer, validation, begun
        self._started, self._first = time.monotonic(), trainer.epoch
        self._kept_at = time.monotonic()
        self._state: dict[str, Any] | None = None  # of the last epoch that is done, where no checkpoint has it

    def train(self) -> None:
        trainer, folder = self._trainer, self._run.folder
        self._tell(0)
        if trainer.epoch == 0:
            self._validation.after_epoch(trainer, 0.0)
        try:
            for _ in run_epochs(trainer, folder.folder, self._between_steps):
                if not self._is_over:  # else what is cancelled now is done again, so that the curve has an end
                    self._state = trainer.state()
                self._validation.after_epoch(trainer, time.monotonic() - self._started)
                if not self._is_over and time.monotonic() - self._kept_at < CHECKPOINT_EVERY_S:
                    self._state = copy.deepcopy(trainer.state())
                else:
                    self._keep(trainer.state())
                self._check_time()
        except (CancelledError, KeyboardInterrupt):
            if self._state is not None:
                self._keep(self._state)
            raise

    @property
    def _is_over(self) -> bool:
        return self._trainer.epoch == self._trainer.task.optimiser.epochs

    def _keep(self, state: dict[str, Any]) -> None:
        write_checkpoint(self._run.folder.folder / CHECKPOINT, state)
        self._kept_at, self._state = time.monotonic(), None

    def _check_time(self) -> None:
        minutes = (time.monotonic() - self._begun) / 60
        if minutes > self._run.request.max_minutes and not self._is_over:
            raise CancelledError(f"stopped after {minutes:.0f} minutes, as asked for")

    def _between_steps(self, step: int) -> None:
        self._run.folder.check_cancelled()
        if self._run.folder.is_time_to_tell:
            self._tell(step)

    def _tell(self, step: int) -> None:
        trainer = self._trainer
        epochs, in_epoch = trainer.task.optimiser.epochs, trainer.steps_per_epoch
        done = trainer.epoch + step / in_epoch
        here = done - self._first
        left = None
        if here > 0:
            left = (time.monotonic() - self._started) / here * (epochs - done) / 60
        fraction = READ + (TRAINED - READ) * done / epochs
        cases = len(self._validation.task.run.case_ids)
        line = f"learning from {cases} cases: step {round(done * in_epoch)} of {epochs * in_epoch}"
        self._run.folder.tell("training", line, fraction, trainer.epoch, epochs, left)
