"""Which cases make a batch: each about once in a pass, and where there are original ones to replay, a share of those.

A model that learns from corrections alone forgets what it was trained on; seeing some of the old cases again in each
batch keeps it (Robins 1995, rehearsal).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from DenseLandmarksLib.errors import InputError


@dataclass(frozen=True)
class CaseMix:
    """``cases`` training cases, of which the last ``original`` are replayed: they make ``share`` of the batches.

    Raises
    ------
    InputError : for a share below 0, or of 1 and more, which would leave nothing to learn from.
    """

    cases: int
    original: int = 0
    share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise InputError(
                f"expected a share of replayed cases of at least 0 and below 1, got {self.share:g}. Change the recipe."
            )

    @property
    def is_mixed(self) -> bool:
        """Whether there are two kinds of cases to draw from."""
        return self.share > 0 and 0 < self.original < self.cases

    def steps(self, batch: int) -> int:
        """How many batches are a pass over the cases that are not replayed."""
        if not self.is_mixed:
            return max(self.cases // batch, 1)
        return max(math.ceil((self.cases - self.original) / (batch * (1 - self.share))), 1)

    def rows(self, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
        """The cases (B,) of each batch of a pass, at random; those behind the others are the replayed ones."""
        if not self.is_mixed:
            order = torch.randperm(self.cases, generator=generator)
            for step in range(self.steps(batch)):
                yield order[step * batch : (step + 1) * batch]
            return
        # Of a batch of one every so many; over a pass the share is kept to one case.
        ends = [round(step * batch * self.share) for step in range(self.steps(batch) + 1)]
        own = self.cases - self.original
        replayed = own + _endless(self.original, ends[-1], generator)
        new = _endless(own, batch * self.steps(batch) - ends[-1], generator)
        for step, (first, last) in enumerate(itertools.pairwise(ends)):
            yield torch.cat([new[step * batch - first : (step + 1) * batch - last], replayed[first:last]])


def _endless(cases: int, wanted: int, generator: torch.Generator) -> Tensor:
    """``wanted`` numbers of so many cases: all of them at random, then all again."""
    passes = [torch.randperm(cases, generator=generator) for _ in range(-(-wanted // cases))]
    return torch.cat([*passes, torch.empty(0, dtype=torch.long)])[:wanted]
