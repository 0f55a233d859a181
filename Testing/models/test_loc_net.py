"""Loc-Net is the paper's, and its centre of mass, spread and entropy are what they are of closed-form heatmaps."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from DenseLandmarksLib.models.networks.loc_net import Centre, LocNet, centre_of_mass, entropy_of, heat_covariance

CENTRES = get_args(Centre)
# Different along x, y and z, so that axes cannot be mistaken for each other.
SHAPE_ZYX = (12, 16, 20)


def logits_of(mass: Tensor, centre: Centre) -> Tensor:
    """Logits (1, 1, z, y, x) whose mass is ``mass`` (z, y, x), which is not negative."""
    return (mass if centre == "relu" else mass.clamp(min=1e-30).log())[None, None]


def gaussian(at_xyz: tuple[float, float, float], covariance: np.ndarray) -> Tensor:
    """A Gaussian (z, y, x) on the voxels."""
    z, y, x = np.indices(SHAPE_ZYX)
    away = np.stack([x, y, z], axis=-1) - np.array(at_xyz)
    exponent = np.einsum("...a,ab,...b->...", away, np.linalg.inv(covariance), away)
    return torch.from_numpy(np.exp(-exponent / 2)).float()


# ---- the network ----------------------------------------------------------------------------------------------------


def test_in_paper_mode_the_layers_are_those_of_the_papers_code() -> None:
    """Section 3.3 of papers.md: 16-32-64-128 / 64-32-16, one convolution each, no normalisation, a head of 1 x 1 x 1."""
    net = LocNet(1, encoder_dropout=0.5, decoder_dropout=0.5)
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv3d)]
    assert [(conv.in_channels, conv.out_channels) for conv in convolutions] == [
        (1, 16),
        (16, 32),
        (32, 64),
        (64, 128),
        (128 + 64, 64),
        (64 + 32, 32),
        (32 + 16, 16),
        (16, 1),
    ]
    assert [conv.kernel_size for conv in convolutions] == [(3, 3, 3)] * 7 + [(1, 1, 1)]
    assert all(conv.bias is not None for conv in convolutions)
    kinds = {type(module) for module in net.modules()} - {LocNet, nn.ModuleList}
    assert {kind.__name__ for kind in kinds} == {"_Block", "Conv3d", "ReLU", "Dropout"}
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.5] * 7
    assert sum(p.numel() for p in net.parameters()) == 726_561


def test_the_weights_begin_as_he_and_colleagues_have_them() -> None:
    torch.manual_seed(0)
    net = LocNet(1)
    for conv in (m for m in net.modules() if isinstance(m, nn.Conv3d) and m.out_channels > 1):
        inputs = conv.in_channels * math.prod(conv.kernel_size)
        assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / inputs), rel=0.1)
        assert conv.bias is not None
        assert not conv.bias.any()
    assert net.head.bias is not None
    assert net.head.bias.item() > 0  # a heatmap that is zero everywhere has no gradient


def test_it_pools_by_the_maximum_and_widens_to_the_nearest() -> None:
    """A network of ones shows which voxels a voxel of the output comes from."""
    net = LocNet(1, (1, 1))
    for name, value in net.named_parameters():
        nn.init.zeros_(value)
        if name.endswith("weight") and value.shape[-1] == 3:
            value.data[:, 0, 1, 1, 1] = 1  # only what comes from below, at the centre
    crops = torch.rand(1, 1, 8, 8, 8)
    features, deepest = net.features(crops)
    blocks = crops.reshape(1, 1, 4, 2, 4, 2, 4, 2).amax(dim=(3, 5, 7))
    assert torch.equal(deepest, blocks)
    assert torch.equal(features, blocks.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4))


def test_each_landmark_has_its_own_row_of_the_head() -> None:
    net = LocNet(5, (4, 8))
    features = torch.randn(2, 4, 4, 6, 8)
    every = net.head(features)
    some = net.heat_of(features, torch.tensor([[0, 3], [4, 4]]))
    torch.testing.assert_close(some[0], every[0, [0, 3]])
    torch.testing.assert_close(some[1], every[1, [4, 4]])


def test_normalised_blocks_take_other_contrast_for_the_same() -> None:
    torch.manual_seed(1)
    net = LocNet(1, (4, 8), convolutions=2, is_normalised=True).eval()
    crops = torch.randn(1, 1, 8, 8, 8)
    one, other = net.features(crops)[1], net.features(3 * crops)[1]
    torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


# ---- centre of mass -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("centre", CENTRES)
def test_the_centre_of_one_voxel_is_that_voxel(centre: Centre) -> None:
    mass = torch.zeros(SHAPE_ZYX)
    mass[3, 5, 17] = 100
    found = centre_of_mass(logits_of(mass, centre), centre)
    torch.testing.assert_close(found[0, 0], torch.tensor([17.0, 5.0, 3.0]), atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("centre", CENTRES)
def test_the_centre_of_a_gaussian_is_its_mean_between_voxels(centre: Centre) -> None:
    mean = (9.3, 7.6, 5.45)
    mass = gaussian(mean, np.diag([1.5, 1.2, 1.0]) ** 2)
    found = centre_of_mass(logits_of(mass, centre), centre)[0, 0]
    torch.testing.assert_close(found, torch.tensor(mean), atol=2e-4, rtol=0)


def test_the_papers_centre_has_its_small_number_above_and_below() -> None:
    """c = (sum of x h + 1e-5) / (sum of h + 1e-5): 1 where the heatmap is empty, of which no gradient comes back."""
    heat = torch.full((1, 1, *SHAPE_ZYX), -1.0, requires_grad=True)
    found = centre_of_mass(heat, "relu")
    assert found.flatten().tolist() == [1, 1, 1]
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert heat.grad is not None
    assert not heat.grad.any()
    faint = torch.zeros(1, 1, *SHAPE_ZYX)
    faint[..., 4, 3, 7] = 1e-5
    expected = torch.tensor([(7e-5 + 1e-5) / 2e-5, (3e-5 + 1e-5) / 2e-5, (4e-5 + 1e-5) / 2e-5])
    torch.testing.assert_close(centre_of_mass(faint, "relu")[0, 0], expected)


def test_negative_logits_have_no_mass_in_the_papers_centre() -> None:
    heat = torch.full((1, 1, *SHAPE_ZYX), -50.0)
    heat[..., 2, 3, 4] = 1
    torch.testing.assert_close(centre_of_mass(heat, "relu")[0, 0], torch.tensor([4.0, 3.0, 2.0]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("centre", CENTRES)
def test_half_precision_does_not_move_the_centre(centre: Centre) -> None:
    heat = gaussian((9.3, 7.6, 5.45), np.diag([1.5, 1.2, 1.0]))[None, None].half()
    found = centre_of_mass(heat, centre)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, centre_of_mass(heat.float(), centre))


@pytest.mark.parametrize("centre", CENTRES)
def test_heatmaps_that_move_by_voxels_move_the_centre_by_as_many(centre: Centre) -> None:
    mass = gaussian((8.3, 7.6, 5.45), np.diag([0.5, 0.6, 0.4]))
    moved = mass.roll((1, -2, 3), (0, 1, 2))
    shift = centre_of_mass(logits_of(moved, centre), centre) - centre_of_mass(logits_of(mass, centre), centre)
    torch.testing.assert_close(shift[0, 0], torch.tensor([3.0, -2.0, 1.0]), atol=1e-3, rtol=0)


# ---- spread and entropy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("centre", CENTRES)
def test_the_covariance_of_a_gaussian_is_its_own(centre: Centre) -> None:
    covariance = np.array([[2.0, 0.7, -0.4], [0.7, 1.6, 0.3], [-0.4, 0.3, 1.2]])
    mass = gaussian((9.3, 7.6, 5.45), covariance)
    found = heat_covariance(logits_of(100 * mass, centre), centre)[0, 0]
    torch.testing.assert_close(found, torch.from_numpy(covariance).float(), atol=5e-3, rtol=0)


@pytest.mark.parametrize("centre", CENTRES)
def test_a_sharp_peak_far_from_the_first_voxel_has_no_spread_below_zero(centre: Centre) -> None:
    mass = torch.zeros(8, 8, 112)
    mass[7, 6, 110:112] = torch.tensor([0.999, 0.001])
    found = heat_covariance(logits_of(1000 * mass, centre), centre)[0, 0].double()
    assert torch.linalg.eigvalsh(found).min() >= 0
    torch.testing.assert_close(found[0, 0].item(), 0.999 * 0.001, atol=1e-6, rtol=1e-3)
    assert not heat_covariance(torch.full((1, 1, 8, 8, 8), -1.0), "relu").any()


@pytest.mark.parametrize("centre", CENTRES)
def test_entropy_counts_the_voxels_that_a_heatmap_fills(centre: Centre) -> None:
    mass = torch.zeros(SHAPE_ZYX)
    mass[2:4, 5:8, 10:14] = 1
    assert entropy_of(logits_of(mass, centre), centre).item() == pytest.approx(math.log(2 * 3 * 4), abs=1e-3)
    one = torch.zeros(SHAPE_ZYX)
    one[2, 3, 4] = 1
    assert entropy_of(logits_of(one, centre), centre).item() == pytest.approx(0, abs=1e-3)
