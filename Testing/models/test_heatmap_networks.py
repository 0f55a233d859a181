"""Heatmap networks draw what they say, and a heatmap's pixel lies in the image where the interface says it does."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork
from DenseLandmarksLib.models.networks.heatmap_networks import HEATMAP_NETWORK_MODULE, HEATMAP_NETWORKS
from DenseLandmarksLib.models.networks.spatial_configuration import LOCAL, SPATIAL
from Testing.models.small_heatmap_networks import STEMS, small

# ---- what all have in common ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", STEMS)
def test_a_heatmap_per_landmark_and_image(name: str, dimensions: int) -> None:
    network = small(name, dimensions=dimensions)
    size = [network.divisor * times for times in (4, 2, 3)[:dimensions]]
    images = torch.randn(2, 1, *size)
    output = network(images)
    assert output.heat.shape == (2, 3, *(length // network.stride for length in size))
    assert output.mask_logits is None
    assert all(part.shape == output.heat.shape for part in output.parts.values())
    torch.testing.assert_close(network(images[1:]).heat[0], output.heat[1], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", STEMS)
def test_half_precision_inside_is_float32_outside_and_nearly_the_same(name: str) -> None:
    network = small(name, structures=2) if name in ("HeatRegNet", "CompactHeatmapNet") else small(name)
    images = torch.randn(2, 1, 4 * network.divisor, 4 * network.divisor)
    exact = network(images)
    network.is_mixed = True
    mixed = network(images)
    assert mixed.heat.dtype == torch.float32
    assert mixed.mask_logits is None or mixed.mask_logits.dtype == torch.float32
    assert not torch.equal(mixed.heat, exact.heat)
    assert (mixed.heat - exact.heat).std() < 0.1 * exact.heat.std()
    # Numbers of bfloat16 would be the same after a round trip.
    assert not torch.equal(mixed.heat.bfloat16().float(), mixed.heat)


@pytest.mark.parametrize("name", STEMS)
def test_sizes_that_do_not_fit_are_refused_with_what_to_do(name: str) -> None:
    network = small(name)
    for shape in ((1, 1, network.divisor, network.divisor + 1), (1, 3, 32, 32), (1, 1, 32, 32, 32)):
        with pytest.raises(ValueError, match=rf"multiples of {network.divisor}, got .* Pad them"):
            network(torch.zeros(shape))


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", ["HeatRegNet", "CompactHeatmapNet"])
def test_a_joint_network_draws_masks_as_large_as_the_image(name: str, dimensions: int) -> None:
    network = small(name, structures=2, dimensions=dimensions)
    size = (network.divisor * 2,) * dimensions
    output = network(torch.randn(1, 1, *size))
    assert output.mask_logits is not None
    assert output.mask_logits.shape == (1, 2, *size)
    assert network.structures == 2


@pytest.mark.parametrize("name", HEATMAP_NETWORKS)
def test_the_name_in_a_bundle_leads_to_the_network_and_sigma_is_saved(name: str) -> None:
    assert getattr(import_module(HEATMAP_NETWORK_MODULE), name) is HEATMAP_NETWORKS[name]
    network = small(name, sigma=3.5)
    torch.testing.assert_close(network.state_dict()["sigma"], torch.full((3,), 3.5))
    assert network.sigma.requires_grad


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("SpatialConfigurationNet", {"dimensions": 4}, "2 or 3 dimensions, got 4"),
        ("SpatialConfigurationNet", {"tanh": "both"}, "got 'both'"),
        ("LocalisationUNet", {"stem_stride": 3}, "stride 1 or 2, got 3"),
        ("SpatialConfigurationNet", {"kernel": 4}, "got 4"),
    ],
)
def test_a_network_that_cannot_be_is_not_made(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(name, **arguments)


# ---- where a heatmap's pixel lies -----------------------------------------------------------------------------------


def made_linear(network: HeatmapNetwork) -> HeatmapNetwork:
    """The same paths with all weights alike, no biases, and nothing between them that bends."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.InstanceNorm2d | nn.LeakyReLU | nn.PReLU | nn.Dropout):
                setattr(module, name, nn.Identity())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_() if parameter.ndim < 2 else parameter.fill_(1 / parameter[0].numel())
    return network


def seen_at(part: Tensor, image: Tensor, pixel: int) -> Tensor:
    """The middle (y, x) in image pixels of what the heatmap's pixel (``pixel``, ``pixel``) sees."""
    (weights,) = torch.autograd.grad(part[0, 0, pixel, pixel], image, retain_graph=True)
    weights = weights[0, 0].double()
    places = torch.arange(len(weights), dtype=torch.float64)
    return torch.stack([weights.sum(1) @ places, weights.sum(0) @ places]) / weights.sum()


@pytest.mark.parametrize(
    ("name", "part"),
    [(name, part) for name in STEMS for part in ((LOCAL, SPATIAL) if name.startswith("Spatial") else ("heat",))],
)
def test_a_pixel_of_the_heatmap_sees_what_is_about_its_place(name: str, part: str) -> None:
    """On average over a period of poolings; a stem of an odd kernel and stride 2 would be half a pixel beside it.

    Of the parts of SpatialConfiguration-Net each, their product is not linear.
    """
    network = made_linear(small(name, landmarks=1))
    # As large as what the deepest pixel sees, so that no border counts.
    image = torch.zeros(1, 1, 320, 320, requires_grad=True)
    output = network(image + 1e-3)
    drawn = output.heat if part == "heat" else output.parts[part]
    period = network.divisor // network.stride
    first = 160 // network.stride // period * period
    pixels = range(first, first + period)
    beside = [seen_at(drawn, image, pixel) - ((pixel + 0.5) * network.stride - 0.5) for pixel in pixels]
    torch.testing.assert_close(torch.stack(beside).mean(dim=0), torch.zeros(2, dtype=torch.float64), rtol=0, atol=0.01)
