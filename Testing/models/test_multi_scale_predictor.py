"""A volume is predicted where it lies in the patient, however it is stored, in little memory, and may be stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.landmarks.joint_shape import build_joint_shape
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.models.bundle import INFERENCE, load_bundle, save_bundle
from DenseLandmarksLib.models.ellipsoids import EllipsoidCalibration, isotropic
from DenseLandmarksLib.models.intensity import IntensityRecipe
from DenseLandmarksLib.models.networks.multi_scale import LevelOutput, MultiScaleLocNet
from DenseLandmarksLib.models.predictors.multi_scale import COMPONENTS, MultiScalePredictor, open_multi_scale
from DenseLandmarksLib.models.predictors.volume_predictor import Seen
from DenseLandmarksLib.models.registry import open_predictor
from DenseLandmarksLib.worker.client import Worker
from DenseLandmarksLib.worker.events import Done
from Testing.landmarks.patients import draw_patients
from Testing.models.blob_model import AT_LPS_MM, NETWORK, SIGMA_MM, STORED, stored_blob, write_blob_bundle
from Testing.models.same_prediction import assert_same
from Testing.worker.waiting import answers


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_bundle(tmp_path_factory.mktemp("bundles") / "blob")


@pytest.fixture(scope="module")
def predictor(bundle: Path) -> MultiScalePredictor:
    predictor = open_predictor(str(bundle), "cpu")
    assert isinstance(predictor, MultiScalePredictor)
    return predictor


# ---- volumes as they come -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", STORED)
def test_a_blob_is_found_where_it_is_however_the_volume_is_stored(how: str, predictor: MultiScalePredictor) -> None:
    prediction = predictor.predict(stored_blob(**STORED[how]))
    # Linear interpolation between slices 3 mm apart draws a blob of 3.5 mm a little wider, and not to one side.
    np.testing.assert_allclose(prediction.landmarks.points_lps_mm, [AT_LPS_MM] * 2, atol=0.15)


def test_a_volume_larger_than_a_crop_of_the_coarsest_level_is_seen_whole(predictor: MultiScalePredictor) -> None:
    """The crop of training is 96 mm; the blob lies more than half of that beside the middle."""
    image = stored_blob((4.0, 4.0, 4.0), extent_mm=320)
    i, _, k = image.volume.TransformPhysicalPointToIndex(AT_LPS_MM.tolist())
    cut = image.volume[i - 5 :, :, : k + 5]
    away = cut.TransformContinuousIndexToPhysicalPoint([(size - 1) / 2 for size in cut.GetSize()]) - AT_LPS_MM
    assert away[0] > 50
    assert away[2] < -40
    found = predictor.predict(replace(image, volume=cut)).landmarks.points_lps_mm
    np.testing.assert_allclose(found, [AT_LPS_MM] * 2, atol=0.15)


@pytest.mark.parametrize("size", [(64, 64, 2), (2, 3, 64), (3, 3, 3)])
def test_a_flat_volume_is_no_crash(size: tuple[int, int, int], predictor: MultiScalePredictor) -> None:
    image = stored_blob()
    prediction = predictor.predict(replace(image, volume=image.volume[: size[0], : size[1], : size[2]]))
    assert np.isfinite(prediction.landmarks.points_lps_mm).all()
    assert np.linalg.eigvalsh(prediction.landmarks.covariance_mm2).min() > 0


def test_a_volume_of_nothing_but_padding_is_no_crash(predictor: MultiScalePredictor) -> None:
    for value in (np.nan, -3024, 1e30):
        image = stored_blob(
            (4.0, 4.0, 4.0), change=lambda values, _, value=value: np.full(values.shape, value, np.float32)
        )
        prediction = predictor.predict(image)
        assert np.isfinite(prediction.landmarks.points_lps_mm).all()
        assert np.isfinite(prediction.landmarks.covariance_mm2).all()


def test_a_radiograph_is_told_in_one_line(predictor: MultiScalePredictor) -> None:
    image = stored_blob()
    with pytest.raises(InputError, match=r"expected a volume for model blob; blob is one slice\. Choose") as told:
        predictor.predict(replace(image, volume=image.volume[:, :, 30:31]))
    assert "\n" not in str(told.value)


# ---- what a prediction says -----------------------------------------------------------------------------------------


def test_an_absent_landmark_has_a_best_guess_and_little_confidence(predictor: MultiScalePredictor) -> None:
    landmarks = predictor.predict(stored_blob()).landmarks
    assert landmarks.names == ("blob", "other")
    assert landmarks.structures == ("bright", "dark")
    assert landmarks.presence == (Presence.PRESENT, Presence.ABSENT)
    assert landmarks.review == (Review.PREDICTED,) * 2
    np.testing.assert_allclose(landmarks.points_lps_mm[1], AT_LPS_MM, atol=0.1)
    np.testing.assert_array_equal(landmarks.predicted_lps_mm, landmarks.points_lps_mm)
    assert 1 / (1 + np.exp(-2)) > landmarks.confidence[0] > landmarks.confidence[1] > 0
    # The presences of the network, times the same probability that the point is right.
    ratio = (1 + np.exp(-2)) / (1 + np.exp(3))
    assert landmarks.confidence[1] / landmarks.confidence[0] == pytest.approx(ratio, rel=0.01)


def test_the_covariance_is_that_of_the_heatmap_and_the_passes(predictor: MultiScalePredictor) -> None:
    """The heatmap is the blob itself, which is as wide one way as another, but for what a crop of 24 mm cuts off."""
    covariance = predictor.predict(stored_blob()).landmarks.covariance_mm2
    np.testing.assert_allclose(covariance[0], SIGMA_MM**2 * np.eye(3), atol=0.08 * SIGMA_MM**2)
    assert np.linalg.eigvalsh(covariance).min() > 0
    seen = predictor.look(stored_blob())
    assert tuple(seen.components) == COMPONENTS
    assert all(component.shape == (2, 3, 3) for component in seen.components.values())
    assert np.linalg.eigvalsh(seen.components["shifted"]).min() > -1e-12
    assert 0 < np.trace(seen.components["shifted"][0]) < 0.1
    assert np.trace(seen.components["levels"][0]) < 0.1
    # exp(entropy) voxels of a Gaussian are (2 pi e)^1.5 of its standard deviations' product.
    bulk = 2 * np.pi * np.e * SIGMA_MM**2
    np.testing.assert_allclose(seen.components["coarse_entropy"][0], bulk * np.eye(3), rtol=0.15)


def test_the_same_volume_is_predicted_the_same_to_the_last_bit(predictor: MultiScalePredictor, bundle: Path) -> None:
    image = stored_blob(direction=STORED["oblique"]["direction"])
    torch.manual_seed(1)
    one = predictor.predict(image).landmarks
    torch.manual_seed(2)
    np.random.default_rng()
    for again in (predictor, open_predictor(str(bundle), "cpu")):
        other = again.predict(image).landmarks
        for name in ("points_lps_mm", "covariance_mm2", "confidence"):
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name))


def test_one_pass_is_not_shifted(bundle: Path, predictor: MultiScalePredictor) -> None:
    once = replace(predictor, passes=1)
    seen = once.look(stored_blob())
    assert not seen.components["shifted"].any()
    many = replace(predictor, passes=6).look(stored_blob())
    np.testing.assert_allclose(seen.points_lps_mm, many.points_lps_mm, atol=0.1)
    assert (seen.points_lps_mm != many.points_lps_mm).all()


def test_the_passes_are_averaged_and_their_covariance_is_that_of_a_sample(
    predictor: MultiScalePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[np.ndarray] = []
    finer = MultiScalePredictor._finer

    def spy(self: MultiScalePredictor, level: int, *arguments: Any) -> Any:
        points, covariance = finer(self, level, *arguments)
        if level == 2:
            found.append(points[0].numpy().astype(np.float64))
        return points, covariance

    monkeypatch.setattr(MultiScalePredictor, "_finer", spy)
    seen = replace(predictor, passes=5).look(stored_blob())
    assert len(found) == 5
    np.testing.assert_allclose(seen.points_lps_mm, np.mean(found, axis=0), atol=1e-4)
    for row in range(2):
        expected = np.cov(np.array(found)[:, row], rowvar=False)
        np.testing.assert_allclose(seen.components["shifted"][row], expected, atol=1e-7, rtol=0.02)
        assert np.trace(expected) > 1e-5


def test_the_heatmap_of_a_turned_crop_has_its_covariance_along_lps(predictor: MultiScalePredictor) -> None:
    """Voxels of 2 mm; the heatmap is longest along x of the crop."""
    z, y, x = (torch.arange(16) - 7.5 for _ in range(3))
    logits = -(x**2)[None, None] / (2 * 2.0**2) - (y**2)[None, :, None] / 2 - (z**2)[:, None, None] / (2 * 0.8**2)
    heat = logits.exp().expand(1, 2, 1, 16, 16, 16)
    turn = torch.from_numpy(Rotation.from_euler("xyz", [30, -50, 110], degrees=True).as_matrix()).float()
    at = torch.zeros(1, 2, 3)
    output = LevelOutput(at, torch.tensor([0, 1]), at, torch.tensor([[1], [0]]), heat, 2.0, turn[None])
    expected = turn @ torch.diag(torch.tensor([16.0, 4.0, 2.56])) @ turn.T
    np.testing.assert_allclose(predictor._heat_covariance(output), expected.expand(2, 3, 3), atol=0.05)


# ---- between passes -------------------------------------------------------------------------------------------------


def test_a_prediction_can_be_ended_before_each_pass(predictor: MultiScalePredictor) -> None:
    class StopNowError(Exception):
        pass

    def calls_until(limit: int) -> Callable[[], None]:
        def count() -> None:
            calls.append(len(calls))
            if len(calls) == limit:
                raise StopNowError

        return count

    calls: list[int] = []
    predictor.predict(stored_blob(), between_passes=calls_until(1000))
    assert len(calls) == 1 + 1 + 4  # coarse, middle, four times the finest
    for limit in range(1, 7):
        calls.clear()
        with pytest.raises(StopNowError):
            predictor.predict(stored_blob(), between_passes=calls_until(limit))
        assert len(calls) == limit
    assert predictor.predict(stored_blob()).landmarks.presence[0] is Presence.PRESENT


def test_many_crops_go_through_the_network_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = MultiScaleLocNet(10, [4.0, 2.0], 8, channels=(2, 4), groups=[0, 1, 2, 3, 4, 4, 3, 2, 1, 0])
    names = tuple("abcdefghij")
    predictor = MultiScalePredictor(network, names, names, IntensityRecipe("window", 0, 200), "m", "1", "cpu", passes=2)
    image = stored_blob((2.0, 2.0, 2.0))
    calls: list[int] = []
    whole = predictor.predict(image, between_passes=lambda: calls.append(1)).landmarks
    assert len(calls) == 3
    monkeypatch.setattr("DenseLandmarksLib.models.predictors.multi_scale._VOXELS_AT_ONCE", 2 * 8**3)
    parts = predictor.predict(image, between_passes=lambda: calls.append(1)).landmarks
    assert len(calls) == 3 + 1 + 2 * 3
    np.testing.assert_allclose(parts.points_lps_mm, whole.points_lps_mm, atol=1e-3)
    np.testing.assert_allclose(parts.covariance_mm2, whole.covariance_mm2, atol=1e-2)


# ---- calibration and joint shape ------------------------------------------------------------------------------------


def test_a_calibration_scales_the_covariances(bundle: Path, tmp_path: Path, predictor: MultiScalePredictor) -> None:
    calibration = EllipsoidCalibration(
        COMPONENTS, np.array([1.0, 0.25, 0.5, 0.01]), 0.3, ("bright",), np.array([2.0]), 3.0
    )
    folder = write_blob_bundle(tmp_path / "calibrated", ellipsoids=calibration.to_dict())
    seen = predictor.look(stored_blob())
    expected = calibration.apply(seen.components, ("bright", "dark"))
    found = open_predictor(str(folder), "cpu").predict(stored_blob()).landmarks.covariance_mm2
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_joint_shape_brings_back_what_is_far_off_and_unsure(predictor: MultiScalePredictor) -> None:
    rng = np.random.default_rng(0)
    mean = rng.normal(0, 40, (6, 3))
    shape = build_joint_shape(mean + rng.normal(0, 1.0, (12, 6, 3)))
    truth = mean + np.array([100.0, 20, -50])
    points = truth + rng.normal(0, 0.5, (6, 3))
    points[2] += [25.0, -10, 15]
    variances = np.full(6, 0.25)
    variances[2] = 400
    components = {name: isotropic(variances / 2) for name in COMPONENTS}
    names = tuple("abcdef")
    with_shape = replace(predictor, names=names, structures=names, joint_shape=shape, uses_shape=True)
    seen = Seen(points, components, np.ones(6))
    found, covariance, measures = with_shape.understand(seen)
    assert np.linalg.norm(found[2] - truth[2]) < 5 < np.linalg.norm(points[2] - truth[2])
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert np.trace(covariance[2]) < 3 * 400 / 4
    assert measures["shape_sd"] > 0
    # Where it does not help it only measures.
    plain, _, measured = replace(with_shape, uses_shape=False).understand(seen)
    np.testing.assert_array_equal(plain, points)
    assert measured == measures
    after = EllipsoidCalibration(("joint",), np.array([1.0]), 0.1, (), np.zeros(0), 2.0)
    scaled = replace(with_shape, ellipsoids_with_shape=after).understand(seen)[1]
    np.testing.assert_allclose(scaled, 2 * (covariance + 0.1 * np.eye(3)))
    # Two landmarks have no pose.
    few = Seen(points, components, np.array([0.9, 0.9, 0, 0, 0, 0.2]))
    assert with_shape.understand(few)[2] == {}


def test_where_too_few_landmarks_are_there_their_shape_is_no_reason_to_doubt(predictor: MultiScalePredictor) -> None:
    """One of two is there, and nothing has a shape: the limit that a calibration found is not asked for."""
    plausibility = replace(predictor, limits={"shape_sd": 0.1}).predict(stored_blob()).plausibility
    assert plausibility.plausible
    assert not plausibility.limits


# ---- opening --------------------------------------------------------------------------------------------------------


def test_a_volume_whose_file_states_another_body_part_is_doubted(
    predictor: MultiScalePredictor, bundle: Path, tmp_path: Path
) -> None:
    known = load_bundle(bundle)
    expects = {**known.inference, "expects": {"body_parts": ["HEADNECK", "NECK"]}}
    save_bundle(tmp_path / "neck", known.metadata, expects, known.family_files(), known.weights, "", "")
    of_neck = open_predictor(str(tmp_path / "neck"), "cpu")
    for part, doubts in (("NECK", ()), ("ABDOMEN", ("the file states body part ABDOMEN, the model knows HEADNECK",))):
        image = replace(stored_blob(), acquisition=Acquisition("CT", part))
        assert of_neck.predict(image).plausibility.doubts == doubts
        assert predictor.predict(image).plausibility.plausible


def test_it_runs_once_and_holds_the_weights_of_the_bundle(predictor: MultiScalePredictor, bundle: Path) -> None:
    assert predictor.run_once()
    for name, value in load_bundle(bundle).weights.items():
        np.testing.assert_array_equal(predictor.network.state_dict()[name].numpy(), value.astype(np.float32))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"network_def": {**NETWORK, "_target_": "os.system"}}, "unknown network 'os.system'"),
        ({"network_def": {**NETWORK, "crop_size": 25}}, "weights do not fit its network"),
        ({"network_def": {**NETWORK, "channels": [2, 2]}}, "weights do not fit its network"),
        ({"intensity": {"kind": "window", "low": 5.0, "high": 5.0}}, "expected intensity"),
        ({"passes": None}, "weights do not fit its network"),
    ],
)
def test_a_bundle_whose_parts_do_not_fit_is_told_in_one_line(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    if "network_def" in change:
        change = {
            "network_def": {"_target_": f"{MultiScaleLocNet.__module__}.MultiScaleLocNet", **change["network_def"]}
        }
    folder = write_blob_bundle(tmp_path / "wrong", **change)
    with pytest.raises(InputError, match=says) as told:
        open_multi_scale(load_bundle(folder), "cpu")
    assert "\n" not in str(told.value)
    assert json.loads((folder / INFERENCE).read_text())["dimensions"] == 3


def test_a_worker_predicts_a_volume_as_this_process_does(
    warm_worker: Worker, bundle: Path, predictor: MultiScalePredictor
) -> None:
    client = warm_worker.client()
    try:
        request_id = client.request(stored_blob(), bundle, None, "cpu")
        done = answers(warm_worker, client, to=[request_id])[request_id]
    finally:
        client.close()
    assert isinstance(done, Done)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert_same(done.prediction, predictor.predict(stored_blob()))
    finally:
        torch.set_num_threads(threads)


# ---- the pose of a shape --------------------------------------------------------------------------------------------


class _LookedAtError(Exception):
    """Enough was seen."""


def test_a_landmark_that_the_coarsest_level_lost_does_not_turn_the_pose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where crops are turned into the shape's pose, they lie about what fits the shape."""
    patients = draw_patients(9, 3, turn_rad=0.3, residual_mm=0.5)
    shape = build_joint_shape(patients.draw(40, seed=1))
    truth = patients.draw(1, seed=2)[0]
    said = truth.copy()
    said[4] += (60, -50, 40)
    image = stored_blob()
    network = MultiScaleLocNet(9, (6.0, 3.0), 16, channels=(4, 8), shape_mm=shape.mean_mm.tolist())
    names = tuple(f"landmark_{number}" for number in range(9))
    intensity = IntensityRecipe("window", -1000.0, 1000.0)
    predictor = MultiScalePredictor(network, names, ("head",) * 9, intensity, "posed", "1", "cpu", joint_shape=shape)
    coarse, looked_at = network.coarse, []

    def fooled(*arguments: Any) -> Any:
        output, presence = coarse(*arguments)
        heat = torch.full_like(output.heat, -30.0)  # each in one voxel: the network is as sure of the lost one
        heat[..., 8, 8, 8] = 30.0
        return replace(output, points_lps_mm=torch.from_numpy(said).float()[None], heat=heat), presence

    def finer(_level: int, _pyramids: Any, points_lps_mm: torch.Tensor, *_: Any) -> Any:
        looked_at.append(points_lps_mm[0].numpy())
        raise _LookedAtError

    monkeypatch.setattr(network, "coarse", fooled)
    monkeypatch.setattr(network, "finer", finer)
    with pytest.raises(_LookedAtError):
        predictor.look(image)
    errors = np.linalg.norm(looked_at[0] - truth, axis=1)
    assert np.linalg.norm(said - truth, axis=1).max() > 80
    assert errors.max() < 15
