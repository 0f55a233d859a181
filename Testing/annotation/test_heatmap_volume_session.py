"""A volume whose landmarks a heatmap model finds is worked on and kept as any other, and the worker says why here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.models.bundle import read_description
from DenseLandmarksLib.models.registry import open_predictor
from DenseLandmarksLib.worker.blocking import WorkerPredictor
from DenseLandmarksLib.worker.client import Client, Worker
from Testing.models.blob_heat_finder import NAMES, true_points_lps_mm, write_blob_finder
from Testing.models.blob_model import OBLIQUE, stored_blob


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_finder(tmp_path_factory.mktemp("bundles") / "finder")


def test_a_predicted_volume_is_corrected_saved_and_opened_again(
    tmp_path: Path, warm_worker: Worker, bundle: Path
) -> None:
    sitk.WriteImage(stored_blob(direction=OBLIQUE).volume, str(tmp_path / "blob.nrrd"))
    library = Library.create(tmp_path / "library", "blobs")
    case = library.add(tmp_path / "blob.nrrd")
    session = Session(case, "an annotator", data_folder=tmp_path / "user")
    image, _ = case.read_image()
    model = read_description(bundle)
    client: Client = warm_worker.client()
    try:
        prediction = WorkerPredictor(client, bundle, "cpu").predict(image)
        evidence = WorkerPredictor(client, bundle, "cpu").evidence(image, NAMES[1])
    finally:
        client.close()
    session.take(ModelAnswer(prediction, model.template, model.styles), image.geometry)
    found = session.state.landmarks
    assert (found.names, prediction.structures, prediction.grid) == (NAMES, (), None)
    np.testing.assert_allclose(found.points_lps_mm[:3], true_points_lps_mm()[:3], atol=0.6)
    assert found.presence[3] is Presence.ABSENT
    corrected = true_points_lps_mm()[1] + (0.2, 0.1, 0.0)
    session.move({NAMES[1]: corrected})
    session.save("checked")
    again = Session(library.case(library.cases()[0].id), "an annotator", data_folder=tmp_path / "user").state.landmarks
    np.testing.assert_allclose(again.points_lps_mm[1], corrected, atol=1e-6)
    assert again.review[1] is Review.CORRECTED
    here = open_predictor(str(bundle), "cpu").evidence(image, NAMES[1])
    (shown,), (wanted,) = evidence.maps, here.maps
    np.testing.assert_allclose(shown.values, wanted.values, atol=1e-3)
    np.testing.assert_allclose(shown.to_index, wanted.to_index, atol=1e-9)
