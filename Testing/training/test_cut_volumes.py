"""Volumes that are cut, and what that teaches about presence."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import inside_border_mm, lps_mm_from_index
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from Testing.studies.presence import share
from training.calibrate_presence import PresenceEvidence, calibrate_presence, fit_presence
from training.cut_volumes import MOST_CUTS, cut_volumes

TURN = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, -1.0)


@pytest.fixture(scope="module")
def oblique() -> MedicalImage:
    """120 x 100 x 160 mm, axes turned and one of them backwards; each voxel has a value of its own."""
    volume = sitk.GetImageFromArray(np.arange(80 * 50 * 60, dtype=np.int32).reshape(80, 50, 60))
    volume.SetSpacing((2.0, 2.0, 2.0))
    volume.SetOrigin((30.0, -20.0, 400.0))
    volume.SetDirection(TURN)
    return MedicalImage(volume, SpacingSource.GIVEN)


def some_points(image: MedicalImage, count: int) -> np.ndarray:
    index = np.random.default_rng(3).uniform([0, 0, 0], [59, 49, 79], (count, 3))
    return lps_mm_from_index(image.geometry, index)


def test_a_cut_volume_truly_lacks_what_is_absent_and_shows_what_is_present(oblique: MedicalImage) -> None:
    points = some_points(oblique, 9)
    points[4] = np.nan
    absent = np.zeros(9, bool)
    seen = set()
    cuts = [cut for seed in range(8) for cut in cut_volumes(oblique, points, absent, seed)]
    assert len(cuts) > 30
    for image, truth in cuts:
        inside = inside_border_mm(image.geometry, points)
        assert np.isnan(truth[4])
        assert (truth == 0).any()
        np.testing.assert_array_equal(truth == 1, inside >= 0)
        assert (inside[truth == 0] < -10).all()
        assert (inside[np.isnan(truth) & np.isfinite(inside)] >= -10).all()
        size, whole = np.array(image.geometry.size), np.array(oblique.geometry.size)
        assert ((size >= 0.25 * whole) & (size <= whole)).all()
        assert (size < whole).sum() == 1
        # The voxels that are left are where they were.
        first = image.volume[0, 0, 0]
        at = oblique.volume.TransformPhysicalPointToIndex(image.volume.TransformIndexToPhysicalPoint((0, 0, 0)))
        assert oblique.volume[at] == first
        seen.update(np.nan_to_num(truth, nan=2).tolist())
    assert seen == {0.0, 1.0, 2.0}


def test_many_landmarks_few_cuts_and_known_absence_stays(oblique: MedicalImage) -> None:
    points = some_points(oblique, 20)
    absent = np.zeros(20, bool)
    points[:2], absent[0] = np.nan, True
    cuts = list(cut_volumes(oblique, points, absent, 0))
    assert 0 < len(cuts) <= MOST_CUTS
    for _, truth in cuts:
        assert truth[0] == 0
        assert np.isnan(truth[1])
    again = list(cut_volumes(oblique, points, absent, 0))
    assert [image.geometry for image, _ in again] == [image.geometry for image, _ in cuts]


def test_a_small_volume_is_not_cut_to_nothing() -> None:
    tiny = MedicalImage(sitk.GetImageFromArray(np.zeros((9, 9, 9), np.int16)), SpacingSource.GIVEN)
    assert list(cut_volumes(tiny, np.array([[4.0, 4.0, 4.0]]), np.zeros(1, bool), 0)) == []


# ---- the weights -------------------------------------------------------------------------------------------------------


def drawn(count: int, seed: int) -> PresenceEvidence:
    """Landmarks whose presence follows the model, with a feature that tells nothing."""
    rng = np.random.default_rng(seed)
    features = {"heat": rng.normal(5, 3, count), "inside": rng.uniform(-1, 1, count), "noise": rng.normal(0, 9, count)}
    margin = -0.8 * features["heat"] + 4.0 * features["inside"] + 4.0
    present = (rng.uniform(size=count) < 1 / (1 + np.exp(-margin))).astype(float)
    return PresenceEvidence(features, present, np.arange(count) // 5)


def test_the_weights_are_those_that_drew_the_data() -> None:
    evidence = drawn(20000, 0)
    found = fit_presence(evidence.features, evidence.present)
    assert found.features == ("heat", "inside", "noise")
    np.testing.assert_allclose(found.weights, [-0.8, 4.0, 0.0], atol=0.15)
    assert found.bias == pytest.approx(4.0, abs=0.3)


def test_what_is_measured_is_of_cases_that_were_held_out() -> None:
    evidence = drawn(4000, 1)
    calibration, measured = calibrate_presence(evidence)
    new = drawn(20000, 2)
    called = calibration.probability(new.features) >= 0.5
    assert measured["sensitivity"] == pytest.approx(called[new.present == 1].mean(), abs=0.04)
    assert measured["false_alarms"] == pytest.approx(called[new.present == 0].mean(), abs=0.04)
    assert (measured["present"], measured["absent"]) == (evidence.present.sum(), (1 - evidence.present).sum())
    # Features that say nothing of new cases, one per landmark, would look perfect were they measured where they were fitted.
    rng = np.random.default_rng(5)
    lucky = {f"{number}": rng.normal(size=60) for number in range(60)}
    some = PresenceEvidence(lucky, rng.integers(0, 2, 60).astype(float), np.arange(60))
    _, measured = calibrate_presence(some)
    assert measured["sensitivity"] - measured["false_alarms"] < 0.5


@pytest.mark.parametrize("present", [0.0, 1.0])
def test_where_all_landmarks_are_there_or_none_is_nothing_can_be_calibrated(present: float) -> None:
    """It was told by a figure that is no number, when the bundle was written at the end of it all."""
    some = drawn(60, 0)
    with pytest.raises(InputError, match=f"expected landmarks that are there and .* got {int(60 * present)} of 60"):
        calibrate_presence(PresenceEvidence(some.features, np.full(60, present), some.cases))


def test_the_study_pools_the_landmarks_of_all_cases_in_the_share_and_in_its_interval() -> None:
    """A case with many landmarks says more than one with few: nine of ten, not the half of two cases."""
    row = share("present", [(90, 90), (0, 10), (0, 0)])
    assert row == "| present | 90 of 100 (90.0%) | 0.0% to 100.0% |"
    many = share("present", [(90, 90), (0, 1)] * 50)
    low, high = (float(part.rstrip("% |")) for part in many.split("|")[3].split("to"))
    assert 90 < low < 100 * 90 / 91 < high < 100
    assert share("present", [(0, 0)]) == "| present | none | - |"


def test_features_that_separate_all_keep_finite_weights() -> None:
    found = fit_presence({"heat": [0.0, 1, 2, 10, 11, 12]}, [1, 1, 1, 0, 0, 0])
    assert np.isfinite(found.weights).all()
    assert (found.probability({"heat": [1.0, 11.0]}) >= 0.5).tolist() == [True, False]
