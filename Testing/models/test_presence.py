"""Whether a landmark is there, from what speaks for it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from DenseLandmarksLib.geometry.frames import inside_border_mm, lps_mm_from_index
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.models.presence import (
    PEAK_PRESENCE,
    PRESENCE,
    PresenceCalibration,
    even_strength,
    peak_presence_features,
    presence_features,
)


def test_features_say_how_and_where_a_landmark_is_seen() -> None:
    covariance = np.stack([np.diag([1.0, 2.0, 3.0]), np.zeros((3, 3))])
    features = presence_features([0.5, 1.0], covariance, [4.0, -90.0], 8.0)
    np.testing.assert_allclose(features["network"], [0.0, np.log((1 - 1e-6) / 1e-6)])
    np.testing.assert_allclose(features["heat"], [np.log(6.0), np.log(1e-9)])
    np.testing.assert_allclose(features["inside"], [0.5, -1.0])
    assert set(presence_features(None, covariance, [0.0, 0.0], 1.0)) == {"heat", "inside"}


def test_the_probability_is_the_logistic_function_of_the_weighted_sum() -> None:
    calibration = PresenceCalibration(("heat", "inside"), np.array([-2.0, 3.0]), 0.5)
    found = calibration.probability({"inside": [1.0, 0.0], "heat": [0.25, 0.25], "other": [np.nan] * 2})
    np.testing.assert_allclose(found, [1 / (1 + np.exp(-3.0)), 0.5])
    read = PresenceCalibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    np.testing.assert_allclose(read.probability({"inside": [1.0, 0.0], "heat": [0.25, 0.25]}), found)
    with pytest.raises(ValueError, match="weight"):
        PresenceCalibration(("heat",), np.array([1.0, 2.0]), 0.0)


def test_the_border_is_that_of_the_voxels_whatever_the_direction() -> None:
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, -1.0]])
    geometry = ImageGeometry((10, 20, 30), (2.0, 1.0, 0.5), (5.0, -7.0, 3.0), tuple(turn.ravel()), SpacingSource.GIVEN)
    index = np.array([[-0.5, 10, 15], [4.5, 10, 15], [4.5, 19.5, 15], [4.5, 10, 31.5]])
    np.testing.assert_allclose(
        inside_border_mm(geometry, lps_mm_from_index(geometry, index)), [0, 7.25, 0, -1], atol=1e-9
    )


def test_a_weak_peak_beside_its_place_speaks_against_a_landmark() -> None:
    features = peak_presence_features([1.0, 0.1, 1.0, 0.0], [0.0, 0.0, 20.0, 50.0])
    assert set(features) == set(PEAK_PRESENCE)
    calibration = PresenceCalibration(("strength", "off"), np.array([2.0, -1.0]), 3.0)
    probability = calibration.probability(features)
    assert probability[0] > probability[1] > probability[3]
    assert probability[0] > probability[2] > probability[3]
    even = even_strength(calibration)
    assert calibration.probability(peak_presence_features([even], [0.0]))[0] == pytest.approx(0.5)
    assert even_strength(PresenceCalibration(("strength",), np.array([-1.0]), 0.0)) == 0


def test_a_bundle_that_weighs_what_is_not_known_is_refused() -> None:
    calibration = PresenceCalibration(("heat", "inside"), np.array([-2.0, 3.0]), 0.5)
    inference = {"presence": calibration.to_dict()}
    read = PresenceCalibration.from_bundle(inference, PRESENCE)
    assert read is not None
    assert read.features == calibration.features
    assert PresenceCalibration.from_bundle({"presence": None}, PRESENCE) is None
    with pytest.raises(ValueError, match="told by 'heat', not one of strength, off"):
        PresenceCalibration.from_bundle(inference, PEAK_PRESENCE)
