"""A heatmap network as a recipe asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork
from DenseLandmarksLib.models.networks.heatmap_networks import HEATMAP_NETWORK_MODULE, HEATMAP_NETWORKS
from training.heatmap_recipe import HeatmapLossRecipe, HeatmapNetworkRecipe


def heatmap_network_definition(
    network: HeatmapNetworkRecipe, loss: HeatmapLossRecipe, landmarks: int, dimensions: int, structures: int = 0
) -> dict[str, Any]:
    """The class of the network and its arguments, for JSON."""
    return {
        "_target_": f"{HEATMAP_NETWORK_MODULE}.{network.name}",
        "landmarks": landmarks,
        "dimensions": dimensions,
        "sigma": loss.sigma,
        **({"structures": structures} if structures else {}),
        **network.arguments,
    }


def new_heatmap_network(definition: dict[str, Any], size: Sequence[int], size_name: str) -> HeatmapNetwork:
    """A freshly initialised network of such a definition; it must take images of ``size``, which a recipe calls ``size_name``.

    Raises :class:`InputError` for an unknown name, argument or size.
    """
    arguments = dict(definition)
    name = str(arguments.pop("_target_")).removeprefix(f"{HEATMAP_NETWORK_MODULE}.")
    if name not in HEATMAP_NETWORKS:
        raise InputError(
            f"expected a network out of {', '.join(HEATMAP_NETWORKS)}, got {name!r}. Change network.name in the recipe."
        )
    try:
        network = HEATMAP_NETWORKS[name](**arguments)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"expected network.arguments that {name} takes, got {arguments}: {error}. Change the recipe."
        ) from error
    if any(length % network.divisor for length in size):
        raise InputError(
            f"expected {size_name} in multiples of {network.divisor} for {name}, got {tuple(size)}. Change the recipe."
        )
    return network
