"""The network of a bundle, with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import nn

from DenseLandmarksLib.models.bundle import Bundle, broken

N = TypeVar("N", bound=nn.Module)


def open_network(bundle: Bundle, networks: Mapping[str, type[N]], module: str) -> N:
    """The network out of ``networks`` that the bundle's ``network_def`` names, with the bundle's weights.

    Raises :class:`InputError`, in one line, for another one and where weights and network do not fit.
    """
    definition = dict(bundle.inference.get("network_def", {}))
    target = str(definition.pop("_target_", ""))
    # Only our own networks: a bundle must not name any callable it likes.
    network_class = networks.get(target.removeprefix(f"{module}."))
    if network_class is None:
        raise broken(bundle.folder, f"it asks for the unknown network {target!r}")
    try:
        network = network_class(**definition)
        network.load_state_dict({name: torch.from_numpy(value).float() for name, value in bundle.weights.items()})
    except (RuntimeError, TypeError, ValueError) as error:
        first = str(error).splitlines()[-1].strip()
        raise broken(bundle.folder, f"its weights do not fit its network ({first})") from error
    return network
