"""Limits of plausibility come from cases that the model had not seen, and hold on others."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import CARD, load_bundle
from DenseLandmarksLib.models.registry import open_predictor
from training.calibrate_dense_shape import calibrate_dense_shape
from training.dense_shape_recipe import DenseShapeRecipe, NetworkRecipe, TargetRecipe
from training.fit import fit
from training.plausibility_limits import joint_limits
from training.run_recipe import AugmentationRecipe, OptimiserRecipe


def test_the_limits_alarm_as_often_as_asked() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(20000, 1))  # odd images are odd in several ways
    measures = np.exp(0.3 * (0.7 * shared + rng.normal(size=(20000, 3))) + [1.0, -3.0, 2.0])
    limits = joint_limits(measures[:10000], 0.01)
    assert (measures[10000:] > limits).any(axis=1).mean() == pytest.approx(0.01, abs=0.004)
    each = (measures[10000:] > limits).mean(axis=0)
    assert (each > 0.001).all()  # no measure is given away


def test_a_few_cases_give_limits_above_nearly_all_of_them() -> None:
    measures = np.exp(np.random.default_rng(1).normal(size=(160, 3)))
    assert (measures > joint_limits(measures)).any(axis=1).sum() == 1


@pytest.fixture(scope="module")
def folds(phantom_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs of the same recipe, each without another half of the phantoms."""
    folder = tmp_path_factory.mktemp("folds")
    found = []
    for fold in (0, 1):
        recipe = DenseShapeRecipe(
            "halves",
            validation_fold=fold,
            folds=2,
            network=NetworkRecipe(channels=(4, 8), views=True),
            target=TargetRecipe(grid=(64, 64)),
            augmentation=AugmentationRecipe(turned=0.3, letters=0.3, collimation=0.3, invert=0.2),
            optimiser=OptimiserRecipe(epochs=1, batch=2),
        )
        assert fit(recipe, phantom_folder, folder / str(fold))
        found.append(folder / str(fold) / "bundle")
    return found


def test_calibrated_limits_travel_in_the_bundle(folds: list[Path], phantom_folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(folds[0], model)
    assert load_bundle(model).limits == {}
    entry = calibrate_dense_shape(model, folds, phantom_folder)
    bundle = load_bundle(model)
    assert bundle.limits == entry["limits"]
    assert set(bundle.limits) == {"shape_residual_mm", "disagreement", "spread_mm"}
    assert open_predictor(str(model), "cpu").limits == entry["limits"]
    assert entry["cases"] == 8
    card = (model / CARD).read_text()
    assert "set on 8 training cases" in card
    assert "mirrored ones are noticed" in card


def test_cases_that_a_model_was_trained_on_set_no_limits(
    folds: list[Path], phantom_folder: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="trained on all cases"):
        calibrate_dense_shape(tmp_path, [tiny_bundle], phantom_folder)
    with pytest.raises(InputError, match="two without fold 0"):
        calibrate_dense_shape(tmp_path, [folds[0], folds[0]], phantom_folder)
