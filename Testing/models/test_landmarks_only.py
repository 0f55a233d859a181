"""Models that find landmarks and nothing else: what they say travels, and what they cannot do is told in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.view import AS_STORED
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.models.demonstration import SYNTHETIC
from DenseLandmarksLib.models.look_up import define, find
from DenseLandmarksLib.models.prediction import Plausibility, Prediction
from DenseLandmarksLib.models.prediction_arrays import (
    Header,
    prediction_from_arrays,
    prediction_to_arrays,
    says_the_same,
)
from DenseLandmarksLib.worker.wire import Unpacker, pack
from Testing.models.same_prediction import assert_same
from Testing.models.volume_model import PerfectVolumeModel, neck_volume


@pytest.fixture
def said() -> Prediction:
    return PerfectVolumeModel().predict(neck_volume())


def test_it_says_what_it_cannot_do(said: Prediction) -> None:
    assert (said.structures, said.grid, said.uv_field, said.view) == ((), None, None, AS_STORED)
    assert said.masks.shape == (0, 0, 0)
    with pytest.raises(InputError, match=r"finds landmarks only\. Place the landmark in this image"):
        said.need_grid()


def test_two_predictions_are_two_to_whoever_watches_their_masks(said: Prediction) -> None:
    assert PerfectVolumeModel().predict(neck_volume()).masks is not said.masks


@pytest.mark.parametrize(
    "change",
    [
        {"structures": ("carotids",)},
        {"masks": np.zeros((1, 0, 0), bool)},
        {"structures": ("carotids",), "masks": np.zeros((1, 0, 0), bool)},
        {"masks": np.zeros((0, 8, 8), bool)},
    ],
    ids=["structures", "masks", "both", "size"],
)
def test_a_prediction_that_contradicts_itself_is_not_made(said: Prediction, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"masks must have shape|need a grid"):
        replace(said, **change)


def test_it_is_the_same_in_another_process(said: Prediction) -> None:
    doubted = replace(said, plausibility=Plausibility((SYNTHETIC,), {"entropy": 0.3}, {"entropy": 0.2}))
    for prediction in (said, doubted):
        header, arrays = prediction_to_arrays(prediction)
        unpacker, message = Unpacker(), None
        for piece in pack(header, arrays):
            sent = bytes(piece)
            while sent:
                count = min(len(sent), len(unpacker.space))
                unpacker.space[:count] = sent[:count]
                message, sent = unpacker.advance(count), sent[count:]
        assert message is not None
        assert message.arrays is not None
        back = prediction_from_arrays(message.header, message.arrays)
        assert_same(back, prediction)
        assert says_the_same(back, prediction)
    assert not says_the_same(said, doubted)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda header: header.pop("grid"), "expected grid of a prediction to be an object"),
        (lambda header: header.update(grid={}), "expected size of a prediction"),
        (lambda header: header.update(structures=["carotids"]), "need a grid"),
    ],
    ids=["no grid", "an empty grid", "structures"],
)
def test_a_header_that_contradicts_itself_is_told(
    said: Prediction, damage: Callable[[Header], object], told: str
) -> None:
    header, arrays = prediction_to_arrays(said)
    header = json.loads(json.dumps(header))
    damage(header)
    with pytest.raises(ValueError, match=told) as error:
        prediction_from_arrays(header, arrays)
    assert "\n" not in str(error.value)


def test_new_landmarks_are_for_models_with_structures(said: Prediction) -> None:
    geometry = neck_volume().geometry
    with pytest.raises(InputError, match=r"expected a model with structures, got perfect-neck 1\.0\.0"):
        define(said, geometry, None, said.landmarks.points_lps_mm[0])
    with pytest.raises(InputError, match="expected a model with structures"):
        find(said, geometry, None, [NewLandmark("apex", "carotids", (0.0, 0.0))])


@pytest.mark.parametrize(
    ("name", "doubted"),
    [
        ("neck", True),
        ("phantom of the opera", True),
        ("my-phantoms", True),
        ("phantom-7", False),
        ("neck-phantom-12.nrrd", False),
        ("chest-phantom.nii.gz", False),
    ],
)
def test_a_demonstration_doubts_itself_on_everything_but_our_phantoms(name: str, doubted: bool) -> None:
    image = neck_volume(name=name)
    assert PerfectVolumeModel(True).predict(image).plausibility.doubts == ((SYNTHETIC,) if doubted else ())
    assert PerfectVolumeModel(False).predict(image).plausibility.plausible
