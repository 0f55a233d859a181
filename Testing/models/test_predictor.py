"""From a person's image to landmarks in LPS millimetres: with a network that knows the truth, nothing may be lost."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.uv_maps import draw_uv_map
from DenseLandmarksLib.models.expectation import Expectation
from DenseLandmarksLib.models.networks.dense_shape import DenseShapeOutput
from DenseLandmarksLib.models.predictors.dense_shape import DenseShapePredictor

GRID = (256, 256)
# A radiograph taller than wide in mm though its pixels are wider than tall: 400 x 300 pixels, 330 x 360 mm.
PIXELS, SPACING, ORIGIN = (400, 300), (0.825, 1.2), (-150.0, 40.0, 210.0)
ANGLE = np.deg2rad(20)
# A standing patient, a little turned about the head-foot axis.
DIRECTION = np.array(
    [[np.cos(ANGLE), 0, np.sin(ANGLE)], [np.sin(ANGLE), 0, -np.cos(ANGLE)], [0, -1, 0]],
)
# The grid over it, by hand: 360 mm are 256 rows, so 330 mm are 235 columns, with 10 columns of padding to their left.
COLUMNS, LEFT = 235, 10
LOG_SCALE = -3.0


def radiograph() -> MedicalImage:
    volume = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 4096, (1, PIXELS[1], PIXELS[0])).astype("u2"))
    volume.SetSpacing((*SPACING, 1.0))
    volume.SetOrigin(ORIGIN)
    volume.SetDirection(DIRECTION.ravel().tolist())
    return MedicalImage(volume, SpacingSource.CALIBRATED, "chest.dcm")


def corner_mm(points_template_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """The patient: the template under an affine map, in mm from the outer corner of the radiograph, (N, 2)."""
    return points_template_mm @ np.array([[0.82, -0.06], [0.09, 0.9]]).T + [12.0, 20.0]


def lps_mm(corner: NDArray[np.float64]) -> NDArray[np.float64]:
    """LPS of positions in mm from the outer corner: the origin is half a pixel further in."""
    from_first_centre = corner - np.array(SPACING) / 2
    return from_first_centre @ DIRECTION.T[:2] + ORIGIN


def grid_px(corner: NDArray[np.float64]) -> NDArray[np.float64]:
    """Grid positions of positions in mm from the outer corner."""
    return corner * [COLUMNS / 330.0, 256 / 360.0] + [LEFT - 0.5, -0.5]


class KnowsTheTruth(nn.Module):
    """Outputs the exact masks and uv maps of the patient, whatever it is shown."""

    def __init__(self, template: Template, stride: int = 1, lost: str | None = None) -> None:
        super().__init__()
        size = (GRID[0] // stride, GRID[1] // stride)
        contours = {s.name: grid_px(corner_mm(s.points_mm)) for s in template.structures}
        uv = [draw_uv_map(s, (contours[s.name] - (stride - 1) / 2) / stride, size) for s in template.structures]
        masks = [polygon_mask(c, GRID) & (name != lost) for name, c in contours.items()]
        self.uv = torch.from_numpy(np.stack(uv))[None]
        self.mask_logits = torch.from_numpy(np.where(np.stack(masks), 5.0, -5.0)).float()[None]
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> DenseShapeOutput:
        self.seen.append(images)
        return DenseShapeOutput(self.mask_logits, self.uv, torch.full_like(self.uv, LOG_SCALE))


def predictor_of(network: nn.Module, template: Template, device: str = "cpu") -> DenseShapePredictor:
    return DenseShapePredictor(network, template, GRID, "oracle", "1.0.0", device, read_out="affine")


@pytest.mark.parametrize("stride", [1, 2])
def test_landmarks_come_out_where_the_patient_has_them(chest_template: Template, stride: int) -> None:
    network = KnowsTheTruth(chest_template, stride)
    prediction = predictor_of(network, chest_template).predict(radiograph())
    truth = np.vstack([lps_mm(corner_mm(s.points_mm)) for s in chest_template.structures])
    error = np.linalg.norm(prediction.landmarks.points_lps_mm - truth, axis=1)
    # The masks of this network know no border between pixels, so the plain read-out is the one that can be exact.
    assert error.mean() < 0.06
    assert error.max() < 0.7
    landmarks = prediction.landmarks
    assert landmarks.names == chest_template.landmark_names
    assert landmarks.structures[0] == "right_lung"
    assert landmarks.structures[-1] == "left_clavicle"
    assert set(landmarks.presence) == {Presence.PRESENT}
    assert set(landmarks.review) == {Review.PREDICTED}
    np.testing.assert_array_equal(landmarks.predicted_lps_mm, landmarks.points_lps_mm)
    assert (prediction.model_name, prediction.model_version, prediction.device) == ("oracle", "1.0.0", "cpu")
    (seen,) = network.seen
    assert seen.shape == (1, 1, *GRID)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_spread_comes_out_in_square_millimetres_along_lps(chest_template: Template, stride: int) -> None:
    prediction = predictor_of(KnowsTheTruth(chest_template, stride), chest_template).predict(radiograph())
    heart = chest_template.structure("heart")
    # uv -> template mm -> patient mm -> LPS is one linear map; a Laplace scale b has the variance 2 b^2.
    half_box = np.diag(np.ptp(heart.points_mm, axis=0) / 2)
    jacobian = DIRECTION[:, :2] @ np.array([[0.82, -0.06], [0.09, 0.9]]) @ half_box
    expected = jacobian @ jacobian.T * 2 * np.exp(LOG_SCALE) ** 2
    got = prediction.landmarks.covariance_mm2[prediction.landmarks.of_structure("heart")]
    np.testing.assert_allclose(got, np.broadcast_to(expected, got.shape), rtol=0.02, atol=0.02)


def test_masks_lie_on_the_patient(chest_template: Template) -> None:
    prediction = predictor_of(KnowsTheTruth(chest_template), chest_template).predict(radiograph())
    assert prediction.structures == chest_template.structure_names
    for structure, mask in zip(chest_template.structures, prediction.masks, strict=True):
        contour_px = corner_mm(structure.points_mm) / SPACING - 0.5
        truth = polygon_mask(contour_px, PIXELS[::-1])
        full = prediction.grid.mask_on_image(mask)
        assert 2 * (full & truth).sum() / (full.sum() + truth.sum()) > 0.96


def test_a_lost_structure_is_absent_with_a_best_guess(chest_template: Template) -> None:
    prediction = predictor_of(KnowsTheTruth(chest_template, lost="heart"), chest_template).predict(radiograph())
    landmarks = prediction.landmarks
    heart = landmarks.of_structure("heart")
    assert {landmarks.presence[i] for i in heart} == {Presence.ABSENT}
    assert {p for i, p in enumerate(landmarks.presence) if i not in heart} == {Presence.PRESENT}
    np.testing.assert_array_equal(landmarks.confidence[heart], 0)
    truth = lps_mm(corner_mm(chest_template.structure("heart").points_mm))
    # The patient is sheared against the template, so the similarity of the rest is near, not exact.
    assert np.linalg.norm(landmarks.points_lps_mm[heart] - truth, axis=1).max() < 20
    np.testing.assert_allclose(np.linalg.norm(landmarks.points_lps_mm - ORIGIN, axis=1) < 500, True)


def test_a_network_that_finds_nothing_is_no_crash(chest_template: Template) -> None:
    network = KnowsTheTruth(chest_template)
    network.mask_logits -= 100
    landmarks = predictor_of(network, chest_template).predict(radiograph()).landmarks
    assert set(landmarks.presence) == {Presence.ABSENT}
    assert np.isfinite(landmarks.points_lps_mm).all()
    assert np.isfinite(landmarks.covariance_mm2).all()


def test_a_network_gone_astray_is_no_crash(chest_template: Template) -> None:
    network = KnowsTheTruth(chest_template)
    network.uv[:, 0] = torch.nan
    network.uv[:, 1] = 0.0
    landmarks = predictor_of(network, chest_template).predict(radiograph()).landmarks
    assert {landmarks.presence[i] for i in landmarks.of_structure("right_lung")} == {Presence.ABSENT}
    assert np.isfinite(landmarks.points_lps_mm).all()


def test_a_later_question_needs_no_other_pass(chest_template: Template) -> None:
    network = KnowsTheTruth(chest_template, 2)
    prediction = predictor_of(network, chest_template).predict(radiograph())
    assert prediction.uv_field is not None
    read = prediction.uv_field.read("heart", [[0.0, 0.0]])
    assert read is not None
    assert len(network.seen) == 1
    centre = chest_template.structure("heart").position_at([[0.0, 0.0]])
    np.testing.assert_allclose(read.points, grid_px(corner_mm(centre)), atol=0.05)


def test_a_volume_is_refused(chest_template: Template) -> None:
    volume = MedicalImage(sitk.Image((64, 64, 30), sitk.sitkInt16), SpacingSource.CALIBRATED, "head.nii.gz")
    with pytest.raises(InputError, match=r"expected a radiograph.*oracle.*head\.nii\.gz has 30 slices") as error:
        predictor_of(KnowsTheTruth(chest_template), chest_template).predict(volume)
    assert "\n" not in str(error.value)


class NeedsMemory(KnowsTheTruth):
    """Fits only into the memory of the CPU. The device ``meta`` stands in for a card, which tests need not have."""

    def forward(self, images: Tensor) -> DenseShapeOutput:
        output = super().forward(images)
        if images.device.type != "cpu":
            raise torch.OutOfMemoryError("tried to allocate 20 GiB")
        return output


def test_a_card_with_too_little_memory_hands_over_to_the_cpu_and_says_so(
    chest_template: Template, caplog: pytest.LogCaptureFixture
) -> None:
    network = NeedsMemory(chest_template)
    predictor = predictor_of(network, chest_template, "meta")
    with caplog.at_level(logging.WARNING):
        prediction = predictor.predict(radiograph())
    assert [image.device.type for image in network.seen] == ["meta", "cpu"]
    assert prediction.device == "cpu"
    assert "not enough memory on meta; going on with the CPU" in caplog.text
    assert set(prediction.landmarks.presence) == {Presence.PRESENT}
    predictor.predict(radiograph())  # and stays there
    assert [image.device.type for image in network.seen] == ["meta", "cpu", "cpu"]


def test_too_little_memory_on_the_cpu_is_an_error_not_a_loop(chest_template: Template) -> None:
    class NeverFits(KnowsTheTruth):
        def forward(self, images: Tensor) -> DenseShapeOutput:
            raise torch.OutOfMemoryError("tried to allocate 20 GiB")

    with pytest.raises(torch.OutOfMemoryError):
        predictor_of(NeverFits(chest_template), chest_template).predict(radiograph())


class SaysHowItIsTurned(KnowsTheTruth):
    """Knows the truth of an upright image, and calls an image turned as its brightest corner says."""

    def forward(self, images: Tensor) -> DenseShapeOutput:
        plain = super().forward(images)
        upright = bool(images[0, 0, :40].mean() > images[0, 0, -40:].mean())
        logits = torch.zeros(1, 8)
        logits[0, 0 if upright else 2] = 9.0  # VIEWS[2] turns by 180 degrees
        return plain._replace(view_logits=logits)


def shaded(top_is_bright: bool) -> MedicalImage:
    image = radiograph()
    ramp = np.linspace(1000, 0, PIXELS[1])[:: 1 if top_is_bright else -1]
    volume = sitk.GetImageFromArray(np.tile(ramp[:, None], (1, PIXELS[0]))[None])
    volume.CopyInformation(image.volume)
    return replace(image, volume=volume)


LIMITS = {"shape_residual_mm": 40.0, "disagreement": 0.2, "spread_mm": 40.0}


def judging(template: Template, **changes: object) -> DenseShapePredictor:
    return replace(predictor_of(SaysHowItIsTurned(template), template), limits=LIMITS, **changes)  # type: ignore[arg-type]


def test_an_image_as_it_must_be_is_believed(chest_template: Template) -> None:
    prediction = judging(chest_template).predict(shaded(top_is_bright=True))
    assert prediction.plausibility.plausible
    assert prediction.plausibility.doubts == ()
    assert (prediction.landmarks.confidence > 0).all()


def test_an_upside_down_image_is_noticed_with_advice_and_nothing_is_hidden(chest_template: Template) -> None:
    predictor = judging(chest_template)
    prediction = predictor.predict(shaded(top_is_bright=False))
    judgement = prediction.plausibility
    assert not judgement.plausible
    assert judgement.doubts == ("the image looks turned by 180 degrees clockwise",)
    assert judgement.suggested_view == View(180)
    assert prediction.view == View()  # noticed, not believed
    assert (prediction.landmarks.confidence == 0).all()
    assert np.isfinite(prediction.landmarks.points_lps_mm).all()
    assert prediction.masks.any(axis=(1, 2)).all()
    advised = predictor.predict(shaded(top_is_bright=False), judgement.suggested_view)
    assert advised.plausibility.plausible


def test_a_prediction_can_be_given_up_before_each_pass(chest_template: Template) -> None:
    class GivenUpError(Exception):
        """Somebody pressed cancel."""

    asked: list[int] = []

    def between_passes() -> None:
        asked.append(len(network.seen))
        if len(asked) == give_up_at:
            raise GivenUpError

    for give_up_at, passes in ((1, 0), (2, 1)):
        predictor = judging(chest_template)
        network = predictor.network
        asked.clear()
        with pytest.raises(GivenUpError):
            predictor.predict(shaded(top_is_bright=False), between_passes=between_passes)
        assert asked == list(range(give_up_at))
        assert len(network.seen) == passes
    give_up_at = 0
    asked.clear()
    network = (predictor := judging(chest_template)).network
    predictor.predict(shaded(top_is_bright=False), between_passes=between_passes)
    assert asked == [0, 1]
    assert len(network.seen) == 2


def test_what_fits_no_limit_is_doubted_without_advice(chest_template: Template) -> None:
    predictor = judging(chest_template)
    predictor.limits = dict.fromkeys(LIMITS, -1.0)
    judgement = predictor.predict(shaded(top_is_bright=False)).plausibility
    assert len(judgement.doubts) == 3  # how a thing that is no chest seems to be turned means nothing
    assert judgement.suggested_view is None


def test_a_file_that_states_another_body_part_is_doubted(chest_template: Template) -> None:
    hand = replace(shaded(top_is_bright=True), acquisition=Acquisition("DX", "HAND"))
    prediction = judging(chest_template, expectation=Expectation(("CHEST",))).predict(hand)
    (doubt,) = prediction.plausibility.doubts
    assert "HAND" in doubt


def test_a_film_is_turned_as_its_file_states(chest_template: Template) -> None:
    expectation = Expectation(patient_orientation=("L", "F"))
    upside_down = replace(shaded(top_is_bright=False), acquisition=Acquisition(patient_orientation=("R", "H")))
    prediction = judging(chest_template, expectation=expectation).predict(upside_down)
    assert prediction.view == View(180)
    assert prediction.plausibility.plausible


def test_a_model_that_was_not_calibrated_doubts_nothing(chest_template: Template) -> None:
    prediction = predictor_of(KnowsTheTruth(chest_template, lost="heart"), chest_template).predict(radiograph())
    assert prediction.plausibility.plausible
    assert prediction.plausibility.measures["disagreement"] == pytest.approx(0.2, abs=0.01)
