"""A run of heatmaps: it learns what it sees, goes on exactly, teaches a mirrored left as right, and decays what it should."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.networks.heatmap_networks import HEATMAP_NETWORKS
from DenseLandmarksLib.models.networks.localisation_unet import weights_of
from DenseLandmarksLib.models.predictors.heatmap import HeatmapPredictor
from DenseLandmarksLib.models.registry import open_predictor
from Testing.training.blob_radiographs import LANDMARKS, SPACING_MM, write_blob_radiographs
from Testing.training.kept_state import assert_a_packed_file_teaches_the_same, assert_same, rows_of, state_of
from training.__main__ import main
from training.fit import fit
from training.grid_cases import load_grid_cases, save_grid_cases
from training.heatmap_data import chosen_landmarks, farthest_points
from training.heatmap_recipe import (
    HeatmapLossRecipe,
    HeatmapNetworkRecipe,
    HeatmapRecipe,
    HeatmapTargetRecipe,
)
from training.heatmap_task import HeatmapTask
from training.recipe import read_recipe, recipe_from_dict, recipe_to_dict
from training.run_recipe import AugmentationRecipe, OptimiserRecipe
from training.trainer import Trainer, build_optimiser

ROOT = Path(__file__).parents[2]
STILL = AugmentationRecipe(rotation_deg=0, scale=(1.0, 1.0), anisotropy=0, shift=0, contrast=0, brightness=0)
TINY = HeatmapRecipe(
    "tiny",
    "Ten epochs on eight pictures of blobs.",
    seed=3,
    passes=2,
    network=HeatmapNetworkRecipe("CompactHeatmapNet", {"channels": [8, 16], "residual_units": 1}),
    target=HeatmapTargetRecipe(grid=(64, 48)),
    augmentation=AugmentationRecipe(rotation_deg=8, shift=0.05, elastic=0.03, bend="b_spline", noise=0.1),
    optimiser=OptimiserRecipe(epochs=10, batch=2, learning_rate=2e-2, ema=0.8),
)
SCN = HeatmapNetworkRecipe(
    "SpatialConfigurationNet", {"filters": 4, "levels": 2, "spatial_stride": 4, "kernel": 3, "dropout": 0.5}
)
PAPER = replace(
    TINY,
    network=SCN,
    loss=HeatmapLossRecipe("sum", sigma=2.5, learned_sigma=True),
    optimiser=OptimiserRecipe(
        "nesterov", "constant", 2, batch=1, learning_rate=1e-5, weight_decay=1e-3, decay="kernels", clip=1e4, ema=0.0
    ),
)
TOML = """
family = "heatmap"
[target]
grid = [64, 48]
[network]
name = "SpatialConfigurationNet"
[network.arguments]
filters = 4
levels = 2
spatial_stride = 4
kernel = 3
[loss]
kind = "sum"
sigma = 2.5
learned_sigma = true
[augmentation]
elastic = 0.02
[optimiser]
name = "nesterov"
steps = 6
epochs = 2
batch = 4
learning_rate = 1e-5
decay = "kernels"
"""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_radiographs(tmp_path_factory.mktemp("data") / "blobs")


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run of the tiny recipe, without fold 0."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    assert fit(replace(TINY, validation_fold=0), data, output)
    return output


# ---- a run ----------------------------------------------------------------------------------------------------------


def test_blobs_are_found_in_pictures_that_were_held_out(finished: Path, data: Path) -> None:
    """What the run measured is what the bundle's own predictor finds, in the millimetres of the data set."""
    losses = [row["loss"] for row in rows_of(finished / "training.csv")]
    assert losses[-1] < 0.7 * losses[0]
    predictor = open_predictor(str(finished / "bundle"), "cpu")
    assert isinstance(predictor, HeatmapPredictor)
    assert predictor.reading.passes == 2
    held = load_grid_cases(data, (64, 48)).of_split("train").fold(0, 5)[1]
    found = [predictor.look_on_grid(image.astype(np.float32), passes=1).points for image in held.images]
    errors = np.linalg.norm(np.stack(found) - held.points, axis=2) * SPACING_MM
    errors = errors[np.isfinite(errors)]
    (row,) = rows_of(finished / "validation.csv")
    assert row["tre_mm"] == pytest.approx(errors.mean(), abs=0.1)  # the bundle has half the digits
    assert row["from_10_mm_share"] == np.mean(errors >= 10)
    assert np.median(errors) < 3


def test_four_epochs_and_six_resumed_are_ten(data: Path, finished: Path, tmp_path: Path) -> None:
    recipe = replace(TINY, validation_fold=0)
    assert not fit(recipe, data, tmp_path, stop_after_epoch=4)
    torch.manual_seed(99)
    assert fit(recipe, data, tmp_path, resume=True)
    assert_same(state_of(tmp_path), state_of(finished))


def test_a_packed_file_teaches_to_the_last_bit_what_the_folder_does_without_readers_of_images(
    data: Path, tmp_path: Path
) -> None:
    """With dropout, learned widths and a length in steps, stopped after each part."""
    assert_a_packed_file_teaches_the_same(TOML, data, tmp_path)


def test_the_bundle_says_how_it_is_to_be_read(finished: Path, data: Path, tmp_path: Path) -> None:
    bundle = load_bundle(finished / "bundle")
    assert bundle.family.name == "heatmap"
    assert bundle.landmark_names == LANDMARKS
    assert bundle.landmark_structures == ("head",) * 4
    assert bundle.styles == ()
    assert bundle.inference["heat"] == "distribution"
    assert bundle.metadata["training"]["cases"] == 6
    assert recipe_from_dict(bundle.metadata["training"]["recipe"]) == replace(TINY, validation_fold=0)
    card = (finished / "bundle" / "docs" / "README.md").read_text()
    assert "Research use only" in card
    assert "6 `train` cases of `blobs`; network CompactHeatmapNet" in card
    task = HeatmapTask.read(PAPER, data, "cpu", None)
    task.export(tmp_path, task.new_network(), None)
    inference = load_bundle(tmp_path).inference
    assert inference["heat"] == "regression"
    assert inference["target"] == {"height": 100.0, "is_normalised": True}
    assert isinstance(open_predictor(str(tmp_path), "cpu"), HeatmapPredictor)


def test_what_was_measured_is_in_the_card(finished: Path, data: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(finished / "bundle", model)
    command = ["evaluate", "--model", str(model), "--data", str(data), "--split", "test", "--record"]
    assert main([*command, "--report", str(tmp_path / "report.json"), "--device", "cpu"]) == 0
    measured = load_bundle(model).metadata["measured"]
    assert measured["all_landmarks"]["count"] == 8
    lines = (model / "docs" / "README.md").read_text().splitlines()
    (row,) = [line for line in lines if line.startswith("| all 8 landmarks |")]
    assert f"{measured['all_landmarks']['tre_mm']['mean']:.2f}" in row
    assert any(line.startswith("Errors of 10 mm or more:") and "of 8" in line for line in lines)


def test_a_run_goes_on_from_a_model_of_the_same_landmarks(finished: Path, data: Path, tmp_path: Path) -> None:
    still = replace(TINY, version="1.1.0", optimiser=replace(TINY.optimiser, epochs=1, learning_rate=1e-9))
    assert fit(still, data, tmp_path / "run", start_from=finished / "bundle")
    parent, child = load_bundle(finished / "bundle"), load_bundle(tmp_path / "run" / "bundle")
    for name, weights in parent.weights.items():
        np.testing.assert_allclose(child.weights[name], weights, atol=1e-3)
    fewer = replace(still, target=replace(TINY.target, landmarks_share=0.75))
    with pytest.raises(InputError, match="finds the 3 landmarks of the recipe, this one finds 4 others"):
        fit(fewer, data, tmp_path / "other", start_from=finished / "bundle")


# ---- the paper's optimiser, and lengths in steps --------------------------------------------------------------------


def test_the_papers_decay_shrinks_kernels_and_nothing_else(data: Path) -> None:
    recipe = replace(PAPER, optimiser=replace(PAPER.optimiser, learning_rate=0.1, weight_decay=0.5))
    trainer = Trainer(HeatmapTask.read(recipe, data, "cpu", None))
    before = {name: value.detach().clone() for name, value in trainer.network.named_parameters()}
    for parameter in trainer.network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    trainer.optimiser.step()
    shrunk = set()
    for name, value in trainer.network.named_parameters():
        if not torch.equal(value, before[name]):
            # Nesterov's first step goes 1 + momentum times as far.
            torch.testing.assert_close(value, before[name] * (1 - 0.1 * 0.5 * 1.99))
            shrunk.add(name)
    kernels = {name for name, value in before.items() if value.ndim == 4}
    assert shrunk == kernels
    assert {"sigma", *(name for name in before if name.endswith("bias"))}.isdisjoint(shrunk)


def test_the_papers_loss_teaches_the_widths_of_landmarks_that_are_there(data: Path) -> None:
    task = HeatmapTask.read(PAPER, data, "cpu", None)
    trainer = Trainer(task)
    trainer.run_epoch()
    assert isinstance(trainer.network.sigma, torch.nn.Parameter)
    assert (trainer.network.sigma != 2.5).all()
    fixed = Trainer(HeatmapTask.read(replace(PAPER, loss=HeatmapLossRecipe("sum", sigma=2.5)), data, "cpu", None))
    fixed.run_epoch()
    assert (fixed.network.sigma == 2.5).all()  # type: ignore[operator]


def test_gradients_are_shortened_to_the_recipes_clip(data: Path) -> None:
    plain = OptimiserRecipe("nesterov", "constant", 1, 1, 1, 1.0, 0.0, momentum=1e-9, clip=1e-3, ema=0.0)
    trainer = Trainer(HeatmapTask.read(replace(PAPER, optimiser=plain), data, "cpu", None))
    before = torch.cat([value.detach().flatten().clone() for value in trainer.network.parameters()])
    trainer.run_epoch()
    after = torch.cat([value.detach().flatten() for value in trainer.network.parameters()])
    assert (after - before).norm() == pytest.approx(1e-3, rel=0.02)


def test_a_recipe_may_leave_gradients_as_long_as_they_are(data: Path) -> None:
    def first_step(clip: float) -> torch.Tensor:
        plain = OptimiserRecipe("nesterov", "constant", 1, 1, 1, 1e-5, 0.0, momentum=1e-9, clip=clip, ema=0.0)
        trainer = Trainer(HeatmapTask.read(replace(PAPER, optimiser=plain), data, "cpu", None))
        before = torch.cat([value.detach().flatten().clone() for value in trainer.network.parameters()])
        trainer.run_epoch()
        return torch.cat([value.detach().flatten() for value in trainer.network.parameters()]) - before

    torch.testing.assert_close(first_step(0.0), first_step(1e12))
    assert first_step(0.0).norm() > 2 * first_step(1e-3).norm() > 0
    # As the authors' code for volumes has it; that for cephalograms shortens them.
    clips = {name: read_recipe(ROOT / "training" / "recipes" / f"scn-paper-{name}.toml") for name in ("volume", "ceph")}
    assert {name: recipe.optimiser.clip for name, recipe in clips.items()} == {"volume": 0, "ceph": 1e4}
    with pytest.raises(InputError, match=r"expected optimiser\.clip of 0, for none, or above, got -1"):
        OptimiserRecipe(clip=-1.0)


def test_a_cosine_falls_to_a_hundredth_of_whatever_rate_it_begins_with() -> None:
    """The paper's 1e-5 at its 1e-3; a rate below that must not rise."""
    for rate in (1e-3, 1e-6):
        recipe = OptimiserRecipe("nesterov", "cosine", learning_rate=rate)
        optimiser, schedule = build_optimiser([torch.nn.Parameter(torch.zeros(1))], recipe, 20)
        rates = []
        for _ in range(20):
            rates.append(schedule.get_last_lr()[0])
            optimiser.step()
            schedule.step()
        assert rates == sorted(rates, reverse=True)
        assert schedule.get_last_lr()[0] == pytest.approx(rate / 100)


@pytest.mark.parametrize("cases", [3, 8])
def test_a_run_of_so_many_steps_has_them_however_many_cases_there_are(data: Path, tmp_path: Path, cases: int) -> None:
    every = load_grid_cases(data, (64, 48)).of_split("train")
    save_grid_cases(tmp_path / "few.npz", every.select(np.arange(len(every)) < cases))
    optimiser = replace(PAPER.optimiser, steps=20, epochs=2, schedule="falling")
    task = HeatmapTask.read(replace(PAPER, optimiser=optimiser), tmp_path / "few.npz", "cpu", None)
    trainer, rates, seen = Trainer(task), [], []
    for _ in range(2):
        for batch in trainer._batches():
            seen.append(batch.images)
            rates.append(trainer.schedule.get_last_lr()[0])
            trainer.optimiser.step()
            trainer.schedule.step()
        trainer.epoch += 1
    np.testing.assert_allclose(rates, [1e-5] * 10 + [5e-6] * 5 + [1e-6] * 5)
    assert len({image.numpy().tobytes() for image in seen}) == 20  # altered anew each time
    with pytest.raises(InputError, match=r"expected optimiser\.steps to be a multiple"):
        OptimiserRecipe(epochs=3, steps=20)


def test_recipes_of_before_are_read_as_they_were() -> None:
    values = recipe_to_dict(TINY)
    for new in ("steps", "decay", "momentum", "clip"):
        del values["optimiser"][new]
    for new in ("bend", "mirror"):
        del values["augmentation"][new]
    read = recipe_from_dict(values)
    assert read.optimiser == TINY.optimiser
    assert read.augmentation == replace(TINY.augmentation, bend="cubic")


# ---- landmarks, masks, the mirror -----------------------------------------------------------------------------------


def test_a_mirrored_left_is_taught_as_right(data: Path) -> None:
    recipe = replace(TINY, augmentation=replace(STILL, mirror=1.0))
    plain = HeatmapTask.read(replace(TINY, augmentation=STILL), data, "cpu", None)
    order = torch.arange(8)
    one = plain.draw_batch(order, torch.Generator().manual_seed(0))
    seen = HeatmapTask.read(recipe, data, "cpu", None).draw_batch(order, torch.Generator().manual_seed(0))
    torch.testing.assert_close(seen.images, one.images.flip(3), atol=1e-3, rtol=0)
    expected = one.points[:, [1, 0, 2, 3]].clone()
    expected[..., 0] = 47 - expected[..., 0]
    torch.testing.assert_close(seen.points, expected, atol=1e-3, rtol=0, equal_nan=True)
    sided = load_grid_cases(data, (64, 48))
    alone = sided.of_landmarks(np.array([0, 2, 3])).of_split("train")
    with pytest.raises(InputError, match="expected landmarks of both sides to mirror images, got left_ear alone"):
        HeatmapTask(recipe, plain.data, plain.template, alone, None)


def test_a_landmark_that_left_the_image_is_absent_and_one_that_nobody_marked_unknown(data: Path) -> None:
    far = replace(TINY, augmentation=replace(STILL, shift=0.6))
    task = HeatmapTask.read(far, data, "cpu", None)
    batch = task.draw_batch(torch.arange(8), torch.Generator().manual_seed(2))
    assert batch.present.isnan().sum() == 1
    assert (batch.present == 0).sum() > 2
    assert torch.equal(batch.points.isfinite().all(dim=2), batch.present == 1)
    inside = batch.points[batch.present == 1]
    assert ((inside >= -0.5) & (inside <= torch.tensor([47.5, 63.5]))).all()


def test_a_quarter_of_the_landmarks_is_spread_over_the_shape(phantom_folder: Path) -> None:
    line = np.column_stack([np.arange(9.0), np.zeros(9)])
    assert set(farthest_points(line, 3).tolist()) == {0, 4, 8}
    cases = load_grid_cases(phantom_folder, (32, 32)).of_split("train")
    rows = chosen_landmarks(cases, HeatmapTargetRecipe(landmarks_share=0.25))
    assert len(set(rows.tolist())) == len(rows)
    assert len(rows) == pytest.approx(0.25 * len(cases.landmark_names), abs=3)
    mean = np.nanmean(cases.points, axis=0)
    for structure in set(cases.landmark_structures):
        own = np.flatnonzero(np.array(cases.landmark_structures) == structure)
        kept = [row for row in rows if row in own]
        gaps = np.linalg.norm(mean[own][:, None] - mean[kept], axis=2).min(axis=1)
        first = np.linalg.norm(mean[own][:, None] - mean[own[: len(kept)]], axis=2).min(axis=1)
        assert gaps.max() < 0.5 * first.max()  # the first ones lie side by side


def test_a_joint_network_is_taught_masks_and_heatmaps(phantom_folder: Path, tmp_path: Path) -> None:
    recipe = HeatmapRecipe(
        "joint",
        sub_pixel=False,
        network=HeatmapNetworkRecipe("HeatRegNet", {"channels": [4, 8]}),
        target=HeatmapTargetRecipe((32, 32), landmarks_share=0.25, contours=True),
        loss=HeatmapLossRecipe("heat_reg", sigma=2.0, mask_weight=0.38),
        augmentation=STILL,
        optimiser=OptimiserRecipe("adam", "cosine", 1, batch=4, ema=0.0),
    )
    task = HeatmapTask.read(recipe, phantom_folder, "cpu", None)
    every = load_grid_cases(phantom_folder, (32, 32)).of_split("train")
    batch = task.draw_batch(torch.arange(8), torch.Generator().manual_seed(0))
    heart = task.structures.index("heart")
    of_heart = every.points[:, np.array(every.landmark_structures) == "heart"]
    for row in range(8):
        is_marked = bool(np.isfinite(of_heart[row]).all())
        assert bool(batch.annotated[row, heart]) == is_marked
        if is_marked:  # of the whole contour, not of the quarter
            assert (batch.masks[row, heart].numpy() > 0.5).sum() == polygon_mask(of_heart[row], (32, 32)).sum()
    loss, terms = task.loss(task.new_network(), batch, 0.0)
    torch.testing.assert_close(loss, 0.38 * terms["masks"] + 0.62 * terms["heat"])
    assert fit(recipe, phantom_folder, tmp_path)
    bundle = load_bundle(tmp_path / "bundle")
    assert tuple(style.name for style in bundle.styles) == task.structures
    assert isinstance(open_predictor(str(tmp_path / "bundle"), "cpu"), HeatmapPredictor)
    with pytest.raises(InputError, match=r"expected target\.contours = true"):
        replace(recipe, target=replace(recipe.target, contours=False))


# ---- what cannot be -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (HeatmapNetworkRecipe("Nobody"), "expected a network out of SpatialConfigurationNet"),
        (
            HeatmapNetworkRecipe("CompactHeatmapNet", {"width": 3}),
            "expected network.arguments that CompactHeatmapNet takes",
        ),
        (HeatmapNetworkRecipe("CompactHeatmapNet", {"channels": [4] * 7}), "expected target.grid in multiples of 128"),
    ],
)
def test_a_network_that_cannot_be_is_told_in_one_line(data: Path, network: HeatmapNetworkRecipe, says: str) -> None:
    with pytest.raises(InputError, match=says) as told:
        HeatmapTask.read(replace(TINY, network=network), data, "cpu", None).new_network()
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "name",
    [
        *("hand-xray", "ceph-xray", "scn-paper-hand", "scn-paper-ceph", "unet-paper-hand", "unet-paper-ceph"),
        *("heat-reg", "heat-reg-quarter", "heat-reg-joint"),
    ],
)
def test_the_recipes_describe_networks_that_exist(name: str, data: Path) -> None:
    """Built without memory for their weights."""
    recipe = read_recipe(ROOT / "training" / "recipes" / f"{name}.toml")
    assert isinstance(recipe, HeatmapRecipe)
    cases = load_grid_cases(data, (64, 48)).of_split("train")
    task = HeatmapTask.read(replace(TINY, validation_fold=-1), data, "cpu", None)
    own = HeatmapTask(
        replace(recipe, loss=replace(recipe.loss, mask_weight=0.0)), task.data, task.template, cases, None
    )
    with torch.device("meta"):
        network = own.new_network()
    count = sum(value.numel() for value in network.parameters())
    assert 1e5 < count < 4e7
    if "xray" in name:
        assert 2 * count < 16 * 2**20


@pytest.mark.parametrize(("what", "landmarks"), [("hand", 37), ("ceph", 19)])
def test_the_rival_at_the_papers_size_has_as_many_weights_and_is_trained_alike(what: str, landmarks: int) -> None:
    scn, u_net = (read_recipe(ROOT / "training" / "recipes" / f"{name}-paper-{what}.toml") for name in ("scn", "unet"))
    assert isinstance(scn, HeatmapRecipe)
    assert isinstance(u_net, HeatmapRecipe)
    with torch.device("meta"):
        weights = [
            weights_of(HEATMAP_NETWORKS[recipe.network.name](landmarks, **recipe.network.arguments))
            for recipe in (scn, u_net)
        ]
    assert weights[1] == pytest.approx(weights[0], rel=0.02)
    assert u_net.network.name == "LocalisationUNet"
    same = {"name": "", "description": "", "network": HeatmapNetworkRecipe()}
    assert replace(u_net, **same) == replace(scn, **same)  # type: ignore[arg-type]
