"""The schedule is the paper's; errors are in mm^2; what nobody knows teaches nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from DenseLandmarksLib.models.networks.multi_scale import LevelOutput
from training.volume_losses import distance_mm2, heat_entropy, in_crops, level_weights, presence_loss, volume_loss
from training.volume_recipe import ScaleLossRecipe

SIZE_XYZ = (10, 8, 6)
SPACING_MM = 2.0
CENTRES = torch.tensor([[[5.0, -30.0, 100.0], [40.0, 10.0, -7.0]]])
FRAME = torch.from_numpy(Rotation.from_euler("xyz", [20, -30, 75], degrees=True).as_matrix()).float()
NAN = math.nan


def output_of(
    points: Tensor | None = None,
    heat: Tensor | None = None,
    rows: tuple[tuple[int, ...], ...] = ((0, 2), (1, 1)),
    frame: Tensor = FRAME,
) -> LevelOutput:
    """A level with two crops, three landmarks in them; the last place is filled up."""
    landmarks = torch.tensor(sorted({row for of_crop in rows for row in of_crop}))
    heat = torch.zeros(1, len(rows), len(rows[0]), *SIZE_XYZ[::-1]) if heat is None else heat
    points = torch.zeros(1, 3, 3) if points is None else points
    return LevelOutput(points, landmarks, CENTRES, torch.tensor(rows), heat, SPACING_MM, frame[None])


def at_index(index: list[list[float]]) -> Tensor:
    """Positions (1, 3, 3) of voxel indices (3, 3), order x, y, z, of the landmarks in their crops."""
    offsets = (torch.tensor(index) - (torch.tensor(SIZE_XYZ) - 1) / 2) * SPACING_MM
    return (offsets @ FRAME.T + CENTRES[0, [0, 1, 0]])[None]


# ---- schedule -------------------------------------------------------------------------------------------------------


def test_the_ramps_are_those_of_the_papers_figure() -> None:
    """Coarse 1 to 0, fine 0 to 1, the two between 0 to 1 at half of the run and back to 0."""
    for progress, expected in (
        (0.0, (1, 0, 0, 0)),
        (0.25, (0.75, 0.5, 0.5, 0.25)),
        (0.5, (0.5, 1, 1, 0.5)),
        (0.75, (0.25, 0.5, 0.5, 0.75)),
        (1.0, (0, 0, 0, 1)),
    ):
        assert level_weights("ramps", 4, progress) == pytest.approx(expected)
    assert level_weights("ramps", 2, 0.3) == pytest.approx((0.7, 0.3))


def test_the_staircase_is_that_of_the_papers_code() -> None:
    """Five plateaus of 100 epochs each, see ``MyCallback.py`` in section 3.3 of papers.md."""
    plateaus = [(0.8, 0.2, 0, 0), (0.1, 0.7, 0.2, 0), (0, 0.1, 0.7, 0.2), (0, 0, 0.2, 0.8), (0, 0, 0, 1)]
    for epoch in range(500):
        assert level_weights("staircase", 4, epoch / 500) == pytest.approx(plateaus[epoch // 100]), epoch
    assert level_weights("staircase", 4, 1.0) == pytest.approx(plateaus[-1])


@pytest.mark.parametrize("levels", [2, 3, 5])
def test_a_staircase_of_other_levels_ends_at_the_finest(levels: int) -> None:
    for progress in np.linspace(0, 1, 41):
        assert sum(level_weights("staircase", levels, progress)) == pytest.approx(1)
    assert level_weights("staircase", levels, 0)[:2] == pytest.approx((0.8, 0.2))
    assert level_weights("staircase", levels, 1) == (0,) * (levels - 1) + (1,)


def test_other_schedules() -> None:
    assert level_weights("equal", 3, 0.9) == (1, 1, 1)
    assert level_weights("final", 3, 0.1) == (0, 0, 1)
    for schedule in ("ramps", "staircase", "final", "equal"):
        assert level_weights(schedule, 1, 0.5) == (1,)


# ---- distances ------------------------------------------------------------------------------------------------------


def test_distances_are_squared_millimetres() -> None:
    truth = torch.tensor([[[0.0, 0, 0], [5, 5, 5], [9, 9, 9]]])
    found = truth + torch.tensor([[[3.0, 4, 0], [0, 0, 1], [0, 2, 0]]])
    assert distance_mm2(output_of(found), truth, ScaleLossRecipe()).item() == pytest.approx((25 + 1 + 4) / 3)


def test_only_the_landmarks_of_the_crops_that_were_looked_at_count() -> None:
    truth = torch.zeros(1, 3, 3)
    found = torch.tensor([[[3.0, 4, 0], [100, 0, 0], [0, 2, 0]]])
    output = output_of(found, torch.zeros(1, 1, 2, 4, 4, 4), ((0, 2),))
    assert distance_mm2(output, truth, ScaleLossRecipe()).item() == pytest.approx((25 + 4) / 2)


def test_far_off_huber_grows_by_length_with_the_same_slope_at_the_border() -> None:
    recipe = ScaleLossRecipe(distance="huber", huber_voxels=2)  # 4 mm
    truth = torch.zeros(1, 3, 3)

    def loss_at(length_mm: float) -> tuple[float, float]:
        found = torch.zeros(1, 3, 3, requires_grad=True)
        away = torch.tensor([length_mm, 0, 0])
        loss = distance_mm2(output_of(found + away), truth, recipe)
        loss.backward()  # type: ignore[no-untyped-call]
        assert found.grad is not None
        return loss.item(), found.grad[0, 0, 0].item() * 3

    assert loss_at(3.0) == pytest.approx((9, 6), rel=1e-4)
    assert loss_at(10.0) == pytest.approx((2 * 4 * 10 - 16, 8), rel=1e-4)
    for near, far in zip(loss_at(3.999), loss_at(4.001), strict=True):
        assert near == pytest.approx(far, rel=3e-3)
    assert np.isfinite(loss_at(0.0)).all()


def test_landmarks_that_nobody_knows_have_no_loss_and_no_gradient() -> None:
    found = torch.randn(1, 3, 3, requires_grad=True)
    heat = torch.randn(1, 2, 2, *SIZE_XYZ[::-1], requires_grad=True)
    truth = at_index([[3, 3, 3], [4, 4, 4], [5, 5, 5]])
    truth[0, 1] = NAN
    for distance in ("squared", "huber"):
        loss = distance_mm2(output_of(found, heat), truth, ScaleLossRecipe(distance=distance))  # type: ignore[arg-type]
        loss = loss + heat_entropy(output_of(found, heat), truth, 1.0)
        found.grad = heat.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
        assert torch.isfinite(loss)
        assert found.grad is not None
        assert heat.grad is not None
        assert torch.isfinite(found.grad).all()
        assert not found.grad[0, 1].any()
        assert found.grad[0, [0, 2]].any()
        assert not heat.grad[0, 1].any()
        assert heat.grad[0, 0].any()
    nothing = torch.full_like(truth, NAN)
    assert distance_mm2(output_of(found, heat), nothing, ScaleLossRecipe()).item() == 0
    assert heat_entropy(output_of(found, heat), nothing, 1.0).item() == 0


# ---- heatmaps -------------------------------------------------------------------------------------------------------

AT = [[3.3, 4.0, 2.5], [6.0, 1.25, 4.0], [5.5, 5.5, 1.0]]


def gaussian_logits(index: list[float], sigma: float) -> Tensor:
    """Logits (z, y, x) of a Gaussian about a voxel index."""
    z, y, x = (torch.arange(size) for size in SIZE_XYZ[::-1])
    squared = (
        ((z - index[2]) ** 2)[:, None, None] + ((y - index[1]) ** 2)[None, :, None] + ((x - index[0]) ** 2)[None, None]
    )
    return -squared / (2 * sigma**2)


def heat_about(index: list[list[float]], sigma: float) -> Tensor:
    """Heatmaps (1, 2, 2, z, y, x) of three landmarks in their places."""
    maps = [gaussian_logits(at, sigma) for at in index]
    return torch.stack([torch.stack([maps[0], maps[2]]), torch.stack([maps[1], maps[1]])])[None]


def test_the_entropy_is_least_where_the_heatmap_is_the_gaussian_about_the_truth() -> None:
    truth, sigma = at_index(AT), 1.1
    heat = heat_about(AT, sigma).requires_grad_()
    least = heat_entropy(output_of(heat=heat), truth, sigma)
    least.backward()  # type: ignore[no-untyped-call]
    assert heat.grad is not None
    assert heat.grad.abs().max() < 1e-6
    # Its own entropy, and no less.
    shares = torch.stack([gaussian_logits(at, sigma).flatten().softmax(0) for at in AT])
    assert least.item() == pytest.approx(-(shares * shares.log()).sum(dim=1).mean().item(), abs=1e-5)
    rng = np.random.default_rng(0)
    for _ in range(5):
        other = (np.array(AT) + rng.normal(0, 0.3, (3, 3))).tolist()
        assert heat_entropy(output_of(heat=heat_about(other, sigma)), truth, sigma) > least
    for wrong in (0.8, 1.5):
        assert heat_entropy(output_of(heat=heat_about(AT, wrong)), truth, sigma) > least


def test_what_lies_outside_of_its_crop_has_no_heatmap() -> None:
    inside = at_index(AT)
    outside = at_index([AT[0], [10.5, 1, 4], AT[2]])
    assert in_crops(output_of(), inside).tolist() == [[True, True, True]]
    assert in_crops(output_of(), outside).tolist() == [[True, False, True]]
    outside[0, 0] = NAN
    assert in_crops(output_of(), outside).tolist() == [[False, False, True]]
    heat = torch.randn(1, 2, 2, *SIZE_XYZ[::-1], requires_grad=True)
    heat_entropy(output_of(heat=heat), outside, 1.0).backward()  # type: ignore[no-untyped-call]
    assert heat.grad is not None
    assert not heat.grad[0, 1].any()
    assert not heat.grad[0, 0, 0].any()
    assert heat.grad[0, 0, 1].any()


def test_a_landmark_that_fills_two_places_counts_once() -> None:
    heat = heat_about(AT, 1.0)
    heat[0, 1, 1] = torch.randn(SIZE_XYZ[::-1])
    truth = at_index(AT)
    assert heat_entropy(output_of(heat=heat), truth, 1.0) == heat_entropy(
        output_of(heat=heat_about(AT, 1.0)), truth, 1.0
    )


# ---- presence -------------------------------------------------------------------------------------------------------


def test_presence_is_asked_where_it_is_known() -> None:
    logits = torch.tensor([[2.0, -1.0, 5.0]], requires_grad=True)
    loss = presence_loss(logits, torch.tensor([[1.0, 0.0, NAN]]))
    assert loss.item() == pytest.approx((math.log1p(math.exp(-2)) + math.log1p(math.exp(-1))) / 2, abs=1e-6)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[0, 0] < 0 < logits.grad[0, 1]
    assert logits.grad[0, 2] == 0
    assert presence_loss(logits, torch.full((1, 3), NAN)).item() == 0


# ---- all of it ------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_weighed_sum_of_its_terms() -> None:
    coarse = output_of(at_index(AT) + 1.0, heat_about(AT, 1.3))
    fine = output_of(at_index(AT) + 0.5, heat_about(AT, 0.9))
    truth, logits, present = at_index(AT), torch.tensor([[1.0, 1.0, -1.0]]), torch.ones(1, 3)
    recipe = ScaleLossRecipe(point_weight=0.5, heat_weight=2.0, heat_sigma=1.0, presence_weight=3.0)
    loss, terms = volume_loss([coarse, fine], logits, truth, present, (0.25, 0.75), recipe)
    assert list(terms) == ["level_0", "level_1", "heat", "presence"]
    assert terms["level_0"].item() == pytest.approx(3, abs=1e-4)
    assert terms["level_1"].item() == pytest.approx(0.75, abs=1e-4)
    expected = 0.5 * (0.25 * 3 + 0.75 * 0.75) + 2 * terms["heat"] + 3 * terms["presence"]
    assert loss.item() == pytest.approx(expected.item(), abs=1e-4)
    plain, terms = volume_loss([coarse, fine], None, truth, present, (1, 0), ScaleLossRecipe())
    assert list(terms) == ["level_0", "level_1"]
    assert plain.item() == pytest.approx(3, abs=1e-4)


def test_what_was_moved_out_of_the_coarse_view_is_asked_of_the_finer_levels_alone() -> None:
    """In a prediction the coarsest level sees all: in a step of training that it does not, it must not guess."""
    beyond = at_index([[-3.0, 4, 2.5], AT[1], AT[2]])
    output = output_of(at_index(AT))
    logits = torch.zeros(1, 3, requires_grad=True)
    loss, terms = volume_loss([output, output], logits, beyond, torch.ones(1, 3), (1, 1), ScaleLossRecipe())
    assert terms["level_0"].item() == pytest.approx(0, abs=1e-4)
    assert terms["level_1"].item() == pytest.approx(6.3**2 * SPACING_MM**2 / 3, rel=1e-3)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[0].bool().tolist() == [False, True, True]
    # Of a landmark that is truly absent nobody knows where it is, only that it is not there.
    beyond[0, 0] = NAN
    _, terms = volume_loss([output], logits, beyond, torch.tensor([[0.0, NAN, NAN]]), (1,), ScaleLossRecipe())
    assert terms["presence"].item() == pytest.approx(math.log(2))
