"""A radiograph whose model finds landmarks without masks is worked on, kept and exported as a chest is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.exports.results import results_are_whole, write_results
from DenseLandmarksLib.annotation.library.export import export_library
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.predict_cases import predict_cases
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.models.bundle import BundleDescription, read_description
from DenseLandmarksLib.models.look_up import with_landmarks
from DenseLandmarksLib.models.prediction import OpenPredictor
from DenseLandmarksLib.models.registry import open_predictor
from DenseLandmarksLib.models.structure_look_up import Method
from DenseLandmarksLib.worker.blocking import WorkerPredictor
from DenseLandmarksLib.worker.client import Worker
from Testing.models.disc_finder import NAMES, SHAPE_MM, STRUCTURE, lps_of, marked_hand, patient
from Testing.models.same_prediction import assert_same

# In the mean shape: between palm, ring and little finger, where no landmark is.
NEW_MM = np.array([[80.0, 66.0]])


@pytest.fixture(scope="module")
def model(heatmap_bundle: Path) -> BundleDescription:
    return read_description(heatmap_bundle)


@pytest.fixture(scope="module")
def predictor(heatmap_bundle: Path) -> OpenPredictor:
    return open_predictor(str(heatmap_bundle), "cpu")


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library.create(tmp_path / "library", "hands")


def opened(library: Library, folder: Path, model: BundleDescription, predictor: OpenPredictor, seed: int) -> Session:
    """A hand that was predicted; no revision holds it yet."""
    path = folder / f"hand-{seed}.nrrd"
    sitk.WriteImage(marked_hand(patient(seed)).volume, str(path))
    case = library.add(path)
    session = Session(case, "an annotator", data_folder=folder / "user")
    image, _ = case.read_image()
    session.take(ModelAnswer(predictor.predict(image), model.template, model.styles), image.geometry)
    return session


@pytest.fixture
def session(library: Library, tmp_path: Path, model: BundleDescription, predictor: OpenPredictor) -> Session:
    return opened(library, tmp_path, model, predictor, 1)


def point(session: Session, name: str) -> np.ndarray:
    landmarks = session.state.landmarks
    return landmarks.points_lps_mm[landmarks.names.index(name)].copy()


def between(seed: int) -> np.ndarray:
    """Where a patient has the point of :data:`NEW_MM`, by the affine map of the three landmarks around it."""
    around = [NAMES.index(name) for name in ("palm", "ring", "little")]
    design = np.column_stack([SHAPE_MM[around], np.ones(3)])
    weights = np.linalg.solve(design.T, np.append(NEW_MM[0], 1))
    return np.asarray(lps_of((weights @ patient(seed)[around])[None])[0])


def test_a_correction_moves_nobody_else_and_the_others_are_accepted(session: Session) -> None:
    before = session.state.landmarks.points_lps_mm.copy()
    session.move({"thumb": point(session, "thumb") + [3, 0, -2]})
    after = session.state.landmarks.points_lps_mm
    np.testing.assert_allclose(after[1] - before[1], [3, 0, -2], atol=1e-9)
    np.testing.assert_allclose(np.delete(after, 1, axis=0), np.delete(before, 1, axis=0), atol=1e-9)
    session.accept_structure(STRUCTURE)
    review = session.state.landmarks.review
    assert (review[1], set(review[2:])) == (Review.CORRECTED, {Review.VERIFIED})
    assert session.state.structures == ()
    session.undo()
    session.undo()
    np.testing.assert_array_equal(session.state.landmarks.points_lps_mm, before)


def test_a_landmark_that_is_defined_in_one_image_is_found_in_the_other(
    session: Session, library: Library, tmp_path: Path, model: BundleDescription, predictor: OpenPredictor
) -> None:
    clicked = between(1)
    definition = session.define_landmark("web", clicked)
    assert (definition.structure, definition.method, definition.outside_mm) == (STRUCTURE, Method.TEMPLATE_WARP, 0)
    np.testing.assert_allclose(point(session, "web"), clicked, atol=1e-9)
    session.save()
    other = opened(library, tmp_path, model, predictor, 2)
    (new,) = other.landmarks_of_library()
    assert new.template_key == model.need_template().structure(STRUCTURE).key
    other.look_up(new)
    found = other.found(new)
    assert (found.method, found.found.tolist()) == ((Method.TEMPLATE_WARP,), [True])
    missed = np.linalg.norm(point(other, "web") - between(2))
    assert missed < 2
    # By how much the warp misses landmarks that it was not given, which here are farther from each other than the new one.
    assert missed < found.error_mm[0] < 10
    landmarks = other.state.landmarks
    row = landmarks.names.index("web")
    assert (landmarks.presence[row], landmarks.review[row]) == (Presence.PRESENT, Review.PREDICTED)
    assert landmarks.confidence[row] > 0.5


def test_a_new_landmark_follows_the_corrections_around_it(session: Session) -> None:
    session.define_landmark("web", between(1))
    session.reset("web")  # as if it had been found
    before = point(session, "web")
    session.move({"thumb": point(session, "thumb") + [4, 0, 0]})
    np.testing.assert_allclose(point(session, "web"), before, atol=0.01)  # no corner of its triangle
    session.move({"ring": point(session, "ring") + [0, 0, 4]})
    step = point(session, "web") - before
    assert 0.5 < step[2] < 4
    np.testing.assert_allclose(step[:2], 0, atol=0.01)


def test_a_click_beside_the_hand_is_no_landmark_of_it(session: Session) -> None:
    # 8 mm above the middle finger: at most ten are near enough.
    near = session.define_landmark("near", point(session, "middle") + [0, 0, 8])
    assert 4 < near.outside_mm < 10
    with pytest.raises(InputError, match=r"expected a point on hand or at most 10 mm outside, got one 1\d\.\d mm"):
        session.define_landmark("far", point(session, "middle") + [0, 0, 15])


def test_the_hand_reaches_as_far_as_its_outermost_landmarks_whatever_their_order(session: Session) -> None:
    """Joined in their order, from the little finger over the palm to the wrist, they would leave a bay in the hand."""
    little, wrist, palm = (point(session, name) for name in ("little", "wrist", "palm"))
    in_the_bay = session.define_landmark("edge", 0.45 * little + 0.45 * wrist + 0.1 * palm)
    assert in_the_bay.outside_mm == 0


def test_a_saved_case_is_read_again(session: Session, tmp_path: Path) -> None:
    session.move({"ring": point(session, "ring") + [2, 0, 0]})
    session.mark_absent("wrist")
    session.define_landmark("web", between(1))
    session.save("first look")
    session.close()
    again = Session(session.case, "a colleague", data_folder=tmp_path / "other")
    assert_same(again.state.landmarks, session.state.landmarks)
    assert_same(again.state.answer, session.state.answer)
    again.reset("ring", "web")
    assert again.state.answer is not None
    assert again.state.answer.template is not None
    assert again.state.answer.template.structure(STRUCTURE).chart == "points"
    # Where the template's warp through the landmarks as they are predicted says, wherever it was clicked.
    assert np.linalg.norm(point(again, "web") - between(1)) < 2


def test_it_is_exported_for_others_and_for_training(session: Session, library: Library, tmp_path: Path) -> None:
    session.move({"ring": point(session, "ring") + [2, 0, 0]})
    session.save()
    session.close()
    for file_format in ("mrk.json", "csv", "coco"):
        exported = export_library(library, file_format, tmp_path / file_format)  # type: ignore[arg-type]
        assert (exported.cases, exported.notes) == (1, ()), file_format
    written = export_library(library, "datalist", tmp_path / "datalist").written
    (entry,) = json.loads(written[-1].read_text())["training"]
    assert (entry["structures"], len(entry["points"])) == ([], len(NAMES))
    markups = json.loads((next((tmp_path / "mrk.json").rglob("*.mrk.json"))).read_text())["markups"][0]
    assert [one["label"] for one in markups["controlPoints"]] == list(NAMES)


def test_results_and_predicted_libraries_hold_it(
    library: Library, session: Session, tmp_path: Path, model: BundleDescription, predictor: OpenPredictor
) -> None:
    image = marked_hand(patient(3), name="hand")
    prediction = predictor.predict(image)
    session.define_landmark("web", between(1))
    new = session.state.new_landmarks
    prediction = with_landmarks(prediction, image.geometry, model.template, new)
    written = write_results(tmp_path / "out", image, prediction, model.styles)
    assert [path.name for path in written] == ["hand.overlay.png", "hand.mrk.json", "hand.report.json"]
    assert results_are_whole(tmp_path / "out", "hand")
    said = json.loads(written[2].read_text())
    assert [one["name"] for one in said["landmarks"]] == [*NAMES, "web"]
    (done,) = predict_cases(library, model, predictor, "a script")
    assert (done.problem, done.doubts) == ("", ())


def test_a_worker_says_the_same_as_this_process(
    warm_worker: Worker, heatmap_bundle: Path, predictor: OpenPredictor
) -> None:
    image = marked_hand(patient(2), lost=("ring",))
    client = warm_worker.client()
    try:
        said = WorkerPredictor(client, heatmap_bundle, "cpu").predict(image)
    finally:
        client.close()
    here = predictor.predict(image)
    # Threads add up sums in their own order.
    np.testing.assert_allclose(said.landmarks.points_lps_mm, here.landmarks.points_lps_mm, atol=1e-3)
    assert said.landmarks.presence == here.landmarks.presence
    assert_same(replace(said, landmarks=here.landmarks, plausibility=here.plausibility), here)
