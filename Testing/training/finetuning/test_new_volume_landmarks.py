"""Landmarks that people placed under new names become trained landmarks of models of volumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.predictors.multi_scale import MultiScalePredictor
from DenseLandmarksLib.models.predictors.volume_predictor import VolumePredictor
from DenseLandmarksLib.models.registry import open_predictor
from Testing.training.blob_volumes import LANDMARKS, blob_volume
from Testing.training.finetuning.volume_cases import (
    MULTI_SCALE,
    annotated,
    make_parent,
    person,
    predicted,
    task_of,
    trained,
)
from training.finetuning.volumes import FinetuneMultiScaleTask

pytestmark = pytest.mark.usefixtures("one_thread")


def nose_of(seed: int) -> np.ndarray:
    """In the middle of the ears, the chin and the crown."""
    return np.asarray(person(seed)[0].mean(axis=0))


def place_nose(seed: int) -> Callable[[Session], None]:
    def decide(session: Session) -> None:
        session.move(dict(zip(LANDMARKS, person(seed)[0], strict=True)))
        session.place("nose", nose_of(seed), "face")

    return decide


def test_a_landmark_that_was_placed_under_a_new_name_becomes_a_trained_one(
    volume_parent: Bundle, tmp_path: Path
) -> None:
    task = task_of(annotated(tmp_path, volume_parent, place_nose), volume_parent)
    assert task.run.new_landmarks == ("nose",)
    assert task.cases.landmark_names == (*LANDMARKS, "nose")
    before = task.validate(task.new_network())["error_mm"]
    run = trained(task)
    assert task.validate(run.best_network)["error_mm"] < 0.8 * before
    task.export(tmp_path / "bundle", run.best_network, volume_parent)
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
    grown, old = predictor.joint_shape.mean_mm, np.array(volume_parent.joint_shape["mean_mm"])
    np.testing.assert_allclose(grown[:4] - grown[:4].mean(axis=0), old - old.mean(axis=0), atol=1e-6)
    assert np.linalg.norm(grown[4] - grown[:4].mean(axis=0)) < 3
    again = task_of(Library.open(tmp_path / "library"), bundle)
    assert again.run.new_landmarks == ()


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
    blob_volumes: Path, tmp_path: Path
) -> None:
    posed = make_parent("multi_scale", blob_volumes, tmp_path, 1, network=replace(MULTI_SCALE.network, is_posed=True))
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


def test_sides_without_a_partner_end_the_mirroring_with_a_line(blob_volumes: Path, tmp_path: Path) -> None:
    mirrored = make_parent(
        "multi_scale", blob_volumes, tmp_path, 1, augmentation=replace(MULTI_SCALE.augmentation, mirror=0.5)
    )

    def place(seed: int) -> Callable[[Session], None]:
        return lambda session: session.place("left_eye", nose_of(seed), "head")

    task = task_of(annotated(tmp_path, mirrored, place, 1), mirrored)
    assert task.recipe.augmentation.mirror == 0
    assert task.run.lines == ("'left_eye' has no partner on the other side: volumes are not mirrored.",)
