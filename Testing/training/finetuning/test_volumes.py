"""Models of volumes learn what people corrected in a library, and landmarks that they placed under new names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from DenseLandmarksLib.annotation.library.decisions import read_decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.intensity import IntensityRecipe
from DenseLandmarksLib.models.predictors.multi_scale import MultiScalePredictor
from DenseLandmarksLib.models.predictors.volume_predictor import VolumePredictor
from DenseLandmarksLib.models.registry import open_predictor
from Testing.training.blob_volumes import LANDMARKS, blob_volume, draw_points, write_blob_volumes
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.kept_state import assert_same
from training.export import rewrite_bundle
from training.finetuning.recipe import FinetuneRecipe, finetuned, recipe_of
from training.finetuning.volumes import FinetuneHeatmapVolumeTask, FinetuneMultiScaleTask, finetune_task
from training.fit import fit
from training.heatmap_recipe import HeatmapLossRecipe, HeatmapNetworkRecipe
from training.heatmap_volume_recipe import HeatmapVolumeRecipe, TilesRecipe
from training.recipe import OptimiserRecipe
from training.trainer import Trainer
from training.volume_recipe import (
    LevelsRecipe,
    LocNetRecipe,
    ScaleLossRecipe,
    VolumeAlterationRecipe,
    VolumeAugmentationRecipe,
    VolumeRecipe,
)

WINDOW = IntensityRecipe("window", 0.0, 240.0)
MULTI_SCALE = VolumeRecipe(
    "blobs",
    "A few epochs on five volumes of blobs.",
    seed=3,
    passes=2,
    confidence_radius_mm=3.0,
    intensity=WINDOW,
    levels=LevelsRecipe(crop_size=16, spacings_mm=(4.0, 2.0)),
    network=LocNetRecipe(channels=(4, 8), convolutions=1),
    loss=ScaleLossRecipe(schedule="equal", distance="huber", point_weight=0.05, heat_weight=1.0),
    augmentation=VolumeAugmentationRecipe(rotation_deg=5, shift_mm=2, guided=0.3, noise_mm=1),
    optimiser=OptimiserRecipe(epochs=6, batch=1, learning_rate=2e-2, ema=0.8),
)
HEATMAPS = HeatmapVolumeRecipe(
    "blobs",
    "A few epochs on five volumes of blobs.",
    seed=3,
    confidence_radius_mm=3.0,
    intensity=WINDOW,
    tiles=TilesRecipe(2.0, (24, 24, 24), 16),
    network=HeatmapNetworkRecipe("CompactHeatmapNet", {"channels": [8, 16], "residual_units": 1}),
    loss=HeatmapLossRecipe("distribution", sigma=1.0, absent_weight=0.2),
    augmentation=VolumeAlterationRecipe(5, shift_mm=2, contrast=0, brightness=0, gamma=0, noise=0.02),
    optimiser=OptimiserRecipe(epochs=8, batch=1, learning_rate=2e-2, ema=0.0),
)
RECIPES = {"multi_scale": MULTI_SCALE, "heatmap_volume": HEATMAPS}
OPTIONS = FinetuneRecipe(steps=20, epochs=2, batch=2, learning_rate_share=0.5, ema=0.0, seed=5)
# Enough for two runs to differ.
SHORT = replace(OPTIONS, steps=4, epochs=1)
CHIN = LANDMARKS.index("chin")
# Where people want the chin: beside the blob that the models were taught.
OFF_MM = np.array([6.0, 0.0, 3.0])
Task = FinetuneMultiScaleTask | FinetuneHeatmapVolumeTask
Decide = Callable[[int], Callable[[Session], None]]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_volumes(tmp_path_factory.mktemp("data") / "blobs")


@pytest.fixture(scope="module", params=list(RECIPES))
def parent(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Of each family one, as a run leaves it, and calibrated."""
    return make_parent(request.param, data, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def multi_scale(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_parent("multi_scale", data, tmp_path_factory.mktemp("runs"), epochs=1)


def make_parent(family: str, data: Path, folder: Path, epochs: int = 0, **changes: Any) -> Bundle:
    recipe: Any = replace(RECIPES[family], **changes)
    if epochs:
        recipe = replace(recipe, optimiser=replace(recipe.optimiser, epochs=epochs))
    assert fit(recipe, data, folder / family)
    own = {"multi_scale": "shifted", "heatmap_volume": "sigma"}[family]
    ellipsoids = {"weights": {own: 1.0, "heat": 0.5}, "floor_mm2": 0.5, "scales": {"head": 2.0}, "pooled_scale": 7.0}
    measured = {"cases": 5, "coverage": 0.9, "sensitivity": 0.9, "present": 9, "absent": 1, "false_alarms": 0.0}
    calibration = {
        "ellipsoids": {**ellipsoids, "level": 0.9, "measured": measured},
        "presence": {"features": ["heat", "inside"], "weights": [0.0, 1.0], "bias": 3.0, "measured": measured},
        "uses_shape": True,
        "plausibility": {"limits": {"shape_sd": 2.5}, "cases": 5, "above": 0, "false_alarms": 0.01},
    }
    rewrite_bundle(load_bundle(folder / family / "bundle"), inference=calibration)
    return load_bundle(folder / family / "bundle")


def person(seed: int) -> tuple[np.ndarray, np.ndarray]:
    return draw_points(np.random.default_rng(100 + seed))


def write_image(folder: Path, seed: int) -> Path:
    path = folder / f"person-{seed}.nrrd"
    sitk.WriteImage(sitk.Cast(blob_volume(*person(seed)), sitk.sitkInt16), str(path))
    return path


def correct_chin(seed: int) -> Callable[[Session], None]:
    return lambda session: session.move({"chin": person(seed)[0][CHIN] + OFF_MM})


def annotated(folder: Path, parent: Bundle, decide: Decide, count: int = 3) -> Library:
    """A library of so many people, each decided as ``decide`` says."""
    annotator = Annotator.begin(folder, parent.folder)
    for seed in range(count):
        annotator.work_on(write_image(folder, seed), decide(seed))
    return annotator.library


def task_of(library: Library, parent: Bundle, replay: Path | None = None, options: FinetuneRecipe = OPTIONS) -> Task:
    recipe = finetuned(recipe_of(parent), options, "cpu")
    assert isinstance(recipe, VolumeRecipe | HeatmapVolumeRecipe)
    decisions, lines = read_decisions(library)
    assert lines == ()
    return finetune_task(recipe, decisions, library, replay, parent, options, "cpu")


def trained(task: Task) -> Trainer:
    trainer = Trainer(task)
    for _ in range(task.optimiser.epochs):
        trainer.run_epoch()
    return trainer


@dataclass(frozen=True)
class Run:
    library: Library
    task: Task
    before: dict[str, float]
    trainer: Trainer
    bundle: Bundle


@pytest.fixture(scope="module")
def chins(parent: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The chin of three people was corrected; the bundle that came out."""
    folder = tmp_path_factory.mktemp("chins")
    library = annotated(folder, parent, correct_chin)
    task = task_of(library, parent)
    before = task.validate(task.new_network())
    trainer = trained(task)
    task.export(folder / "bundle", trainer.best_network, parent)
    return Run(library, task, before, trainer, load_bundle(folder / "bundle"))


def predicted(bundle: Bundle, seed: int) -> Any:
    predictor = open_predictor(str(bundle.folder), "cpu")
    return predictor.predict(MedicalImage(blob_volume(*person(seed)), SpacingSource.CALIBRATED)).landmarks


# ---- corrections ------------------------------------------------------------------------------------------------------


def test_a_run_begins_with_its_parent(chins: Run, parent: Bundle) -> None:
    weights = chins.task.new_network().state_dict()
    assert weights.keys() == parent.weights.keys()
    for name, value in parent.weights.items():
        np.testing.assert_array_equal(weights[name].numpy(), value.astype(np.float32))


def test_the_error_at_corrected_landmarks_falls_also_in_somebody_else(chins: Run, parent: Bundle) -> None:
    assert chins.before["error_mm"] > 4
    assert chins.task.validate(chins.trainer.best_network)["error_mm"] < 0.6 * chins.before["error_mm"]
    wanted = person(50)[0][CHIN] + OFF_MM
    off = [np.linalg.norm(predicted(model, 50).points_lps_mm[CHIN] - wanted) for model in (parent, chins.bundle)]
    assert off[1] < 0.8 * off[0]


def weights_of(library: Library, parent: Bundle, options: FinetuneRecipe = SHORT) -> dict[str, Any]:
    return dict(trained(task_of(library, parent, None, options)).network.state_dict())


def test_the_same_seed_gives_the_same_weights(chins: Run, parent: Bundle) -> None:
    one = weights_of(chins.library, parent)
    torch.manual_seed(99)
    assert_same(weights_of(chins.library, parent), one)
    other = weights_of(chins.library, parent, replace(SHORT, seed=6))
    assert any(not torch.equal(other[name], one[name]) for name in one)


def test_what_nobody_decided_changes_not_a_bit(chins: Run, parent: Bundle, tmp_path: Path) -> None:
    def decide(seed: int) -> Callable[[Session], None]:
        def both(session: Session) -> None:
            correct_chin(seed)(session)
            session.mark_unsure("crown")

        return both

    assert_same(weights_of(annotated(tmp_path, parent, decide), parent), weights_of(chins.library, parent))


def test_weights_follow_the_review_and_absent_is_taught_as_absent(parent: Bundle, tmp_path: Path) -> None:
    def decide(_: int) -> Callable[[Session], None]:
        def some(session: Session) -> None:
            session.accept("left_ear")
            session.mark_absent("chin")

        return some

    task = task_of(annotated(tmp_path, parent, decide, 1), parent)
    batch = next(iter(task.batches(0)))
    assert batch.weights is not None
    np.testing.assert_array_equal(batch.weights[0], [0.5, 0, 1, 0])
    known = batch.present[0]
    np.testing.assert_array_equal(known[[0, 2]], [1, 0])
    assert torch.isnan(known[[1, 3]]).all()
    network = task.new_network()
    whole = task.loss(network, batch, 0.0)[0]
    again = next(iter(task.batches(0)))
    seen = tuple(replace(case, weights=None if case.weights is None else 2 * case.weights) for case in again.seen)
    torch.testing.assert_close(task.loss(network, replace(again, seen=seen), 0.0)[0], 2 * whole)


def test_original_cases_make_their_share_of_every_batch(parent: Bundle, data: Path, tmp_path: Path) -> None:
    task = task_of(annotated(tmp_path, parent, correct_chin, 2), parent, data)
    assert (len(task.cases), task.mix.original, task.run.replayed) == (2 + 5, 5, "blobs")
    for batch in task.batches(0):
        known = torch.isfinite(batch.present).sum(dim=1).tolist()
        assert (known[0], known[1] >= 3) == (1, True)


# ---- what comes out ---------------------------------------------------------------------------------------------------


def test_the_bundle_keeps_calibration_shape_and_recipe_of_its_parent(chins: Run, parent: Bundle) -> None:
    bundle = chins.bundle
    assert bundle.inference == parent.inference
    assert bundle.joint_shape == parent.joint_shape
    assert bundle.metadata["calibration_of"] == "blobs 1.0.0"
    training = bundle.metadata["training"]
    assert training["recipe"]["optimiser"] == parent.metadata["training"]["recipe"]["optimiser"]
    card = (bundle.folder / "docs" / "README.md").read_text()
    assert "Finetuned on what people decided in 3 cases of the library `corrected`" in card
    assert "20 steps" in card
    assert "was calibrated for blobs 1.0.0" in card
    predictor = open_predictor(str(bundle.folder), "cpu")
    assert isinstance(predictor, VolumePredictor)
    assert predictor.ellipsoids is not None
    assert predictor.presence is not None
    assert predictor.uses_shape


# ---- new landmarks ----------------------------------------------------------------------------------------------------


def nose_of(seed: int) -> np.ndarray:
    """In the middle of the ears, the chin and the crown."""
    return np.asarray(person(seed)[0].mean(axis=0))


def place_nose(seed: int) -> Callable[[Session], None]:
    def decide(session: Session) -> None:
        session.move(dict(zip(LANDMARKS, person(seed)[0], strict=True)))
        session.place("nose", nose_of(seed), "face")

    return decide


def test_a_landmark_that_was_placed_under_a_new_name_becomes_a_trained_one(parent: Bundle, tmp_path: Path) -> None:
    task = task_of(annotated(tmp_path, parent, place_nose), parent)
    assert task.new_landmarks == ("nose",)
    assert task.cases.landmark_names == (*LANDMARKS, "nose")
    before = task.validate(task.new_network())["error_mm"]
    run = trained(task)
    assert task.validate(run.best_network)["error_mm"] < 0.8 * before
    task.export(tmp_path / "bundle", run.best_network, parent)
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.landmark_names == (*LANDMARKS, "nose")
    assert bundle.landmark_structures == (*("head",) * 4, "face")
    landmarks = predicted(bundle, 60)
    assert np.linalg.norm(landmarks.points_lps_mm[4] - nose_of(60)) < 8
    assert np.linalg.eigvalsh(landmarks.covariance_mm2).min() > 0
    # Its structure is new: the pooled factor holds for it, and the regression of presence for all.
    predictor = open_predictor(str(bundle.folder), "cpu")
    assert isinstance(predictor, VolumePredictor)
    assert predictor.ellipsoids is not None
    np.testing.assert_array_equal(predictor.ellipsoids.scale_of(predictor.structures), [2, 2, 2, 2, 7])
    assert predictor.joint_shape is not None
    grown, old = predictor.joint_shape.mean_mm, np.array(parent.joint_shape["mean_mm"])
    np.testing.assert_allclose(grown[:4] - grown[:4].mean(axis=0), old - old.mean(axis=0), atol=1e-6)
    assert np.linalg.norm(grown[4] - grown[:4].mean(axis=0)) < 3
    again = task_of(Library.open(tmp_path / "library"), bundle)
    assert again.new_landmarks == ()


def test_a_new_landmark_has_a_crop_of_its_own_and_the_old_ones_stay_as_they_are(
    multi_scale: Bundle, tmp_path: Path
) -> None:
    task = task_of(annotated(tmp_path, multi_scale, place_nose, 1), multi_scale)
    assert isinstance(task, FinetuneMultiScaleTask)
    assert task.recipe.levels.groups == (0, 1, 2, 3, 4)
    task.export(tmp_path / "bundle", task.new_network(), multi_scale)  # nothing was learned
    predictors = [open_predictor(str(model), "cpu") for model in (multi_scale.folder, tmp_path / "bundle")]
    image = MedicalImage(blob_volume(*person(0)), SpacingSource.CALIBRATED)
    before, after = (predictor.look(image) for predictor in predictors if isinstance(predictor, MultiScalePredictor))
    # The random shifts of the passes are drawn for all crops together, so only what has none is the same.
    np.testing.assert_allclose(after.components["coarse_entropy"][:4], before.components["coarse_entropy"], rtol=1e-3)
    np.testing.assert_allclose(after.presence[:4], before.presence, atol=1e-3)


def test_a_landmark_on_no_structure_is_listed_under_its_own_name(multi_scale: Bundle, tmp_path: Path) -> None:
    def place(seed: int) -> Callable[[Session], None]:
        return lambda session: session.place("nose", nose_of(seed))

    task = task_of(annotated(tmp_path, multi_scale, place, 1), multi_scale)
    assert task.cases.landmark_structures[4] == "nose"
    # Nobody decided three landmarks beside it: there is no pose to put it into.
    assert task.joint_shape is None
    task.export(tmp_path / "bundle", task.new_network(), multi_scale)
    assert load_bundle(tmp_path / "bundle").joint_shape == {}
    assert len(predicted(load_bundle(tmp_path / "bundle"), 0).names) == 5


def test_a_network_that_works_in_the_pose_of_the_shape_is_told_where_the_new_one_lies(
    data: Path, tmp_path: Path
) -> None:
    posed = make_parent("multi_scale", data, tmp_path, 1, network=replace(MULTI_SCALE.network, is_posed=True))
    task = task_of(annotated(tmp_path, posed, place_nose, 1), posed)
    shape = np.array(task.network_definition()["shape_mm"])
    old = np.array(posed.inference["network_def"]["shape_mm"])
    np.testing.assert_allclose(shape[:4] - shape[0], old - old[0], atol=1e-3)
    task.loss(task.new_network(), next(iter(task.batches(0))), 0.0)

    def place(seed: int) -> Callable[[Session], None]:
        return lambda session: session.place("nose", nose_of(seed))

    alone = annotated(tmp_path / "alone", posed, place, 1)
    with pytest.raises(InputError, match="expected a case with nose and three landmarks that blobs knows, got none"):
        task_of(alone, posed)


def test_sides_without_a_partner_end_the_mirroring_with_a_line(data: Path, tmp_path: Path) -> None:
    mirrored = make_parent("multi_scale", data, tmp_path, 1, augmentation=replace(MULTI_SCALE.augmentation, mirror=0.5))

    def place(seed: int) -> Callable[[Session], None]:
        return lambda session: session.place("left_eye", nose_of(seed), "head")

    task = task_of(annotated(tmp_path, mirrored, place, 1), mirrored)
    assert task.recipe.augmentation.mirror == 0
    assert task.lines == ("'left_eye' has no partner on the other side: volumes are not mirrored.",)


# ---- what cannot be ---------------------------------------------------------------------------------------------------


def test_a_case_without_its_image_or_anything_to_learn_is_left_out_with_a_line(
    multi_scale: Bundle, tmp_path: Path
) -> None:
    library = annotated(tmp_path, multi_scale, correct_chin, 2)
    annotator = Annotator(library, multi_scale.folder, tmp_path)
    # Found right as it was, which teaches nothing in this run.
    annotator.work_on(write_image(tmp_path, 7), lambda session: session.accept("left_ear"))
    (tmp_path / "person-0.nrrd").unlink()
    corrected_alone = replace(OPTIONS, verified_weight=0.0)
    task = task_of(library, multi_scale, None, corrected_alone)
    assert len(task.cases) == 1
    gone, empty = task.lines
    assert "expected the image of case person-0" in gone
    assert "expected landmarks or structures of the model in case person-7, got none that were decided" in empty
    (tmp_path / "person-1.nrrd").unlink()
    with pytest.raises(InputError, match="expected at least one case with decisions and its image"):
        task_of(library, multi_scale, None, corrected_alone)
