"""The table of a run: nothing that was written to it is lost, and nothing that is not ours is touched."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.annotation.exports.results import RESULT_ENDINGS, results_are_whole, write_results
from DenseLandmarksLib.annotation.exports.summary import (
    COLUMNS,
    Status,
    Summary,
    SummaryRow,
    image_columns,
    prediction_columns,
)
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.prediction import Plausibility, Prediction
from DenseLandmarksLib.models.structure_style import StructureStyle


def names_in(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return [row["name"] for row in csv.DictReader(file)]


def test_a_row_says_what_came_of_an_image(radiograph: MedicalImage, prediction: Prediction) -> None:
    row = SummaryRow("chest", **image_columns(radiograph) | prediction_columns(prediction))
    assert (row.unit, row.spacing_x, row.spacing_y, row.spacing_source) == ("mm", "0.5", "0.8", "calibrated")
    assert (row.width_px, row.height_px, row.slices) == ("120", "100", "1")
    assert (row.structures_found, row.structures) == ("2", "2")
    assert (row.landmarks_present, row.landmarks) == ("2", "4")
    assert row.mean_confidence == "0.825"  # of those that are present
    assert (row.model, row.model_version, row.device) == ("chest-xray", "3", "cpu")
    assert (row.status, row.plausible, row.doubts) == (Status.DONE, "", "")


def test_a_doubt_is_told_apart_from_a_failure(prediction: Prediction) -> None:
    doubtful = replace(
        prediction, plausibility=Plausibility(("it looks mirrored", "it is vague"), {}, {"spread_mm": 1.0})
    )
    columns = prediction_columns(doubtful)
    assert (columns["status"], columns["plausible"]) == (Status.DOUBTFUL, "no")
    assert columns["doubts"] == "it looks mirrored; it is vague"
    believed = prediction_columns(replace(prediction, plausibility=Plausibility(limits={"spread_mm": 1.0})))
    assert (believed["status"], believed["plausible"]) == (Status.DONE, "yes")


def test_nothing_present_has_no_mean_confidence(prediction: Prediction) -> None:
    absent = replace(prediction.landmarks, presence=(prediction.landmarks.presence[2],) * 4)
    columns = prediction_columns(replace(prediction, landmarks=absent, masks=np.zeros_like(prediction.masks)))
    assert (columns["landmarks_present"], columns["mean_confidence"], columns["structures_found"]) == ("0", "", "0")


def test_every_row_is_on_the_disk_before_the_next_image(tmp_path: Path) -> None:
    summary = Summary(tmp_path / "new" / "summary.csv")
    for i, name in enumerate(("b", "a", 'c, "quoted"')):
        summary.write(SummaryRow(name, message="one\ntwo"))
        assert names_in(tmp_path / "new" / "summary.csv") == ["b", "a", 'c, "quoted"'][: i + 1]
    assert Summary(summary.path).rows == summary.rows


def test_a_row_takes_the_place_of_what_it_replaces_and_all_others_stay(tmp_path: Path) -> None:
    summary = Summary(tmp_path / "summary.csv")
    for name in ("a", "file-1", "c"):
        summary.write(SummaryRow(name, status=Status.FAILED))
    summary = Summary(tmp_path / "summary.csv")
    summary.write(SummaryRow("case-2"), replaces="file-1")
    summary.write(SummaryRow("c"))
    summary.write(SummaryRow("d"), replaces=None)
    assert names_in(tmp_path / "summary.csv") == ["a", "case-2", "c", "d"]
    assert [row.status for row in Summary(tmp_path / "summary.csv").rows.values()] == ["failed", "done", "done", "done"]


@pytest.mark.parametrize("lost", range(1, 40, 3))
def test_a_row_that_a_crash_cut_off_costs_no_other_row(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "summary.csv"
    summary = Summary(path)
    for name in ("a", "b", 'c, "quoted"'):
        summary.write(SummaryRow(name, options="options of some length"))
    path.write_bytes(path.read_bytes()[:-lost])
    again = Summary(path)
    assert list(again.rows) == ["a", "b"]
    again.write(SummaryRow("d"))
    assert names_in(path) == ["a", "b", "d"]


def test_a_table_that_went_through_a_spreadsheet_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    Summary(path).write(SummaryRow("a", unit="mm"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert Summary(path).rows == {"a": SummaryRow("a", unit="mm")}


def test_a_table_of_an_earlier_version_with_fewer_columns_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    path.write_text("name,case_key,status,message,model\na,12,done,,tiny\n")
    Summary(path).write(SummaryRow("b"))
    assert Summary(path).rows == {"a": SummaryRow("a", "12", "done", "", model="tiny"), "b": SummaryRow("b")}


@pytest.mark.parametrize("content", [b"", b"patient;age\n1;2\n", b"\xff\xfe\0", b"name,case_key\na,b\n"])
def test_somebody_elses_table_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "summary.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"expected .*summary\.csv to be a summary .*, got .*\. Move it away"):
        Summary(path)
    assert path.read_bytes() == content


def test_the_columns_are_named_once() -> None:
    assert COLUMNS[:4] == ("name", "case_key", "status", "message")
    assert len(set(COLUMNS)) == len(COLUMNS)


@pytest.mark.parametrize("ending", RESULT_ENDINGS)
def test_results_of_which_one_is_missing_or_cut_off_are_not_whole(
    tmp_path: Path, radiograph: MedicalImage, prediction: Prediction, styles: list[StructureStyle], ending: str
) -> None:
    written = write_results(tmp_path, replace(radiograph, name="a.b"), prediction, styles, case_key="0123456789abcdef")
    assert [path.name for path in written] == [f"a.b{end}" for end in RESULT_ENDINGS]
    assert json.loads(written[3].read_text())["image"]["case_key"] == "0123456789abcdef"
    assert results_are_whole(tmp_path, "a.b")
    path = tmp_path / f"a.b{ending}"
    whole = path.read_bytes()
    for share in (0, 0.3, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        assert not results_are_whole(tmp_path, "a.b")
    path.unlink()
    assert not results_are_whole(tmp_path, "a.b")
