"""The networks have the size, the strides and the bounds that the paper, the predictor and the memory count on."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from DenseLandmarksLib.models.networks.dense_shape import LOG_SCALE_RANGE, NETWORKS, CompactDenseSegNet, DenseSegNet


def millions(module: nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def test_the_papers_network_has_the_papers_size() -> None:
    """Section 3.1 of papers.md counts 6.51 M in the U-Net and 0.148 M per head (paper: 6.4 M and 0.15 M)."""
    network = DenseSegNet(5)
    assert 6.4 <= millions(network.unet) <= 6.6
    assert 0.14 <= millions(network.mask_head) <= 0.16
    assert 0.14 <= millions(network.uv_head) <= 0.16
    assert millions(network) == pytest.approx(millions(network.unet) + 2 * 0.148, abs=0.02)


def test_the_papers_heads_are_made_as_the_rest_of_its_network() -> None:
    """Affine instance norm, leaky ReLU and no bias (``cat_residual_units`` of the authors' code), and not MONAI's defaults."""
    network = DenseSegNet(5, (4, 8))
    for head in (network.mask_head, network.uv_head):
        assert not any(isinstance(module, nn.PReLU) for module in head.modules())
        norms = [module for module in head.modules() if isinstance(module, nn.InstanceNorm2d)]
        assert len(norms) == 4
        assert all(norm.affine for norm in norms)
        assert sum(isinstance(module, nn.LeakyReLU) for module in head.modules()) == 4
        convolutions = [module for module in head.modules() if isinstance(module, nn.Conv2d)]
        assert [module.bias is not None for module in convolutions] == [False] * 4 + [True]


def test_the_compact_network_is_small_enough_for_a_cpu_and_a_bundle_of_16_mib() -> None:
    assert millions(CompactDenseSegNet(5)) * 1e6 * 2 < 16 * 2**20
    assert millions(CompactDenseSegNet(5)) < 0.35 * millions(DenseSegNet(5))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("uncertainty", [True, False])
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_outputs_lie_on_the_grid_and_on_the_grid_divided_by_the_stride(
    name: str, uncertainty: bool, size: tuple[int, int]
) -> None:
    network = NETWORKS[name](3, (4, 8, 16), uncertainty).eval()
    with torch.inference_mode():
        output = network(torch.randn(2, 1, *size))
    height, width = size[0] // network.stride, size[1] // network.stride
    assert network.stride == {"DenseSegNet": 1, "CompactDenseSegNet": 2}[name]
    assert output.mask_logits.shape == (2, 3, *size)
    assert output.uv.shape == (2, 3, 2, height, width)
    if uncertainty:
        assert output.log_scale is not None
        assert output.log_scale.shape == output.uv.shape
    else:
        assert output.log_scale is None


@pytest.mark.parametrize("name", NETWORKS)
def test_a_wild_activation_cannot_claim_an_endless_or_a_vanishing_spread(name: str) -> None:
    network = NETWORKS[name](2, (4, 8), True).eval()
    last = network.uv_head[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    for bias, bound in ((-1e4, LOG_SCALE_RANGE[0]), (1e4, LOG_SCALE_RANGE[1])):
        with torch.inference_mode():
            last.bias.fill_(bias)
            output = network(torch.randn(1, 1, 32, 32))
        assert output.log_scale is not None
        assert torch.all(output.log_scale == bound)
        assert torch.all((output.uv - bias).abs() < 1e3)  # uv itself is not bounded: the paper has no tanh


def test_uv_and_scale_of_a_structure_do_not_come_from_another_ones_channels() -> None:
    network = CompactDenseSegNet(3, (4, 8), True).eval()
    last = network.uv_head[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    with torch.inference_mode():
        last.weight.zero_()
        last.bias.copy_(torch.arange(12.0) / 20)
        output = network(torch.randn(1, 1, 32, 32))
    assert output.log_scale is not None
    torch.testing.assert_close(output.uv[0, :, :, 0, 0], torch.arange(6.0).reshape(3, 2) / 20)
    torch.testing.assert_close(output.log_scale[0, :, :, 0, 0], torch.arange(6.0, 12.0).reshape(3, 2) / 20)


def test_one_image_is_predicted_the_same_alone_and_in_a_batch() -> None:
    torch.manual_seed(0)
    network = CompactDenseSegNet(2, (4, 8)).eval()
    images = torch.randn(3, 1, 32, 32) * torch.tensor([1.0, 5.0, 0.2])[:, None, None, None]
    with torch.inference_mode():
        together, alone = network(images), network(images[1:2])
    torch.testing.assert_close(together.uv[1:2], alone.uv, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.mask_logits[1:2], alone.mask_logits, atol=1e-5, rtol=1e-4)
