"""A library also holds cases that say nothing of the model that learns: they disturb neither its curve nor its comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import training.finetuning.validation
from DenseLandmarksLib.annotation.library.decisions import read_decisions
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.predictors.heatmap import HeatmapPredictor
from Testing.training.blob_radiographs import SPACING_MM
from Testing.training.finetuning import volume_cases
from Testing.training.finetuning.chest_library import run
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.finetuning.finished_runs import json_of
from Testing.training.finetuning.heatmap_cases import SPACING, lps, points_px, task_of, write_image
from Testing.training.kept_state import rows_of
from training.finetuning.recipe import FinetuneRecipe

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = FinetuneRecipe(steps=2, epochs=1, batch=2, ema=0.0)
LEARNED = "Mean error on the cases that it learned from: "


def placed_blind(seed: int, name: str = "nose", asked: tuple[str, ...] = ()) -> Callable[[Session], None]:
    """The nose of a person, under a name, of more landmarks that may have been asked for."""

    def decide(session: Session) -> None:
        session.start_blind([(one, "head") for one in (name, *asked)])
        session.place(name, lps(session, points_px(seed)[2]), "head")

    return decide


def volume_placed_blind(session: Session) -> None:
    session.start_blind([("nose", "head")])
    session.place("nose", volume_cases.person(7)[0][2], "head")


def measured(output: Path) -> list[float]:
    """The curve of a run, every number of which is one."""
    curve = [row["error_mm"] for row in rows_of(output / "validation.csv")]
    assert np.isfinite(curve).all()
    return curve


def test_a_volume_that_was_annotated_blind_does_not_stop_a_model_of_radiographs(
    noses_corrected: Annotator, tmp_path: Path
) -> None:
    noses_corrected.work_on(volume_cases.write_image(tmp_path, 7), volume_placed_blind, is_predicted=False)
    output = run(noses_corrected, tmp_path / "run", FEW)
    assert len(measured(output)) == 2
    assert LEARNED in (output / "report.md").read_text()
    gate = json_of(output / "gate.json")
    assert gate["cases"] == 0
    assert "expected a radiograph for blobs, got" in gate["notes"][0]
    # Of a case that both can be compared on there is a curve, and the label says of how many.
    noses_corrected.work_on(write_image(tmp_path, 8), placed_blind(8), SPACING, is_predicted=False)
    output = run(noses_corrected, tmp_path / "another", FEW)
    gate = json_of(output / "gate.json")
    assert gate["cases"] == 1
    assert measured(output)[0] == pytest.approx(gate["before_mm"], rel=1e-3)
    assert "Mean error on 1 case for comparison: " in (output / "report.md").read_text()


@pytest.mark.parametrize("why", ["of another model", "unfinished", "without spacing", "without an image"])
def test_without_a_case_to_compare_on_the_curve_is_of_those_that_teach(
    noses_corrected: Annotator, tmp_path: Path, why: str
) -> None:
    name, asked = ("thumb", ()) if why == "of another model" else ("nose", ("chin",) if why == "unfinished" else ())
    spacing = None if why == "without spacing" else SPACING
    blind = noses_corrected.work_on(write_image(tmp_path, 7), placed_blind(7, name, asked), spacing, is_predicted=False)
    if why == "without an image":
        noses_corrected.library.case(blind).image_path.unlink()
    output = run(noses_corrected, tmp_path / "run", FEW)
    assert json_of(output / "gate.json")["cases"] == 0
    assert measured(output)[0] > 5 * SPACING_MM, "the nose is far from where people want it"
    assert LEARNED in (output / "report.md").read_text()


def test_an_image_that_cannot_be_predicted_is_passed_over(
    noses_corrected: Annotator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in (7, 8):
        noses_corrected.work_on(write_image(tmp_path, seed), placed_blind(seed), SPACING, is_predicted=False)
    predict = HeatmapPredictor.predict

    def refuse(predictor: HeatmapPredictor, image: MedicalImage, *arguments: object, **named: object) -> Prediction:
        if image.name == "person-7":
            raise InputError("expected another image, got this one.")
        return predict(predictor, image, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(HeatmapPredictor, "predict", refuse)
    output = run(noses_corrected, tmp_path / "run", FEW)
    gate = json_of(output / "gate.json")
    assert (gate["cases"], len(gate["notes"])) == (1, 1)
    assert measured(output)[-1] == pytest.approx(gate["after_mm"], rel=1e-3)


def test_the_curve_is_of_no_more_cases_than_it_needs(
    noses_corrected: Annotator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.finetuning.validation, "MOST_CASES", 1)
    for seed in (7, 8):
        noses_corrected.work_on(write_image(tmp_path, seed), placed_blind(seed), SPACING, is_predicted=False)
    blind = next(entry.id for entry in noses_corrected.library.cases() if entry.name == "person-7")
    noses_corrected.library.case(blind).image_path.unlink()
    output = run(noses_corrected, tmp_path / "run", FEW)
    assert "Mean error on 1 case for comparison: " in (output / "report.md").read_text()
    assert measured(output)[0] == pytest.approx(json_of(output / "gate.json")["before_mm"], rel=1e-3)


def test_pixels_are_no_millimetres_of_the_curve(
    noses_corrected: Annotator, heatmap_parent: Bundle, tmp_path: Path
) -> None:
    task = task_of(noses_corrected.library, heatmap_parent, options=FEW)
    known = task.validate(task.new_network())["error_mm"]
    far = tmp_path / "unknown"
    far.mkdir()
    other = replace(noses_corrected, folder=far)
    other.work_on(write_image(far, 5), lambda session: session.move({"nose": lps(session, np.array([1.0, 1.0]))}))
    assert len(read_decisions(other.library)[0]) == 3
    task = task_of(other.library, heatmap_parent, options=FEW)
    assert len(task.run.case_ids) == 3
    assert task.validate(task.new_network())["error_mm"] == pytest.approx(known, rel=1e-5)


def test_without_any_millimetres_there_is_no_curve(heatmap_parent: Bundle, tmp_path: Path) -> None:
    annotator = Annotator.begin(tmp_path, heatmap_parent.folder)
    for seed in range(2):
        annotator.work_on(write_image(tmp_path, seed), lambda session: session.accept_remaining())
    output = run(annotator, tmp_path / "run", FEW)
    assert not (output / "validation.csv").exists()
    assert "Mean error" not in (output / "report.md").read_text()
