"""A model that sees its original cases again is not compared on the patients of whom they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import training.finetuning.replayed_patients
from DenseLandmarksLib.annotation.library.case import CASE_FILE
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.descent import trained_on_by
from Testing.geometry.dicom_files import write_dicom
from Testing.training.finetuning import volume_cases
from Testing.training.finetuning.chest_library import request_for, run
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.finetuning.finished_runs import json_of
from Testing.training.finetuning.heatmap_cases import SPACING, lps, points_px, write_image
from training.data import Dataset, read_dataset
from training.finetune import finetune
from training.finetuning.recipe import FinetuneRecipe
from training.grid_cases import read_grid_cases, save_grid_cases
from training.volume_data import read_volume_dataset

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = FinetuneRecipe(steps=2, epochs=1, batch=2, ema=0.0)
LEARNT = "left out; one of the versions learnt from an image of its patient"


@pytest.fixture
def annotator(noses_corrected: Annotator) -> Annotator:
    """In two radiographs somebody dragged the nose."""
    return noses_corrected


def place_nose(point_px: np.ndarray) -> Callable[[Session], None]:
    def decide(session: Session) -> None:
        session.start_blind([("nose", "head")])
        session.place("nose", lps(session, point_px), "head")

    return decide


def annotate_blind(annotator: Annotator, data: Dataset) -> dict[str, str]:
    """The nose in all images of a data set; the ids of the cases by their names in it."""
    nose = data.landmark_names.index("nose")
    return {
        case.name: annotator.work_on(case.image_path, place_nose(case.points_px[nose]), SPACING, is_predicted=False)
        for case in data.cases
    }


def of_one_patient(library: Library, *case_ids: str) -> None:
    for case_id in case_ids:
        path = library.case(case_id).folder / CASE_FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | {"patient_key": "a patient"}))


def compared(output: Path) -> set[str]:
    return {case["case_id"] for case in json_of(output / "gate.json")["by_case"]}


def test_whoever_is_replayed_is_not_compared_on_nor_any_other_image_of_them(
    annotator: Annotator, blob_radiographs: Path, tmp_path: Path
) -> None:
    data = read_dataset(blob_radiographs)
    train, test = (annotate_blind(annotator, data.of_split(split)) for split in ("train", "test"))
    other = annotator.work_on(write_image(tmp_path, 7), place_nose(points_px(7)[2]), SPACING, is_predicted=False)
    of_one_patient(annotator.library, other, next(iter(train.values())))
    output = run(annotator, tmp_path / "run", FEW, replay=blob_radiographs)
    assert compared(output) == set(test.values())
    gate = json_of(output / "gate.json")
    assert len(gate["notes"]) == len(train) + 1
    assert all(note.endswith(LEARNT) for note in gate["notes"])
    assert LEARNT in (output / "report.md").read_text()
    assert "Mean error on 2 cases for comparison: " in (output / "report.md").read_text()
    # Its children know of it, also where nothing is replayed any more.
    child = load_bundle(output / "bundle")
    assert trained_on_by(child.metadata) >= {*train.values(), other}
    assert not trained_on_by(child.metadata) & set(test.values())
    grown = replace(annotator, bundle=output / "bundle")
    assert compared(run(grown, tmp_path / "child", FEW)) == set(test.values())
    # Whoever is not replayed, for want of a share, is compared on.
    nobody = run(annotator, tmp_path / "nobody", replace(FEW, replay_share=0.0), replay=blob_radiographs)
    assert compared(nobody) == {*train.values(), *test.values(), other}


def test_a_patient_is_known_by_another_image_too(annotator: Annotator, blob_radiographs: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(blob_radiographs, tmp_path / "data"))
    index = json_of(data / "dataset.json")
    first = next(case for case in index["cases"] if case["split"] == "train")
    pixels = np.asarray(Image.open(data / first["image"])).astype(np.uint16)
    first["image"] = "images/first.dcm"
    write_dicom(data / first["image"], pixels=pixels, PatientID="PID-774411")
    (data / "dataset.json").write_text(json.dumps(index))
    blind = []
    for number, patient in ((7, "PID-774411"), (8, "PID-774412")):
        seen = np.asarray(Image.open(write_image(tmp_path, number))).astype(np.uint16)
        path = write_dicom(tmp_path / f"film-{number}.dcm", pixels=seen, PatientID=patient)
        blind.append(annotator.work_on(path, place_nose(points_px(number)[2]), SPACING, is_predicted=False))
    assert compared(run(annotator, tmp_path / "run", FEW, replay=data)) == {blind[1]}


def test_of_a_packed_file_nobody_can_tell_and_the_verdict_says_so(
    annotator: Annotator, blob_radiographs: Path, tmp_path: Path
) -> None:
    packed = tmp_path / "blobs.npz"
    save_grid_cases(packed, read_grid_cases(blob_radiographs, (64, 48)))
    said = "Whether cases that blobs.npz has are among them cannot be told"
    assert said not in json_of(run(annotator, tmp_path / "none", FEW, replay=packed) / "gate.json")["line"]
    annotate_blind(annotator, read_dataset(blob_radiographs).of_split("train"))
    output = run(annotator, tmp_path / "run", FEW, replay=packed)
    gate, report = json_of(output / "gate.json"), (output / "report.md").read_text()
    assert gate["cases"] == 8
    assert said in gate["line"]
    assert said in report
    assert said in json_of(output / "state.json")["line"]
    not_replayed = run(annotator, tmp_path / "share", replace(FEW, replay_share=0.0), replay=packed)
    assert said not in json_of(not_replayed / "gate.json")["line"]


def test_volumes_are_known_again_too(multi_scale: Bundle, blob_volumes: Path, tmp_path: Path) -> None:
    annotator = Annotator.begin(tmp_path, multi_scale.folder)
    annotator.work_on(volume_cases.write_image(tmp_path, 0), volume_cases.correct_chin(0))
    data = read_volume_dataset(blob_volumes)
    chin = data.landmark_names.index("chin")
    ids = {}
    for case in data.cases:

        def decide(session: Session, point: Any = case.points_lps_mm[chin]) -> None:
            session.start_blind([("chin", "head")])
            session.place("chin", point, "head")

        if np.isfinite(case.points_lps_mm[chin]).all():
            ids[case.name] = annotator.work_on(case.image_path, decide, is_predicted=False)
    held = {ids[case.name] for case in data.of_split("test").cases}
    output = run(annotator, tmp_path / "run", replace(FEW, batch=1), replay=blob_volumes)
    assert compared(output) == held
    assert len(json_of(output / "gate.json")["notes"]) == len(ids) - len(held)


def test_looking_for_them_can_be_cancelled_and_costs_nothing_where_nobody_is_compared_on(
    annotator: Annotator, blob_radiographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, looked = training.finetuning.replayed_patients.read_image, list[Path]()
    output = tmp_path / "run"

    def cancelling(path: Path) -> Any:
        looked.append(path)
        (output / "cancel").touch()
        return read(path)

    monkeypatch.setattr(training.finetuning.replayed_patients, "read_image", cancelling)
    run(annotator, tmp_path / "none", FEW, replay=blob_radiographs)
    assert looked == []
    annotator.work_on(write_image(tmp_path, 7), place_nose(points_px(7)[2]), SPACING, is_predicted=False)
    assert not finetune(request_for(annotator, output, FEW, replay=blob_radiographs))
    assert len(looked) == 1
    assert json_of(output / "state.json")["status"] == "cancelled"
