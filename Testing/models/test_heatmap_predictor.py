"""A whole heatmap bundle on radiographs whose landmarks are known: found, missed, mirrored, turned, doubted."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import Tensor, nn

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.geometry.frames import pixels_from_lps_mm
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import AS_STORED, VIEWS, View
from DenseLandmarksLib.landmarks.heat_read_out import HeatReadOut
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.locate import GUESS_SD_MM
from DenseLandmarksLib.landmarks.template import build_template
from DenseLandmarksLib.models.bundle import INFERENCE, METADATA, load_bundle, read_description, sha256
from DenseLandmarksLib.models.ellipsoids import EllipsoidCalibration
from DenseLandmarksLib.models.expectation import Expectation
from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork, HeatmapOutput
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.prediction_arrays import prediction_from_arrays, prediction_to_arrays
from DenseLandmarksLib.models.predictors.heat_passes import SmallMove, join_passes, small_moves
from DenseLandmarksLib.models.predictors.heat_reading import HeatReading
from DenseLandmarksLib.models.predictors.heatmap import COMPONENTS, HeatmapPredictor, open_heatmap
from DenseLandmarksLib.models.presence import PresenceCalibration
from DenseLandmarksLib.models.registry import open_predictor
from Testing.models.disc_finder import (
    FIELD_OF_VIEW_MM,
    GRID,
    LIMITS,
    NAMES,
    SHAPE_MM,
    SPACING_MM,
    STRUCTURE,
    hand_template,
    lps_of,
    marked_hand,
    patient,
)
from Testing.models.perfect_prediction import radiograph
from Testing.models.same_prediction import assert_same

# A grid pixel is 1.25 mm; the discs are read to a tenth of one.
NEAR_MM = 0.25


@pytest.fixture
def predictor(heatmap_bundle: Path) -> HeatmapPredictor:
    opened = open_predictor(str(heatmap_bundle), "cpu")
    assert isinstance(opened, HeatmapPredictor)
    return opened


def errors_mm(prediction: Prediction, truth_mm: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(prediction.landmarks.points_lps_mm - lps_of(truth_mm), axis=1))


def stored_as(image: MedicalImage, view: View) -> MedicalImage:
    """The image as it is stored when it must be seen through ``view`` to be as it was; square pixels, no matter where."""
    pixels = view.restore(image.pixels_yx)
    volume = sitk.GetImageFromArray(np.ascontiguousarray(pixels)[None])
    volume.SetSpacing(image.volume.GetSpacing())
    return MedicalImage(volume, image.spacing_source, image.name)


# ---- what is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_landmarks_come_out_where_the_patient_has_them(predictor: HeatmapPredictor, seed: int) -> None:
    truth = patient(seed)
    prediction = predictor.predict(marked_hand(truth))
    assert errors_mm(prediction, truth).max() < NEAR_MM
    landmarks = prediction.landmarks
    assert (landmarks.names, set(landmarks.structures)) == (NAMES, {STRUCTURE})
    assert set(landmarks.presence) == {Presence.PRESENT}
    assert set(landmarks.review) == {Review.PREDICTED}
    np.testing.assert_array_equal(landmarks.predicted_lps_mm, landmarks.points_lps_mm)
    np.testing.assert_allclose(landmarks.template_uv, hand_template().structure(STRUCTURE).uv, atol=1e-6)
    assert prediction.plausibility.plausible
    assert (landmarks.confidence > 0.5).all()
    # No masks, but a grid, on which new landmarks are looked up.
    assert (prediction.structures, prediction.masks.shape, prediction.uv_field) == ((), (0, *GRID), None)
    assert prediction.need_grid().size == GRID
    assert (prediction.model_name, prediction.device, prediction.view) == ("disc-finder", "cpu", AS_STORED)


def test_the_spacing_changes_no_pixel(predictor: HeatmapPredictor) -> None:
    """On some data it was made from the truth: a model that looked at it would have seen the answer."""
    image = marked_hand(patient(1))
    before = predictor.predict(image)
    volume = sitk.Image(image.volume)
    volume.SetSpacing((3 * SPACING_MM, 3 * SPACING_MM, 1.0))
    after = predictor.predict(MedicalImage(volume, SpacingSource.UNKNOWN, image.name))
    origin = np.array(image.volume.GetOrigin())
    np.testing.assert_allclose(after.landmarks.points_lps_mm - origin, 3 * (before.landmarks.points_lps_mm - origin))
    np.testing.assert_allclose(after.landmarks.covariance_mm2, 9 * before.landmarks.covariance_mm2)
    np.testing.assert_array_equal(after.landmarks.confidence, before.landmarks.confidence)
    assert after.plausibility.measures == before.plausibility.measures


def test_what_has_no_peak_is_absent_with_a_best_guess(predictor: HeatmapPredictor) -> None:
    truth = patient(2)
    prediction = predictor.predict(marked_hand(truth, lost=("thumb", "ring")))
    landmarks = prediction.landmarks
    lost = [name in ("thumb", "ring") for name in NAMES]
    assert [presence is Presence.ABSENT for presence in landmarks.presence] == lost
    assert prediction.plausibility.plausible
    errors = errors_mm(prediction, truth)
    assert errors[~np.array(lost)].max() < NEAR_MM
    # The guess is the mean shape in the pose of the others, and the patient bends a little.
    assert errors[lost].max() < 4
    assert (landmarks.confidence[lost] == 0).all()
    np.testing.assert_allclose(np.trace(landmarks.covariance_mm2[1]), 2 * GUESS_SD_MM**2, rtol=1e-6)


def test_a_strong_peak_beside_its_place_is_absent_where_presence_was_calibrated(predictor: HeatmapPredictor) -> None:
    """Something else looks alike: what is not in the image is found there."""
    truth = patient(2)
    truth[NAMES.index("thumb")] += [0.0, 30.0]
    image = marked_hand(truth)
    assert Presence.ABSENT not in predictor.predict(image).landmarks.presence
    calibrated = replace(predictor, presence=PresenceCalibration(("strength", "off"), np.array([1.0, -2.0]), 6.0))
    landmarks = calibrated.predict(image).landmarks
    assert [name for name, presence in zip(NAMES, landmarks.presence, strict=True) if presence is Presence.ABSENT] == [
        "thumb"
    ]
    # Its guess is where the others suggest it.
    assert errors_mm(calibrated.predict(image), patient(2))[NAMES.index("thumb")] < 4


def test_a_single_landmark_still_says_where_the_others_are_expected(predictor: HeatmapPredictor) -> None:
    shift = np.array([5.0, -7.0])
    image = marked_hand(SHAPE_MM + shift, lost=NAMES[1:])
    prediction = predictor.predict(image)
    assert [presence is Presence.PRESENT for presence in prediction.landmarks.presence] == [True] + 6 * [False]
    moved = prediction.landmarks.points_lps_mm - lps_of(SHAPE_MM)
    # In an image with one disc no grey is what it was: the disc is found, but not its middle.
    np.testing.assert_allclose(moved[0], [5.0, 0.0, 7.0], atol=6)
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-3)
    assert not prediction.plausibility.plausible
    nowhere = predictor.predict(marked_hand(lost=NAMES)).landmarks
    np.testing.assert_allclose(nowhere.points_lps_mm, lps_of(SHAPE_MM), atol=1e-3)


def test_an_image_of_something_else_is_doubted_and_nothing_hidden(predictor: HeatmapPredictor) -> None:
    shuffled = patient(1)[[3, 0, 6, 5, 1, 2, 4]]
    prediction = predictor.predict(marked_hand(shuffled))
    (doubt,) = prediction.plausibility.doubts
    assert doubt.startswith("the landmarks form another shape")
    assert errors_mm(prediction, shuffled).max() < NEAR_MM
    assert (prediction.landmarks.confidence == 0).all()
    noise = predictor.predict(radiograph())
    assert "the landmarks are faint" in noise.plausibility.doubts[-1]
    assert Presence.PRESENT not in noise.landmarks.presence
    assert np.isfinite(noise.landmarks.points_lps_mm).all()


def test_a_volume_is_refused_in_one_line(predictor: HeatmapPredictor) -> None:
    volume = MedicalImage(sitk.Image(8, 8, 4, sitk.sitkInt16), SpacingSource.GIVEN, "neck.nrrd")
    with pytest.raises(InputError, match=r"expected a radiograph .* neck\.nrrd has 4 slices"):
        predictor.predict(volume)


# ---- how it lies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_through_the_right_view_every_stored_image_is_as_good(predictor: HeatmapPredictor, view: View) -> None:
    image = marked_hand(patient(1))
    stored = stored_as(image, view)
    grid = predictor.predict(stored, view).need_grid()
    seen = predictor.look(stored, view)[1]
    np.testing.assert_allclose(seen.points, predictor.look(image)[1].points, atol=0.05)
    assert grid.view == view


class OnlyUpright(HeatmapNetwork):
    """Another network that is blind where it sees the wrist above the middle finger, or as far to the side of it."""

    def __init__(self, network: HeatmapNetwork) -> None:
        super().__init__(network.landmarks, 2, network.stride, network.divisor)
        self.network = network

    def draw(self, images: Tensor) -> HeatmapOutput:
        heat = self.network.draw(images).heat
        y, x = np.unravel_index(heat[0, [0, 3]].flatten(1).argmax(dim=1).numpy(), GRID)
        return HeatmapOutput(heat if y[0] - y[1] > abs(x[0] - x[1]) else 0 * heat)


@pytest.mark.parametrize("view", [View(flip=True), View(180), View(90)], ids=str)
def test_a_model_that_knows_one_side_suggests_how_to_look(predictor: HeatmapPredictor, view: View) -> None:
    predictor = replace(predictor, network=OnlyUpright(predictor.network))
    stored = stored_as(marked_hand(patient(1)), view)
    plausibility = predictor.predict(stored).plausibility
    assert plausibility.suggested_view == view
    assert plausibility.doubts[0] == f"the image looks {view.inverse}"
    assert predictor.predict(stored, plausibility.suggested_view).plausibility.plausible


def test_a_model_that_knows_either_side_looks_at_the_mirror_image_and_says_so(predictor: HeatmapPredictor) -> None:
    both = replace(predictor, reading=replace(predictor.reading, either_side=True))
    image = marked_hand(patient(1))
    mirrored = stored_as(image, View(flip=True))
    prediction = both.predict(mirrored)
    assert (prediction.view, prediction.plausibility.doubts) == (View(flip=True), ())
    plain = predictor.look(image)[1].points
    found = pixels_from_lps_mm(mirrored.geometry, prediction.landmarks.points_lps_mm)
    width = image.volume.GetSize()[0]
    expected = both.look(image)[0].to_pixels(plain) * [-1, 1] + [width - 1, 0]
    np.testing.assert_allclose(found, expected, atol=0.05)
    # It is the patient's own image that is never mirrored.
    assert both.predict(image).view == AS_STORED
    # Whoever says how to look is obeyed, and advised.
    told = both.predict(mirrored, AS_STORED)
    assert (told.view, told.plausibility.suggested_view) == (AS_STORED, View(flip=True))
    # Turned and mirrored, it asks to be told.
    both = replace(both, network=OnlyUpright(both.network))
    turned = both.predict(stored_as(image, View(180, True)))
    assert turned.plausibility.suggested_view == View(180, True)


class FaintOtherwise(HeatmapNetwork):
    """Another network whose peaks are fainter in a mirrored hand, and nearly gone where the wrist is not below the fingers."""

    def __init__(self, network: HeatmapNetwork) -> None:
        super().__init__(network.landmarks, 2, network.stride, network.divisor)
        self.network = network

    def draw(self, images: Tensor) -> HeatmapOutput:
        heat = self.network.draw(images).heat
        y, x = np.unravel_index(heat[0, [0, 3, 1, 5]].flatten(1).argmax(dim=1).numpy(), GRID)
        if y[0] - y[1] < abs(x[0] - x[1]):
            return HeatmapOutput(0.1 * heat)
        return HeatmapOutput(heat if x[2] < x[3] else 0.8 * heat)


@pytest.fixture
def loose(predictor: HeatmapPredictor) -> HeatmapPredictor:
    """A model that knows either side and whose limits doubt neither of them."""
    return replace(
        predictor,
        network=FaintOtherwise(predictor.network),
        reading=replace(predictor.reading, either_side=True, passes=3),
        expectation=Expectation(laterality="L"),
        limits={"shape_residual_mm": 900.0, "peak_weakness": 0.6},
    )


@pytest.mark.parametrize("view", [AS_STORED, View(flip=True)], ids=str)
def test_the_side_is_that_of_the_stronger_peaks_where_no_limit_tells_it(loose: HeatmapPredictor, view: View) -> None:
    stored = stored_as(marked_hand(patient(1)), view)
    asked: list[int] = []
    prediction = loose.predict(stored, between_passes=lambda: asked.append(1))
    assert (prediction.view, prediction.plausibility.doubts) == (view, ())
    assert len(asked) == 3 + 1  # one look at the other side, and not another one at this
    seen = loose.look(stored, view)[1]
    points = prediction.need_grid().from_pixels(pixels_from_lps_mm(stored.geometry, prediction.landmarks.points_lps_mm))
    np.testing.assert_allclose(points, seen.points, atol=1e-6)
    np.testing.assert_allclose(loose.measure(seen)["peak_weakness"], prediction.plausibility.measures["peak_weakness"])


@pytest.mark.parametrize("stated", ["L", "R"])
def test_a_side_that_is_known_is_not_looked_for(loose: HeatmapPredictor, stated: str) -> None:
    """Not even where the file is wrong, as a person can be told."""
    image = marked_hand(patient(1))
    asked: list[int] = []
    for of_file in (image, stored_as(image, View(flip=True))):
        said = replace(of_file, acquisition=Acquisition(laterality=stated))
        assert loose.predict(said, between_passes=lambda: asked.append(1)).view == View(flip=stated == "R")
    assert loose.predict(image, View(flip=True), between_passes=lambda: asked.append(1)).view == View(flip=True)
    assert len(asked) == 3 * 3
    # A model of one side alone has nothing to look for.
    one = replace(loose, reading=replace(loose.reading, either_side=False))
    assert one.predict(stored_as(image, View(flip=True))).view == AS_STORED


@pytest.mark.parametrize("view", [View(180), View(180, True), View(90, True)], ids=str)
def test_of_several_ways_to_look_the_one_with_the_strongest_peaks_is_advised(
    loose: HeatmapPredictor, view: View
) -> None:
    plausibility = loose.predict(stored_as(marked_hand(patient(1)), view)).plausibility
    assert plausibility.suggested_view == view
    # As it is stored, whichever side was looked at.
    assert plausibility.doubts[0] == f"the image looks {view.inverse}"


def test_in_the_mirror_left_is_right(predictor: HeatmapPredictor) -> None:
    names = ("wrist", "left thumb", "right index", "middle", "ring", "left index", "right thumb")
    template = build_template({STRUCTURE: SHAPE_MM[None]}, {STRUCTURE: names}, FIELD_OF_VIEW_MM, chart="points")
    both = replace(predictor, template=template, reading=replace(predictor.reading, either_side=True))
    image = marked_hand(patient(1))
    assert both.predict(image).landmarks.names == names
    mirrored = both.predict(stored_as(image, View(flip=True))).landmarks
    assert mirrored.names == ("wrist", "right thumb", "left index", "middle", "ring", "right index", "left thumb")
    # The template coordinate stays with the place: it says where in the shape as it is seen.
    np.testing.assert_array_equal(mirrored.template_uv, template.structure(STRUCTURE).uv)
    # A model of one side that is told to look through a mirror sees its own side.
    one = replace(predictor, template=template)
    assert one.predict(stored_as(image, View(flip=True)), View(flip=True)).landmarks.names == names


def test_each_pass_is_asked_for_and_may_be_the_last(predictor: HeatmapPredictor) -> None:
    predictor.reading = replace(predictor.reading, passes=3)
    asked: list[int] = []

    def between_passes() -> None:
        asked.append(len(asked))
        if len(asked) > give_up_after:
            raise KeyboardInterrupt

    give_up_after = 99
    predictor.predict(marked_hand(), between_passes=between_passes)
    assert len(asked) == 3
    asked.clear()
    give_up_after = 1
    with pytest.raises(KeyboardInterrupt):
        predictor.predict(marked_hand(), between_passes=between_passes)


# ---- how sure ---------------------------------------------------------------------------------------------------------


def test_passes_are_small_moves_that_are_taken_back(predictor: HeatmapPredictor) -> None:
    image = marked_hand(patient(3))
    one = predictor.look(image)[1]
    assert set(one.components) == set(COMPONENTS)
    assert not one.components["passes"].any()
    predictor.reading = replace(predictor.reading, passes=6)
    many = predictor.look(image)[1]
    np.testing.assert_allclose(many.points, one.points, atol=0.1)
    spread = np.sqrt(np.trace(many.components["passes"], axis1=1, axis2=2))
    assert (spread > 0).all()
    assert (spread < 0.4).all()
    np.testing.assert_array_equal(predictor.look(image)[1].points, many.points)  # each time the same
    np.testing.assert_allclose(many.components["heat"], one.components["heat"], rtol=0.2, atol=0.2)
    assert errors_mm(predictor.predict(image), patient(3)).max() < NEAR_MM


class Jumps(HeatmapNetwork):
    """Another network that sees everything elsewhere in the second of four passes."""

    def __init__(self, network: HeatmapNetwork) -> None:
        super().__init__(network.landmarks, 2, network.stride, network.divisor)
        self.network, self.calls = network, 0

    def draw(self, images: Tensor) -> HeatmapOutput:
        self.calls += 1
        heat = self.network.draw(images).heat
        return HeatmapOutput(heat.roll((-15, 15), (2, 3)) if self.calls % 4 == 2 else heat)


def test_a_pass_that_sees_another_place_draws_no_landmark_there(predictor: HeatmapPredictor) -> None:
    predictor.reading = replace(predictor.reading, passes=4)
    image = marked_hand(patient(3))
    all_of_one_mind = predictor.look(image)[1]
    jumping = replace(predictor, network=Jumps(predictor.network))
    seen = jumping.look(image)[1]
    # A mean would be 5 pixels off.
    assert np.linalg.norm(seen.points - all_of_one_mind.points, axis=1).max() < 0.2
    # What the passes differ by is told about where the landmark is said to be.
    spread = np.trace(seen.components["passes"], axis1=1, axis2=2)
    np.testing.assert_allclose(spread, (15**2 + 15**2) / 3, rtol=0.15)


def test_passes_are_joined_at_their_middle() -> None:
    points = np.array([[[0.0, 5.0]], [[1.0, 6.0]], [[2.0, 1.0]], [[90.0, 5.5]]])
    covariance = np.arange(1.0, 5.0)[:, None, None, None] * np.eye(2)
    passes = [
        HeatReadOut(p, c, np.array([s])) for p, c, s in zip(points, covariance, (0.5, 0.7, 0.9, 0.3), strict=True)
    ]
    joined, apart = join_passes(passes)
    np.testing.assert_allclose(joined.points, [[1.5, 5.25]])
    np.testing.assert_allclose(joined.covariance, [2.5 * np.eye(2)])
    np.testing.assert_allclose(joined.strength, [0.6])
    off = points[:, 0] - [1.5, 5.25]
    np.testing.assert_allclose(apart[0], off.T @ off / 3)
    one, nothing = join_passes(passes[:1])
    np.testing.assert_array_equal(one.points, points[0])
    assert not nothing.any()


def test_a_move_moves_the_picture_as_it_moves_points() -> None:
    pixels = np.zeros((60, 50), np.float32)
    y, x = np.indices(pixels.shape)
    at = np.array([[30.0, 22.0]])
    pixels += np.exp(-((x - 30) ** 2 + (y - 22) ** 2) / 18)
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    move = SmallMove(1.1 * turn, np.array([24.5, 29.5]), np.array([3.0, -2.0]))
    moved = move.move(pixels)
    seen = np.array([[(moved * x).sum(), (moved * y).sum()]]) / moved.sum()
    np.testing.assert_allclose(seen, (at - move.centre) @ move.matrix.T + move.centre + move.shift, atol=0.02)
    stretched = move.matrix @ np.diag([4.0, 1.0]) @ move.matrix.T
    back = move.undo(HeatReadOut(seen, stretched[None], np.array([0.7])))
    np.testing.assert_allclose(back.points, at, atol=0.02)
    np.testing.assert_allclose(back.covariance[0], np.diag([4.0, 1.0]), atol=1e-9)
    first, *others = small_moves(4, GRID)
    assert first.is_still
    assert not any(other.is_still for other in others)
    assert first.move(pixels) is pixels


def test_calibrated_covariances_are_grid_pixels_brought_to_lps(predictor: HeatmapPredictor) -> None:
    image = marked_hand()
    seen = predictor.look(image)[1]
    predictor.ellipses = EllipsoidCalibration(
        COMPONENTS, np.array([0.5, 0.1, 2.0]), 0.2, (STRUCTURE,), np.array([3.0]), 1.0
    )
    sigma2 = (predictor.network.sigma.detach().numpy() ** 2)[:, None, None] * np.eye(2)
    np.testing.assert_allclose(seen.components["sigma"], sigma2)
    in_grid = 3 * (0.5 * seen.components["heat"] + 0.1 * sigma2 + 0.2 * np.eye(2))
    mm_per_pixel = FIELD_OF_VIEW_MM[0] / GRID[0]
    x, y = np.array([1.0, 0, 0]), np.array([0, 0, -1.0])  # of this image's rows and columns
    axes = np.column_stack([x, y]) * mm_per_pixel
    expected = axes @ in_grid @ axes.T
    np.testing.assert_allclose(predictor.predict(image).landmarks.covariance_mm2, expected, atol=1e-9)


class TwoPeaks(HeatmapNetwork):
    """Logits at half resolution of a landmark that is where the image is brightest, or else in a corner."""

    def __init__(self) -> None:
        super().__init__(7, 2, 2, 2, structures=1)

    def draw(self, images: Tensor) -> HeatmapOutput:
        heat = 8 * nn.functional.avg_pool2d(images, 2).expand(-1, 7, -1, -1)
        return HeatmapOutput(heat, mask_logits=images - 1.0)


def test_a_distribution_at_half_resolution_lands_on_the_right_pixel() -> None:
    predictor = HeatmapPredictor(TwoPeaks(), hand_template(), HeatReading("distribution"), GRID, "two", "1")
    pixels = np.zeros(GRID, np.float32)
    pixels[60:64, 40:44] = 4.0
    seen = predictor.look_on_grid(pixels)
    np.testing.assert_allclose(seen.points, np.tile([41.5, 61.5], (7, 1)), atol=1e-3)
    np.testing.assert_allclose(seen.components["heat"][0], np.eye(2), atol=0.05)  # two heatmap pixels each way
    assert (seen.strength > 0.99).all()
    assert seen.masks.shape == (1, *GRID)
    assert seen.masks.sum() == 16


def test_a_joint_network_gives_masks_on_the_grid() -> None:
    predictor = HeatmapPredictor(TwoPeaks(), hand_template(), HeatReading("distribution"), GRID, "two", "1")
    prediction = predictor.predict(marked_hand())
    assert (prediction.structures, prediction.masks.shape) == ((STRUCTURE,), (1, *GRID))


# ---- why here ---------------------------------------------------------------------------------------------------------


def highest_lps_mm(values: np.ndarray, to_index: np.ndarray, image: MedicalImage) -> np.ndarray:
    k, j, i = np.unravel_index(values.argmax(), values.shape)
    index_ijk = (to_index @ [i, j, k, 1])[:3]
    return np.asarray(image.volume.TransformContinuousIndexToPhysicalPoint(index_ijk.tolist()))


def test_the_maps_of_a_landmark_are_high_where_it_is(predictor: HeatmapPredictor) -> None:
    truth, image = patient(2), marked_hand(patient(2))
    evidence = predictor.evidence(image, "thumb")
    assert evidence.landmark == "thumb"
    assert [one.name for one in evidence.maps] == ["Heatmap", "Local appearance", "Spatial configuration"]
    for one in evidence.maps:
        assert one.values.shape == (1, *GRID)
        away = highest_lps_mm(one.values, one.to_index, image) - lps_of(truth)[1]
        assert np.linalg.norm(away) < 6  # the disc is as grey everywhere
    assert evidence.maps[0].values.max() > 0.9
    lost = predictor.evidence(marked_hand(truth, lost=("thumb",)), "thumb").maps
    # A missing peak stays dark, though its parts are shown as bright as they can be.
    assert lost[0].values.max() < 0.3
    assert lost[1].values.max() == 1
    with pytest.raises(InputError, match="expected a landmark that disc-finder looks for, got 'toe'"):
        predictor.evidence(image, "toe")


class Negated(HeatmapNetwork):
    """Another network both of whose factors are below zero where it sees a landmark: their product is the same."""

    def __init__(self, network: HeatmapNetwork) -> None:
        super().__init__(network.landmarks, 2, network.stride, network.divisor)
        self.network = network

    def draw(self, images: Tensor) -> HeatmapOutput:
        output = self.network.draw(images)
        return HeatmapOutput(output.heat, {name: -part for name, part in output.parts.items()})


@pytest.mark.parametrize("lost", [(), ("thumb",)], ids=["there", "lost"])
def test_parts_that_are_negative_together_are_as_bright_as_positive_ones(
    predictor: HeatmapPredictor, lost: tuple[str, ...]
) -> None:
    image = marked_hand(patient(2), lost=lost)
    plain = predictor.evidence(image, "thumb").maps
    negated = replace(predictor, network=Negated(predictor.network)).evidence(image, "thumb").maps
    top = np.unravel_index(plain[0].values.argmax(), plain[0].values.shape)
    for one, other in zip(plain, negated, strict=True):
        np.testing.assert_array_equal(other.values, one.values)
        assert other.values[top] > (0 if lost else 0.5), other.name


def test_the_maps_of_a_mirrored_image_lie_on_the_image_as_it_is_stored(predictor: HeatmapPredictor) -> None:
    names = ("wrist", "left thumb", "index", "middle", "ring", "right thumb", "palm")
    template = build_template({STRUCTURE: SHAPE_MM[None]}, {STRUCTURE: names}, FIELD_OF_VIEW_MM, chart="points")
    both = replace(predictor, template=template, reading=replace(predictor.reading, either_side=True))
    mirrored = stored_as(marked_hand(patient(2)), View(flip=True))
    prediction = both.predict(mirrored)
    heat = both.evidence(mirrored, "left thumb", prediction.view).maps[0]
    row = prediction.landmarks.names.index("left thumb")
    away = highest_lps_mm(heat.values, heat.to_index, mirrored) - prediction.landmarks.points_lps_mm[row]
    assert np.linalg.norm(away) < 1


def test_the_map_of_a_distribution_is_the_probability() -> None:
    predictor = HeatmapPredictor(TwoPeaks(), hand_template(), HeatReading("distribution"), GRID, "two", "1")
    (heat,) = predictor.evidence(marked_hand(), "palm").maps
    assert (heat.values.shape, heat.values.max()) == ((1, GRID[0] // 2, GRID[1] // 2), 1)
    np.testing.assert_allclose(heat.to_index[:2, 3], 2.0, atol=1e-9)  # half a pixel into a block of 2 x 2 of 2.5 pixels


def test_a_landmark_that_is_missing_stays_dark_in_a_distribution_too() -> None:
    reading = HeatReading("distribution", present_above=0.5)
    predictor = HeatmapPredictor(TwoPeaks(), hand_template(), reading, GRID, "two", "1")
    highest = {}
    for name, lost in (("there", NAMES[:-1]), ("lost", NAMES)):
        image = marked_hand(lost=lost)
        (heat,) = predictor.evidence(image, "palm").maps
        highest[name] = float(heat.values.max())
        strength = predictor.look(image)[1].strength[NAMES.index("palm")]
        assert highest[name] == pytest.approx(min(1.0, strength / 0.5), rel=1e-4)
    assert highest["there"] == 1
    assert highest["lost"] < 0.1


# ---- memory, devices ---------------------------------------------------------------------------------------------------


class NeedsMemory(TwoPeaks):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def forward(self, images: Tensor) -> HeatmapOutput:
        self.seen.append(images.device.type)
        if images.device.type != "cpu":
            raise torch.OutOfMemoryError("tried to allocate 20 GiB")
        return super().forward(images)


def test_a_card_with_too_little_memory_hands_over_to_the_cpu_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    network = NeedsMemory()
    predictor = HeatmapPredictor(network, hand_template(), HeatReading("distribution"), GRID, "two", "1")
    predictor.device = "meta"
    with caplog.at_level(logging.WARNING):
        prediction = predictor.predict(marked_hand())
    assert network.seen == ["meta", "cpu"]
    assert prediction.device == "cpu"
    assert "not enough memory on meta; going on with the CPU" in caplog.text


# ---- the bundle ---------------------------------------------------------------------------------------------------------


def test_a_bundle_says_what_a_front_end_asks(heatmap_bundle: Path) -> None:
    described = read_description(heatmap_bundle)
    assert (described.family.name, described.is_for_radiographs, described.styles) == ("heatmap", True, ())
    assert described.landmark_names == NAMES
    assert described.landmark_structures == (STRUCTURE,) * len(NAMES)
    assert described.limits == LIMITS
    assert described.template is not None
    assert described.template.structure(STRUCTURE).chart == "points"


def test_a_prediction_crosses_to_another_process_and_back(predictor: HeatmapPredictor) -> None:
    prediction = predictor.predict(marked_hand(lost=("ring",)))
    assert_same(prediction_from_arrays(*prediction_to_arrays(prediction)), prediction)


def rewritten(bundle: Path, folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy with a file changed as somebody would who also signs it."""
    import shutil

    shutil.copytree(bundle, folder)
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    metadata = json.loads((folder / METADATA).read_text())
    metadata["checksums"] = {file: sha256(folder / file) for file in metadata["checksums"]}
    (folder / METADATA).write_text(json.dumps(metadata))
    return folder


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda said: said.update(network_def={"_target_": "os.system"}), r"asks for the unknown network 'os\.system'"),
        (lambda said: said.pop("network_def"), "asks for the unknown network ''"),
        (lambda said: said["network_def"].update(filters=12), "weights do not fit its network"),
        (lambda said: said["network_def"].update(colour="red"), "weights do not fit its network"),
        (lambda said: said["network_def"].update(landmarks=8), "weights do not fit its network"),
        (lambda said: said.update(grid_size=[127, 96]), "multiples of 2, its grid is 127 x 96"),
        (lambda said: said.update(heat="magic"), "a configuration file cannot be read"),
        (lambda said: said.update(passes=0), "a configuration file cannot be read"),
        (lambda said: said.pop("target"), "a configuration file cannot be read"),
        (lambda said: said.update(ellipses={"weights": {}}), "a configuration file cannot be read"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(
    heatmap_bundle: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object], what: str
) -> None:
    folder = rewritten(heatmap_bundle, tmp_path / "b", INFERENCE, change)
    with pytest.raises(InputError, match=what) as error:
        open_heatmap(load_bundle(folder), "cpu")
    assert "\n" not in str(error.value)


def test_a_template_of_other_landmarks_is_told(heatmap_bundle: Path, tmp_path: Path) -> None:
    folder = rewritten(
        heatmap_bundle,
        tmp_path / "b",
        "configs/template.json",
        lambda said: said["structures"][0].update(
            landmark_names=[*NAMES, "more"], landmark_uv=[*said["structures"][0]["landmark_uv"], [0, 0]]
        ),
    )
    with pytest.raises(InputError, match="its network has 7 landmarks, its template 8"):
        open_predictor(str(folder), "cpu")


def test_it_runs_once(predictor: HeatmapPredictor) -> None:
    assert predictor.run_once()
    with torch.no_grad():
        predictor.network.stem.convolution.weight.fill_(float("nan"))  # type: ignore[union-attr, operator]
    assert not predictor.run_once()
