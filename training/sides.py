"""Left and right of landmarks and structures, read from their names: who takes whose place in a mirror."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from DenseLandmarksLib.landmarks.other_side import name_of_other_side


def mirrored_rows(names: tuple[str, ...]) -> Tensor:
    """For each of L landmarks the one whose place it takes in a mirror: ``left`` and ``right`` change in its name."""
    swapped = [name_of_other_side(name) for name in names]
    return torch.tensor([names.index(other) if other in names else row for row, other in enumerate(swapped)])


def without_other_side(names: tuple[str, ...]) -> tuple[str, ...]:
    """Landmarks of one side whose partner is not among ``names``: in a mirror nobody can say where they are."""
    rows = mirrored_rows(names).tolist()
    # The ``right`` in ``bright`` is no side.
    sided = [bool(re.search(r"(?<![A-Za-z])(left|right)", name, re.IGNORECASE)) for name in names]
    return tuple(name for row, name in enumerate(names) if sided[row] and rows[row] == row)
