"""The ellipsoid that people see is the raw covariances, weighted and scaled as the bundle says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from DenseLandmarksLib.models.ellipsoids import EllipsoidCalibration, ellipsoid_volume, isotropic


def calibration() -> EllipsoidCalibration:
    return EllipsoidCalibration(
        components=("shifts", "entropy"),
        weights=np.array([2.0, 0.5]),
        floor_mm2=0.1,
        structures=("carotid", "skull"),
        scales=np.array([3.0, 1.5]),
        pooled_scale=4.0,
    )


def test_raw_covariances_become_one_by_weight_floor_and_structure() -> None:
    shifts = np.tile(np.diag([1.0, 2.0, 3.0]), (3, 1, 1))
    # The order in which they are given is nothing; a structure that was never calibrated has the common scale.
    raw = {"entropy": isotropic([4.0, 4.0, 4.0]), "shifts": shifts}
    covariance = calibration().apply(raw, ["skull", "carotid", "liver"])
    expected = np.diag([2 + 2 + 0.1, 4 + 2 + 0.1, 6 + 2 + 0.1])
    np.testing.assert_allclose(covariance, np.array([1.5, 3.0, 4.0])[:, None, None] * expected)


def test_a_component_that_is_missing_is_named() -> None:
    with pytest.raises(KeyError, match="entropy"):
        calibration().apply({"shifts": isotropic([1.0])}, ["skull"])


def test_a_calibration_survives_its_file() -> None:
    again = EllipsoidCalibration.from_dict(json.loads(json.dumps(calibration().to_dict(), allow_nan=False)))
    for name in again.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(calibration(), name))


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights": {"shifts": -1.0}},
        {"weights": {"shifts": 0.0}, "floor_mm2": 0.0},
        {"scales": {"skull": 0.0}},
        {"pooled_scale": float("nan")},
        {"level": 90},
    ],
    ids=lambda wrong: "-".join(wrong),
)
def test_a_calibration_without_sense_is_not_read(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="weights must not be negative"):
        EllipsoidCalibration.from_dict({**calibration().to_dict(), **wrong})


def test_the_volume_is_the_published_one_in_space_and_an_area_in_the_plane() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    covariance = turn @ np.diag([1.0, 4.0, 9.0]) @ turn.T
    np.testing.assert_allclose(ellipsoid_volume(covariance[None]), 65.5 * 1 * 2 * 3, rtol=1e-3)
    # A circle that holds 90 % of two standard normal coordinates: radius^2 = -2 ln 0.1.
    np.testing.assert_allclose(ellipsoid_volume(isotropic([1.0], 2)), np.pi * -2 * np.log(0.1))
    assert ellipsoid_volume(np.diag([1.0, 1.0, 0.0])[None]) == 0
