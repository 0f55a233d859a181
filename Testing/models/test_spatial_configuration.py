"""SpatialConfiguration-Net, and what it is compared with, are what the papers and their code say."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from DenseLandmarksLib.models.networks.fixed_upsampling import keys_kernel, upsample_cubic, upsample_linear
from DenseLandmarksLib.models.networks.heatmap_networks import HEATMAP_NETWORKS
from DenseLandmarksLib.models.networks.localisation_unet import LocalisationUNet, equal_filters, weights_of
from DenseLandmarksLib.models.networks.plain_convolution import Convolution
from DenseLandmarksLib.models.networks.spatial_configuration import LOCAL, SPATIAL, SpatialConfigurationNet
from Testing.models.small_heatmap_networks import on_paper, small

# ---- up-sampling ----------------------------------------------------------------------------------------------------


def test_the_cubic_kernel_is_that_of_keys() -> None:
    """Keys 1981: 3/2 x^3 - 5/2 x^2 + 1, then -1/2 x^3 + 5/2 x^2 - 4 x + 2."""
    offsets = torch.tensor([-2.5, -2, -1.5, -1, -0.5, -0.25, 0, 0.5, 0.75, 1, 1.25, 1.5, 2], dtype=torch.float64)
    expected = []
    for offset in offsets.abs().tolist():
        if offset <= 1:
            expected.append(1.5 * offset**3 - 2.5 * offset**2 + 1)
        else:
            expected.append(-0.5 * offset**3 + 2.5 * offset**2 - 4 * offset + 2 if offset < 2 else 0.0)
    torch.testing.assert_close(keys_kernel(offsets), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("factor", [2, 3, 16])
def test_cubic_upsampling_draws_parabolas_where_they_are(factor: int) -> None:
    """Between centres that are aligned, on both axes; torch's own bicubic does not, its kernel is another one."""

    def parabola(y: Tensor, x: Tensor) -> Tensor:
        return 0.3 * y[:, None] ** 2 - 0.1 * x**2 + 0.5 * y[:, None] * x - 2 * x + 1

    coarse = parabola(torch.arange(8.0), torch.arange(10.0))[None, None]
    fine_y, fine_x = ((torch.arange(size * factor) + 0.5) / factor - 0.5 for size in (8, 10))
    inner = (0, 0, slice(2 * factor, -2 * factor), slice(2 * factor, -2 * factor))
    expected = parabola(fine_y, fine_x)[inner[2:]]
    torch.testing.assert_close(upsample_cubic(coarse, factor)[inner], expected, rtol=0, atol=2e-5)
    of_torch = functional.interpolate(coarse, scale_factor=factor, mode="bicubic", align_corners=False)
    assert (of_torch[inner] - expected).abs().max() > 0.01


@pytest.mark.parametrize("dimensions", [2, 3])
def test_upsampling_is_a_transposed_convolution_with_nothing_outside(dimensions: int) -> None:
    """As the authors have it: stride ``factor``, the kernel's samples about its middle, cropped to the size."""
    transposed = {2: functional.conv_transpose2d, 3: functional.conv_transpose3d}[dimensions]
    maps = torch.randn(1, 1, *(5, 4, 6)[:dimensions])
    factor, support = 4, 2
    at = (torch.arange(2 * support * factor) - (2 * support * factor - 1) / 2) / factor
    for along, upsampled in (
        (keys_kernel(at), upsample_cubic(maps, factor)),
        ((1 - at.abs()).clamp(min=0), upsample_linear(maps, factor)),
    ):
        kernel = along
        for _ in range(dimensions - 1):
            kernel = kernel[..., None] * along
        crop = (2 * support * factor - factor) // 2
        expected = transposed(maps, kernel[None, None], stride=factor, padding=crop)
        torch.testing.assert_close(upsampled, expected, rtol=1e-4, atol=1e-5)


# ---- SpatialConfiguration-Net ---------------------------------------------------------------------------------------


def test_the_papers_networks_have_the_weights_that_a_hand_counts() -> None:
    """Images: 128 filters, 4 levels, 11 x 11; volumes: 64, 4, 7 x 7 x 7; N standard deviations beside them."""
    landmarks = 37
    local = (9 * 128 + 128) + 12 * (9 * 128 * 128 + 128) + (9 * 128 * landmarks + landmarks)
    spatial = (121 * landmarks * 128 + 128) + 2 * (121 * 128 * 128 + 128) + (121 * 128 * landmarks + landmarks)
    network = on_paper(landmarks, 2)
    assert weights_of(network) == local + spatial + landmarks == 6926447
    assert (network.divisor, network.stride, network.spatial_stride) == (16, 1, 16)
    landmarks = 26
    local = (27 * 64 + 64) + 12 * (27 * 64 * 64 + 64) + (27 * 64 * landmarks + landmarks)
    spatial = (343 * landmarks * 64 + 64) + 2 * (343 * 64 * 64 + 64) + (343 * 64 * landmarks + landmarks)
    network = on_paper(landmarks, 3)
    assert weights_of(network) == local + spatial + landmarks == 5326222
    assert (network.divisor, network.spatial_stride) == (8, 8)


def test_the_divisor_fits_poolings_and_stem() -> None:
    assert on_paper(2, 2, stem_stride=2).divisor == 32
    assert on_paper(2, 2, levels=6, spatial_stride=4).divisor == 32
    assert on_paper(2, 2, levels=2, spatial_stride=3).divisor == 6


class Fixed(nn.Module):
    """The same maps whatever comes."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, _: Tensor) -> Tensor:
        return self.maps


def test_tanh_comes_before_the_cubic_upsampling_of_the_spatial_map() -> None:
    """Cubic interpolation goes beyond a step by some per cent, which a tanh behind it would cut off."""
    network = small("SpatialConfigurationNet", landmarks=1)
    assert isinstance(network, SpatialConfigurationNet)
    step = torch.full((1, 1, 8, 8), -50.0)
    step[..., 4:] = 50.0
    network.spatial = Fixed(step)  # type: ignore[assignment]
    network.local_head = Fixed(torch.full((1, 1, 32, 32), 7.0))  # type: ignore[assignment]
    output = network(torch.zeros(1, 1, 32, 32))
    spatial = output.parts[SPATIAL][0, 0]
    assert 1.1 < spatial[16].max() < 1.15
    torch.testing.assert_close(output.parts[LOCAL], torch.full((1, 1, 32, 32), 7.0))
    torch.testing.assert_close(output.heat[0, 0], 7.0 * spatial)


def test_the_variant_for_whole_hearts_bounds_the_local_map_alone() -> None:
    network = small("SpatialConfigurationNet", landmarks=1, tanh="local")
    assert isinstance(network, SpatialConfigurationNet)
    network.spatial = Fixed(torch.full((1, 1, 8, 8), 50.0))  # type: ignore[assignment]
    network.local_head = Fixed(torch.full((1, 1, 32, 32), 0.5))  # type: ignore[assignment]
    output = network(torch.zeros(1, 1, 32, 32))
    torch.testing.assert_close(output.parts[LOCAL], torch.full((1, 1, 32, 32), math.tanh(0.5)))
    assert output.parts[SPATIAL].max() > 49


def test_weights_start_as_the_paper_has_them() -> None:
    """He's truncated normal by fan-in, 1e-4 in both heads of two dimensions and 1e-3 of three, biases zero."""
    torch.manual_seed(0)
    for dimensions, head_std in ((2, 1e-4), (3, 1e-3)):
        network = SpatialConfigurationNet(9, dimensions, filters=16, kernel=5)
        heads = (network.local_head, network.spatial[-1])
        for layer in (layer for layer in network.modules() if isinstance(layer, Convolution)):
            weights, bias = layer.convolution.weight.detach(), layer.convolution.bias.detach()
            assert not bias.any()
            if any(layer is head for head in heads):
                assert weights.abs().max() <= 2 * head_std
                assert float(weights.std()) == pytest.approx(0.88 * head_std, rel=0.05)
            else:
                std = math.sqrt(2 / weights[0].numel())
                assert weights.abs().max() <= 2 * std / 0.8796 + 1e-6
                assert float(weights.std()) == pytest.approx(std, rel=0.15)


def test_dropout_drops_elements_between_the_two_convolutions_of_every_level() -> None:
    network = small("SpatialConfigurationNet", filters=16).train()
    assert isinstance(network, SpatialConfigurationNet)
    assert len(network.local.contracting) == len(network.local.parallel) == 3
    for block in network.local.contracting:
        assert isinstance(block, nn.Sequential)
        first, dropout, second = block
        assert isinstance(first, Convolution)
        assert isinstance(second, Convolution)
        dropped = dropout(torch.ones(1, 16, 32, 32)) == 0
        shares = dropped.float().mean(dim=(2, 3))
        assert shares.min() > 0.4
        assert shares.max() < 0.6


@pytest.mark.parametrize("level", [0, 1, 2])
def test_every_level_reaches_the_sum_through_a_convolution_of_its_own(level: int) -> None:
    """The deepest too: without the convolutions beside all other levels, only what comes through its own is left."""
    network = small("SpatialConfigurationNet")
    assert isinstance(network, SpatialConfigurationNet)
    with torch.no_grad():
        for number, aside in enumerate(network.local.parallel):
            if number != level:
                for parameter in aside.parameters():
                    parameter.zero_()
    features = torch.randn(1, 4, 32, 32)
    deep = features
    for number, contract in enumerate(network.local.contracting[: level + 1]):
        deep = contract(deep if number == 0 else functional.avg_pool2d(deep, 2))
    expected = network.local.parallel[level](deep)
    for _ in range(level):
        expected = upsample_linear(expected)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(network.local(features), expected)


def test_volumes_are_reflected_at_their_border_and_images_are_not() -> None:
    """But for the first convolution and the local head; also maps that are too small to be reflected work."""
    for dimensions, mode in ((2, "constant"), (3, "reflect")):
        network = small("SpatialConfigurationNet", dimensions=dimensions)
        assert isinstance(network, SpatialConfigurationNet)
        layers = [*network.local.modules(), *network.spatial]
        for layer in (layer for layer in layers if isinstance(layer, Convolution)):
            convolution = layer.convolution
            maps = torch.randn(1, convolution.in_channels, *(6,) * dimensions)
            around = functional.pad(maps, (1,) * (2 * dimensions), mode=mode)
            convolve = {2: functional.conv2d, 3: functional.conv3d}[dimensions]
            expected = layer.activation(convolve(around, convolution.weight, convolution.bias))
            torch.testing.assert_close(layer(maps), expected, rtol=1e-4, atol=1e-5)
    drawn = small("SpatialConfigurationNet", dimensions=3, kernel=7)(torch.randn(1, 1, 4, 8, 4)).heat
    assert torch.isfinite(drawn).all()


def test_activations_leak_a_tenth() -> None:
    layer = Convolution(2, 1, 1, kernel=1)
    with torch.no_grad():
        layer.convolution.weight.fill_(1.0)
    values = layer(torch.tensor([[[[-2.0, 3.0]]]]))
    torch.testing.assert_close(values, torch.tensor([[[[-0.2, 3.0]]]]))


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("name", ["SpatialConfigurationNet", "LocalisationUNet"])
def test_a_modern_recipe_may_normalise_all_but_the_heads(name: str, norm: str) -> None:
    network = small(name, norm=norm)
    kinds = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}
    norms = sum(isinstance(module, kinds[norm]) for module in network.modules())
    heads = sum(isinstance(module, Convolution) and module.is_head for module in network.modules())
    assert norms == sum(isinstance(module, Convolution) for module in network.modules()) - heads
    assert heads == {"SpatialConfigurationNet": 2, "LocalisationUNet": 1}[name]


# ---- the networks it is compared with -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "of_unet"),
    [
        ({}, {}),
        ({"filters": 32, "spatial_stride": 8, "stem_stride": 2}, {"stem_stride": 2}),
        ({"dimensions": 3, "landmarks": 26}, {"levels": 4}),
    ],
)
def test_the_localisation_unet_can_be_as_large_as_another_network(
    arguments: dict[str, Any], of_unet: dict[str, Any]
) -> None:
    network = on_paper(**{"landmarks": 37, "dimensions": 2, **arguments})
    filters = equal_filters(network, **of_unet)
    with torch.device("meta"):
        size, more, fewer = (
            weights_of(LocalisationUNet(network.landmarks, network.dimensions, number, **of_unet))
            for number in (filters, filters + 1, filters - 1)
        )
    wanted = weights_of(network)
    assert abs(size / wanted - 1) <= 0.02
    assert abs(size - wanted) <= min(abs(more - wanted), abs(fewer - wanted))


def test_what_cannot_be_equalled_within_two_percent_is_said() -> None:
    with pytest.raises(ValueError, match=r"within 2 %, got \d+ with \d+"):
        equal_filters(on_paper(2, 2, filters=4, kernel=3))


def test_the_localisation_unet_has_the_weights_that_a_hand_counts() -> None:
    """Five levels of two convolutions down, four up that take the skipped features too, and a head of 1 x 1."""
    square = 9 * 128 * 128
    expected = (9 * 128 + 128) + 10 * (square + 128) + 4 * (2 * square + 128 + square + 128) + (128 * 37 + 37) + 37
    with torch.device("meta"):
        network = LocalisationUNet(37)
    assert weights_of(network) == expected
    assert network.divisor == 16


def test_heat_reg_is_densesegs_body_with_one_convolution_and_the_joint_network_has_its_heads() -> None:
    """6.51 M weights in the U-Net, 0.148 M in the residual units of each head (section 3.1 of the facts)."""
    with torch.device("meta"):
        plain, joint = (HEATMAP_NETWORKS["HeatRegNet"](166, structures=structures) for structures in (0, 5))  # type: ignore[call-arg]
    body = sum(parameter.numel() for name, parameter in plain.named_parameters() if name.startswith("unet"))
    assert body == pytest.approx(6.51e6, rel=2e-3)
    assert weights_of(plain) == body + (64 * 166 + 166) + 166
    units = weights_of(joint) - body - (64 * 166 + 166) - (64 * 5 + 5) - 166
    # Each head has four convolutions without bias, each with an affine instance norm; leaky ReLU has no weights.
    assert units == 2 * 4 * (9 * 64 * 64 + 2 * 64)
    assert not any(isinstance(module, nn.PReLU) for module in joint.modules())
    torch.testing.assert_close(small("HeatRegNet").sigma.detach(), torch.full((3,), 8.0))
