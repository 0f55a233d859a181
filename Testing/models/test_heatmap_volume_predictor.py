"""Heatmaps of volumes are read where the patient has the landmarks, in one tile or in many, and say what is not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.landmarks.heat_read_out import HeatReadOut
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.models.bundle import load_bundle, save_bundle
from DenseLandmarksLib.models.ellipsoids import EllipsoidCalibration
from DenseLandmarksLib.models.predictors import heatmap_volume
from DenseLandmarksLib.models.predictors.heat_tiles import (
    LARGEST_SHIFT_VOXELS,
    Tiles,
    find_in_tiles,
    join_heat,
    rigid_moves,
)
from DenseLandmarksLib.models.predictors.heatmap_volume import (
    COMPONENTS,
    HeatmapVolumePredictor,
    open_heatmap_volume,
)
from DenseLandmarksLib.models.predictors.image_pyramid import ImagePyramid
from DenseLandmarksLib.models.presence import PresenceCalibration
from DenseLandmarksLib.models.registry import open_predictor
from DenseLandmarksLib.worker.client import Worker
from DenseLandmarksLib.worker.events import Done
from Testing.models.blob_heat_finder import NAMES, SPACING_MM, STRUCTURES, true_points_lps_mm, write_blob_finder
from Testing.models.blob_model import SIGMA_MM, STORED, stored_blob
from Testing.models.same_prediction import assert_same
from Testing.models.small_heatmap_networks import small
from Testing.worker.waiting import answers
from training.heatmap_recipe import HeatmapLossRecipe

LARGE: dict[str, Any] = {"extent_mm": 120.0, "spacing_mm": (2.0, 2.0, 2.0)}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Sums in another order are other sums: a worker has one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blob_finder(tmp_path_factory.mktemp("bundles") / "finder")


@pytest.fixture(scope="module")
def predictor(bundle: Path) -> HeatmapVolumePredictor:
    opened = open_predictor(str(bundle), "cpu")
    assert isinstance(opened, HeatmapVolumePredictor)
    return opened


def whole(predictor: HeatmapVolumePredictor, side: int = 64) -> HeatmapVolumePredictor:
    """The same with tiles that hold a volume of 120 mm whole."""
    return replace(predictor, tiles=Tiles((side, side, side), side))


# ---- where landmarks are --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", STORED)
def test_landmarks_are_found_within_half_a_voxel_however_the_volume_is_stored(
    how: str, predictor: HeatmapVolumePredictor
) -> None:
    found = predictor.predict(stored_blob(**STORED[how])).landmarks
    errors = np.linalg.norm(found.points_lps_mm - true_points_lps_mm(), axis=1)[:3]
    assert errors[0] < 0.2
    # A rise over two voxels is steepest a little farther out than a slope.
    assert errors.max() < 0.6 < SPACING_MM / 2


def test_a_distribution_is_read_as_well(tmp_path: Path) -> None:
    loss = HeatmapLossRecipe("distribution", sigma=SIGMA_MM / SPACING_MM)
    finder = open_predictor(str(write_blob_finder(tmp_path / "logits", loss=loss)), "cpu")
    for how in ("oblique", "thick slices", "larger"):
        found = finder.predict(stored_blob(**STORED[how])).landmarks
        assert np.linalg.norm(found.points_lps_mm - true_points_lps_mm(), axis=1)[:3].max() < SPACING_MM / 2
        # Where all voxels are as likely the landmark is anywhere.
        assert found.presence == (Presence.PRESENT,) * 3 + (Presence.ABSENT,)


def test_many_tiles_say_what_one_says(predictor: HeatmapVolumePredictor) -> None:
    image = stored_blob(**LARGE)
    one = whole(predictor).look(image)
    for tiles in (Tiles((24, 20, 28), 8), Tiles((24, 20, 28), 20), Tiles((64, 16, 64), 12)):
        many = replace(predictor, tiles=tiles).look(image)
        np.testing.assert_allclose(many.points_lps_mm[:3], one.points_lps_mm[:3], atol=0.02)
        np.testing.assert_allclose(many.components["heat"][:3], one.components["heat"][:3], atol=0.05)
        np.testing.assert_allclose(many.presence, one.presence, atol=0.005)


@pytest.mark.parametrize("stride", [1, 2])
def test_joined_heatmaps_lie_where_those_of_the_whole_do(stride: int, predictor: HeatmapVolumePredictor) -> None:
    """By a network that nobody trained; it sees a few pixels far, so that tiles differ near their own borders only."""
    network = small("LocalisationUNet", 2, dimensions=3, levels=1, stem_stride=stride, head_std=1.0)
    pyramid = ImagePyramid(stored_blob(**LARGE), (2.0,), predictor.intensity)
    (still,) = rigid_moves(1, pyramid.grids[0])
    one = join_heat(network, pyramid, Tiles((64, 64, 64), 64), still)
    many = join_heat(network, pyramid, Tiles((36, 40, 44), 16), still)
    assert (one.heat.dtype, many.heat.dtype) == (np.float32, np.float16)
    inner = (np.s_[20 // stride : -20 // stride],) * 3  # the blob, where up to three tiles meet along each axis
    for first, second in zip(one.heat, many.heat, strict=True):
        a, b = (joined.within(heat, pyramid.grids[0])[inner] for joined, heat in ((one, first), (many, second)))
        assert a.shape == b.shape == (20 // stride,) * 3
        np.testing.assert_allclose(b, a, atol=0.05 * np.ptp(a))


@pytest.mark.parametrize("size", [(64, 64, 2), (2, 3, 64), (3, 3, 3)])
def test_a_flat_volume_is_padded_and_no_crash(size: tuple[int, int, int], predictor: HeatmapVolumePredictor) -> None:
    image = stored_blob()
    cut = replace(image, volume=image.volume[: size[0], : size[1], : size[2]])
    prediction = predictor.predict(cut)
    assert np.isfinite(prediction.landmarks.points_lps_mm).all()
    assert np.linalg.eigvalsh(prediction.landmarks.covariance_mm2).min() > 0


@pytest.mark.parametrize("value", [np.nan, -3024, 1e30])
def test_a_volume_of_nothing_but_padding_is_no_crash(value: float, predictor: HeatmapVolumePredictor) -> None:
    image = stored_blob((4.0, 4.0, 4.0), change=lambda values, _: np.full(values.shape, value, np.float32))
    landmarks = predictor.predict(image).landmarks
    assert np.isfinite(landmarks.points_lps_mm).all()
    assert np.isfinite(landmarks.covariance_mm2).all()


# ---- what a prediction says -----------------------------------------------------------------------------------------


def test_what_is_not_there_is_absent_with_a_best_guess_and_no_confidence(predictor: HeatmapVolumePredictor) -> None:
    landmarks = predictor.predict(stored_blob(**STORED["oblique"])).landmarks
    assert (landmarks.names, landmarks.structures) == (NAMES, STRUCTURES)
    assert landmarks.presence == (Presence.PRESENT,) * 3 + (Presence.ABSENT,)
    assert np.isfinite(landmarks.points_lps_mm[3]).all()
    assert landmarks.confidence[3] < 1e-3 < 0.2 < landmarks.confidence[:3].min()


def test_a_blob_that_was_cut_off_is_missed(predictor: HeatmapVolumePredictor) -> None:
    image = stored_blob()
    i, _, _ = image.volume.TransformPhysicalPointToIndex(true_points_lps_mm()[0].tolist())
    landmarks = predictor.predict(replace(image, volume=image.volume[: i - 12])).landmarks
    assert landmarks.presence == (Presence.ABSENT,) * 4


def test_the_components_are_of_the_heatmap_the_target_and_the_passes_along_lps(
    predictor: HeatmapVolumePredictor,
) -> None:
    image = stored_blob(**STORED["oblique"])
    once = predictor.look(image)
    assert tuple(once.components) == COMPONENTS
    assert not once.components["passes"].any()
    np.testing.assert_allclose(once.components["sigma"], np.broadcast_to(SIGMA_MM**2 * np.eye(3), (4, 3, 3)), rtol=1e-3)
    np.testing.assert_allclose(once.components["heat"][0], SIGMA_MM**2 * np.eye(3), atol=0.2 * SIGMA_MM**2)
    # The map of a flank is narrower across it than along it.
    left, upper = once.components["heat"][1:3]
    assert left[0, 0] < 0.7 * min(left[1, 1], left[2, 2])
    assert upper[2, 2] < 0.7 * min(upper[0, 0], upper[1, 1])


def test_passes_look_at_a_volume_that_is_moved_and_bring_back_what_they_find(
    predictor: HeatmapVolumePredictor,
) -> None:
    image, calls = stored_blob(**STORED["oblique"]), []
    many = replace(predictor, reading=replace(predictor.reading, passes=4))
    seen = many.look(image, lambda: calls.append(1))
    np.testing.assert_allclose(seen.points_lps_mm[0], true_points_lps_mm()[0], atol=0.2)
    spread = np.sqrt(np.trace(seen.components["passes"], axis1=1, axis2=2))
    assert 0 < spread[0] < 0.1 < spread[3]
    tiles = len(many.tiles.over(ImagePyramid(image, (2.0,), many.intensity).grids[0], 1))
    assert len(calls) == 4 * tiles - 1
    moves = rigid_moves(4, ImagePyramid(image, (2.0,), many.intensity).grids[0])
    assert all(np.abs(move.shift_mm).max() <= LARGEST_SHIFT_VOXELS * 2.0 for move in moves)
    np.testing.assert_allclose([move.matrix @ move.matrix.T for move in moves], [np.eye(3)] * 4, atol=1e-12)


def test_a_pass_that_sees_another_place_draws_no_landmark_there(
    predictor: HeatmapVolumePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, calls = stored_blob(), []
    many = replace(predictor, reading=replace(predictor.reading, passes=4))
    of_one_mind = many.look(image).points_lps_mm

    def find_but_once(*arguments: Any) -> HeatReadOut:
        calls.append(1)
        read = find_in_tiles(*arguments)
        return replace(read, points=read.points + [12.0, -30.0, 9.0]) if len(calls) == 2 else read

    monkeypatch.setattr(heatmap_volume, "find_in_tiles", find_but_once)
    seen = many.look(image)
    # A mean would be 8 mm off.
    np.testing.assert_allclose(seen.points_lps_mm[:3], of_one_mind[:3], atol=0.1)
    apart = np.sqrt(np.trace(seen.components["passes"], axis1=1, axis2=2))
    np.testing.assert_allclose(apart[:3], np.linalg.norm([12, -30, 9]) / np.sqrt(3), rtol=0.01)


def test_a_calibration_makes_ellipsoids_and_presence_true(predictor: HeatmapVolumePredictor) -> None:
    image = stored_blob()
    ellipsoids = EllipsoidCalibration(COMPONENTS, np.array([0.1, 0.2, 1.0]), 0.3, ("blob",), np.array([2.0]), 3.0)
    seen = predictor.look(image)
    found = replace(predictor, ellipsoids=ellipsoids).predict(image).landmarks
    np.testing.assert_allclose(found.covariance_mm2, ellipsoids.apply(seen.components, STRUCTURES), rtol=1e-6)
    features = predictor.presence_features(seen, image.geometry)
    assert set(features) == {"network", "heat", "inside"}
    # Log odds of 0 are a strength of present_above.
    strength = predictor.reading.present_above * np.exp(features["network"])
    np.testing.assert_allclose(strength[:3], 1, atol=0.2)
    strict = PresenceCalibration(("network",), np.array([4.0]), -4 * float(features["network"][1]) - 0.1)
    calibrated = replace(predictor, presence=strict).predict(image).landmarks
    assert calibrated.presence[1] is Presence.ABSENT


# ---- why here -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extent_mm", [44.0, 80.0])
def test_the_evidence_is_highest_where_the_landmark_is(extent_mm: float, predictor: HeatmapVolumePredictor) -> None:
    image = stored_blob(direction=STORED["oblique"]["direction"], spacing_mm=(1.0, 1.0, 2.5), extent_mm=extent_mm)
    for row in (0, 2):
        (shown,) = predictor.evidence(image, NAMES[row]).maps
        assert shown.name == "Heatmap"
        assert shown.values.max() > 0.7
        k, j, i = np.unravel_index(shown.values.argmax(), shown.values.shape)
        voxel = (shown.to_index @ [i, j, k, 1])[:3]
        at = lps_mm_from_index(image.geometry, [voxel])[0]
        assert np.abs(at - true_points_lps_mm()[row]).max() < SPACING_MM
    assert predictor.evidence(image, "nowhere").maps[0].is_empty


def test_the_evidence_has_the_parts_of_a_spatial_configuration(predictor: HeatmapVolumePredictor) -> None:
    scn = replace(predictor, network=small("SpatialConfigurationNet", 4, dimensions=3), tiles=Tiles((24, 24, 24), 16))
    maps = scn.evidence(stored_blob(), "middle").maps
    assert [shown.name for shown in maps] == ["Heatmap", "Local appearance", "Spatial configuration"]
    assert {shown.values.shape for shown in maps} == {(32, 32, 32)}
    with pytest.raises(InputError, match="expected a landmark that"):
        scn.evidence(stored_blob(), "elsewhere")


def test_no_part_is_dark_where_the_heatmap_is_highest(predictor: HeatmapVolumePredictor) -> None:
    """By a network that nobody taught which sign its parts have: those of some landmarks are both negative there."""
    network = small("SpatialConfigurationNet", 4, dimensions=3, head_std=1.0)
    scn = replace(predictor, network=network, tiles=Tiles((24, 24, 24), 16))
    pyramid = ImagePyramid(stored_blob(), (SPACING_MM,), predictor.intensity)
    (still,) = rigid_moves(1, pyramid.grids[0])
    negative = 0
    for row, name in enumerate(NAMES):
        joined = join_heat(network, pyramid, scn.tiles, still, row=row)
        top = np.unravel_index(joined.heat[0].argmax(), joined.heat[0].shape)
        negative += all(part[top] < 0 for part in joined.parts.values())
        top = np.unravel_index(joined.within(joined.heat[0], pyramid.grids[0]).argmax(), (32, 32, 32))
        for shown in scn.evidence(stored_blob(), name).maps:
            assert shown.values[top] > 0.02, (name, shown.name)
    assert negative > 0


@pytest.mark.parametrize("present_above", [0.05, 0.5])
def test_a_landmark_that_is_missing_stays_dark_in_a_distribution_too(present_above: float, tmp_path: Path) -> None:
    loss = HeatmapLossRecipe("distribution", sigma=SIGMA_MM / SPACING_MM)
    finder = open_predictor(str(write_blob_finder(tmp_path / "logits", loss=loss)), "cpu")
    assert isinstance(finder, HeatmapVolumePredictor)
    finder = replace(finder, reading=replace(finder.reading, present_above=present_above))
    there, lost = (finder.evidence(stored_blob(), NAMES[row]).maps[0].values.max() for row in (0, 3))
    assert there == 1
    assert lost < 0.05


# ---- opening and the other rooms ------------------------------------------------------------------------------------


def test_it_is_for_volumes_only(predictor: HeatmapVolumePredictor, bundle: Path) -> None:
    described = load_bundle(bundle)
    assert (described.family.name, described.is_for_radiographs) == ("heatmap_volume", False)
    image = stored_blob()
    flat = replace(image, volume=image.volume[:, :, 30:31])
    for ask in (lambda: predictor.predict(flat), lambda: predictor.evidence(flat, "middle")):
        with pytest.raises(InputError, match=r"expected a volume for model finder; blob is one slice\. Choose") as told:
            ask()
        assert "\n" not in str(told.value)
    assert predictor.run_once()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tile": [24, 20]}, "cannot be read"),
        ({"step": 40}, "do not fit its network"),
        ({"spacing_mm": None}, "cannot be read"),
        ({"spacing_mm": 0.0}, "not above 0"),
        ({"present_above": 0.0}, "not above 0"),
        ({"heat": "peaks"}, "cannot be read"),
        ({"network_def": {"_target_": "os.system"}}, "unknown network 'os.system'"),
    ],
)
def test_a_bundle_whose_parts_do_not_fit_is_told_in_one_line(
    change: dict[str, Any], says: str, bundle: Path, tmp_path: Path
) -> None:
    whole = load_bundle(bundle)
    inference = {**whole.inference, **change}
    save_bundle(tmp_path / "wrong", whole.metadata, inference, whole.family_files(), dict(whole.weights), "", "")
    with pytest.raises(InputError, match=says) as told:
        open_heatmap_volume(load_bundle(tmp_path / "wrong"), "cpu")
    assert "\n" not in str(told.value)


def test_a_worker_predicts_a_volume_as_this_process_does(
    warm_worker: Worker, bundle: Path, predictor: HeatmapVolumePredictor
) -> None:
    image = stored_blob(**STORED["oblique"])
    client = warm_worker.client()
    try:
        request_id = client.request(image, bundle, None, "cpu")
        done = answers(warm_worker, client, to=[request_id])[request_id]
    finally:
        client.close()
    assert isinstance(done, Done)
    assert_same(done.prediction, predictor.predict(image))
