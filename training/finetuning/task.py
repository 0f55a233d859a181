"""What learns in a run of fine-tuning, whichever family it is of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import nn

from training.finetuning.bundle import FinetuneRun
from training.run_origin import TaskOfCases


class FinetuneTask(TaskOfCases, Protocol):
    """A task whose cases are those of a library, followed by the original ones that are replayed; ``run`` says which."""

    @property
    def run(self) -> FinetuneRun:
        """Where it begins, and what it learns from."""
        ...

    def validate(self, network: nn.Module, between_cases: Callable[[], None] = ...) -> dict[str, float]:
        """The error in the library's own cases; ``between_cases`` is called before each and may raise what ends it."""
        ...
