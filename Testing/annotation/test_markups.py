"""Landmarks must arrive in Slicer where, and as, the model found them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.annotation.exports.markups import write_markups
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.models.prediction import Prediction

ReadInSlicer = Callable[[str, str, Path], Any]
FIDUCIALS = ("vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsJsonStorageNode")


def test_slicer_shows_every_landmark_where_the_model_found_it(
    tmp_path: Path, prediction: Prediction, read_in_slicer: ReadInSlicer
) -> None:
    landmarks = prediction.landmarks
    write_markups(tmp_path / "a.mrk.json", landmarks, "mm")
    node = read_in_slicer(*FIDUCIALS, tmp_path / "a.mrk.json")
    assert node.GetNumberOfControlPoints() == len(landmarks)
    for i, name in enumerate(landmarks.names):
        assert node.GetNthControlPointLabel(i) == name
        assert node.GetNthControlPointDescription(i) == landmarks.structures[i]
    for i in (0, 1):
        ras = np.array(node.GetNthControlPointPosition(i))
        np.testing.assert_allclose(ras * [-1, -1, 1], landmarks.points_lps_mm[i], atol=1e-4)


def test_a_landmark_that_is_not_there_gets_no_position_in_slicer(
    tmp_path: Path, prediction: Prediction, read_in_slicer: ReadInSlicer
) -> None:
    write_markups(tmp_path / "a.mrk.json", prediction.landmarks, "mm")
    node = read_in_slicer(*FIDUCIALS, tmp_path / "a.mrk.json")
    defined, missing, undefined = node.PositionDefined, node.PositionMissing, node.PositionUndefined
    status = [node.GetNthControlPointPositionStatus(i) for i in range(4)]
    assert status == [defined, defined, missing, undefined]
    points = json.loads((tmp_path / "a.mrk.json").read_text())["markups"][0]["controlPoints"]
    assert [point["position"] for point in points[2:]] == ["", ""]


def test_the_confidence_of_each_landmark_survives_slicer_and_a_save_in_it(
    tmp_path: Path, prediction: Prediction, read_in_slicer: ReadInSlicer
) -> None:
    write_markups(tmp_path / "a.mrk.json", prediction.landmarks, "mm")
    node = read_in_slicer(*FIDUCIALS, tmp_path / "a.mrk.json")
    node.GetStorageNode().SetFileName(str(tmp_path / "saved.mrk.json"))
    assert node.GetStorageNode().WriteData(node)
    again = read_in_slicer(*FIDUCIALS, tmp_path / "saved.mrk.json")
    values = again.GetMeasurement("confidence").GetControlPointValues()
    assert [values.GetValue(i) for i in range(4)] == pytest.approx([0.9, 0.75, 0.1, 0.0])
    assert again.GetFixedNumberOfControlPoints()


def test_what_a_person_decided_is_there_for_any_reader(tmp_path: Path, prediction: Prediction) -> None:
    write_markups(tmp_path / "a.mrk.json", prediction.landmarks, "mm")
    (markup,) = json.loads((tmp_path / "a.mrk.json").read_text())["markups"]
    (review,) = [entry for entry in markup["measurements"] if entry["name"] == "review"]
    assert review["description"] == (
        "0 predicted, 1 verified, 2 corrected, 3 placed, 4 unsure; plus 0 present, 10 absent, 20 unplaced"
    )
    assert review["controlPointValues"] == [0, 2, 10, 20]


def test_no_reader_loses_landmarks_to_a_second_list(tmp_path: Path, prediction: Prediction) -> None:
    write_markups(tmp_path / "a.mrk.json", prediction.landmarks, "mm")
    markups = json.loads((tmp_path / "a.mrk.json").read_text())["markups"]
    assert [len(markup["controlPoints"]) for markup in markups] == [4]
    assert (markups[0]["coordinateSystem"], markups[0]["coordinateUnits"]) == ("LPS", "mm")


def test_pixels_of_an_image_without_spacing_are_not_called_millimetres(
    tmp_path: Path, prediction: Prediction, read_in_slicer: ReadInSlicer
) -> None:
    write_markups(tmp_path / "a.mrk.json", prediction.landmarks, "px")
    (markup,) = json.loads((tmp_path / "a.mrk.json").read_text())["markups"]
    assert markup["coordinateUnits"] == ["{pixel}", "UCUM", "pixel"]
    assert read_in_slicer(*FIDUCIALS, tmp_path / "a.mrk.json").GetNumberOfControlPoints() == 4


@pytest.mark.parametrize(("count", "labels_shown"), [(30, True), (31, False)])
def test_a_hundred_labels_do_not_hide_the_image(tmp_path: Path, count: int, labels_shown: bool) -> None:
    write_markups(tmp_path / "a.mrk.json", _many(count), "mm")
    (markup,) = json.loads((tmp_path / "a.mrk.json").read_text())["markups"]
    assert markup["display"]["pointLabelsVisibility"] is labels_shown


def test_an_image_without_any_landmark_gives_a_file_that_opens(tmp_path: Path, read_in_slicer: ReadInSlicer) -> None:
    write_markups(tmp_path / "a.mrk.json", _many(0), "mm")
    assert read_in_slicer(*FIDUCIALS, tmp_path / "a.mrk.json").GetNumberOfControlPoints() == 0


def test_a_name_in_any_script_survives(tmp_path: Path, read_in_slicer: ReadInSlicer) -> None:
    landmarks = replace(_many(1), names=('Spitze "links" ä 肺',))
    write_markups(tmp_path / "a.mrk.json", landmarks, "mm")
    node = read_in_slicer(*FIDUCIALS, tmp_path / "a.mrk.json")
    assert node.GetNthControlPointLabel(0) == 'Spitze "links" ä 肺'


def _many(count: int) -> LandmarkSet:
    points = np.arange(3.0 * count).reshape(count, 3)
    return LandmarkSet(
        names=tuple(f"point_{i}" for i in range(count)),
        structures=("heart",) * count,
        points_lps_mm=points,
        predicted_lps_mm=points,
        presence=(Presence.PRESENT,) * count,
        review=(Review.PREDICTED,) * count,
        confidence=np.ones(count),
        covariance_mm2=np.zeros((count, 3, 3)),
        template_uv=np.zeros((count, 2)),
    )
