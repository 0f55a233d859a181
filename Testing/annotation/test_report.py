"""The report that scripts read: numbers in the image's unit, and nothing that is not there."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from DenseLandmarksLib.annotation.exports.report import report
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.models.prediction import Plausibility, Prediction
from DenseLandmarksLib.models.structure_style import StructureStyle


def test_the_report_is_json_without_nan_and_says_what_made_it(radiograph: MedicalImage, prediction: Prediction) -> None:
    read = json.loads(json.dumps(report(radiograph, prediction, case_key="0123456789abcdef"), allow_nan=False))
    assert read["model"] == {"name": "chest-xray", "version": "3", "device": "cpu"}
    assert read["image"] == {
        "name": "chest.dcm",
        "case_key": "0123456789abcdef",
        "size_px": [120, 100],
        "spacing": [0.5, 0.8],
        "spacing_source": "calibrated",
    }
    assert read["unit"] == "mm"
    assert "Research use only" in read["research_use_only"]


def test_a_landmark_is_given_in_the_images_frame_and_on_its_pixel(
    radiograph: MedicalImage, prediction: Prediction
) -> None:
    border = report(radiograph, prediction)["landmarks"][1]
    assert border == {
        "name": "border",
        "structure": "heart",
        "presence": "present",
        "position_lps": [-20 + 70.5 * 0.5, 35 + 60.25 * 0.8, 4.0],
        "pixel": [70.5, 60.25],
        "confidence": 0.75,
        "standard_deviation": 3.0,  # 6 pixels of 0.5 mm across, 2 pixels of 0.8 mm down
        "review": "corrected",
    }


def test_nobody_can_take_a_guess_for_a_landmark(radiograph: MedicalImage, prediction: Prediction) -> None:
    _, _, guess, later = report(radiograph, prediction)["landmarks"]
    assert (guess["presence"], guess["position_lps"], guess["pixel"]) == ("absent", None, None)
    assert guess["best_guess_pixel"] == [90.0, 20.0]
    assert (later["presence"], later["position_lps"], later["confidence"]) == ("unplaced", None, None)
    assert "best_guess_lps" not in later


def test_areas_are_those_of_the_image_not_of_the_grid(
    radiograph: MedicalImage, prediction: Prediction, styles: list[StructureStyle]
) -> None:
    masks = np.zeros_like(prediction.masks)
    masks[0] = True  # the padding around the image belongs to nobody
    lung, heart = report(radiograph, replace(prediction, masks=masks), styles)["structures"]
    assert (lung["found"], lung["area"]) == (True, pytest.approx(60 * 80))
    assert (heart["found"], heart["area"]) == (False, 0.0)
    assert lung["terminology"]["type"] == ["SCT", "39607008", "Lung"]


def test_without_a_spacing_lengths_are_pixels(radiograph: MedicalImage, prediction: Prediction) -> None:
    unknown = report(replace(radiograph, spacing_source=SpacingSource.UNKNOWN), prediction)
    assert (unknown["unit"], unknown["image"]["spacing_source"]) == ("px", "unknown")


def test_a_doubt_stands_in_the_report_with_what_it_rests_on(radiograph: MedicalImage, prediction: Prediction) -> None:
    doubtful = Plausibility(("the image looks mirrored",), {"spread_mm": 30.0}, {"spread_mm": 12.5}, View(flip=True))
    said = report(radiograph, replace(prediction, plausibility=doubtful))["plausibility"]
    assert said == {
        "plausible": False,
        "doubts": ["the image looks mirrored"],
        "measures": {"spread_mm": 30.0},
        "limits": {"spread_mm": 12.5},
        "suggested_view": "mirrored",
    }
    # A model without limits cannot call anything plausible.
    assert report(radiograph, prediction)["plausibility"]["plausible"] is None
    believed = Plausibility(limits={"spread_mm": 12.5})
    assert report(radiograph, replace(prediction, plausibility=believed))["plausibility"]["plausible"] is True
