"""The weights of a model for a network that finds more landmarks: what it says of the old ones stays as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from DenseLandmarksLib.errors import InputError


def landmark_rows(old_names: Sequence[str], new_names: Sequence[str]) -> tuple[int, ...]:
    """Where each old landmark stands among the new ones; raises :class:`InputError` for one that is gone."""
    gone = [name for name in old_names if name not in new_names]
    if gone:
        raise InputError(
            f"expected a network that still finds all that its parent found, got one without {gone[0]}. Keep the landmark."
        )
    return tuple(list(new_names).index(name) for name in old_names)


def grown_weights(
    parent: Mapping[str, NDArray[Any]], fresh: Mapping[str, Tensor], rows: Sequence[int]
) -> dict[str, Tensor]:
    """All weights of a network that was freshly initialised (``fresh``), the ``parent``'s where it has some.

    ``rows`` (N,) says where each landmark of the parent stands among those of the network, which has more. Along the axes
    whose sizes differ the old landmarks go there. A layer's output for a new landmark, along the first axis, begins as
    the fresh network has it; what a layer takes in from a new landmark, along any other axis, begins at zero. So networks
    with a head per landmark say the same of the old ones as before, and so does SpatialConfiguration-Net, in which every
    landmark's heatmap goes into the spatial configuration of all.

    Raises :class:`InputError` where a weight differs in more than the number of landmarks.
    """
    grown: dict[str, Tensor] = {}
    for name, value in fresh.items():
        if name not in parent:
            grown[name] = value.clone()
            continue
        old = torch.from_numpy(parent[name]).to(value.dtype)
        grown[name] = old if old.shape == value.shape else _grown(name, old, value, rows)
    unknown = sorted(set(parent) - set(fresh))
    if unknown:
        raise _other_network(unknown[0])
    return grown


def _grown(name: str, old: Tensor, fresh: Tensor, rows: Sequence[int]) -> Tensor:
    """One weight, of which some axes are landmarks."""
    if old.ndim != fresh.ndim:
        raise _other_network(name)
    axes = [axis for axis in range(old.ndim) if old.shape[axis] != fresh.shape[axis]]
    if any(old.shape[axis] != len(rows) or fresh.shape[axis] <= max(rows, default=-1) for axis in axes):
        raise _other_network(name)
    index = torch.tensor(rows, dtype=torch.long)
    wider = old
    for axis in axes:
        before = list(wider.shape)
        before[axis] = fresh.shape[axis]
        start = torch.zeros(before, dtype=fresh.dtype)
        wider = start.index_copy(axis, index, wider)
    if axes[0] != 0:
        return wider
    new = torch.ones(fresh.shape[0], dtype=torch.bool)
    new[index] = False
    wider[new] = fresh[new]
    return wider


def _other_network(name: str) -> InputError:
    return InputError(
        f"expected weights of the same network with fewer landmarks, got another {name}. Finetune with the model's own recipe."
    )
