"""Landmarks that people placed under new names become trained landmarks of models of volumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.annotation.library.decisions import read_decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.predictors.multi_scale import MultiScalePredictor
from DenseLandmarksLib.models.predictors.volume_predictor import VolumePredictor
from DenseLandmarksLib.models.registry import open_predictor
from Testing.training.blob_volumes import LANDMARKS, blob_volume
from Testing.training.finetuning import heatmap_cases
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.finetuning.volume_cases import (
    MULTI_SCALE,
    annotated,
    correct_chin,
    make_parent,
    person,
    predicted,
    task_of,
    trained,
    write_image,
)
from training.finetuning.grow_names import grown_names
from training.finetuning.recipe import FinetuneRecipe
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
        def decide(session: Session) -> None:
            session.move(dict(zip(LANDMARKS[:3], person(seed)[0][:3], strict=True)))
            session.place("nose", nose_of(seed))

        return decide

    task = task_of(annotated(tmp_path, multi_scale, place, 1), multi_scale)
    assert task.cases.landmark_structures[4] == "nose"
    task.export(tmp_path / "bundle", task.new_network(), multi_scale)
    assert len(predicted(load_bundle(tmp_path / "bundle"), 0).names) == 5


def test_a_landmark_without_a_place_in_the_joint_shape_is_told_and_the_shape_stays(
    multi_scale: Bundle, tmp_path: Path
) -> None:
    """Two landmarks beside it make no pose; a model that lost its shape would be worse everywhere, and nobody would know."""

    def place(seed: int) -> Callable[[Session], None]:
        def decide(session: Session) -> None:
            session.move(dict(zip(LANDMARKS[:2], person(seed)[0][:2], strict=True)))
            session.place("nose", nose_of(seed))

        return decide

    task = task_of(annotated(tmp_path, multi_scale, place, 2), multi_scale)
    assert task.run.new_landmarks == ()
    assert task.run.lines == (
        "'nose' is not learned: no case shows it beside three landmarks that blobs knows. Verify them where it was placed.",
    )
    task.export(tmp_path / "bundle", task.new_network(), multi_scale)
    bundle = load_bundle(tmp_path / "bundle")
    assert (bundle.joint_shape, bundle.landmark_names) == (multi_scale.joint_shape, LANDMARKS)


def test_landmarks_of_other_models_and_of_radiographs_stay_theirs(
    multi_scale: Bundle, heatmap_parent: Bundle, tmp_path: Path
) -> None:
    """One library may serve several models: of what is not in its own volumes a model has seen nothing."""
    library = annotated(tmp_path, multi_scale, correct_chin, 2)
    beside = Annotator(library, heatmap_parent.folder, tmp_path)

    def of_radiograph(session: Session) -> None:
        heatmap_cases.correct_nose(5)(session)
        session.place("mole", heatmap_cases.lps(session, np.array([20.0, 20.0])), "head")

    def of_jaw(session: Session) -> None:
        for row in range(3):
            session.place(f"tooth_{row}", person(9)[0][row], "jaw")

    beside.work_on(heatmap_cases.write_image(tmp_path, 5), of_radiograph, heatmap_cases.SPACING)
    beside.work_on(write_image(tmp_path, 9), of_jaw, is_predicted=False)
    task = task_of(library, multi_scale)
    assert task.run.new_landmarks == ()
    assert task.cases.landmark_names == LANDMARKS
    assert task.joint_shape is not None
    assert task.joint_shape.to_dict() == multi_scale.joint_shape
    assert sum("left out" in line for line in task.run.lines) == len(task.run.lines) == 2


def test_only_what_people_placed_in_a_volume_of_the_model_is_new(multi_scale: Bundle, tmp_path: Path) -> None:
    decisions, _ = read_decisions(annotated(tmp_path, multi_scale, place_nose, 1))
    weight = FinetuneRecipe().weight
    assert grown_names(multi_scale, decisions, weight).names == (*LANDMARKS, "nose")

    def nose_of_review(review: Review) -> tuple[str, ...]:
        rows = (replace(row, review=review) if row.name == "nose" else row for row in decisions[0].landmarks)
        return grown_names(multi_scale, [replace(decisions[0], landmarks=tuple(rows))], weight).names

    # Another model found it, and people said yes or moved it.
    assert nose_of_review(Review.VERIFIED) == nose_of_review(Review.CORRECTED) == LANDMARKS
    without_shape = replace(multi_scale, joint_shape={})
    for model_name, is_new in (("blobs", True), ("teeth", False)):
        alone = tuple(row for row in decisions[0].landmarks if row.name == "nose")
        case = replace(decisions[0], landmarks=alone, model_name=model_name)
        assert ("nose" in grown_names(without_shape, [case], weight).names) == is_new


def test_a_landmark_that_was_placed_only_where_the_image_is_gone_is_not_learned(
    multi_scale: Bundle, tmp_path: Path
) -> None:
    library = annotated(tmp_path, multi_scale, correct_chin, 1)
    Annotator(library, multi_scale.folder, tmp_path).work_on(write_image(tmp_path, 7), place_nose(7))
    (tmp_path / "person-7.nrrd").unlink()
    task = task_of(library, multi_scale)
    assert (task.run.new_landmarks, task.cases.landmark_names, len(task.cases)) == ((), LANDMARKS, 1)


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
    with pytest.raises(InputError, match=r"got none\. 'nose' is not learned: no case shows it beside three landmarks"):
        task_of(alone, posed)


def test_sides_without_a_partner_end_the_mirroring_with_a_line(blob_volumes: Path, tmp_path: Path) -> None:
    mirrored = make_parent(
        "multi_scale", blob_volumes, tmp_path, 1, augmentation=replace(MULTI_SCALE.augmentation, mirror=0.5)
    )

    def place(seed: int) -> Callable[[Session], None]:
        def decide(session: Session) -> None:
            session.move(dict(zip(LANDMARKS, person(seed)[0], strict=True)))
            session.place("left_eye", nose_of(seed), "head")

        return decide

    task = task_of(annotated(tmp_path, mirrored, place, 1), mirrored)
    assert task.recipe.augmentation.mirror == 0
    assert task.run.lines == ("'left_eye' has no partner on the other side: volumes are not mirrored.",)
