"""A landmark is where its volume is seen, whatever was done to it; and what was cut away is absent, or nobody knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from DenseLandmarksLib.models.networks.pyramid import OUTSIDE
from Testing.models.blob_finder import blob, sampled_pyramid
from training.sides import mirrored_rows, without_other_side
from training.stored_pyramid import StoredPyramid
from training.volume_augmentation import SeenCase, draw_seen
from training.volume_recipe import VolumeAugmentationRecipe

STILL = VolumeAugmentationRecipe(
    rotation_deg=0,
    scale=(1, 1),
    shift_mm=0,
    contrast=0,
    brightness=0,
    gamma=0,
    noise=0,
    noise_mm=0,
)
NAMES = ("left_ear", "right_ear", "chin")
POINTS = torch.tensor([[22.3, -20.4, 131.0], [9.1, -22.0, 128.5], [15.2, -10.2, 121.4]])
CORNER_MM = (0.0, -32.0, 110.0)


@pytest.fixture(scope="module")
def volumes() -> list[StoredPyramid]:
    """For each landmark a volume of 32 mm that is bright there alone."""
    return [sampled_pyramid(blob(point.tolist(), 2.0), [1.0], 32, CORNER_MM) for point in POINTS]


def seen_as(stored: StoredPyramid, recipe: VolumeAugmentationRecipe, seed: int, points: Tensor = POINTS) -> SeenCase:
    absent = torch.zeros(len(points), dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed)
    return draw_seen(stored, points, absent, mirrored_rows(NAMES), recipe, generator)


def brightest(case: SeenCase) -> Tensor:
    """The centre of mass (3,) of what is seen, in a crop of 64 mm that holds all of it."""
    pyramid = case.pyramid
    middle = torch.from_numpy(pyramid.centre_lps_mm).float()
    crop = pyramid.crop(0, middle[None], (64, 64, 64))[0, 0] + 1
    z, y, x = torch.meshgrid(*(torch.arange(64) - 31.5,) * 3, indexing="ij")
    mass = torch.where(crop > 0.1, crop, 0)
    return middle + torch.stack([(mass * along).sum() for along in (x, y, z)]) / mass.sum()


ALTERED = {
    "nothing": STILL,
    "rotation": replace(STILL, rotation_deg=40),
    "any pose": replace(STILL, any_pose=True),
    "scale": replace(STILL, scale=(0.8, 1.25)),
    "shift": replace(STILL, shift_mm=8),
    "mirror": replace(STILL, mirror=1),
    "bend": replace(STILL, elastic_mm=1.5, elastic_every_mm=12),
    "all": replace(
        STILL,
        any_pose=True,
        scale=(0.9, 1.1),
        shift_mm=4,
        mirror=0.5,
        elastic_mm=1.0,
        elastic_every_mm=16,
        contrast=0.2,
    ),
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_landmark_drawn_into_a_volume_is_seen_where_its_point_is(name: str, volumes: list[StoredPyramid]) -> None:
    recipe = ALTERED[name]
    for seed in range(3):
        for row, stored in enumerate(volumes):
            case = seen_as(stored, recipe, seed)
            is_mirrored = torch.linalg.det(case.pyramid._seen.matrix) < 0
            seen_row = mirrored_rows(NAMES)[row] if is_mirrored else row
            # A bend also stretches the blob, which moves its centre of mass a little.
            tolerance = 0.35 if recipe.elastic_mm else 0.03
            torch.testing.assert_close(case.points_lps_mm[seen_row], brightest(case), atol=tolerance, rtol=0)
            assert case.present.tolist() == [1, 1, 1]
    moved = (case.points_lps_mm - POINTS).norm(dim=1).max()
    assert (moved > 0.5) == (name != "nothing")


def test_deviations_are_as_large_as_the_recipe_says(volumes: list[StoredPyramid]) -> None:
    recipe = replace(STILL, rotation_deg=30, scale=(0.8, 1.25), shift_mm=7)
    angles, scales, shifts = [], [], []
    for seed in range(300):
        seen = seen_as(volumes[0], recipe, seed).pyramid._seen
        scales.append(float(torch.linalg.det(seen.matrix) ** (-1 / 3)))
        rotation = seen.matrix * scales[-1]
        angles.append(float(torch.rad2deg(torch.acos(((rotation.trace() - 1) / 2).clamp(-1, 1)))))
        shifts.append(seen.shift_mm.abs().max().item())
    assert 27 < max(angles) <= 30.05
    assert 0.8 <= min(scales) < 0.83
    assert 1.22 < max(scales) <= 1.2501
    assert 6.5 < max(shifts) <= 7


def test_a_scale_above_one_makes_patients_larger(volumes: list[StoredPyramid]) -> None:
    case = seen_as(volumes[0], replace(STILL, scale=(1.2, 1.2)), 0)
    middle = torch.from_numpy(volumes[0].centre_lps_mm).float()
    torch.testing.assert_close(case.points_lps_mm - middle, 1.2 * (POINTS - middle), atol=1e-4, rtol=0)


def test_every_pose_is_as_likely(volumes: list[StoredPyramid]) -> None:
    axes = [seen_as(volumes[0], replace(STILL, any_pose=True), seed).pyramid._seen.matrix[:, 0] for seed in range(400)]
    assert torch.stack(axes).mean(dim=0).abs().max() < 0.12
    assert torch.stack(axes).square().mean(dim=0).sub(1 / 3).abs().max() < 0.06


def test_left_is_right_in_a_mirror(volumes: list[StoredPyramid]) -> None:
    case = seen_as(volumes[0], ALTERED["mirror"], 0)
    middle = torch.tensor([16.0, 0, 0])
    expected = (POINTS[[1, 0, 2]] - middle) * torch.tensor([-1.0, 1, 1]) + middle
    torch.testing.assert_close(case.points_lps_mm, expected, atol=1e-4, rtol=0)
    # Left is where L grows, in the mirror too.
    assert case.points_lps_mm[0, 0] > case.points_lps_mm[1, 0]


def test_sides_are_read_from_the_names() -> None:
    names = ("left_1", "chin", "right_1", "Left ear", "Right ear", "bright", "2_RIGHT", "2_LEFT")
    assert mirrored_rows(names).tolist() == [2, 1, 0, 4, 3, 5, 7, 6]
    assert without_other_side(names) == ()
    assert without_other_side(("left_1", "right_2", "bright", "chin", "left_2")) == ("left_1",)


def test_the_share_that_is_mirrored_is_the_recipes(volumes: list[StoredPyramid]) -> None:
    recipe = replace(STILL, mirror=0.3)
    mirrored = [torch.linalg.det(seen_as(volumes[0], recipe, seed).pyramid._seen.matrix) < 0 for seed in range(300)]
    assert 0.22 < np.mean(mirrored) < 0.38


# ---- cuts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"mirror": 1.0, "shift_mm": 5.0, "any_pose": True}])
def test_a_cut_leaves_one_landmark_out_by_ten_millimetres_and_asks_nothing_of_those_near(
    volumes: list[StoredPyramid], more: dict[str, float]
) -> None:
    recipe = replace(STILL, crop=1, absent_mm=10, **more)  # type: ignore[arg-type]
    rows = mirrored_rows(NAMES) if more else torch.arange(3)
    kinds = set()
    low, high = torch.tensor(CORNER_MM), torch.tensor(CORNER_MM) + 32
    cuts = 0
    for seed in range(160):
        case = seen_as(volumes[0], recipe, seed)
        box = case.pyramid._seen.box_lps_mm
        if box is None:  # it would leave too little of these 32 mm
            continue
        cuts += 1
        left = torch.stack([torch.maximum(low, box[0]), torch.minimum(high, box[1])])
        assert ((left[1] - left[0]) >= 0.25 * 32 - 1e-3).all()
        # As a predictor sees a volume that was cut before it came.
        torch.testing.assert_close(torch.from_numpy(case.pyramid.centre_lps_mm).float(), left.mean(dim=0))
        outside = torch.maximum(box[0] - POINTS, POINTS - box[1]).amax(dim=1)[rows]
        expected = torch.where(outside > 10, 0.0, torch.where(outside > 0, torch.nan, 1.0))
        torch.testing.assert_close(case.present, expected, equal_nan=True)
        assert (case.present == 0).any()
        assert torch.equal(torch.isfinite(case.points_lps_mm).all(dim=1), case.present == 1)
        kinds.update(case.present.nan_to_num(2).tolist())
    assert kinds == {0.0, 1.0, 2.0}
    assert cuts > 25


def test_what_is_left_out_of_a_cut_is_not_seen(volumes: list[StoredPyramid]) -> None:
    recipe = replace(STILL, crop=1, absent_mm=6, any_pose=True)
    checked = 0
    for seed in range(12):
        for row, stored in enumerate(volumes):
            case = seen_as(stored, recipe, seed)
            middle = torch.from_numpy(case.pyramid.centre_lps_mm).float()
            crop = case.pyramid.crop(0, middle[None], (64, 64, 64))
            if case.present[row] == 0:
                assert crop.max() < 2 * np.exp(-0.5 * (6 / 2.0) ** 2) - 1 + 0.02  # the blob's tail, 3 sd away
                assert (crop == OUTSIDE).float().mean() > 0.05
                checked += 1
            elif case.present[row] == 1:
                assert crop.max() > 0
    assert checked > 8


def test_absent_and_unknown_landmarks_stay_so(volumes: list[StoredPyramid]) -> None:
    points = POINTS.clone()
    points[:2] = torch.nan
    absent = torch.tensor([True, False, False])
    for recipe in (STILL, ALTERED["all"], replace(STILL, crop=1, absent_mm=3)):
        for seed in range(6):
            generator = torch.Generator().manual_seed(seed)
            case = draw_seen(volumes[0], points, absent, torch.arange(3), replace(recipe, mirror=0), generator)
            assert case.present[0] == 0
            assert case.present[1].isnan()
            assert case.points_lps_mm[:2].isnan().all()


def test_no_landmark_no_cut(volumes: list[StoredPyramid]) -> None:
    case = seen_as(volumes[0], replace(STILL, crop=1), 0, torch.full((3, 3), torch.nan))
    assert case.pyramid._seen.box_lps_mm is None
    assert case.present.isnan().all()


def test_the_same_seed_draws_the_same(volumes: list[StoredPyramid]) -> None:
    recipe = replace(ALTERED["all"], noise=0.1, gamma=0.3, brightness=0.2)
    centre = POINTS[:1]
    crops = [seen_as(volumes[0], recipe, seed).pyramid.crop(0, centre, (8, 8, 8)) for seed in (1, 1, 2)]
    assert torch.equal(crops[0], crops[1])
    assert not torch.equal(crops[0], crops[2])
