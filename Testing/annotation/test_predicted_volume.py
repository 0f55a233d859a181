"""A volume goes the whole way: predicted by the worker, corrected, saved, exported, each position in LPS where it is."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from DenseLandmarksLib import cli
from DenseLandmarksLib.annotation.library.export import export_library
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.prediction_request import PredictionRequest, RequestStatus
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.models.demonstration import SYNTHETIC
from DenseLandmarksLib.worker.client import Client, Worker
from Testing.models.neck_finder import LEFT, NAMES, OBLIQUE, RIGHT, centres_lps_mm, marked_volume, write_neck_finder
from Testing.models.same_prediction import assert_same

# The balls are drawn on voxels of up to 2 mm.
NEAR_MM = 0.5
PATIENCE_S = 90.0
# The same voxels stored in another order: slices from the head down, and rows from the back.
FLIPPED = (*OBLIQUE[:2], -OBLIQUE[2], *OBLIQUE[3:5], -OBLIQUE[5], *OBLIQUE[6:8], -OBLIQUE[8])


@pytest.fixture
def client(warm_worker: Worker) -> Iterator[Client]:
    client = warm_worker.client()
    yield client
    client.close()


def opened(folder: Path, direction: tuple[float, ...] = OBLIQUE) -> Session:
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(marked_volume(direction).volume, folder / "neck.nrrd")
    library = Library.create(folder / "library", "necks")
    return Session(library.add(folder / "neck.nrrd"), "an annotator", data_folder=folder / "user")


def ask(session: Session, client: Client, model: Path) -> PredictionRequest:
    image, _ = session.case.read_image(session.state.geometry)
    return PredictionRequest(session, client, image, str(model), device="cpu")


def finished(worker: Worker, request: PredictionRequest, said: list[RequestStatus] | None = None) -> RequestStatus:
    until = time.monotonic() + PATIENCE_S
    while not request.poll().finished:
        assert time.monotonic() < until, worker.log()
        worker.wait(0.2)
        if said is not None:
            said.append(request.status)
    return request.status


def point(session: Session, name: str) -> np.ndarray:
    landmarks = session.state.landmarks
    return landmarks.points_lps_mm[landmarks.names.index(name)].copy()


@pytest.fixture
def session(tmp_path: Path, client: Client, warm_worker: Worker, volume_bundle: Path) -> Session:
    """An oblique volume, predicted; no revision holds it yet."""
    session = opened(tmp_path)
    status = finished(warm_worker, ask(session, client, volume_bundle))
    assert status.problem == ""
    return session


@pytest.mark.parametrize(
    "direction", [OBLIQUE, FLIPPED, (1.0, 0, 0, 0, 1, 0, 0, 0, 1)], ids=["oblique", "flipped", "plain"]
)
def test_landmarks_are_found_where_they_are_however_the_volume_is_stored(
    tmp_path: Path, client: Client, warm_worker: Worker, volume_bundle: Path, direction: tuple[float, ...]
) -> None:
    session = opened(tmp_path, direction)
    assert finished(warm_worker, ask(session, client, volume_bundle)).problem == ""
    truth = centres_lps_mm(session.state.geometry)
    assert session.state.landmarks.names == NAMES
    np.testing.assert_allclose(session.state.landmarks.points_lps_mm, truth, atol=NEAR_MM)
    assert (np.linalg.eigvalsh(session.state.landmarks.covariance_mm2) > 0).all()


def test_a_demonstration_believes_itself_on_a_phantom_and_on_nothing_else(
    tmp_path: Path, client: Client, warm_worker: Worker, neck_phantom_file: Path
) -> None:
    model = write_neck_finder(tmp_path / "demonstration", demonstration=True)
    library = Library.create(tmp_path / "library", "phantoms")
    phantom = Session(library.add(neck_phantom_file), "an annotator", data_folder=tmp_path / "user")
    assert finished(warm_worker, ask(phantom, client, model)).problem == ""
    index = phantom.state.index_ijk
    assert ((index > -0.5) & (index < 63.5)).all()
    assert phantom.state.answer is not None
    assert phantom.state.answer.prediction.plausibility.plausible
    scan = opened(tmp_path / "scan")
    assert finished(warm_worker, ask(scan, client, model)).problem == ""
    assert scan.state.answer is not None
    assert scan.state.answer.prediction.plausibility.doubts == (SYNTHETIC,)


def test_a_correction_is_kept_and_read_again(session: Session, tmp_path: Path) -> None:
    target = point(session, LEFT) + [3, -4, 5]
    session.move({LEFT: target})
    session.mark_absent(RIGHT)
    session.save("first look")
    session.close()
    again = Session(session.case, "a colleague", data_folder=tmp_path / "other")
    assert_same(again.state.landmarks, session.state.landmarks)
    assert_same(again.state.answer, session.state.answer)
    np.testing.assert_allclose(point(again, LEFT), target, atol=1e-9)
    assert again.state.landmarks.review[0] is Review.CORRECTED
    assert again.state.landmarks.presence[1] is Presence.ABSENT
    again.reset(LEFT, RIGHT)
    np.testing.assert_allclose(again.state.landmarks.points_lps_mm, centres_lps_mm(again.state.geometry), atol=NEAR_MM)


def test_everything_that_is_exported_is_in_lps(session: Session, tmp_path: Path) -> None:
    target = centres_lps_mm(session.state.geometry)[0]
    session.move({LEFT: target})
    session.save()
    session.close()
    library = Library.open(tmp_path / "library")
    (markups,) = export_library(library, "mrk.json", tmp_path / "out").written
    markup = json.loads(markups.read_text())["markups"][0]
    assert markup["coordinateSystem"] == "LPS"
    np.testing.assert_allclose(markup["controlPoints"][0]["position"], target, atol=1e-4)
    (table,) = export_library(library, "csv", tmp_path / "out").written
    with table.open(newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["name"] == LEFT)
    np.testing.assert_allclose([float(row[f"{axis}_lps_mm"]) for axis in "lps"], target, atol=1e-4)
    written = export_library(library, "datalist", tmp_path / "out").written
    (entry,) = json.loads(written[-1].read_text())["training"]
    index = np.array([marked_volume().volume.TransformPhysicalPointToContinuousIndex(target.tolist())])
    np.testing.assert_allclose([entry["points"][0]["index_ijk"]], index, atol=1e-4)
    refused = export_library(library, "coco", tmp_path / "out")
    assert refused.written == ()
    assert "COCO has no third axis for volumes; export mrk.json or csv" in refused.notes[0]


def test_progress_goes_up_between_passes_and_a_cancel_ends_it(
    tmp_path: Path, client: Client, warm_worker: Worker
) -> None:
    patient = write_neck_finder(tmp_path / "patient", passes=2000)
    session, said = opened(tmp_path), []
    before = session.state
    request = ask(session, client, patient)
    until = time.monotonic() + PATIENCE_S
    while sum(status.text == "predicting" for status in said) < 5:
        assert time.monotonic() < until, warm_worker.log()
        warm_worker.wait(0.2)
        said.append(request.poll())
    fractions = [status.fraction for status in said]
    assert fractions == sorted(fractions)
    assert fractions[-1] < 1
    request.cancel()
    began = time.monotonic()
    status = finished(warm_worker, request)
    assert (status.text, status.problem) == ("cancelled", "")
    assert time.monotonic() - began < 5
    assert session.state is before


def test_a_command_predicts_a_phantom_with_report_and_overlay(
    tmp_path: Path, volume_bundle: Path, neck_phantom_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--model", str(volume_bundle), "--output", str(tmp_path / "out"), "--device", "cpu"]
    sitk.WriteImage(marked_volume().volume, tmp_path / "neck.nrrd")
    assert cli.main(["predict", str(neck_phantom_file), str(tmp_path / "neck.nrrd"), *where]) == 0, capsys.readouterr()
    said = json.loads((tmp_path / "out" / "neck.report.json").read_text())
    for landmark, centre in zip(said["landmarks"], centres_lps_mm(marked_volume().geometry), strict=True):
        np.testing.assert_allclose(landmark["position_lps"], centre, atol=NEAR_MM)
    overlays = list((tmp_path / "out").glob("*.png"))
    assert len(overlays) == 2
    for overlay in overlays:
        assert np.ptp(np.asarray(Image.open(overlay).convert("L"))) > 100
