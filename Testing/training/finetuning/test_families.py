"""Each family goes the whole way of fine-tuning: from the library to a version that is listed and predicts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.registry import open_predictor
from DenseLandmarksLib.models.versions import list_versions
from Testing.training.blob_radiographs import LANDMARKS, MEAN_PX, SPACING_MM, blob_image
from Testing.training.finetuning.chest_library import run
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.finetuning.volume_cases import correct_chin, write_image
from Testing.training.kept_state import rows_of
from training.finetuning.recipe import FinetuneRecipe

OPTIONS = FinetuneRecipe(steps=24, epochs=2, batch=4, learning_rate_share=0.5, ema=0.0)

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_heatmap_model(heatmap_parent: Bundle, tmp_path: Path) -> None:
    annotator = Annotator.begin(tmp_path, heatmap_parent.folder)
    rng = np.random.default_rng(2)
    for number in range(3):
        points = MEAN_PX + rng.uniform(-4, 4, 2) + rng.uniform(-2, 2, (4, 2))
        path = tmp_path / f"face-{number}.png"
        Image.fromarray(blob_image(points, 50 + number)).save(path)

        def decide(session: Session, points: np.ndarray = points) -> None:
            truth = lps_mm_from_pixels(session.state.geometry, points)
            for row, name in enumerate(LANDMARKS):
                if session.state.landmarks.presence[session.state.landmarks.names.index(name)] == "present":
                    session.move({name: truth[row]})
                else:
                    session.place(name, truth[row], "head")

        annotator.work_on(path, decide, (SPACING_MM, SPACING_MM))
    output = run(annotator, tmp_path / "run", OPTIONS)
    curve = rows_of(output / "validation.csv")
    assert curve[-1]["error_mm"] < curve[0]["error_mm"]
    versions = list_versions("blobs", annotator.folder / "versions")
    assert [one.version for one in versions] == ["1.0.0", "1.0.0+1"]
    assert not any(one.problem for one in versions)
    prediction = open_predictor(str(versions[1].folder), "cpu").predict(read_image(path, (SPACING_MM, SPACING_MM)))
    assert set(prediction.landmarks.names) == set(LANDMARKS)
    assert json.loads((output / "state.json").read_text())["status"] == "done"


def test_a_model_of_volumes(volume_parent: Bundle, tmp_path: Path) -> None:
    annotator = Annotator.begin(tmp_path, volume_parent.folder)
    for seed in range(2):
        annotator.work_on(write_image(tmp_path, seed), correct_chin(seed))
    output = run(annotator, tmp_path / "run", replace(OPTIONS, steps=4))
    assert len(rows_of(output / "validation.csv")) >= 2
    versions = list_versions("blobs", annotator.folder / "versions")
    assert [one.version for one in versions] == ["1.0.0", "1.0.0+1"]
    assert not any(one.problem for one in versions)
    assert json.loads((output / "state.json").read_text())["status"] == "done"
