"""A run on volumes: what was stopped goes on exactly, a packed file teaches the same, and the model finds its way in LPS."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch.optim.swa_utils import AveragedModel

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.intensity import IntensityRecipe
from DenseLandmarksLib.models.networks.multi_scale import MultiScaleLocNet
from DenseLandmarksLib.models.predictors.multi_scale import MultiScalePredictor
from DenseLandmarksLib.models.registry import open_predictor
from Testing.training.blob_volumes import LANDMARKS, blob_volume, draw_points, write_blob_volumes
from Testing.training.kept_state import assert_a_packed_file_teaches_the_same, assert_same, rows_of, state_of
from training.fit import fit
from training.read_volumes import plan_spacings, read_volume_cases
from training.run_recipe import OptimiserRecipe
from training.trainer import running_mean
from training.volume_cases import load_packed_volumes, save_volume_cases
from training.volume_data import VolumeCase, read_volume_dataset
from training.volume_recipe import (
    LevelsRecipe,
    LocNetRecipe,
    ScaleLossRecipe,
    VolumeAugmentationRecipe,
    VolumeRecipe,
)
from training.volume_task import VolumeTask

ROOT = Path(__file__).parents[2]
TINY = VolumeRecipe(
    "tiny",
    "Four epochs on five volumes of blobs.",
    seed=3,
    passes=3,
    confidence_radius_mm=3.0,
    intensity=IntensityRecipe("window", 0.0, 240.0),
    levels=LevelsRecipe(crop_size=16, spacings_mm=(4.0, 2.0)),
    network=LocNetRecipe(channels=(4, 8), convolutions=1, dropout=0.1),
    loss=ScaleLossRecipe(schedule="equal", distance="huber", point_weight=0.05, heat_weight=1.0),
    augmentation=VolumeAugmentationRecipe(
        rotation_deg=10, shift_mm=3, crop=0.2, elastic_mm=1, guided=0.3, noise_mm=3, absent_mm=3
    ),
    optimiser=OptimiserRecipe(epochs=4, batch=1, learning_rate=2e-2, ema=0.9),
)
TOML = """
family = "multi_scale"
seed = 3
[intensity]
low = 0.0
high = 240.0
[levels]
crop_size = 16
spacings_mm = [4, 2]
[network]
channels = [4, 8]
convolutions = 1
dropout = 0.2
[augmentation]
elastic_mm = 1.0
[optimiser]
epochs = 2
batch = 2
"""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_volumes(tmp_path_factory.mktemp("data") / "blobs")


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run of the tiny recipe."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    assert fit(TINY, data, output)
    return output


# ---- a run ----------------------------------------------------------------------------------------------------------


def test_the_loss_falls(finished: Path) -> None:
    rows = rows_of(finished / "training.csv")
    assert list(rows[0]) == ["epoch", "loss", "level_0", "level_1", "heat", "presence", "seconds"]
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]


def test_one_epoch_and_three_resumed_are_four(data: Path, finished: Path, tmp_path: Path) -> None:
    """Dropout, augmentation, noise and the choice of guided volumes draw numbers; none depends on what was before."""
    assert not fit(TINY, data, tmp_path, stop_after_epoch=1)
    assert not (tmp_path / "bundle").exists()
    torch.manual_seed(99)
    assert fit(TINY, data, tmp_path, resume=True)
    assert_same(state_of(tmp_path), state_of(finished))
    one, other = load_bundle(tmp_path / "bundle").weights, load_bundle(finished / "bundle").weights
    for name, weight in one.items():
        np.testing.assert_array_equal(weight, other[name])


def test_a_packed_file_teaches_to_the_last_bit_what_the_folder_does_without_readers_of_images(
    data: Path, tmp_path: Path
) -> None:
    assert_a_packed_file_teaches_the_same(TOML, data, tmp_path)


def test_the_bundle_says_what_it_is_and_holds_the_running_mean(finished: Path) -> None:
    bundle, state = load_bundle(finished / "bundle"), state_of(finished)
    assert bundle.family.name == "multi_scale"
    assert not bundle.is_for_radiographs
    assert bundle.landmark_names == LANDMARKS
    assert bundle.landmark_structures == ("head",) * 4
    assert bundle.metadata["training"]["cases"] == 5
    predictor = open_predictor(str(finished / "bundle"), "cpu")
    assert isinstance(predictor, MultiScalePredictor)
    assert (predictor.passes, predictor.shift_mm, predictor.confidence_radius_mm) == (3, 3.0, 3.0)
    assert predictor.intensity == TINY.intensity
    assert predictor.joint_shape is not None
    for name, weight in bundle.weights.items():
        mean = state["average"][f"module.{name}"].numpy()
        np.testing.assert_allclose(weight, mean, rtol=1e-3, atol=1e-6)
    assert any(not np.allclose(w, state["network"][n].numpy(), rtol=1e-3) for n, w in bundle.weights.items())
    card = (finished / "bundle" / "docs" / "README.md").read_text()
    assert "Research use only" in card
    assert "5 `train` cases of `blobs`; a Loc-Net at each of the levels 4, 2 mm, crops of 16 voxels" in card


def test_the_model_predicts_in_lps_millimetres_however_the_volume_is_stored(finished: Path) -> None:
    predictor = open_predictor(str(finished / "bundle"), "cpu")
    points, middle = draw_points(np.random.default_rng(11))
    plain = blob_volume(points, middle, spacing_mm=(1.0, 1.0, 1.0))

    def predict(volume: sitk.Image) -> np.ndarray:
        landmarks = predictor.predict(MedicalImage(volume, SpacingSource.CALIBRATED)).landmarks
        assert np.linalg.eigvalsh(landmarks.covariance_mm2).min() > 0
        return landmarks.points_lps_mm

    expected = predict(plain)
    # Four epochs are few, but beyond a guess.
    assert np.linalg.norm(expected - points, axis=1).mean() < 7
    np.testing.assert_allclose(
        predict(blob_volume(points, middle, 44, (1, 1, 1), np.diag([-1.0, 1, -1]))), expected, atol=0.01
    )
    for pixel_type in (sitk.sitkUInt8, sitk.sitkInt16, sitk.sitkFloat32):
        np.testing.assert_allclose(predict(sitk.Cast(plain, pixel_type)), expected, atol=0.2)
    moved = sitk.Image(plain)
    moved.SetOrigin([at + 64.0 for at in plain.GetOrigin()])
    np.testing.assert_allclose(predict(moved), expected + 64, atol=1e-3)
    for padding in (np.nan, -3024.0):
        padded = sitk.ConstantPad(plain, (6, 6, 6), (6, 6, 6), padding)
        # There is as much of nothing on all sides, and the network's own border is farther away.
        np.testing.assert_allclose(predict(padded), expected, atol=0.5)


def test_a_run_goes_on_from_a_model(finished: Path, data: Path, tmp_path: Path) -> None:
    still = replace(TINY, version="1.1.0", optimiser=replace(TINY.optimiser, epochs=1, learning_rate=1e-9))
    assert fit(still, data, tmp_path / "run", start_from=finished / "bundle")
    parent, child = load_bundle(finished / "bundle"), load_bundle(tmp_path / "run" / "bundle")
    for name, weights in parent.weights.items():
        np.testing.assert_allclose(child.weights[name], weights, atol=1e-3)
    assert child.metadata["training"]["started_from"] == "tiny 1.0.0"


def test_a_loss_that_is_no_number_ends_the_run_in_one_line(data: Path, tmp_path: Path) -> None:
    wild = replace(TINY, optimiser=replace(TINY.optimiser, learning_rate=1e30, schedule="constant"))
    with pytest.raises(InputError, match=r"expected a finite loss, got .* Lower optimiser\.learning_rate"):
        fit(wild, data, tmp_path)


def test_the_running_mean_leaves_whole_numbers_as_they_are() -> None:
    """Torch's own makes landmark 3 landmark 2: the mean of the weights would read the wrong heatmaps."""
    network = MultiScaleLocNet(45, [2.0, 1.0], 16, [row // 3 for row in range(45)], (2, 4))
    mean = AveragedModel(network, multi_avg_fn=running_mean(0.9), use_buffers=True)
    before = network.net(0).head.weight.detach().clone()
    with torch.no_grad():
        for _ in range(20):
            mean.update_parameters(network)
        network.net(0).head.weight += 1.0
        mean.update_parameters(network)
    averaged = mean.module
    assert isinstance(averaged, MultiScaleLocNet)
    assert torch.equal(averaged.rows, network.rows)
    assert torch.equal(averaged.all_rows, network.all_rows)
    torch.testing.assert_close(averaged.net(0).head.weight, before + 0.1, atol=1e-5, rtol=1e-5)


# ---- folds, levels and groups ---------------------------------------------------------------------------------------


def test_held_out_and_test_cases_are_never_trained_on(data: Path, tmp_path: Path) -> None:
    recipe = replace(TINY, validation_fold=1, optimiser=replace(TINY.optimiser, epochs=1))
    task = VolumeTask.read(recipe, data, "cpu", None)
    dataset = read_volume_dataset(data)
    rest, held = dataset.of_split("train").fold(1, 5)  # as the calibration deals them
    assert task.held is not None
    assert set(task.held.names) == {case.name for case in held.cases}
    assert set(task.cases.names) == {case.name for case in rest.cases}
    assert not {case.name for case in dataset.of_split("test").cases} & {*task.cases.names, *task.held.names}
    assert fit(recipe, data, tmp_path)
    (row,) = rows_of(tmp_path / "validation.csv")
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.metadata["training"]["cases"] == 4
    predictor = open_predictor(str(tmp_path / "bundle"), "cpu")
    assert isinstance(predictor, MultiScalePredictor)
    (case,) = held.cases
    seen = replace(predictor, passes=1).look(read_image(case.image_path))
    errors = np.linalg.norm(seen.points_lps_mm - case.points_lps_mm, axis=1)
    # Weights of half the digits, and values that are not in 256 steps.
    assert row["tre_mm"] == pytest.approx(np.nanmean(errors), abs=0.1)
    assert row["over_10_mm_share"] == np.mean(errors[np.isfinite(errors)] > 10)


def test_levels_are_planned_from_the_extents(tmp_path: Path) -> None:
    """As 448 voxels of 0.5 mm and crops of 56: here an eighth of both."""
    cases = []
    for number, size in enumerate([(56, 40, 48), (50, 50, 30), (30, 30, 30)]):
        volume = sitk.Image(size, sitk.sitkUInt8)
        volume[0, 0, 0] = 1
        volume.SetSpacing((0.5, 0.5, 0.5))
        sitk.WriteImage(volume, str(tmp_path / f"{number}.nrrd"))
        cases.append(VolumeCase(str(number), tmp_path / f"{number}.nrrd", "train", np.zeros((1, 3)), np.zeros(1, bool)))
    assert plan_spacings(cases, 7) == pytest.approx((4, 2, 1, 0.5))
    assert plan_spacings(cases, 56) == pytest.approx((0.5,))


def test_a_recipe_may_leave_levels_and_groups_open(data: Path) -> None:
    recipe = replace(TINY, levels=LevelsRecipe(crop_size=16))
    task = VolumeTask.read(recipe, data, "cpu", None)
    assert task.recipe.levels.groups == (0, 1, 2, 3)
    coarse, fine = task.recipe.levels.spacings_mm[0], task.recipe.levels.spacings_mm[-1]
    assert fine == 2
    for pyramid in task.cases.pyramids:
        assert max(pyramid.grids[0].size) <= 16
    assert coarse == pytest.approx(44 * (np.cos(np.deg2rad(25)) + np.sin(np.deg2rad(25))) / 16, rel=0.03)


def test_a_packed_file_of_other_levels_or_another_window_is_told(data: Path, tmp_path: Path) -> None:
    cases = read_volume_cases(data, (8.0,), TINY.intensity)
    assert cases.names == tuple(case.name for case in read_volume_dataset(data).cases)
    save_volume_cases(tmp_path / "packed.npz", cases)
    with pytest.raises(InputError, match=r"expected volumes at \(4\.0, 2\.0\) mm.*holds \(8\.0,\)"):
        VolumeTask.read(TINY, tmp_path / "packed.npz", "cpu", None)
    other = replace(TINY, levels=LevelsRecipe(crop_size=16), intensity=IntensityRecipe("window", 0, 100))
    with pytest.raises(InputError, match="window of values"):
        VolumeTask.read(other, tmp_path / "packed.npz", "cpu", None)
    assert load_packed_volumes(tmp_path / "packed.npz").intensity == TINY.intensity


def test_recipes_that_do_not_fit_are_told(data: Path) -> None:
    for wrong, says in (
        (replace(TINY, levels=replace(TINY.levels, groups=(0, 0, 2, 1, 1))), r"levels\.groups"),
        (replace(TINY, levels=replace(TINY.levels, groups=(0, 0, 2, 3))), r"levels\.groups"),
    ):
        with pytest.raises(InputError, match=says):
            VolumeTask.read(wrong, data, "cpu", None)
    task = VolumeTask.read(TINY, data, "cpu", None)
    alone = replace(task.cases, landmark_names=("left_ear", "nose", "chin", "crown"))
    mirrored = replace(TINY, augmentation=replace(TINY.augmentation, mirror=0.5))
    with pytest.raises(InputError, match="both sides to mirror volumes, got left_ear alone"):
        VolumeTask(mirrored, alone, None, "cpu")
    with pytest.raises(InputError, match="from the coarsest to the finest"):
        LevelsRecipe(spacings_mm=(1.0, 4.0))
    with pytest.raises(InputError, match="an eighth of elastic_every_mm"):
        VolumeAugmentationRecipe(elastic_mm=10)
    with pytest.raises(InputError, match="a multiple of 8, at least 16"):
        VolumeRecipe("x", levels=LevelsRecipe(crop_size=20))


# ---- one step -------------------------------------------------------------------------------------------------------


def test_noise_moves_the_finest_crops_alone_and_both_ways_or_up_only(data: Path) -> None:
    three = replace(TINY, levels=replace(TINY.levels, spacings_mm=(8.0, 4.0, 2.0)))
    task = VolumeTask.read(three, data, "cpu", None)
    network = task.new_network()
    assert isinstance(network, MultiScaleLocNet)
    (batch, *_) = list(task.batches(0))
    assert task._noise(network, batch, 1, 4) is None
    drawn = task._noise(network, batch, 2, 400)
    assert drawn is not None
    assert drawn.shape == (1, 400, 3)
    assert -3 <= drawn.min() < -2.8
    assert 2.8 < drawn.max() <= 3
    up = VolumeTask(
        replace(task.recipe, augmentation=replace(TINY.augmentation, one_sided_noise=True)), task.cases, None, "cpu"
    )
    drawn = up._noise(network, batch, 2, 400)
    assert drawn is not None
    assert 0 <= drawn.min() < 0.1
    assert 2.8 < drawn.max() <= 3


def test_guided_crops_lie_about_the_truth_and_teach_the_coarse_level_nothing(data: Path) -> None:
    recipe = replace(
        TINY,
        augmentation=replace(TINY.augmentation, guided=1.0, noise_mm=0, crop=0),
        network=replace(TINY.network, presence=False),
        loss=replace(TINY.loss, schedule="final", heat_weight=0),
    )
    task = VolumeTask.read(recipe, data, "cpu", None)
    network = task.new_network()
    assert isinstance(network, MultiScaleLocNet)
    batch = next(b for b in task.batches(0) if torch.isfinite(b.points_lps_mm).all())
    truth = batch.points_lps_mm
    every = torch.ones(len(truth), dtype=torch.bool)
    looked = task._look_at(network, batch, every, truth, 1, torch.full_like(truth, 1e4))
    assert 0.5 < (looked - truth).abs().max() <= 4  # one voxel of the level before
    loss, _ = task.loss(network, batch, 0.5)
    loss.backward()  # type: ignore[no-untyped-call]
    coarse, fine = (network.net(level).head.weight.grad for level in (0, 1))
    assert fine is not None
    assert fine.any()
    assert coarse is None or not coarse.any()
    # Where nobody knows the truth, the level before is all there is.
    unknown = truth.clone()
    unknown[0, 2] = torch.nan
    looked = task._look_at(network, batch, every, unknown, 1, torch.full_like(truth, 1e4))
    assert (looked[0, 2] == 1e4).all()
    assert (looked[0, [0, 1, 3]] < 1e3).all()


def test_a_step_looks_at_the_same_crops_at_all_levels(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = replace(TINY.levels, spacings_mm=(8.0, 4.0, 2.0), crops_per_step=2)
    task = VolumeTask.read(replace(TINY, levels=levels), data, "cpu", None)
    network = task.new_network()
    looked: list[list[int]] = []
    finer = MultiScaleLocNet.finer

    def spy(self: MultiScaleLocNet, *arguments: Any) -> Any:
        looked.append(arguments[-1].tolist())
        return finer(self, *arguments)

    monkeypatch.setattr(MultiScaleLocNet, "finer", spy)
    for batch in task.batches(0):
        task.loss(network, batch, 0.5)
    assert all(len(set(crops)) == 2 for crops in looked)
    assert looked[::2] == looked[1::2]
    assert len({tuple(crops) for crops in looked}) > 1


def test_one_level_at_a_time_leaves_the_others_as_they_are(data: Path, tmp_path: Path) -> None:
    optimiser = replace(TINY.optimiser, epochs=2, ema=0)
    recipe = replace(TINY, one_level_at_a_time=True, network=replace(TINY.network, presence=False), optimiser=optimiser)
    assert not fit(recipe, data, tmp_path, stop_after_epoch=1)
    half = state_of(tmp_path)["network"]
    begin = VolumeTask.read(recipe, data, "cpu", None)
    torch.manual_seed(recipe.seed)
    first = begin.new_network().state_dict()
    assert fit(recipe, data, tmp_path, resume=True)
    end = state_of(tmp_path)["network"]
    for name, value in end.items():
        assert torch.equal(half[name], first[name]) is name.startswith("levels.1"), name
        assert torch.equal(half[name], value) is name.startswith("levels.0"), name
    rows = rows_of(tmp_path / "training.csv")
    assert np.isnan(rows[0]["level_1"])
    assert np.isfinite(rows[1]["level_1"])
