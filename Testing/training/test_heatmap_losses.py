"""Heatmaps are compared with Gaussians where the landmarks are; what nobody knows teaches nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from DenseLandmarksLib.models.networks.compact_heatmap import CompactHeatmapNet
from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork
from DenseLandmarksLib.models.networks.spatial_configuration import SpatialConfigurationNet
from training.heatmap_losses import entropy_loss, height_loss, joint_mask_loss, regression_loss
from training.heatmap_targets import density_height, gaussian_heat, heat_pixels
from training.losses import mask_loss

NAN = math.nan
SIZES = {2: (9, 12), 3: (7, 9, 12)}
SIGMA = [1.0, 1.7, 2.5]
Drawn = tuple[Tensor, Tensor, Tensor, Tensor]


def on_the_grid(point: Tensor, sigma: float, size: tuple[int, ...]) -> NDArray[np.float64]:
    """exp(-|x - p|^2 / (2 sigma^2)) at every pixel, by the definition; ``point`` in the order x, y(, z)."""
    places = np.stack(np.meshgrid(*(np.arange(length) for length in size), indexing="ij"), axis=-1)
    return np.exp(-((places - point.double().numpy()[::-1]) ** 2).sum(axis=-1) / (2 * sigma**2))


@pytest.fixture(params=[2, 3])
def drawn(request: pytest.FixtureRequest) -> Drawn:
    """Heat (2, 3, *S) of noise, positions within, all present, and a sigma per landmark."""
    torch.manual_seed(0)
    size = SIZES[request.param]
    points = torch.rand(2, 3, len(size)) * (torch.tensor(size).flip(0) - 3) + 1
    return torch.randn(2, 3, *size), points, torch.ones(2, 3), torch.tensor(SIGMA, requires_grad=True)


# ---- targets --------------------------------------------------------------------------------------------------------


def test_positions_go_to_the_heatmap_as_the_networks_draw_it() -> None:
    """Pixel i of a heatmap of stride 2 lies between the image's pixels 2 i and 2 i + 1."""
    points = torch.tensor([[0.5, 20.5], [7.0, 0.0]])
    torch.testing.assert_close(heat_pixels(points, 1), points)
    torch.testing.assert_close(heat_pixels(points, 2), torch.tensor([[0.0, 10.0], [3.25, -0.25]]))


def test_the_target_is_a_gaussian_about_the_landmark(drawn: Drawn) -> None:
    heat, points, _, sigma = drawn
    size = tuple(heat.shape[2:])
    target = gaussian_heat(points, sigma, size, torch.tensor([1.0, 2.0, 3.0])).detach().numpy()
    for image in range(2):
        for landmark in range(3):
            expected = (landmark + 1) * on_the_grid(points[image, landmark], SIGMA[landmark], size)
            np.testing.assert_allclose(target[image, landmark], expected, atol=1e-5)


@pytest.mark.parametrize("size", [(61, 61), (41, 41, 41)])
def test_the_papers_gaussian_holds_gamma(size: tuple[int, ...]) -> None:
    """However wide it is, and so its height is gamma / ((2 pi)^(d/2) sigma^d)."""
    sigma = torch.tensor([1.5, 2.5, 4.0])
    points = torch.full((1, 3, len(size)), size[0] / 2 - 0.3)
    height = density_height(100.0, sigma, len(size))
    assert float(height[1]) == pytest.approx(100 / ((2 * math.pi) ** (len(size) / 2) * 2.5 ** len(size)))
    held = gaussian_heat(points, sigma, size, height).flatten(2).sum(dim=2)
    torch.testing.assert_close(held, torch.full((1, 3), 100.0), rtol=2e-3, atol=0)


# ---- heights --------------------------------------------------------------------------------------------------------


def test_the_papers_loss_is_half_the_sum_of_squares_and_of_sigmas_per_image(drawn: Drawn) -> None:
    heat, points, present, sigma = drawn
    present[0, 1] = 0
    dimensions, size = points.shape[-1], tuple(heat.shape[2:])
    squared, sigmas = 0.0, 0.0
    for image in range(2):
        for landmark in range(3):
            target = np.zeros(size)
            if present[image, landmark]:
                height = 50 / ((2 * math.pi) ** (dimensions / 2) * SIGMA[landmark] ** dimensions)
                target = height * on_the_grid(points[image, landmark], SIGMA[landmark], size)
                sigmas += SIGMA[landmark] ** 2
            squared += ((heat[image, landmark].double().numpy() - target) ** 2).sum()
    loss, terms = regression_loss(heat, points, present, sigma, gamma=50.0, alpha=20.0)
    assert float(terms["heat"].detach()) == pytest.approx(0.5 * squared / 2, rel=1e-5)
    assert float(terms["sigma"].detach()) == pytest.approx(20 * 0.5 * sigmas / 2, rel=1e-5)
    assert float(loss.detach()) == pytest.approx(0.5 * squared / 2 + 20 * 0.5 * sigmas / 2, rel=1e-5)


def test_sigma_learns_through_the_targets(drawn: Drawn) -> None:
    """The gradient is that of finite differences."""
    heat, points, present, sigma = (values.detach().double() for values in drawn)

    def loss_of(values: Tensor) -> Tensor:
        return regression_loss(heat, points, present, values, gamma=50.0, alpha=3.0)[0]

    with torch.autocast("cpu", enabled=False):
        assert torch.autograd.gradcheck(loss_of, sigma.requires_grad_(), eps=1e-2, atol=1e-2, rtol=1e-2)


def test_sigma_comes_to_the_width_that_is_drawn_and_alpha_keeps_it_small() -> None:
    points = torch.tensor([[[15.0, 16.0]]])
    heat = gaussian_heat(points, torch.tensor([3.0]), (32, 32), density_height(100.0, torch.tensor([3.0]), 2))
    found = []
    for alpha in (0.0, 5.0):
        sigma = torch.tensor([2.5], requires_grad=True)
        optimiser = torch.optim.Adam([sigma], lr=0.1)
        for _ in range(50):
            optimiser.zero_grad()
            regression_loss(heat, points, torch.ones(1, 1), sigma, gamma=100.0, alpha=alpha)[0].backward()
            optimiser.step()
        found.append(float(sigma.detach()))
    assert found[0] == pytest.approx(3.0, abs=0.02)
    assert found[1] < 2.9


def test_what_is_absent_should_be_nothing_and_what_is_unknown_may_be_anything(drawn: Drawn) -> None:
    heat, points, present, sigma = drawn
    heat.requires_grad_()
    present[0, 0], present[0, 1], present[1, 2] = 0, NAN, NAN
    points[0, :2] = NAN
    points[1, 0] = NAN  # said to be there, but nobody marked it
    loss, terms = regression_loss(heat, points, present, sigma, gamma=50.0, alpha=20.0)
    loss.backward()
    assert heat.grad is not None
    assert sigma.grad is not None
    torch.testing.assert_close(heat.grad[0, 0], heat[0, 0].detach() / 2)
    for image, landmark in ((0, 1), (1, 2), (1, 0)):
        assert not heat.grad[image, landmark].any()
    assert heat.grad[0, 2].any()
    assert float(sigma.grad[0]) == 0.0
    assert torch.isfinite(sigma.grad).all()
    assert float(terms["sigma"].detach()) == pytest.approx(10 * (SIGMA[1] ** 2 + SIGMA[2] ** 2) / 2)


def test_of_a_landmark_beyond_the_border_the_tail_is_taught() -> None:
    points = torch.tensor([[[-2.0, 5.0], [1e6, -1e6]]])
    heat = torch.zeros(1, 2, 11, 11, requires_grad=True)
    height = density_height(100.0, torch.tensor(2.0), 2)
    loss, _ = regression_loss(heat, points, torch.ones(1, 2), torch.tensor([2.0, 2.0]), 100.0, 0.0)
    loss.backward()
    assert heat.grad is not None
    assert float(heat.grad[0, 0, 5, 0]) == pytest.approx(-float(height) * math.exp(-0.5), rel=1e-4)
    assert not heat.grad[0, 1].any()


def test_heat_reg_compares_means_with_gaussians_of_one_height(drawn: Drawn) -> None:
    heat, points, present, _ = drawn
    sigma = torch.full((3,), 8.0)
    target = 44 * torch.from_numpy(
        np.stack(
            [[on_the_grid(points[image, row], 8.0, tuple(heat.shape[2:])) for row in range(3)] for image in range(2)]
        )
    )
    everything = height_loss(heat, points, present, sigma, 44.0)
    assert float(everything) == pytest.approx(float(torch.nn.functional.mse_loss(heat.double(), target)), rel=1e-5)
    present[0, 2], present[1, 1] = NAN, 0
    target[1, 1] = 0
    errors = (heat - target).square().flatten(2).mean(dim=2)
    expected = (errors.sum() - errors[0, 2]) / 5
    assert float(height_loss(heat, points, present, sigma, 44.0)) == pytest.approx(float(expected), rel=1e-5)


# ---- a distribution -------------------------------------------------------------------------------------------------


def test_the_entropy_is_that_of_the_softmax_with_a_gaussian(drawn: Drawn) -> None:
    """By the definition, on the grid, of the landmarks that are there and known."""
    heat, points, present, sigma = drawn
    present[0, 1], present[1, 0] = 0, NAN
    entropies = []
    for image, landmark in ((0, 0), (0, 2), (1, 1), (1, 2)):
        target = on_the_grid(points[image, landmark], SIGMA[landmark], tuple(heat.shape[2:]))
        logits = heat[image, landmark].double().numpy()
        logits = logits - np.log(np.exp(logits).sum())
        entropies.append(-(target / target.sum() * logits).sum())
    loss = entropy_loss(heat, points, present, sigma.detach())
    assert float(loss) == pytest.approx(np.mean(entropies), rel=1e-5)


def test_the_best_heatmap_is_the_gaussian_at_the_landmark(drawn: Drawn) -> None:
    _, points, present, sigma = drawn
    size = SIZES[points.shape[-1]]
    best = gaussian_heat(points, sigma, size, 1.0).detach().clamp(min=1e-30).log().requires_grad_()
    entropy_loss(best, points, present, sigma.detach()).backward()
    assert best.grad is not None
    assert best.grad.abs().max() < 1e-6


def test_landmarks_off_the_map_cost_nothing() -> None:
    """The outermost pixels reach to their own edge, half a pixel from their centres."""
    heat = torch.randn(1, 5, 6, 8, requires_grad=True)
    points = torch.tensor([[[-0.4, 5.4], [7.6, 2.0], [3.0, -0.6], [NAN, NAN], [1e9, -1e9]]])
    entropy_loss(heat, points, torch.ones(1, 5), torch.full((5,), 1.5)).backward()
    assert heat.grad is not None
    assert heat.grad[0, 0].any()
    assert not heat.grad[0, 1:].any()
    nothing = entropy_loss(heat, points + NAN, torch.ones(1, 5), torch.full((5,), 1.5))
    assert float(nothing.detach()) == 0.0


def test_an_absent_landmark_can_be_taught_to_be_nowhere() -> None:
    points, sigma = torch.full((1, 1, 2), NAN), torch.tensor([1.5])
    peaked = 5 * gaussian_heat(torch.tensor([[[3.0, 4.0]]]), sigma, (8, 8), 1.0)

    def loss_of(heat: Tensor, present: float, weight: float) -> float:
        return float(entropy_loss(heat, points, torch.full((1, 1), present), sigma, weight))

    assert loss_of(peaked, 0.0, 0.0) == 0.0
    assert loss_of(torch.full((1, 1, 8, 8), 3.0), 0.0, 0.5) == pytest.approx(0.5 * math.log(64), rel=1e-5)
    assert loss_of(peaked, 0.0, 0.5) > 0.5 * math.log(64) + 0.1
    assert loss_of(peaked, NAN, 0.5) == 0.0


class Largest(TorchDispatchMode):
    """The most numbers that any operation returned in memory of its own."""

    def __init__(self, *known: Tensor) -> None:
        super().__init__()
        self.known, self.numbers = {tensor.untyped_storage().data_ptr() for tensor in known}, 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        returned = func(*args, **(kwargs or {}))
        if isinstance(returned, Tensor) and returned.untyped_storage().data_ptr() not in self.known:
            self.numbers = max(self.numbers, returned.numel())
        return returned


def test_the_entropy_of_a_volume_needs_no_target_as_large_as_the_heatmaps() -> None:
    heat, points = torch.randn(1, 4, 16, 20, 24), torch.full((1, 4, 3), 7.0)
    with Largest(heat) as largest:
        entropy_loss(heat, points, torch.ones(1, 4), torch.full((4,), 1.5), 0.1)
    assert 0 < largest.numbers <= heat.numel() / 16
    with Largest(heat) as largest:
        height_loss(heat, points, torch.ones(1, 4), torch.full((4,), 1.5), 44.0)
    assert largest.numbers == heat.numel()


# ---- masks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bce", "dice_bce"])
def test_masks_of_joint_networks_cost_what_they_cost_elsewhere(kind: str) -> None:
    torch.manual_seed(0)
    logits, masks = torch.randn(2, 3, 4, 5, 6), (torch.rand(2, 3, 4, 5, 6) > 0.7).float()
    annotated = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    weight = torch.tensor([1.0, 5.0, 9.0])
    flat = joint_mask_loss(logits[:, :, 0], masks[:, :, 0], annotated, weight, kind)
    torch.testing.assert_close(flat, mask_loss(logits[:, :, 0], masks[:, :, 0], annotated, weight, kind))
    volume = joint_mask_loss(logits, masks, annotated, weight, kind)
    # The slices of a volume beside each other are an image of the same pixels.
    beside = mask_loss(logits.flatten(2, 3), masks.flatten(2, 3), annotated, weight, kind)
    torch.testing.assert_close(volume, beside)


# ---- learning -------------------------------------------------------------------------------------------------------

Criterion = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def learnt(network: HeatmapNetwork, criterion: Criterion, steps: int, rate: float) -> Tensor:
    """Distances in image pixels between bright and dark blobs in new images and the maxima of their heatmaps."""
    torch.manual_seed(1)
    size = ({2: 32, 3: 20}[network.dimensions],) * network.dimensions

    def images_and_points(number: int) -> tuple[Tensor, Tensor]:
        points = 4 + (size[0] - 9) * torch.rand(number, 2, network.dimensions)
        blobs = gaussian_heat(points, torch.tensor([2.0, 2.0]), size, torch.tensor([1.0, -1.0]))
        return blobs.sum(dim=1, keepdim=True) + 0.05 * torch.randn(number, 1, *size), points

    optimiser = torch.optim.AdamW(network.parameters(), lr=rate)
    network.train()
    for _ in range(steps):
        images, points = images_and_points(4)
        optimiser.zero_grad()
        heat = network(images).heat
        criterion(heat, heat_pixels(points, network.stride), torch.ones(4, 2), network.sigma).backward()
        optimiser.step()
    network.eval()
    with torch.no_grad():
        images, points = images_and_points(16)
        heat = network(images).heat
    at = torch.stack(torch.unravel_index(heat.flatten(2).argmax(dim=2), heat.shape[2:]), dim=-1).flip(-1)
    return ((at + 0.5) * network.stride - 0.5 - points).norm(dim=-1)


def by_entropy(heat: Tensor, points: Tensor, present: Tensor, sigma: Tensor) -> Tensor:
    return entropy_loss(heat, points, present, torch.full_like(sigma, 1.0))


def by_heights(heat: Tensor, points: Tensor, present: Tensor, sigma: Tensor) -> Tensor:
    return regression_loss(heat, points, present, sigma, gamma=100.0, alpha=2.0)[0]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_small_network_learns_where_the_blobs_are_by_their_distribution(dimensions: int) -> None:
    torch.manual_seed(0)
    network = CompactHeatmapNet(2, dimensions, channels=(8, 16), residual_units=1)
    distances = learnt(network, by_entropy, 60, 1e-2)
    assert distances.median() < 1.3
    assert distances.quantile(0.9) < 2.5


def test_a_small_spatial_configuration_net_learns_the_heights_and_its_sigmas() -> None:
    torch.manual_seed(0)
    network = SpatialConfigurationNet(
        2, 2, filters=12, levels=3, spatial_stride=4, kernel=5, head_std=0.05, dropout=0.1
    )
    distances = learnt(network, by_heights, 120, 5e-3)
    assert distances.median() < 0.8
    assert distances.quantile(0.9) < 2.0
    assert (network.sigma.detach() - 2.5).abs().max() > 0.02
