"""A prediction kept or sent as bytes comes back as it was, and bytes that are none are told in one line."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.prediction import Plausibility, Prediction
from DenseLandmarksLib.models.prediction_arrays import (
    Arrays,
    Header,
    prediction_from_arrays,
    prediction_to_arrays,
    says_the_same,
)
from Testing.models.same_prediction import assert_same
from training.phantoms import DEMO_SEEDS, draw_phantom, phantom_image


@pytest.fixture(scope="module")
def predicted(tiny_bundle: Path, chest_template: Template) -> Prediction:
    """What a real predictor says, seen through a view."""
    from DenseLandmarksLib.models.registry import open_predictor

    image = phantom_image(draw_phantom(chest_template, DEMO_SEEDS[0], (90, 128)))
    seen: MedicalImage = replace(image, spacing_source=SpacingSource.CALIBRATED)
    return open_predictor(str(tiny_bundle), "cpu").predict(seen, View(90, True))


def as_sent(prediction: Prediction) -> Prediction:
    header, arrays = prediction_to_arrays(prediction)
    return prediction_from_arrays(json.loads(json.dumps(header, allow_nan=False)), arrays)


def unplaced(prediction: Prediction) -> Prediction:
    landmarks = prediction.landmarks
    points = landmarks.points_lps_mm.copy()
    points[3] = np.nan
    presence = (Presence.ABSENT, *landmarks.presence[1:3], Presence.UNPLACED, *landmarks.presence[4:])
    review = (Review.UNSURE, *landmarks.review[1:])
    uv = landmarks.template_uv.copy()
    uv[5] = np.nan
    changed = replace(landmarks, points_lps_mm=points, presence=presence, review=review, template_uv=uv)
    return replace(prediction, landmarks=changed)


def doubted(prediction: Prediction) -> Prediction:
    measures = {"spread_mm": float("inf"), "disagreement": float("nan")}
    doubts = ("the image looks mirrored", "größer als erwartet \udc80")
    return replace(prediction, plausibility=Plausibility(doubts, measures, {"spread_mm": 8.9}, View(270)))


def without_scale(prediction: Prediction) -> Prediction:
    assert prediction.uv_field is not None
    field = replace(prediction.uv_field, uv_scale=None, read_out="softmin", borders=())
    return replace(prediction, uv_field=field)


CHANGES: dict[str, Callable[[Prediction], Prediction]] = {
    "as predicted": lambda prediction: prediction,
    "unplaced": unplaced,
    "doubted": doubted,
    "without scale": without_scale,
    "without uv field": lambda prediction: replace(prediction, uv_field=None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_prediction_comes_back_as_it_was(predicted: Prediction, change: Callable[[Prediction], Prediction]) -> None:
    wanted = change(predicted)
    assert_same(as_sent(wanted), wanted)
    assert says_the_same(as_sent(wanted), wanted)


def test_other_predictions_do_not_say_the_same(predicted: Prediction) -> None:
    seen = [predicted, *(change(predicted) for change in list(CHANGES.values())[1:])]
    for number, one in enumerate(seen):
        assert [says_the_same(one, other) for other in seen] == [number == i for i in range(len(seen))]


def test_what_is_predicted_here_has_all_there_is_to_lose(predicted: Prediction) -> None:
    field = predicted.uv_field
    assert field is not None
    assert field.uv_scale is not None
    assert any(len(border) for border in field.borders)
    assert predicted.masks.any()
    assert not predicted.masks.all()
    assert predicted.grid.view == View(90, True)


def test_a_file_keeps_it_without_pickle_and_may_halve_the_uv_field(predicted: Prediction) -> None:
    header, arrays = prediction_to_arrays(predicted)
    halved = {name: array.astype("f2") if array.dtype == np.float32 else array for name, array in arrays.items()}
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **halved)
    with np.load(io.BytesIO(file.getvalue()), allow_pickle=False) as stored:
        kept = prediction_from_arrays(header, dict(stored))
    assert kept.uv_field is not None
    assert predicted.uv_field is not None
    assert kept.uv_field.uv.dtype == np.float32
    np.testing.assert_allclose(kept.uv_field.uv, predicted.uv_field.uv, atol=1e-2)
    assert_same(replace(kept, uv_field=None), replace(predicted, uv_field=None))


def test_a_new_landmark_is_looked_up_in_what_came_back(predicted: Prediction) -> None:
    field, back = predicted.uv_field, as_sent(predicted).uv_field
    assert field is not None
    assert back is not None
    read = [one.read(field.structures[0], np.zeros((1, 2))) for one in (field, back)]
    assert read[0] is not None
    assert_same(read[1], read[0])


def _set(*path: str, value: object) -> Callable[[Header, Arrays], None]:
    def spoil(header: Header, arrays: Arrays) -> None:
        entry: Any = arrays if path[0] == "arrays" else header
        path_there = path[1:] if path[0] == "arrays" else path
        for name in path_there[:-1]:
            entry = entry[name]
        entry[path_there[-1]] = value

    return spoil


def _drop(name: str) -> Callable[[Header, Arrays], None]:
    def spoil(header: Header, arrays: Arrays) -> None:
        (arrays if name in arrays else header).pop(name)

    return spoil


MALFORMED: dict[str, Callable[[Header, Arrays], None]] = {
    "another format": _set("format", value=2),
    "no model": _drop("model_name"),
    "structures as one text": _set("structures", value="heart"),
    "a structure too few": _set("structures", value=["heart"]),
    "names that are numbers": _set("landmarks", "names", value=[1, 2]),
    "a name too few": _set("landmarks", "names", value=["a"]),
    "an unknown presence": _set("landmarks", "presence", value=["somewhere"] * 154),
    "too few reviews": _set("landmarks", "review", value=["predicted"]),
    "no landmarks": _set("landmarks", value=None),
    "points of two axes": _set("arrays", "landmarks.points_lps_mm", value=np.zeros((154, 2))),
    "points of objects": _set("arrays", "landmarks.points_lps_mm", value=np.full((154, 3), None)),
    "points that are whole": _set("arrays", "landmarks.points_lps_mm", value=np.zeros((154, 3), int)),
    "no points": _drop("landmarks.points_lps_mm"),
    "masks cut short": _set("arrays", "masks", value=np.zeros(7, np.uint8)),
    "masks of floats": _set("arrays", "masks", value=np.zeros(5 * 64 * 64 // 8)),
    "a grid of nothing": _set("grid", "size", value=[0, 64]),
    "a grid of floats": _set("grid", "size", value=[64.0, 64]),
    "a grid of three": _set("grid", "size", value=[64, 64, 64]),
    "an image outside of its grid": _set("grid", "inner", value=[0, 0, 640, 64]),
    "a grid without a view": _set("grid", "view", value=None),
    "a view turned by 45": _set("grid", "view", value={"turn_deg": 45, "flip": False}),
    "a view flipped by a number": _set("grid", "view", value={"turn_deg": 90, "flip": 1}),
    "a view turned by a text": _set("grid", "view", value={"turn_deg": "90", "flip": False}),
    "an unknown read-out": _set("uv_field", "read_out", value="guess"),
    "a stride of nothing": _set("uv_field", "stride", value=0),
    "borders that are longer than there": _set("uv_field", "border_lengths", value=[9999, 0, 0, 0, 0]),
    "borders shorter than nothing": _set("uv_field", "border_lengths", value=[-1, 1, 0, 0, 0]),
    "a border too few": _set("uv_field", "border_lengths", value=[0]),
    "uv without an axis": _set("arrays", "uv_field.uv", value=np.zeros((5, 32, 32), np.float32)),
    "scale unlike uv": _set("arrays", "uv_field.uv_scale", value=np.zeros((5, 2, 3, 3), np.float32)),
    "measures without numbers": _drop("plausibility.measures"),
    "a header that is none": lambda header, _: header.clear(),
}


@pytest.mark.parametrize("spoil", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_prediction_is_told_in_one_line(
    predicted: Prediction, spoil: Callable[[Header, Arrays], None]
) -> None:
    header, arrays = copy.deepcopy(prediction_to_arrays(predicted))
    spoil(header, arrays)
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        prediction_from_arrays(header, arrays)
