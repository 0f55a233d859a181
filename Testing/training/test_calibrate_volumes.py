"""A model of volumes is calibrated on what models said that had not seen the case; its ellipsoids then hold."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import inside_border_mm
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.ellipsoids import isotropic
from DenseLandmarksLib.models.family import JOINT_SHAPE
from DenseLandmarksLib.models.predictors.multi_scale import COMPONENTS, MultiScalePredictor
from DenseLandmarksLib.models.predictors.volume_predictor import Seen
from DenseLandmarksLib.models.registry import open_predictor
from Testing.training.blob_volumes import write_blob_volumes
from training import calibrate_volumes as module
from training.calibrate_volumes import calibrate_volumes, look_out_of_fold
from training.ellipsoids import inside_ellipsoid
from training.export_volume import export_volume_bundle
from training.run_recipe import OptimiserRecipe
from training.volume_data import read_volume_dataset
from training.volume_recipe import LevelsRecipe, LocNetRecipe, VolumeRecipe
from training.volume_task import VolumeTask

FOLDS = 3
RECIPE = VolumeRecipe(
    "tiny",
    folds=FOLDS,
    passes=2,
    levels=LevelsRecipe(crop_size=8, spacings_mm=(8.0, 4.0)),
    network=LocNetRecipe(channels=(2, 4), convolutions=1),
    optimiser=OptimiserRecipe(epochs=1),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_volumes(tmp_path_factory.mktemp("data") / "blobs", train=12, test=1)


@pytest.fixture(scope="module")
def untrained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Bundles that nobody trained: of all cases (-1), and without each fold."""
    folder = tmp_path_factory.mktemp("bundles")
    for fold in range(-1, FOLDS):
        task = VolumeTask.read(replace(RECIPE, validation_fold=fold), data, "cpu", None)
        export_volume_bundle(folder / str(fold), task, task.new_network(), None)
    return {fold: folder / str(fold) for fold in range(-1, FOLDS)}


@pytest.fixture
def model(untrained: dict[int, Path], tmp_path: Path) -> Path:
    """A copy of the model of all cases, to be written into."""
    shutil.copytree(untrained[-1], tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def _sees_with_known_errors(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that err by what their passes say, three times as far; ears less than the chin.

    What is not in the volume has a flat heatmap.
    """
    truth = {case.image_path.name: case.points_lps_mm for case in read_volume_dataset(data).cases}

    def look(self: MultiScalePredictor, image: object, *_: object) -> Seen:
        name = image.name  # type: ignore[attr-defined]
        rng = np.random.default_rng(int(Path(name).stem.removeprefix("case")))
        sd = np.array([0.5, 0.5, 1.5, 1.0]) * rng.uniform(0.5, 2, 4)
        points = np.nan_to_num(truth[name]) + 3 * sd[:, None] * rng.normal(size=(4, 3))
        outside = inside_border_mm(image.geometry, np.nan_to_num(truth[name])) < 0  # type: ignore[attr-defined]
        heat = isotropic(np.where(outside, 100.0, 0.01))
        components = {one: isotropic(np.full(4, 0.01)) for one in COMPONENTS} | {
            "shifted": isotropic(sd**2),
            "heat": heat,
        }
        return Seen(points, components, np.ones(4))

    monkeypatch.setattr(MultiScalePredictor, "look", look)


def test_every_training_case_is_looked_at_by_the_model_that_did_not_see_it(
    data: Path, untrained: dict[int, Path]
) -> None:
    bundles = [load_bundle(untrained[fold]) for fold in range(FOLDS)]
    looks = look_out_of_fold(bundles, data, "cpu")
    dataset = read_volume_dataset(data).of_split("train")
    assert sorted(look.case.name for look in looks) == sorted(case.name for case in dataset.cases)
    for look in looks:
        fold = int(Path(next(b.folder for b in bundles if b.weights is not None and _is_of(b, look.predictor))).name)
        recipe_data = VolumeTask.read(replace(RECIPE, validation_fold=fold), data, "cpu", None)
        assert look.case.name not in recipe_data.cases.names
        expected = look.predictor.look(read_image(look.case.image_path))
        np.testing.assert_array_equal(look.seen.points_lps_mm, expected.points_lps_mm)
    incomplete = [look for look in looks if not look.known.all()]
    assert len(incomplete) == 1
    assert incomplete[0].known.tolist() == [True, True, True, False]


def _is_of(bundle: object, predictor: MultiScalePredictor) -> bool:
    weights = bundle.weights  # type: ignore[attr-defined]
    state = predictor.network.state_dict()
    return all(np.array_equal(state[name].numpy(), value.astype(np.float32)) for name, value in weights.items())


def test_models_that_saw_the_cases_are_refused(data: Path, untrained: dict[int, Path]) -> None:
    every = load_bundle(untrained[-1])
    with pytest.raises(InputError, match="one that was trained on all cases"):
        look_out_of_fold([every], data, "cpu")
    twice = [load_bundle(untrained[0])] * 2
    with pytest.raises(InputError, match="two without fold 0"):
        look_out_of_fold(twice, data, "cpu")


def test_a_model_that_was_never_trained_can_be_calibrated_with_what_it_really_says(
    data: Path, untrained: dict[int, Path], model: Path
) -> None:
    measured = calibrate_volumes(model, [untrained[fold] for fold in range(FOLDS)], data)
    assert measured["cases"] == 12
    assert measured["landmarks"] == 12 * 4 - 1
    assert 0.6 < measured["coverage"] <= 1
    predictor = open_predictor(str(model), "cpu")
    assert isinstance(predictor, MultiScalePredictor)
    assert predictor.ellipsoids is not None
    assert predictor.uses_shape == measured["uses_shape"]
    assert (predictor.ellipsoids_with_shape is not None) == measured["uses_shape"]
    case = read_volume_dataset(data).of_split("test").cases[0]
    landmarks = predictor.predict(read_image(case.image_path)).landmarks
    assert np.linalg.eigvalsh(landmarks.covariance_mm2).min() > 0


@pytest.mark.usefixtures("_sees_with_known_errors")
def test_the_ellipsoids_hold_ninety_percent_and_follow_what_the_passes_say(
    data: Path, untrained: dict[int, Path], model: Path
) -> None:
    without_shape = model / JOINT_SHAPE
    folders = [untrained[fold] for fold in range(FOLDS)]
    measured = calibrate_volumes(model, folders, data)
    assert measured["coverage"] == pytest.approx(0.9, abs=0.06)
    assert measured["coverage_interval"][0] < 0.9 < measured["coverage_interval"][1]
    assert measured["spearman"] > 0.1
    assert json.loads(without_shape.read_text())["mean_mm"]
    bundle = load_bundle(model)
    presence = measured["presence"]
    assert presence["present"] >= 12 * 4 - 1
    assert presence["absent"] > 10
    assert (presence["sensitivity"], presence["false_alarms"]) == (1, 0)
    ellipsoids = bundle.inference["ellipsoids"]
    assert ellipsoids["weights"]["shifted"] * ellipsoids["pooled_scale"] == pytest.approx(9, rel=0.6)
    assert ellipsoids["measured"]["cases"] == 12
    limit = bundle.inference["plausibility"]["limits"]["shape_sd"]
    assert bundle.inference["plausibility"]["cases"] == 12
    assert limit > 0
    card = (model / "docs" / "README.md").read_text()
    assert "calibrated on 12 training cases by models that had not seen them" in card
    assert f"it calls 100.0% of {presence['present']} landmarks present" in card
    # Of those it was calibrated on, the ellipsoids that the model now writes hold about as many.
    predictor = open_predictor(str(model), "cpu")
    assert isinstance(predictor, MultiScalePredictor)
    inside = []
    for case in read_volume_dataset(data).of_split("train").cases:
        points, covariance, _ = predictor.understand(predictor.look(read_image(case.image_path)))
        known = np.isfinite(case.points_lps_mm).all(axis=1)
        inside += inside_ellipsoid((points - case.points_lps_mm)[known], covariance[known], 0.9).tolist()
    assert np.mean(inside) == pytest.approx(0.92, abs=0.06)


@pytest.mark.usefixtures("_sees_with_known_errors")
@pytest.mark.parametrize("helps", [True, False])
def test_the_joint_shape_is_used_where_it_makes_landmarks_better_and_nowhere_else(
    data: Path, untrained: dict[int, Path], model: Path, monkeypatch: pytest.MonkeyPatch, helps: bool
) -> None:
    """Said of the same cases, that nobody of the shape's patients was: here it is made to help, or to do harm."""
    truth = {case.name: case.points_lps_mm for case in read_volume_dataset(data).cases}
    with_shape = module._with_shape

    def told(looks: list[module.OutOfFold], calibration: object) -> object:
        found, measures = with_shape(looks, calibration)  # type: ignore[arg-type]
        assert found is not None
        share = 0.5 if helps else 1.5
        moved = [
            (
                np.where(
                    look.known[:, None],
                    truth[look.case.name] + share * (look.seen.points_lps_mm - truth[look.case.name]),
                    p,
                ),
                c,
            )
            for look, (p, c) in zip(looks, found, strict=True)
        ]
        return moved, measures

    monkeypatch.setattr(module, "_with_shape", told)
    measured = calibrate_volumes(model, [untrained[fold] for fold in range(FOLDS)], data)
    assert measured["uses_shape"] is helps
    assert measured["tre_with_shape_mm"] == pytest.approx(measured["tre_mm"] * (0.5 if helps else 1.5))
    inference = load_bundle(model).inference
    assert inference["uses_shape"] is helps
    assert ("after_shape" in inference["ellipsoids"]) is helps
    if helps:
        assert list(inference["ellipsoids"]["after_shape"]["weights"]) == ["joint"]
    assert set(inference["ellipsoids"]["weights"]) == set(COMPONENTS)
