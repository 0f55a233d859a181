"""Heatmap models of radiographs learn that what left the image is nowhere, and their folds learn as long as they do."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from DenseLandmarksLib.landmarks.heat_read_out import read_heat
from Testing.training.blob_radiographs import write_blob_radiographs
from training.heatmap_losses import entropy_loss
from training.heatmap_recipe import HeatmapNetworkRecipe, HeatmapRecipe, HeatmapTargetRecipe
from training.heatmap_targets import gaussian_heat
from training.heatmap_task import HeatmapTask
from training.recipe import read_recipe
from training.run_recipe import AugmentationRecipe
from training.trainer import Trainer

ROOT, NAN = Path(__file__).parents[2], math.nan
STILL = AugmentationRecipe(rotation_deg=0, scale=(1.0, 1.0), anisotropy=0, shift=0, contrast=0, brightness=0)
TARGET = HeatmapTargetRecipe(grid=(64, 48))
NETWORK = HeatmapNetworkRecipe("CompactHeatmapNet", {"channels": [8, 16], "residual_units": 1})

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_radiographs(tmp_path_factory.mktemp("data") / "blobs")


def test_what_absence_teaches_is_what_the_strength_is_read_from() -> None:
    """Of a peak that is taught to be absent nothing is left, of one beside it that is there nothing is lost."""
    points = torch.tensor([[[12.0, 20.0], [NAN, NAN]]])
    heat = (
        8 * gaussian_heat(torch.tensor([[[12.0, 20.0]] * 2]), torch.tensor([1.5] * 2), (48, 40), 1.0)
    ).requires_grad_()
    before = read_heat(heat[0].detach().numpy(), "distribution").strength
    optimiser = torch.optim.Adam([heat], lr=0.2)
    for _ in range(60):
        optimiser.zero_grad()
        entropy_loss(heat, points, torch.tensor([[1.0, 0.0]]), torch.tensor([1.5] * 2), 0.1).backward()
        optimiser.step()
    after = read_heat(heat[0].detach().numpy(), "distribution").strength
    assert before[1] > 0.5
    assert after[0] >= before[0] > 0.5
    assert after[1] < 2 * 49 / (48 * 40)  # the window's share of a map without any peak is 49 pixels of all


def test_absence_cannot_outweigh_what_is_there_however_wrong_it_is() -> None:
    """The slope at each map of logits is a difference of two distributions, at most 2 in all."""
    heat = (1e4 * torch.randn(2, 3, 16, 16)).requires_grad_()
    loss = entropy_loss(heat, torch.full((2, 3, 2), NAN), torch.zeros(2, 3), torch.full((3,), 1.5), 0.1)
    loss.backward()
    assert torch.isfinite(loss)
    assert heat.grad is not None
    assert float(heat.grad.abs().sum()) <= 0.1 * 2 + 1e-6


@pytest.mark.parametrize(("name", "cases", "steps"), [("hand-xray", 90, 2640), ("ceph-xray", 150, 2960)])
def test_a_fold_of_a_shipped_recipe_is_trained_as_long_as_the_final_model(
    data: Path, name: str, cases: int, steps: int
) -> None:
    recipe = read_recipe(ROOT / "training" / "recipes" / f"{name}.toml")
    assert isinstance(recipe, HeatmapRecipe)
    tiny = replace(recipe, target=TARGET, network=NETWORK)
    lengths = set()
    for fold in range(-1, recipe.folds):
        trainer = Trainer(HeatmapTask.read(replace(tiny, validation_fold=fold), data, "cpu", None))
        lengths.add(trainer.steps_per_epoch * recipe.optimiser.epochs)
        assert len(list(trainer._batches())) == trainer.steps_per_epoch
    # As many as passes over all cases of the data set took.
    assert lengths == {steps} == {cases // recipe.optimiser.batch * recipe.optimiser.epochs}


@pytest.mark.parametrize("name", ["hand-xray", "ceph-xray", "hand-xray-compact", "ceph-xray-compact"])
def test_shipped_recipes_teach_that_what_left_the_image_is_nowhere(data: Path, name: str) -> None:
    recipe = read_recipe(ROOT / "training" / "recipes" / f"{name}.toml")
    assert isinstance(recipe, HeatmapRecipe)
    far = replace(recipe, target=TARGET, network=NETWORK, augmentation=replace(STILL, shift=0.6))
    task = HeatmapTask.read(far, data, "cpu", None)
    batch = task.draw_batch(torch.arange(8), torch.Generator().manual_seed(2))
    gone = batch.present == 0
    assert gone.any()
    network = task.new_network()
    only_gone = replace(batch, present=torch.where(gone, 0.0, torch.nan))
    loss = task.loss(network, only_gone, 0.0)[0]
    heat = network(batch.images).heat
    if recipe.loss.kind == "distribution":  # no less than that of a map without any peak
        least = recipe.loss.absent_weight * np.log(heat[0, 0].numel()) - 1e-3
    else:  # whatever such a map shows is wrong
        least = 0.49 * float(heat.detach().square().flatten(2).sum(dim=2)[gone].sum()) / len(heat)
    assert float(loss.detach()) >= least > 0
    loss.backward()
    assert any(value.grad is not None and value.grad.any() for value in network.parameters())
