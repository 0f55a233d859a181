"""Landmarks that people defined in a library become trained landmarks of a heatmap model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.registry import open_predictor
from Testing.training.blob_radiographs import LANDMARKS, SPACING_MM
from Testing.training.finetuning import volume_cases
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.finetuning.heatmap_cases import (
    SPACING,
    annotated,
    correct_nose,
    lps,
    points_px,
    task_of,
    trained,
    write_image,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def define_brow(seed: int) -> Callable[[Session], None]:
    """Between the ears; the first defines it, the others place it where the look-up put it."""

    def decide(session: Session) -> None:
        there = lps(session, points_px(seed)[:2].mean(axis=0))
        new = session.landmarks_of_library()
        if new:
            session.look_up(*new)
            session.move({"brow": there})
        else:
            session.define_landmark("brow", there, "head")

    return decide


def test_a_landmark_that_people_defined_becomes_a_trained_one(heatmap_parent: Bundle, tmp_path: Path) -> None:
    library = annotated(tmp_path, heatmap_parent, define_brow)
    task = task_of(library, heatmap_parent)
    assert task.run.new_landmarks == ("brow",)
    assert task.template.landmark_names == (*LANDMARKS, "brow")
    network = task.new_network()
    before = task.validate(network)["error_mm"]
    run = trained(task)
    assert task.validate(run.best_network)["error_mm"] < 0.5 * before
    task.export(tmp_path / "bundle", run.best_network, heatmap_parent)
    predictor = open_predictor(str(tmp_path / "bundle"), "cpu")
    landmarks = predictor.predict(read_image(write_image(tmp_path, 60), SPACING)).landmarks
    assert landmarks.names == (*LANDMARKS, "brow")
    wanted = points_px(60)[:2].mean(axis=0)
    assert np.linalg.norm(landmarks.points_lps_mm[4, :2] / SPACING_MM - wanted) < 6
    assert np.isfinite(landmarks.covariance_mm2).all()
    # A second generation knows it already.
    again = task_of(library, load_bundle(tmp_path / "bundle"))
    assert again.run.new_landmarks == ()
    assert again.template.landmark_names == (*LANDMARKS, "brow")


def test_a_landmark_of_another_template_is_left_out_with_a_line(heatmap_parent: Bundle, tmp_path: Path) -> None:
    library = annotated(tmp_path, heatmap_parent, correct_nose, 1)
    library.add_new_landmark(NewLandmark("brow", "head", (0.0, 0.0), template_key="0123456789abcdef"))

    def place(session: Session) -> None:
        session.place("brow", lps(session, np.array([20.0, 20.0])), "head")
        session.place("mole", lps(session, np.array([25.0, 20.0])), "head")
        session.accept("chin")

    Annotator(library, heatmap_parent.folder, tmp_path).work_on(write_image(tmp_path, 9), place, SPACING)
    task = task_of(library, heatmap_parent)
    assert task.run.new_landmarks == ()
    one, other = task.run.lines
    assert one.startswith("'brow' was defined on another template of head: it is not learned")
    assert other.startswith("'mole' is not on the template, and nobody defined it in the library")


def test_a_landmark_that_was_placed_only_where_the_image_is_gone_is_not_learned(
    heatmap_parent: Bundle, tmp_path: Path
) -> None:
    """A head for it would stay as it was drawn at random."""
    library = annotated(tmp_path, heatmap_parent, correct_nose, 1)
    Annotator(library, heatmap_parent.folder, tmp_path).work_on(write_image(tmp_path, 9), define_brow(9), SPACING)
    assert task_of(library, heatmap_parent).run.new_landmarks == ("brow",)
    (tmp_path / "person-9.png").unlink()
    task = task_of(library, heatmap_parent)
    assert (task.run.new_landmarks, task.template.landmark_names, len(task.cases)) == ((), LANDMARKS, 1)


def test_of_landmarks_in_cases_of_other_models_nothing_is_said(
    heatmap_parent: Bundle, multi_scale: Bundle, tmp_path: Path
) -> None:
    library = annotated(tmp_path, heatmap_parent, correct_nose, 1)
    library.add_new_landmark(NewLandmark("tip", "hand", (0.0, 0.0), template_key="0123456789abcdef"))

    def of_a_hand(session: Session) -> None:
        session.place("thumb", lps(session, np.array([20.0, 20.0])), "hand")
        session.place("tip", lps(session, np.array([25.0, 20.0])), "hand")

    def of_a_volume(session: Session) -> None:
        session.place("mole", volume_cases.person(8)[0][0], "head")

    annotator = Annotator(library, multi_scale.folder, tmp_path)
    annotator.work_on(write_image(tmp_path, 9), of_a_hand, SPACING, is_predicted=False)
    annotator.work_on(volume_cases.write_image(tmp_path, 8), of_a_volume)
    task = task_of(library, heatmap_parent)
    assert (task.run.new_landmarks, task.template.landmark_names) == ((), LANDMARKS)
    assert sum("left out" in line for line in task.run.lines) == len(task.run.lines) == 2
