"""Heatmaps of volumes are learned from tiles; what was stopped goes on exactly, a packed file teaches the same."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.intensity import IntensityRecipe
from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork, HeatmapOutput
from DenseLandmarksLib.models.predictors.heatmap_volume import COMPONENTS, HeatmapVolumePredictor
from DenseLandmarksLib.models.registry import open_predictor
from Testing.training.blob_volumes import LANDMARKS, write_blob_volumes
from Testing.training.kept_state import assert_same, rows_of, state_of
from training.__main__ import main
from training.fit import fit
from training.heatmap_recipe import HeatmapLossRecipe, HeatmapNetworkRecipe
from training.heatmap_volume_recipe import HeatmapVolumeRecipe, TilesRecipe
from training.heatmap_volume_task import HeatmapVolumeTask
from training.recipe import read_recipe, recipe_from_dict, recipe_to_dict
from training.run_recipe import OptimiserRecipe
from training.sight import see
from training.trainer import Trainer
from training.volume_data import read_volume_dataset
from training.volume_recipe import VolumeAlterationRecipe

RECIPES = Path(__file__).parents[2] / "training" / "recipes"
FOLDS = 3
STILL = VolumeAlterationRecipe(rotation_deg=0, scale=(1.0, 1.0), shift_mm=0, contrast=0, brightness=0, gamma=0, noise=0)
# Volumes of 44 mm: tiles of 32 x 32 x 48 mm are smaller along two axes, and larger along the third.
TINY = HeatmapVolumeRecipe(
    "tiny",
    "A few epochs on volumes of blobs.",
    seed=3,
    folds=FOLDS,
    confidence_radius_mm=3.0,
    intensity=IntensityRecipe("window", 0.0, 240.0),
    tiles=TilesRecipe(2.0, (16, 16, 24), 8),
    network=HeatmapNetworkRecipe("LocalisationUNet", {"filters": 8, "levels": 3, "dropout": 0.1, "norm": "instance"}),
    loss=HeatmapLossRecipe("distribution", sigma=1.0, absent_weight=0.2),
    augmentation=VolumeAlterationRecipe(rotation_deg=5, shift_mm=2, noise=0.02, crop=0.2, absent_mm=3),
    optimiser=OptimiserRecipe(epochs=4, batch=1, learning_rate=1e-2, ema=0.0),
)
TOML = """
family = "heatmap_volume"
seed = 3
[intensity]
low = 0.0
high = 240.0
[tiles]
size = [16, 16, 24]
step = 8
[network]
name = "SpatialConfigurationNet"
[network.arguments]
filters = 4
levels = 2
spatial_stride = 4
kernel = 3
[loss]
kind = "sum"
gamma = 1000.0
sigma = 1.5
learned_sigma = true
[augmentation]
elastic_mm = 1.0
[optimiser]
epochs = 2
batch = 2
ema = 0.0
"""

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_volumes(tmp_path_factory.mktemp("data") / "blobs", train=6, test=2)


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run of the tiny recipe."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    assert fit(TINY, data, output)
    return output


# ---- a run ----------------------------------------------------------------------------------------------------------


def test_blobs_are_learned_in_seconds(data: Path, tmp_path: Path) -> None:
    """To half a pixel of the heatmaps, which are 4 mm wide; where the landmarks are on average is 5 mm off."""
    recipe = replace(
        TINY,
        network=HeatmapNetworkRecipe("CompactHeatmapNet", {"channels": [8, 16, 16], "residual_units": 1}),
        augmentation=VolumeAlterationRecipe(5, shift_mm=2, contrast=0, brightness=0, gamma=0, noise=0.02, absent_mm=3),
        optimiser=OptimiserRecipe(epochs=40, batch=2, learning_rate=2e-2, ema=0.0),
    )
    assert fit(recipe, data, tmp_path)
    predictor = open_predictor(str(tmp_path / "bundle"), "cpu")
    errors = []
    for case in read_volume_dataset(data).of_split("test").cases:
        landmarks = predictor.predict(read_image(case.image_path)).landmarks
        assert landmarks.names == LANDMARKS
        errors.append(np.linalg.norm(landmarks.points_lps_mm - case.points_lps_mm, axis=1))
    assert np.mean(errors) < 2.0


def test_the_loss_falls(finished: Path) -> None:
    rows = rows_of(finished / "training.csv")
    assert list(rows[0]) == ["epoch", "loss", "seconds"]
    assert np.mean([row["loss"] for row in rows[2:]]) < np.mean([row["loss"] for row in rows[:2]])


def test_one_epoch_and_three_resumed_are_four(data: Path, finished: Path, tmp_path: Path) -> None:
    """Dropout, augmentation and the places of tiles draw numbers; none depends on what was before."""
    assert not fit(TINY, data, tmp_path, stop_after_epoch=1)
    torch.manual_seed(99)
    assert fit(TINY, data, tmp_path, resume=True)
    assert_same(state_of(tmp_path), state_of(finished))


def test_a_packed_file_teaches_to_the_last_bit_what_the_folder_does(data: Path, tmp_path: Path) -> None:
    recipe, packed = tmp_path / "tiny.toml", tmp_path / "packed.npz"
    recipe.write_text(TOML)
    assert main(["pack", "--data", str(data), "--output", str(packed), "--recipe", str(recipe)]) == 0
    for source, output in ((data, "folder"), (packed, "file")):
        command = ["fit", str(recipe), "--device", "cpu", "--data", str(source), "--output", str(tmp_path / output)]
        assert main(command) == 0
    assert_same(state_of(tmp_path / "folder"), state_of(tmp_path / "file"))
    assert list(rows_of(tmp_path / "folder" / "training.csv")[0]) == ["epoch", "loss", "heat", "sigma", "seconds"]
    assert (load_bundle(tmp_path / "file" / "bundle").weights["sigma"] != 1.5).any()
    other = replace(TINY, tiles=replace(TINY.tiles, spacing_mm=3.0))
    with pytest.raises(InputError, match="expected volumes at"):
        HeatmapVolumeTask.read(other, packed, "cpu", None)


def test_the_bundle_says_what_it_is(finished: Path) -> None:
    bundle = load_bundle(finished / "bundle")
    assert (bundle.family.name, bundle.landmark_names) == ("heatmap_volume", LANDMARKS)
    assert recipe_from_dict(bundle.metadata["training"]["recipe"]) == TINY
    assert bundle.joint_shape["mean_mm"]
    card = (finished / "bundle" / "docs" / "README.md").read_text()
    assert "LocalisationUNet on tiles of 16 x 16 x 24 voxels of 2 mm, 4 epochs" in card
    predictor = open_predictor(str(finished / "bundle"), "cpu")
    assert isinstance(predictor, HeatmapVolumePredictor)
    assert predictor.run_once()


def test_a_run_is_evaluated_on_cases_that_it_did_not_see(finished: Path, data: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    request = ["evaluate", "--model", str(finished / "bundle"), "--data", str(data), "--report", str(report)]
    assert main([*request, "--device", "cpu"]) == 0
    measured = json.loads(report.read_text())
    assert (measured["cases"], measured["all_landmarks"]["count"]) == (2, 8)


def test_held_out_cases_are_validated_and_not_trained_on(data: Path) -> None:
    task = HeatmapVolumeTask.read(replace(TINY, validation_fold=1), data, "cpu", None)
    assert task.held is not None
    assert not set(task.held.names) & set(task.cases.names)
    network = Trainer(task).network.eval()
    measured = task.validate(network)
    assert set(measured) == {"tre_mm", "over_10_mm_share"}
    assert 0 < measured["tre_mm"] < 60


# ---- what a step sees -----------------------------------------------------------------------------------------------


def test_tiles_lie_within_the_volume_and_show_its_blobs_where_they_are(data: Path) -> None:
    recipe = replace(TINY, augmentation=STILL)
    task = HeatmapVolumeTask.read(recipe, data, "cpu", None)
    centres, shown = [], 0
    for epoch in range(6):
        for batch in task.batches(epoch):
            pyramid = batch.seen[0].pyramid
            (centre,) = task.tile_centres(batch)
            sight = see([pyramid], centre[None], recipe.tiles.size, "cpu")
            centres.append(centre - torch.from_numpy(pyramid.centre_lps_mm))
            grid = pyramid.grids[0]
            room = (torch.tensor(grid.size) - torch.tensor(recipe.tiles.size)).clamp(min=0) * grid.spacing_mm / 2
            assert (centres[-1].abs() <= room + 1e-3).all()
            index = sight.index_of(batch.points_lps_mm)
            for row in (sight.holds(index, -2.0) & (batch.present == 1))[0].nonzero()[:, 0].tolist():
                x, y, z = index[0, row].round().int().tolist()
                near = sight.values[0, 0, z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2]
                assert near.max() > sight.values.mean() + 0.3
                shown += 1
    assert shown > 30
    spread = torch.stack(centres).std(dim=0)
    assert spread[0] > 2
    assert spread[2] == pytest.approx(0, abs=1e-3)  # turned volumes are 44 mm high as well


def test_a_landmark_beside_a_tile_costs_nothing_if_nothing_is_seen_of_it(data: Path) -> None:
    """A network that says nothing: what is far from the tile is zero anyway, what is near reaches into it."""
    loss = HeatmapLossRecipe("heat_reg", height=1.0, sigma=1.0)
    task = HeatmapVolumeTask.read(replace(TINY, augmentation=STILL, loss=loss), data, "cpu", None)
    batch = next(iter(task.batches(0)))

    class Silent(HeatmapNetwork):
        def __init__(self) -> None:
            super().__init__(4, 3, 1, 1, sigma=1.0)

        def draw(self, images: torch.Tensor) -> HeatmapOutput:
            return HeatmapOutput(torch.zeros(len(images), 4, *images.shape[2:]))

    def cost(x_voxels: float) -> float:
        case = batch.seen[0]
        task.tile_centres = lambda _: torch.zeros(1, 3)  # type: ignore[method-assign]
        points = torch.full((4, 3), torch.nan)
        points[0] = torch.tensor([x_voxels * 2.0, 0, 0])
        present = torch.tensor([1.0, torch.nan, torch.nan, torch.nan])
        seen = (replace(case, points_lps_mm=points, present=present),)
        return task.loss(Silent(), replace(batch, seen=seen), 0.0)[0].item()

    inside, border, beside, far = cost(0.0), cost(8.0), cost(9.0), cost(30.0)
    assert inside > border > beside > 0
    assert border == pytest.approx(inside / 2, rel=0.35)
    assert far == 0


# ---- recipes --------------------------------------------------------------------------------------------------------


def test_the_papers_recipe_builds_the_papers_network() -> None:
    recipe = read_recipe(RECIPES / "scn-paper-volume.toml")
    assert isinstance(recipe, HeatmapVolumeRecipe)
    assert recipe_from_dict(json.loads(json.dumps(recipe_to_dict(recipe)))) == recipe
    assert (recipe.tiles.size, recipe.tiles.spacing_mm, recipe.tiles.step) == ((96, 96, 192), 2.0, 64)
    assert (recipe.loss.gamma, recipe.loss.alpha, recipe.loss.sigma) == (1000, 100, 4)
    assert (recipe.optimiser.learning_rate, recipe.optimiser.weight_decay, recipe.optimiser.steps) == (
        5e-8,
        5e-4,
        40000,
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tiles": TilesRecipe(2.0, (18, 16, 24), 8)}, "tiles.size in multiples of 4"),
        ({"network": HeatmapNetworkRecipe("Net")}, "expected a network out of"),
        ({"network": HeatmapNetworkRecipe("LocalisationUNet", {"width": 3})}, "expected network.arguments"),
    ],
)
def test_recipes_that_do_not_fit_are_told(change: dict[str, Any], says: str, data: Path) -> None:
    task = HeatmapVolumeTask.read(replace(TINY, **change), data, "cpu", None)
    with pytest.raises(InputError, match=says) as told:
        task.new_network()
    assert "\n" not in str(told.value)


def test_recipes_that_make_no_sense_are_told() -> None:
    for wrong, says in (
        (lambda: TilesRecipe(step=200), "tiles.step"),
        (lambda: TilesRecipe(spacing_mm=0), "tiles.spacing_mm"),
        (lambda: replace(TINY, passes=0), "at least 1 pass"),
        (lambda: replace(TINY, present_above=0.0), "present_above"),
        (lambda: replace(TINY, loss=HeatmapLossRecipe(mask_weight=0.5)), "without masks"),
    ):
        with pytest.raises(InputError, match=says):
            wrong()


# ---- calibration ----------------------------------------------------------------------------------------------------


def test_a_model_that_was_never_trained_can_be_calibrated_with_what_it_really_says(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for fold in range(-1, FOLDS):
        task = HeatmapVolumeTask.read(replace(TINY, validation_fold=fold), data, "cpu", None)
        torch.manual_seed(fold)
        task.export(tmp_path / str(fold), task.new_network(), None)
    shutil.copytree(tmp_path / "-1", tmp_path / "model")
    folds = [str(tmp_path / str(fold)) for fold in range(FOLDS)]
    request = ["calibrate", "--model", str(tmp_path / "model"), "--folds", *folds, "--data", str(data)]
    assert main([*request, "--device", "cpu"]) == 0
    measured = json.loads(capsys.readouterr().out)
    assert (measured["cases"], measured["landmarks"]) == (6, 6 * 4 - 1)
    assert measured["presence"]["absent"] > 5
    inference = load_bundle(tmp_path / "model").inference
    assert tuple(inference["ellipsoids"]["weights"]) == COMPONENTS
    assert inference["presence"]["features"] == ["network", "heat", "inside"]
    predictor = open_predictor(str(tmp_path / "model"), "cpu")
    assert isinstance(predictor, HeatmapVolumePredictor)
    assert predictor.ellipsoids is not None
    assert predictor.presence is not None
    case = read_volume_dataset(data).of_split("test").cases[0]
    landmarks = predictor.predict(read_image(case.image_path)).landmarks
    assert np.linalg.eigvalsh(landmarks.covariance_mm2).min() > 0
