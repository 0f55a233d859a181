"""The table must say to any program where each landmark is, in which frame, and how sure that is."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.exports.landmark_csv import write_landmark_csv
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.models.prediction import Prediction


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_foreign_reader_finds_every_landmark_in_pixels_and_millimetres(
    tmp_path: Path, prediction: Prediction, radiograph: MedicalImage
) -> None:
    write_landmark_csv(tmp_path / "a.csv", prediction.landmarks, radiograph.geometry)
    table = rows(tmp_path / "a.csv")
    assert [row["name"] for row in table] == ["apex", "border", "guess", "later"]
    # By hand: origin (-20, 35, 4), spacing (0.5, 0.8).
    assert [float(table[1][key]) for key in ("x_px", "y_px")] == [70.5, 60.25]
    lps = [float(table[1][key]) for key in ("l_lps_mm", "p_lps_mm", "s_lps_mm")]
    np.testing.assert_allclose(lps, [-20 + 70.5 * 0.5, 35 + 60.25 * 0.8, 4], atol=1e-6)
    assert {row["spacing_source"] for row in table} == {"calibrated"}


def test_absence_and_doubt_are_written_and_nobody_measures_a_guess(
    tmp_path: Path, prediction: Prediction, radiograph: MedicalImage
) -> None:
    landmarks = replace(prediction.landmarks, review=(Review.UNSURE, *prediction.landmarks.review[1:]))
    write_landmark_csv(tmp_path / "a.csv", landmarks, radiograph.geometry)
    table = rows(tmp_path / "a.csv")
    assert [row["presence"] for row in table] == ["present", "present", "absent", "unplaced"]
    assert [row["review"] for row in table] == ["unsure", "corrected", "predicted", "predicted"]
    assert [row["confidence"] for row in table] == ["0.9000", "0.7500", "0.1000", ""]
    for row in table[2:]:
        assert {row[key] for key in ("x_px", "y_px", "l_lps_mm", "p_lps_mm", "s_lps_mm")} == {""}


@pytest.mark.parametrize("name", ['a, "b"', "Hüfte ß 肺", "two\nlines", "semi;colon\t"])
def test_a_name_survives_any_spreadsheet(
    tmp_path: Path, prediction: Prediction, radiograph: MedicalImage, name: str
) -> None:
    landmarks = replace(prediction.landmarks, names=(name, *prediction.landmarks.names[1:]))
    write_landmark_csv(tmp_path / "a.csv", landmarks, radiograph.geometry)
    assert rows(tmp_path / "a.csv")[0]["name"] == name


def test_without_spacing_no_column_claims_millimetres(
    tmp_path: Path, prediction: Prediction, radiograph: MedicalImage
) -> None:
    image = replace(radiograph, spacing_source=SpacingSource.UNKNOWN)
    write_landmark_csv(tmp_path / "a.csv", prediction.landmarks, image.geometry)
    assert not [column for column in rows(tmp_path / "a.csv")[0] if "mm" in column]


def test_a_volume_has_no_pixel_columns(tmp_path: Path, prediction: Prediction) -> None:
    image = MedicalImage(sitk.Image([4, 5, 6], sitk.sitkUInt8), SpacingSource.DETECTOR)
    write_landmark_csv(tmp_path / "a.csv", prediction.landmarks, image.geometry)
    columns = list(rows(tmp_path / "a.csv")[0])
    assert "l_lps_mm" in columns
    assert "x_px" not in columns
