"""A person asks for a prediction and goes on working, whatever happens to the worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.prediction_request import PredictionRequest, RequestStatus
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.worker.client import Client, Worker
from Testing.annotation.perfect_answer import chest_image

PATIENCE_S = 90.0


@pytest.fixture
def session(tmp_path: Path, chest_template: Template) -> Session:
    sitk.WriteImage(chest_image(chest_template).volume, tmp_path / "film.nrrd")
    case = Library.create(tmp_path / "library", "chests").add(tmp_path / "film.nrrd")
    return Session(case, "an annotator", data_folder=tmp_path / "user")


@pytest.fixture
def client(warm_worker: Worker) -> Iterator[Client]:
    client = warm_worker.client()
    yield client
    client.close()


def finished(worker: Worker, request: PredictionRequest) -> RequestStatus:
    """As a front end's timer does it."""
    until = time.monotonic() + PATIENCE_S
    while not request.poll().finished:
        assert time.monotonic() < until, worker.log()
        worker.poll()
        time.sleep(0.01)
    return request.status


def test_a_prediction_comes_into_the_case_as_one_edit(
    session: Session, warm_worker: Worker, client: Client, tiny_bundle: Path
) -> None:
    image, _ = session.case.read_image()
    request = PredictionRequest(session, client, image, str(tiny_bundle))
    assert session.state.answer is None
    status = finished(warm_worker, request)
    assert (status.text, status.problem, status.fraction) == ("predicted", "", 1.0)
    assert status.seconds is not None
    assert status.seconds.predict > 0
    assert session.state.answer is not None
    assert session.state.answer.template is not None
    assert session.state.landmarks.names == session.state.answer.template.landmark_names
    session.undo()
    assert session.state.answer is None


def test_a_prediction_that_is_repeated_is_kept_once(
    session: Session, warm_worker: Worker, client: Client, tiny_bundle: Path
) -> None:
    image, _ = session.case.read_image()
    answers = []
    for _ in range(2):
        finished(warm_worker, PredictionRequest(session, client, image, str(tiny_bundle)))
        answers.append(session.state.answer)
    assert None not in answers
    assert answers[0] is not answers[1]
    assert answers[0].prediction is answers[1].prediction
    session.undo()
    assert session.state.answer is answers[0]


def test_what_a_person_does_meanwhile_stays(
    session: Session, warm_worker: Worker, client: Client, tiny_bundle: Path
) -> None:
    image, _ = session.case.read_image()
    request = PredictionRequest(session, client, image, str(tiny_bundle))
    x, y, z = session.state.geometry.spacing_mm
    session.correct_spacing((2 * x, 2 * y, z))
    session.place("heart_01", session.state.geometry.origin_lps_mm, "heart")
    finished(warm_worker, request)
    landmarks = session.state.landmarks
    row = landmarks.names.index("heart_01")
    assert landmarks.review[row] is Review.PLACED
    np.testing.assert_allclose(landmarks.points_lps_mm[row], session.state.geometry.origin_lps_mm, atol=1e-9)
    assert session.state.geometry.spacing_mm == (2 * x, 2 * y, z)
    assert np.nanmax(session.state.index_ijk[:, 0]) < 2 * image.volume.GetSize()[0]


def test_a_worker_that_is_killed_is_started_again_and_the_work_is_kept(
    session: Session, warm_worker: Worker, client: Client, tiny_bundle: Path
) -> None:
    image, _ = session.case.read_image()
    session.set_strength(0.5)
    request = PredictionRequest(session, client, image, str(tiny_bundle))
    while warm_worker.pid is None:
        warm_worker.poll()
    os.kill(warm_worker.pid, signal.SIGKILL)
    said = []
    until = time.monotonic() + PATIENCE_S
    while not request.poll().finished and time.monotonic() < until:
        said.append(request.status.text)
        warm_worker.wait(0.1)
    assert any(text.startswith("the worker ended with signal SIGKILL") for text in said), said
    assert request.status.problem == ""
    assert session.state.answer is not None
    assert session.state.strength == 0.5


def test_a_model_that_is_not_there_is_told(session: Session, client: Client) -> None:
    image, _ = session.case.read_image()
    with pytest.raises(InputError, match="'no-such-model'"):
        PredictionRequest(session, client, image, "no-such-model")


def test_an_image_that_the_model_cannot_use_is_told_before_a_worker_is_asked(
    session: Session, client: Client, tiny_bundle: Path
) -> None:
    volume = MedicalImage(sitk.Image(16, 16, 16, sitk.sitkInt16), SpacingSource.GIVEN, "head")
    before = session.state
    with pytest.raises(InputError, match=r"expected a radiograph \(one slice\) .*, got 'head' with 16 slices") as error:
        PredictionRequest(session, client, volume, str(tiny_bundle))
    assert "\n" not in str(error.value)
    assert not client.has_events
    assert session.state is before


def test_a_cancelled_prediction_changes_nothing(
    session: Session, warm_worker: Worker, client: Client, tiny_bundle: Path
) -> None:
    image, _ = session.case.read_image()
    before = session.state
    request = PredictionRequest(session, client, image, str(tiny_bundle))
    request.cancel()
    status = finished(warm_worker, request)
    assert (status.text, status.problem) == ("cancelled", "")
    assert session.state is before
