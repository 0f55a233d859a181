"""Every term of the loss against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from DenseLandmarksLib.models.networks.dense_shape import DenseShapeOutput
from training.dense_shape_recipe import LossRecipe
from training.losses import coordinate_error, dense_loss, landmark_loss, mask_loss, smoothness_loss, total_loss

SIZE = (12, 16)  # height, width


def output_of(uv: Tensor, log_scale: Tensor | None = None) -> DenseShapeOutput:
    """A network's output with the given uv (B, S, 2, h, w) and no opinion on masks."""
    return DenseShapeOutput(torch.zeros(uv.shape[0], uv.shape[1], *uv.shape[3:]), uv, log_scale)


def block(structures: int = 1, batch: int = 1) -> Tensor:
    """Masks of 3 x 4 pixels."""
    masks = torch.zeros(batch, structures, *SIZE)
    masks[:, :, 2:5, 3:7] = 1
    return masks


def ramp_uv() -> Tensor:
    """uv (1, 1, 2, H, W) = (x / 10, y / 5)."""
    y, x = torch.meshgrid(torch.arange(SIZE[0]) / 5, torch.arange(SIZE[1]) / 10, indexing="ij")
    return torch.stack([x, y])[None, None]


# ---- dense uv -------------------------------------------------------------------------------------------------------


def test_dense_is_the_sum_of_errors_over_the_number_of_entries_and_one() -> None:
    target = ramp_uv()
    predicted = target.clone()
    predicted[:, :, 0] += 0.3
    predicted[:, :, 1] -= 0.1
    loss = dense_loss(output_of(predicted), target, block(), 1.0)
    assert loss.item() == pytest.approx(12 * (0.3 + 0.1) / (24 + 1), rel=1e-5)


def test_dense_looks_only_inside_the_mask_even_where_the_target_is_not_a_number() -> None:
    target = ramp_uv().where(block()[:, :, None] > 0, torch.nan)
    predicted = ramp_uv().requires_grad_()
    loss = dense_loss(output_of(predicted * 2), target, block(), 1.0)
    loss.backward()
    inside = ramp_uv()[:, :, :, 2:5, 3:7].sum().item()
    assert loss.item() == pytest.approx(inside / 25, rel=1e-5)
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert not predicted.grad[:, :, :, 0].any()


def test_dense_averages_over_images_and_structures_not_over_pixels() -> None:
    masks = torch.cat([block(), torch.zeros(1, 1, *SIZE)])  # the second image lacks the structure
    loss = dense_loss(output_of(ramp_uv().expand(2, -1, -1, -1, -1) + 0.5), ramp_uv(), masks, 1.0)
    assert loss.item() == pytest.approx((24 * 0.5 / 25 + 0) / 2, rel=1e-5)


# ---- landmarks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2])
def test_uv_is_sampled_at_the_landmark_itself_between_pixels(stride: int) -> None:
    # On a field `stride` times coarser pixel i lies at stride * i + (stride - 1) / 2 of the grid.
    points = torch.tensor([[[[4.3, 2.6], [9.75, 8.1]]]])
    field = (points - (stride - 1) / 2) / stride
    expected = field * torch.tensor([0.1, 0.2])
    assert landmark_loss(output_of(ramp_uv()), points, expected[0], stride, 1.0).item() == pytest.approx(0, abs=1e-6)
    assert landmark_loss(output_of(ramp_uv()), points, expected[0] + 0.25, stride, 1.0).item() == pytest.approx(0.25)


def test_landmarks_that_are_missing_or_outside_the_image_do_not_count() -> None:
    inside = torch.tensor([4.0, 3.0])
    target = inside * torch.tensor([0.1, 0.2]) + 0.4
    others = [[torch.nan, torch.nan], [-3.0, 4.0], [SIZE[1] + 2.0, 4.0], [5.0, -1.0], [5.0, SIZE[0] + 0.0]]
    points = torch.cat([inside[None], torch.tensor(others)])[None, None]
    uv = ramp_uv().requires_grad_()
    loss = landmark_loss(output_of(uv * 1), points, target.expand(1, 6, 2), 1, 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(0.4, rel=1e-5)
    assert uv.grad is not None
    assert uv.grad.isfinite().all()
    assert uv.grad.abs().sum() == pytest.approx(1, rel=1e-5)  # all of it at the one landmark that is there


def test_a_landmark_in_the_outermost_half_pixel_still_counts() -> None:
    points = torch.tensor([[[[-0.4, 3.0], [SIZE[1] - 0.6, 3.0]]]])
    target = torch.tensor([[[0.0 + 0.2, 0.6], [1.5 + 0.2, 0.6]]])
    assert landmark_loss(output_of(ramp_uv()), points, target, 1, 1.0).item() == pytest.approx(0.1, rel=1e-4)


def test_a_structure_without_any_landmark_is_no_division_by_zero() -> None:
    points = torch.full((1, 1, 3, 2), torch.nan)
    assert landmark_loss(output_of(ramp_uv()), points, torch.zeros(1, 3, 2), 1, 1.0).item() == 0


# ---- the likelihood -------------------------------------------------------------------------------------------------


def test_at_beta_0_it_is_the_laplace_negative_log_likelihood_up_to_log_2() -> None:
    uv, target = torch.randn(50, generator=torch.Generator().manual_seed(0)), torch.zeros(50)
    log_scale = torch.linspace(-3, 0.5, 50)
    expected = -torch.distributions.Laplace(uv, log_scale.exp()).log_prob(target) - torch.log(torch.tensor(2.0))
    torch.testing.assert_close(coordinate_error(uv, log_scale, target, 0.0), expected)


def test_at_beta_1_coordinates_learn_as_with_l1() -> None:
    """Otherwise a network that calls itself unsure would stop learning where it is worst."""
    target, log_scale = torch.tensor([0.3, -0.2, 0.0]), torch.tensor([-3.0, 0.0, 0.5])
    gradients = []
    for scale in (None, log_scale):
        uv = torch.tensor([0.5, -0.9, 0.1], requires_grad=True)
        coordinate_error(uv, scale, target, 1.0).sum().backward()
        assert uv.grad is not None
        gradients.append(uv.grad)
    torch.testing.assert_close(gradients[0], torch.tensor([1.0, -1.0, 1.0]))
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_scale_learns_to_be_the_mean_error(beta: float) -> None:
    errors = torch.tensor([0.1, 0.2, 0.6])
    log_scale = errors.mean().log().expand(3).clone().requires_grad_()
    coordinate_error(errors, log_scale, torch.zeros(3), beta).sum().backward()
    assert log_scale.grad is not None
    assert log_scale.grad.sum().item() == pytest.approx(0, abs=1e-6)


# ---- masks ----------------------------------------------------------------------------------------------------------


def test_bce_weighs_the_positives_of_each_class() -> None:
    logits, masks = torch.full((1, 2, *SIZE), 0.7), block(2)
    weight, share = torch.tensor([4.9, 106.0]), 12 / 192
    sigmoid = torch.tensor(0.7).sigmoid()
    per_class = -(weight * share * sigmoid.log() + (1 - share) * (1 - sigmoid).log())
    loss = mask_loss(logits, masks, torch.ones(1, 2), weight, "bce")
    torch.testing.assert_close(loss, per_class.mean())


def test_dice_with_bce_is_one_minus_the_overlap_and_plain_bce() -> None:
    logits, masks = torch.full((1, 1, *SIZE), 0.7), block()
    p = torch.tensor(0.7).sigmoid().item()
    dice = (2 * 12 * p + 1) / (192 * p + 12 + 1)
    bce = functional.binary_cross_entropy_with_logits(logits, masks).item()
    loss = mask_loss(logits, masks, torch.ones(1, 1), torch.tensor([50.0]), "dice_bce")
    assert loss.item() == pytest.approx(bce + 1 - dice, rel=1e-5)
    perfect = mask_loss(100 * (2 * masks - 1), masks, torch.ones(1, 1), torch.tensor([50.0]), "dice_bce")
    assert perfect.item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("kind", ["bce", "dice_bce"])
def test_a_structure_that_nobody_annotated_teaches_nothing(kind: str) -> None:
    logits = torch.zeros(2, 2, *SIZE, requires_grad=True)
    annotated = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    mask_loss(logits, block(2, 2), annotated, torch.ones(2), kind).backward()
    assert logits.grad is not None
    assert not logits.grad[0, 1].any()
    assert logits.grad[1, 1].any()
    assert mask_loss(logits, block(2, 2), torch.zeros(2, 2), torch.ones(2), kind).item() == 0


@pytest.mark.parametrize("kind", ["bce", "dice_bce"])
def test_a_mask_that_weighs_half_teaches_half(kind: str) -> None:
    """Also where all of a batch weigh half, as the accepted masks of a library do."""
    logits = torch.randn(2, 2, *SIZE, generator=torch.Generator().manual_seed(0))

    def loss(annotated: list[list[float]]) -> Tensor:
        return mask_loss(logits, block(2, 2), torch.tensor(annotated), torch.ones(2), kind)

    whole = loss([[1.0, 1.0], [1.0, 1.0]])
    torch.testing.assert_close(loss([[0.5, 0.5], [0.5, 0.5]]), whole / 2)
    first, second = loss([[1.0, 0.0], [0.0, 0.0]]), loss([[0.0, 1.0], [0.0, 0.0]])
    torch.testing.assert_close(loss([[0.5, 0.0], [0.0, 0.0]]), first / 2)
    torch.testing.assert_close(loss([[1.0, 0.5], [0.0, 0.0]]), (first + second / 2) / 2)


# ---- smoothness and the sum -----------------------------------------------------------------------------------------


def test_smoothness_of_a_linear_field_is_its_squared_slope() -> None:
    # Gradient magnitudes 0.1 and 0.2, averaged over the channels, then squared; 12 pixels over 12 + 1.
    assert smoothness_loss(ramp_uv(), block()).item() == pytest.approx(0.15**2 * 12 / 13, rel=1e-4)
    assert smoothness_loss(ramp_uv() * 0 + 3, block()).item() == pytest.approx(0, abs=1e-9)


def arguments(stride: int = 1) -> tuple[Tensor, ...]:
    """Masks, uv, points, landmark uv, annotated, views, class weights for two images and one structure."""
    masks = torch.zeros(2, 1, SIZE[0] * stride, SIZE[1] * stride)
    masks[:, :, 2 * stride : 5 * stride, 3 * stride : 7 * stride] = 1
    points = torch.tensor([4.0, 3.0]).expand(2, 1, 1, 2) * stride + (stride - 1) / 2
    return (
        masks,
        ramp_uv().expand(2, -1, -1, -1, -1),
        points,
        torch.tensor([[[0.4, 0.6]]]),
        torch.tensor([[1.0], [0.0]]),
        torch.tensor([0, 4]),
        torch.tensor([15.0]),
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_the_sum_is_that_of_its_weighted_terms(stride: int) -> None:
    masks, uv, points, landmark_uv, annotated, views, weight = arguments(stride)
    logits = torch.zeros(2, 1, *masks.shape[2:])
    output = DenseShapeOutput(logits, uv + 0.5, None)
    recipe = LossRecipe("bce", "l1", 0.1333, 0.33335, 0.33335, 0.2)
    loss, terms = total_loss(output, masks, uv, points, landmark_uv, annotated, views, weight, recipe)
    assert terms["dense"].item() == pytest.approx(24 * 0.5 / 25 / 2, rel=1e-5)  # the second image is not annotated
    assert terms["landmark"].item() == pytest.approx(0.5, rel=1e-4)
    assert terms["smoothness"].item() == pytest.approx(0.15**2 * 12 / 13 / 2, rel=1e-4)
    log2 = torch.log(torch.tensor(2.0)).item()
    assert terms["mask"].item() == pytest.approx(log2 * (15 * 12 / 192 + 180 / 192), rel=1e-5)
    expected = 0.1333 * terms["mask"] + 0.33335 * (terms["dense"] + terms["landmark"]) + 0.2 * terms["smoothness"]
    torch.testing.assert_close(loss, expected)


def test_a_weight_of_zero_leaves_a_term_out() -> None:
    masks, uv, points, landmark_uv, annotated, views, weight = arguments()
    output = DenseShapeOutput(torch.zeros_like(masks), uv + 0.5, None)
    sparse = LossRecipe("bce", "l1", 1.0, 0.0, 1.0, 0.0)
    loss, terms = total_loss(output, masks, uv, points, landmark_uv, annotated, views, weight, sparse)
    assert terms.keys() == {"mask", "landmark"}
    torch.testing.assert_close(loss, terms["mask"] + terms["landmark"])


def test_l1_does_not_look_at_a_learned_scale() -> None:
    masks, uv, points, landmark_uv, annotated, views, weight = arguments()
    recipe = LossRecipe(likelihood="l1", smoothness_weight=0.1)
    with_scale = DenseShapeOutput(torch.zeros_like(masks), uv + 0.5, torch.full_like(uv, -2.0))
    without = with_scale._replace(log_scale=None)
    rest = (masks, uv, points, landmark_uv, annotated, views, weight)
    assert total_loss(with_scale, *rest, recipe)[0] == total_loss(without, *rest, recipe)[0]
    laplace = replace(recipe, likelihood="laplace")
    assert total_loss(with_scale, *rest, laplace)[0] != total_loss(without, *rest, laplace)[0]


def test_a_network_that_notices_turned_images_is_rewarded_for_it() -> None:
    masks, uv, points, landmark_uv, annotated, views, weight = arguments()
    rest = (masks, uv, points, landmark_uv, annotated, views, weight, LossRecipe(view_weight=0.3))
    blind = DenseShapeOutput(torch.zeros_like(masks), uv, None, torch.zeros(2, 8))
    loss, terms = total_loss(blind, *rest)
    assert terms["view"].item() == pytest.approx(torch.log(torch.tensor(8.0)).item())
    without = total_loss(blind._replace(view_logits=None), *rest)[0]
    torch.testing.assert_close(loss - without, 0.3 * terms["view"])
    knows = blind._replace(view_logits=30 * torch.eye(8)[views])
    assert total_loss(knows, *rest)[1]["view"] < 1e-6
