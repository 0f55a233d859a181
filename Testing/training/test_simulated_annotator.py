"""The simulated annotator: what a person would move, in which order, and how far off the hand is; truth is closed-form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.perfect_answer import chest_image, perfect_answer
from Testing.studies.annotator import PointOrder, review_case, slips_lps_mm
from training.data import read_dataset

Predicted = Callable[..., Session]


@pytest.fixture
def predicted(chest_template: Template, tmp_path: Path) -> Predicted:
    """Begin a case that a model without any error has seen, and which it is more and less sure of."""
    library = Library.create(tmp_path / "library", "study")

    def begin(seed: int = 0, strength: float = 0.0, lost: tuple[str, ...] = ()) -> Session:
        image = chest_image(chest_template, seed=seed)
        answer = perfect_answer(chest_template, image, lost)
        landmarks = answer.prediction.landmarks
        confidence = np.random.default_rng(1).permutation(len(landmarks)) / len(landmarks)
        surer = replace(answer.prediction, landmarks=replace(landmarks, confidence=confidence))
        session = Session(library.add_pixels(image), "simulated annotator", data_folder=tmp_path / "user")
        session.take(replace(answer, prediction=surer), image.geometry)
        session.set_strength(strength)
        return session

    return begin


def off_by(session: Session, offsets_mm: dict[str, float]) -> np.ndarray:
    """A truth from which the landmarks so named are so far, outward from the middle of their structure."""
    landmarks = session.state.landmarks
    truth = landmarks.points_lps_mm.copy()
    for name, offset in offsets_mm.items():
        row = landmarks.names.index(name)
        mine = [other == landmarks.structures[row] for other in landmarks.structures]
        outward = truth[row] - landmarks.points_lps_mm[mine].mean(axis=0)
        truth[row] += offset * outward / np.linalg.norm(outward)
    return truth


def review(session: Session, truth: np.ndarray, order: PointOrder = "doubt", slips: np.ndarray | None = None) -> int:
    return review_case(
        session, truth, np.zeros_like(truth) if slips is None else slips, order, np.random.default_rng(0)
    )


def decided_in_order(session: Session) -> list[str]:
    """Fills with the names that are decided, as it happens."""
    seen: list[str] = []

    def watch(state: CaseState) -> None:
        reviews = zip(state.landmarks.names, state.landmarks.review, strict=True)
        seen.extend(name for name, how in reviews if how is not Review.PREDICTED and name not in seen)

    session.watch(watch)
    return seen


def test_points_come_as_the_model_doubts_them(predicted: Predicted) -> None:
    session = predicted()
    landmarks = session.state.landmarks
    seen = decided_in_order(session)
    assert review(session, off_by(session, {"heart_03": 5.0, "left_lung_11": 5.0})) == 2
    assert seen == [landmarks.names[row] for row in np.argsort(landmarks.confidence)]


def test_a_random_order_is_another_one_and_the_same_for_the_same_seed(predicted: Predicted) -> None:
    orders = []
    for seed in range(2):
        session = predicted(seed)
        orders.append(decided_in_order(session))
        review(session, session.state.landmarks.points_lps_mm.copy(), "random")
    landmarks = session.state.landmarks
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == sorted(landmarks.names)
    assert orders[0] != [landmarks.names[row] for row in np.argsort(landmarks.confidence)]


def test_what_is_more_than_3_mm_off_is_moved_and_the_rest_is_accepted_as_it_is(predicted: Predicted) -> None:
    session = predicted()
    before = session.state.landmarks
    truth = off_by(session, {"right_lung_04": 3.1, "heart_09": 6.0, "left_lung_20": 2.9})
    slips = np.random.default_rng(2).normal(size=truth.shape) * np.array([1.0, 1.0, 0.0])
    assert review(session, truth, slips=slips) == 2
    after = session.state.landmarks
    moved = [before.names.index(name) for name in ("right_lung_04", "heart_09")]
    kept = np.setdiff1d(np.arange(len(before)), moved)
    np.testing.assert_allclose(after.points_lps_mm[moved], (truth + slips)[moved], atol=1e-6)
    np.testing.assert_array_equal(after.points_lps_mm[kept], before.points_lps_mm[kept])
    assert {after.review[row] for row in moved} == {Review.CORRECTED}
    assert {after.review[row] for row in kept} == {Review.VERIFIED}


def test_the_oracle_takes_the_worst_first(predicted: Predicted) -> None:
    session = predicted()
    offsets = {"heart_03": 4.0, "left_lung_30": 7.0, "right_lung_08": 5.0, "heart_17": 6.0}
    seen = decided_in_order(session)
    assert review(session, off_by(session, offsets), "worst") == 4
    assert seen[:4] == ["left_lung_30", "heart_17", "right_lung_08", "heart_03"]


@pytest.mark.parametrize("order", ["doubt", "random", "worst"])
def test_without_propagation_a_shifted_lung_takes_more_drags(predicted: Predicted, order: PointOrder) -> None:
    drags = []
    for seed, strength in enumerate((0.0, 1.0)):
        session = predicted(seed, strength)
        lung = [structure == "right_lung" for structure in session.state.landmarks.structures]
        truth = session.state.landmarks.points_lps_mm.copy()
        truth[lung] += [4.0, 3.0, 0.0]
        drags.append(review(session, truth, order))
        assert np.linalg.norm(session.state.landmarks.points_lps_mm - truth, axis=1).max() <= 3.0 + 1e-6
    assert drags[0] == sum(lung)
    assert drags[1] < 0.5 * drags[0]


def test_what_the_model_calls_absent_is_put_where_it_is(predicted: Predicted) -> None:
    truth = predicted(0).state.landmarks.points_lps_mm.copy()
    session = predicted(1, lost=("heart",))
    landmarks = session.state.landmarks
    heart = np.array([structure == "heart" for structure in landmarks.structures])
    assert {landmarks.presence[row] for row in np.flatnonzero(heart)} == {Presence.ABSENT}
    assert review(session, truth) == heart.sum()
    after = session.state.landmarks
    assert set(after.presence) == {Presence.PRESENT}
    assert {after.review[row] for row in np.flatnonzero(heart)} == {Review.PLACED}
    np.testing.assert_allclose(after.points_lps_mm[heart], truth[heart], atol=1e-6)


def test_the_hand_is_off_by_1_mm_across_and_2_mm_along_and_slips_the_same_way_again(phantom_folder: Path) -> None:
    dataset = read_dataset(phantom_folder)
    names, axes = dataset.landmark_names, np.eye(3)
    slips = [slips_lps_mm(dataset, case, names, axes) for case in dataset.cases]
    again = slips_lps_mm(dataset, dataset.cases[0], names[::-1], axes)
    np.testing.assert_array_equal(again[::-1], slips[0])
    assert np.abs(slips[0] - slips[1]).max() > 1
    found = np.concatenate([slip[np.isfinite(slip).all(axis=1)] for slip in slips])
    assert (found[:, 2] == 0).all()
    assert np.sqrt((found**2).sum(axis=1).mean()) == pytest.approx(np.sqrt(1**2 + 2**2), rel=0.08)
