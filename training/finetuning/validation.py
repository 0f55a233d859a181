"""The error curve of fine-tuning: what a person sees while it runs. It never chooses anything."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.registry import open_bundle
from training.finetuning.blind_truth import Truth
from training.finetuning.task import FinetuneTask
from training.landmark_measurement import match_landmarks
from training.run_epochs import VALIDATION_CURVE, append_row, forget_rows
from training.trainer import Trainer

logger = logging.getLogger(__name__)

# A curve needs no more: the comparison at the end takes all cases.
MOST_CASES = 12
# Of the time of training, so that a look at the curve does not make a run much longer.
SHARE_OF_TIME = 0.2


def cases_of_curve(
    truths: Sequence[Truth], library: Library, between_cases: Callable[[], None] = lambda: None
) -> tuple[Truth, ...]:
    """The first of the cases for comparison whose image can be read; ``between_cases`` as in :class:`Validation`."""
    found: list[Truth] = []
    for truth in truths:
        if len(found) == MOST_CASES:
            break
        between_cases()
        try:
            library.case(truth.case.case_id).read_image(truth.case.geometry)
        except InputError as error:
            logger.warning("%s", error)  # the comparison says so too
        else:
            found.append(truth)
    return tuple(found)


@dataclass
class Validation:
    """Measures the error while a model trains, at the beginning, at the end, and in between as often as time allows.

    Attributes
    ----------
    task : its own cases are measured where there are none for comparison.
    start : the bundle that the run begins with; it has the network's form, and other weights each time.
    cases : for comparison, see :func:`cases_of_curve`.
    between_cases : called before each case and each pass of the network; it may raise what ends the measuring.
    """

    task: FinetuneTask
    start: Bundle
    library: Library
    cases: Sequence[Truth]
    folder: Path
    device: str
    between_cases: Callable[[], None] = lambda: None
    _seconds: float = 0.0

    def after_epoch(self, trainer: Trainer, seconds_of_training: float) -> None:
        """Add a row for the epochs that are done, where it is time."""
        is_end = trainer.epoch in (0, trainer.task.optimiser.epochs)
        if not is_end and self._seconds > SHARE_OF_TIME * seconds_of_training:
            return
        curve = self.folder / VALIDATION_CURVE
        forget_rows(curve, trainer.epoch)
        started = time.monotonic()
        error_mm = self.error_mm(trainer.best_network)
        self._seconds += time.monotonic() - started
        if error_mm is not None:
            append_row(curve, {"epoch": float(trainer.epoch), "error_mm": error_mm})

    def error_mm(self, network: nn.Module) -> float | None:
        """Mean over landmarks; ``None`` where there is nothing to measure."""
        if not self.cases:
            error_mm = self.task.validate(network, self.between_cases).get("error_mm", float("nan"))
            return error_mm if math.isfinite(error_mm) else None
        weights = {
            name: value.detach().cpu().numpy().astype(np.float16) for name, value in network.state_dict().items()
        }
        predictor = open_bundle(replace(self.start, weights=weights), self.device)
        errors_mm: list[float] = []
        for case, names, _, points_lps_mm in self.cases:
            self.between_cases()
            try:
                image, _ = self.library.case(case.case_id).read_image(case.geometry)
                prediction = predictor.predict(image, between_passes=self.between_cases)
            except InputError as error:
                logger.warning("%s", error)
                continue
            found = match_landmarks(prediction, names, case.name)
            distance_mm = np.linalg.norm(found.points_lps_mm - points_lps_mm, axis=1)
            errors_mm += distance_mm[np.isfinite(distance_mm)].tolist()
        return float(np.mean(errors_mm)) if errors_mm else None
