"""A heatmap model is calibrated on what models said that had not seen the case; its ellipses then hold."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import CARD, load_bundle
from DenseLandmarksLib.models.ellipsoids import isotropic
from DenseLandmarksLib.models.predictors.heatmap import COMPONENTS, HeatmapPredictor, HeatSeen
from DenseLandmarksLib.models.presence import PresenceCalibration, even_strength
from DenseLandmarksLib.models.registry import open_predictor
from Testing.training.blob_radiographs import MEAN_PX, SPACING_MM, write_blob_radiographs
from training import calibrate_heatmaps as calibrate_heatmaps_module
from training.__main__ import main
from training.calibrate_heatmaps import calibrate_heatmaps, look_out_of_fold
from training.ellipsoids import inside_ellipsoid
from training.grid_cases import load_grid_cases, read_grid_cases, save_grid_cases
from training.heatmap_recipe import HeatmapNetworkRecipe, HeatmapRecipe, HeatmapTargetRecipe
from training.heatmap_task import HeatmapTask
from training.rewrite_bundle import rewrite_bundle
from training.run_recipe import OptimiserRecipe

FOLDS, GRID = 3, (64, 48)
RECIPE = HeatmapRecipe(
    "tiny",
    folds=FOLDS,
    passes=2,
    network=HeatmapNetworkRecipe("CompactHeatmapNet", {"channels": [2, 4], "residual_units": 1}),
    target=HeatmapTargetRecipe(grid=GRID),
    optimiser=OptimiserRecipe(epochs=1),
)


# What an earlier calibration left.
BEFORE = {
    **PresenceCalibration(("off",), np.ones(1), 0.0).to_dict(),
    "measured": {"sensitivity": 1.0, "present": 9, "false_alarms": 0.0, "absent": 9},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_radiographs(tmp_path_factory.mktemp("data") / "blobs", train=40, test=20)


@pytest.fixture(scope="module")
def untrained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Bundles that nobody trained: of all cases (-1), and without each fold."""
    folder = tmp_path_factory.mktemp("bundles")
    for fold in range(-1, FOLDS):
        torch.manual_seed(fold + 1)
        task = HeatmapTask.read(replace(RECIPE, validation_fold=fold), data, "cpu", None)
        task.export(folder / str(fold), task.new_network(), None)
    return {fold: folder / str(fold) for fold in range(-1, FOLDS)}


@pytest.fixture
def model(untrained: dict[int, Path], tmp_path: Path) -> Path:
    """A copy of the model of all cases, to be written into."""
    shutil.copytree(untrained[-1], tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def _sees_with_known_errors(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that err by what their heatmaps say, three times as far; peaks are nearly as taught, in images that were cut faint."""
    cases = load_grid_cases(data, GRID)
    truth = {image.tobytes(): points for image, points in zip(cases.images, cases.points, strict=True)}

    def look(self: HeatmapPredictor, grid_pixels: np.ndarray, *_: object) -> HeatSeen:
        key = grid_pixels.astype(np.float16).tobytes()
        is_cut = key not in truth
        rng = np.random.default_rng(7 if is_cut else list(truth).index(key))
        sd = np.array([0.2, 0.2, 0.6, 0.4]) * rng.uniform(0.5, 2, 4)
        at = MEAN_PX if is_cut else np.where(np.isnan(truth[key]), MEAN_PX, truth[key])
        points = at + 3 * sd[:, None] * rng.normal(size=(4, 2))
        components = {one: isotropic(np.full(4, 0.01), 2) for one in COMPONENTS} | {"heat": isotropic(sd**2, 2)}
        strength = np.full(4, 0.3) if is_cut else rng.uniform(0.6, 1.1, 4)
        return HeatSeen(points, components, strength, np.zeros((0, *GRID), bool))

    monkeypatch.setattr(HeatmapPredictor, "look_on_grid", look)


def test_every_training_case_is_looked_at_by_the_model_that_did_not_see_it(
    data: Path, untrained: dict[int, Path]
) -> None:
    looks = look_out_of_fold([load_bundle(untrained[fold]) for fold in range(FOLDS)], data, "cpu")
    cases = load_grid_cases(data, GRID).of_split("train")
    assert sorted(look.name for look in looks) == sorted(cases.names)
    for fold in range(FOLDS):
        trained_on = HeatmapTask.read(replace(RECIPE, validation_fold=fold), data, "cpu", None).cases.names
        weights = load_bundle(untrained[fold]).weights
        for look in looks:
            if look.name not in trained_on:
                state = look.predictor.network.state_dict()
                assert all(np.array_equal(state[name].numpy(), value) for name, value in weights.items())
    assert sum(not look.known.all() for look in looks) == 1


def test_models_that_saw_the_cases_are_refused(data: Path, untrained: dict[int, Path], model: Path) -> None:
    with pytest.raises(InputError, match="one that was trained on all cases"):
        calibrate_heatmaps(model, [untrained[-1]], data)
    with pytest.raises(InputError, match="two without fold 0"):
        calibrate_heatmaps(model, [untrained[0]] * 2, data)


def test_models_of_other_landmarks_are_refused(data: Path, model: Path, tmp_path: Path) -> None:
    fewer = replace(RECIPE, validation_fold=0, target=replace(RECIPE.target, landmarks_share=0.75))
    task = HeatmapTask.read(fewer, data, "cpu", None)
    task.export(tmp_path / "fewer", task.new_network(), None)
    with pytest.raises(InputError, match=r"expected models of the recipe of tiny, .*fewer has another grid or other"):
        calibrate_heatmaps(model, [tmp_path / "fewer"], data)


def test_a_model_that_was_never_trained_can_be_calibrated_from_a_packed_file(
    data: Path, untrained: dict[int, Path], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_grid_cases(tmp_path / "packed.npz", read_grid_cases(data, GRID))
    folders = [str(untrained[fold]) for fold in range(FOLDS)]
    arguments = ["calibrate", "--model", str(model), "--data", str(tmp_path / "packed.npz"), "--device", "cpu"]
    assert main([*arguments, "--folds", *folders]) == 0
    assert '"coverage"' in capsys.readouterr().out
    predictor = open_predictor(str(model), "cpu")
    assert isinstance(predictor, HeatmapPredictor)
    assert predictor.ellipses is not None


@pytest.mark.usefixtures("_sees_with_known_errors")
def test_the_ellipses_hold_ninety_percent_of_cases_that_did_not_calibrate_them(
    data: Path, untrained: dict[int, Path], model: Path
) -> None:
    measured = calibrate_heatmaps(model, [untrained[fold] for fold in range(FOLDS)], data)
    assert measured["cases"] == 40
    assert measured["landmarks"] == 40 * 4 - 1
    assert measured["coverage"] == pytest.approx(0.9, abs=0.03)
    assert measured["coverage_interval"][0] < 0.9 < measured["coverage_interval"][1]
    assert measured["spearman"] > 0.2
    predictor = open_predictor(str(model), "cpu")
    assert isinstance(predictor, HeatmapPredictor)
    assert predictor.ellipses is not None
    weights = dict(zip(predictor.ellipses.components, predictor.ellipses.weights, strict=True))
    assert weights["heat"] * predictor.ellipses.pooled_scale == pytest.approx(9, rel=0.4)
    cases = load_grid_cases(data, GRID).of_split("test")
    inside = []
    for row in range(len(cases)):
        seen = predictor.look_on_grid(cases.images[row].astype(np.float32))
        covariance = predictor.ellipses.apply(seen.components, ["head"] * 4)
        inside += inside_ellipsoid(seen.points - cases.points[row], covariance).tolist()
    assert np.mean(inside) == pytest.approx(0.9, abs=0.08)
    truth = load_grid_cases(data, GRID).of_split("train")
    looks = look_out_of_fold([load_bundle(untrained[fold]) for fold in range(FOLDS)], data, "cpu")
    errors = np.concatenate(
        [np.linalg.norm(look.seen.points - truth.points[truth.names.index(look.name)], axis=1) for look in looks]
    )
    assert measured["tre_mm"] == pytest.approx(np.nanmean(errors) * SPACING_MM)


@pytest.mark.usefixtures("_sees_with_known_errors")
def test_presence_and_limits_travel_in_the_bundle(data: Path, untrained: dict[int, Path], model: Path) -> None:
    measured = calibrate_heatmaps(model, [untrained[fold] for fold in range(FOLDS)], data)
    bundle = load_bundle(model)
    predictor = open_predictor(str(model), "cpu")
    assert isinstance(predictor, HeatmapPredictor)
    assert predictor.presence is not None
    # In images that were cut all peaks are alike, of what is left and of what is not; in whole ones all are good.
    presence = measured["presence"]
    assert presence["sensitivity"] >= (40 * 4 - 1) / presence["present"]
    assert presence["false_alarms"] < 0.5
    assert presence["absent"] > 40
    assert bundle.inference["presence"]["measured"] == presence
    assert bundle.inference["present_above"] == round(even_strength(predictor.presence), 4)
    faint = HeatSeen(MEAN_PX.copy(), {}, np.array([1.0, 1.0, 0.01, 1.0]), np.zeros((0, *GRID), bool))
    assert predictor.found(faint).tolist() == [True, True, False, True]
    assert set(bundle.limits) == {"shape_residual_mm", "peak_weakness"}
    assert bundle.limits == measured["limits"]
    assert bundle.limits["peak_weakness"] < 0.7  # a measure of at most 1, which was at most 0.4
    plausibility = bundle.inference["plausibility"]
    assert (plausibility["cases"], plausibility["above"]) == (40, 0)
    card = (model / CARD).read_text()
    assert "calibrated on 40 training cases by models that had not seen them" in card
    assert "limits were set on 40 training cases" in card
    assert f"and {presence['false_alarms']:.1%} of {presence['absent']} that lie more than 10 mm outside" in card


@pytest.mark.usefixtures("_sees_with_known_errors")
def test_where_no_cut_takes_a_landmark_away_the_recipes_limit_stays(
    data: Path, untrained: dict[int, Path], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite_bundle(load_bundle(model), inference={"presence": BEFORE})
    monkeypatch.setattr(calibrate_heatmaps_module, "look_at_cut_radiographs", lambda *_: iter(()))
    assert calibrate_heatmaps(model, [untrained[fold] for fold in range(FOLDS)], data)["presence"] is None
    predictor = open_predictor(str(model), "cpu")
    assert isinstance(predictor, HeatmapPredictor)
    assert predictor.presence is None
    assert predictor.reading.present_above == RECIPE.present_above
    assert "more than 10 mm outside" not in (model / CARD).read_text()
