"""Other people's training code must find our landmarks on the right pixel, and see which are not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.exports.coco import write_coco
from DenseLandmarksLib.annotation.imports.read_landmarks import read_landmarks
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.models.prediction import Prediction


def test_a_foreign_reader_finds_the_bright_pixel_under_each_keypoint(tmp_path: Path) -> None:
    pixels = np.zeros((1, 30, 40), np.uint8)
    pixels[0, 12, 25] = 200
    volume = sitk.GetImageFromArray(pixels)
    volume.SetSpacing((0.3, 0.7, 1))
    volume.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    point = np.array([volume.TransformIndexToPhysicalPoint((25, 12, 0))])
    write_coco(tmp_path / "a.json", [("a.png", ImageGeometry.of(volume, SpacingSource.DETECTOR), _one(point))])
    document = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    (annotation,) = document["annotations"]
    x, y, v = annotation["keypoints"]
    assert pixels[0, round(y), round(x)] == 200
    assert (x, y, v) == (25, 12, 2)  # the centre of a pixel is an integer for a keypoint ...
    assert annotation["bbox"] == [25.5, 12.5, 0, 0]  # ... and at +0.5 for a box
    np.testing.assert_allclose(annotation["landmarks"][0]["lps_mm"], point[0], atol=1e-5)


def test_absence_and_doubt_are_written_and_nobody_trains_on_a_guess(
    tmp_path: Path, prediction: Prediction, radiograph: MedicalImage
) -> None:
    landmarks = replace(prediction.landmarks, review=(Review.UNSURE, *prediction.landmarks.review[1:]))
    write_coco(tmp_path / "a.json", [(radiograph.name, radiograph.geometry, landmarks)])
    document = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert [category["keypoints"] for category in document["categories"]] == [["apex"], ["border", "guess", "later"]]
    lung, heart = document["annotations"]
    assert lung["landmarks"][0]["review"] == "unsure"
    assert heart["keypoints"] == [70.5, 60.25, 2, 0, 0, 0, 0, 0, 0]
    assert heart["num_keypoints"] == 1
    assert [entry["presence"] for entry in heart["landmarks"]] == ["present", "absent", "unplaced"]
    assert [entry["confidence"] for entry in heart["landmarks"]] == [0.75, 0.1, None]
    assert [entry["lps_mm"] is None for entry in heart["landmarks"]] == [False, True, True]
    assert document["images"][0] | {"id": 1} == {
        "id": 1,
        "file_name": "chest.dcm",
        "width": 120,
        "height": 100,
        "spacing_source": "calibrated",
        "spacing_mm": [0.5, 0.8],
    }


def test_images_with_different_landmarks_each_get_back_their_own(
    tmp_path: Path, prediction: Prediction, radiograph: MedicalImage
) -> None:
    other = replace(radiograph, name="other.dcm")
    extra = replace(_one(prediction.landmarks.points_lps_mm[:1]), names=("extra",))
    write_coco(
        tmp_path / "a.json",
        [(radiograph.name, radiograph.geometry, prediction.landmarks), (other.name, other.geometry, extra)],
    )
    first, second = (read_landmarks(tmp_path / "a.json", image.geometry, image.name) for image in (radiograph, other))
    assert first.names == prediction.landmarks.names
    assert first.presence == prediction.landmarks.presence
    assert second.names == ("extra",)


def test_a_volume_and_two_images_of_one_name_are_refused_and_nothing_is_written(
    tmp_path: Path, prediction: Prediction, radiograph: MedicalImage
) -> None:
    volume = MedicalImage(sitk.Image([4, 5, 6], sitk.sitkUInt8), SpacingSource.DETECTOR, "ct")
    with pytest.raises(InputError, match=r"expected radiographs .* got the volume 'ct'"):
        write_coco(tmp_path / "a.json", [(volume.name, volume.geometry, prediction.landmarks)])
    with pytest.raises(InputError, match=r"got 'chest\.dcm' twice"):
        write_coco(tmp_path / "a.json", [(radiograph.name, radiograph.geometry, prediction.landmarks)] * 2)
    assert not list(tmp_path.iterdir())


def _one(point_lps_mm: NDArray[np.float64]) -> LandmarkSet:
    return LandmarkSet(
        names=("a",),
        structures=("heart",),
        points_lps_mm=point_lps_mm,
        predicted_lps_mm=point_lps_mm,
        presence=(Presence.PRESENT,),
        review=(Review.PLACED,),
        confidence=np.ones(1),
        covariance_mm2=np.zeros((1, 3, 3)),
        template_uv=np.zeros((1, 2)),
    )
