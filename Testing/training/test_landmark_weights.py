"""What a landmark weighs is its own share of a loss: not its neighbour's, and not that of the other side."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from DenseLandmarksLib.geometry.level_grid import LevelGrid
from DenseLandmarksLib.models.networks.multi_scale import LevelOutput, MultiScaleLocNet
from training.heatmap_losses import entropy_loss, height_loss, regression_loss
from training.stored_pyramid import StoredPyramid
from training.volume_augmentation import draw_seen
from training.volume_losses import distance_mm2, heat_entropy, presence_loss
from training.volume_recipe import ScaleLossRecipe, VolumeAlterationRecipe

# Landmarks 0 and 2 share a crop, 1 has one that repeats it.
GROUPS = (0, 1, 0)
Loss = Callable[[Tensor, Tensor | None], Tensor]
"""Of true positions and weights."""

pytestmark = pytest.mark.usefixtures("one_thread")


def stored() -> StoredPyramid:
    rng = np.random.default_rng(0)
    grids = [LevelGrid((0.0, 0.0, 0.0), 4.0, (8, 8, 8)), LevelGrid((0.0, 0.0, 0.0), 2.0, (16, 16, 16))]
    return StoredPyramid(grids, [rng.uniform(-1, 1, grid.size[::-1]).astype(np.float16) for grid in grids])


@pytest.fixture(scope="module")
def level() -> LevelOutput:
    torch.manual_seed(0)
    network = MultiScaleLocNet(3, (4.0, 2.0), 8, GROUPS, (4, 8)).eval()
    with torch.no_grad():
        return network([stored(), stored()])[0][1]


@pytest.fixture(scope="module")
def truth(level: LevelOutput) -> Tensor:
    """Positions (2, 3, 3) in the crops, each off by another way."""
    off = torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, 0, 3]])
    return level.centres_lps_mm[:, [0, 1, 0]] + off


def one_hot(case: int, landmark: int, weight: float = 0.25) -> Tensor:
    weights = torch.zeros(2, 3)
    weights[case, landmark] = weight
    return weights


def only(points: Tensor, case: int, landmark: int) -> Tensor:
    """The same with all other landmarks unknown."""
    keep = one_hot(case, landmark)[..., None] > 0
    return torch.where(keep.expand(points.shape), points, torch.nan)


def assert_each_counts_for_itself(loss: Loss, points: Tensor, known: int) -> None:
    """Of so many known landmarks each has its weight's share of a mean over all of them."""
    torch.testing.assert_close(loss(points, torch.ones(2, 3)), loss(points, None), rtol=1e-6, atol=0)
    for case in range(2):
        for landmark in range(3):
            own = loss(only(points, case, landmark), None)
            torch.testing.assert_close(loss(points, one_hot(case, landmark)), 0.25 * own / known, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("distance", ["squared", "huber"])
def test_distances(level: LevelOutput, truth: Tensor, distance: str) -> None:
    recipe = ScaleLossRecipe(distance=distance)  # type: ignore[arg-type]
    assert_each_counts_for_itself(lambda points, weights: distance_mm2(level, points, recipe, weights), truth, 6)


def test_heatmaps_of_crops(level: LevelOutput, truth: Tensor) -> None:
    assert_each_counts_for_itself(lambda points, weights: heat_entropy(level, points, 1.0, weights), truth, 6)


def test_presence() -> None:
    logits = torch.tensor([[1.0, -2, 0.5], [3, 0.1, -1]])
    present = torch.tensor([[1.0, 0, 1], [0, 1, 1]])
    torch.testing.assert_close(presence_loss(logits, present, torch.ones(2, 3)), presence_loss(logits, present))
    for case in range(2):
        for landmark in range(3):
            alone = torch.where(one_hot(case, landmark) > 0, present, torch.nan)
            own, all_of_them = presence_loss(logits, alone), presence_loss(logits, present, one_hot(case, landmark))
            torch.testing.assert_close(all_of_them, 0.25 * own / 6)


@pytest.mark.parametrize("kind", ["sum", "heat_reg", "distribution", "absent"])
def test_heatmaps(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    heat = torch.randn(2, 3, 8, 10, generator=generator)
    points = 2 + 4 * torch.rand(2, 3, 2, generator=generator)
    sigma = torch.tensor([1.0, 1.5, 2.0])

    def loss(at: Tensor, weights: Tensor | None) -> Tensor:
        present = torch.where(at.isfinite().all(dim=-1), 1.0, torch.nan)
        if kind == "sum":
            return regression_loss(heat, at, present, sigma, 10.0, 3.0, weights)[0]
        if kind == "heat_reg":
            return height_loss(heat, at, present, sigma, 4.0, weights)
        if kind == "absent":
            return entropy_loss(heat, torch.full_like(at, torch.nan), 1 - present, sigma, 0.7, weights)
        return entropy_loss(heat, at, present, sigma, 0.0, weights)

    # Payer's is a sum.
    assert_each_counts_for_itself(loss, points, 1 if kind == "sum" else 6)


def test_in_a_mirrored_volume_weights_change_sides_with_their_landmarks() -> None:
    recipe = VolumeAlterationRecipe(rotation_deg=0, scale=(1.0, 1.0), shift_mm=0, mirror=1.0)
    points = torch.tensor([[20.0, 10, 10], [8, 10, 10], [14, 20, 14]])
    weights = torch.tensor([0.25, 0.5, 1.0])
    rows = torch.tensor([1, 0, 2])
    generator = torch.Generator().manual_seed(0)
    seen = draw_seen(stored(), points, torch.zeros(3, dtype=torch.bool), rows, recipe, generator, weights)
    assert seen.weights is not None
    assert seen.weights.tolist() == [0.5, 0.25, 1.0]
    plain = draw_seen(stored(), points, torch.zeros(3, dtype=torch.bool), rows, recipe, generator)
    assert plain.weights is None
