"""Image, masks, uv and points move as one: a landmark that lags behind its pixels teaches the network its lag."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import Tensor

from DenseLandmarksLib.geometry.view import VIEWS
from training.augmentation import SpatialTransform, change_intensities, normalised, sample_transform, turn_some
from training.obstructions import add_obstructions
from training.run_recipe import AugmentationRecipe

SIZE = (192, 256)  # height, width
NOTHING = AugmentationRecipe(
    rotation_deg=0, scale=(1.0, 1.0), anisotropy=0, shift=0, elastic=0, contrast=0, brightness=0
)
RECIPES = {
    "default": AugmentationRecipe(),
    "strong": AugmentationRecipe(rotation_deg=40, scale=(0.7, 1.3), anisotropy=0.15, shift=0.15),
    "elastic": AugmentationRecipe(elastic=0.012),
    "elastic only": AugmentationRecipe(rotation_deg=0, scale=(1.0, 1.0), anisotropy=0, shift=0, elastic=0.01),
    "elastic by splines": AugmentationRecipe(elastic=0.04, bend="b_spline"),
    "mirror": AugmentationRecipe(mirror=0.5, elastic=0.012),
}
BATCH = 5


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points_inside() -> Tensor:
    """Positions (BATCH, N, 2) all over the image."""
    x, y = torch.meshgrid(torch.linspace(46, 208, 6), torch.linspace(36, 150, 5), indexing="xy")
    grid = torch.stack([x.flatten(), y.flatten()], dim=1).expand(BATCH, -1, -1)
    return grid + torch.rand(grid.shape, generator=generator(7)) * 4


def pixel_centres(stride: int = 1) -> Tensor:
    """Positions x, y (h, w, 2) of the pixels of a grid ``stride`` times coarser."""
    x = torch.arange(SIZE[1] // stride, dtype=torch.float32) * stride + (stride - 1) / 2
    y = torch.arange(SIZE[0] // stride, dtype=torch.float32) * stride + (stride - 1) / 2
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)


def affine_uv(points: Tensor) -> Tensor:
    """An affine uv field at positions (..., 2)."""
    return points @ torch.tensor([[0.02, 0.005], [-0.004, 0.025]]) + torch.tensor([-1.3, -1.7])


def well_inside(points: Tensor, margin: float = 12) -> Tensor:
    upper = torch.tensor([SIZE[1] - 1 - margin, SIZE[0] - 1 - margin])
    return ((points > margin) & (points < upper)).all(-1)


def seen_centroid(transform: SpatialTransform, points: Tensor, variance: float) -> Tensor:
    """Centres of mass (BATCH, N, 2) in the transformed image of Gaussian blobs drawn at points of the original."""
    offset = pixel_centres() - points[:, :, None, None]
    seen = transform.resample(torch.exp(-(offset**2).sum(-1) / (2 * variance)))
    weight = seen / seen.sum((2, 3), keepdim=True)
    return (weight[..., None] * pixel_centres()).sum((2, 3))


@pytest.mark.parametrize("name", RECIPES)
def test_a_blob_drawn_at_a_landmark_moves_with_the_landmark(name: str) -> None:
    transform = sample_transform(BATCH, SIZE, RECIPES[name], generator())
    points = points_inside()
    centroid = seen_centroid(transform, points, 8.0)
    if RECIPES[name].elastic:  # a bent blob has its centre of mass beside its peak, in proportion to its variance
        centroid = 2 * seen_centroid(transform, points, 4.0) - centroid
    moved = transform.move_points(points)
    counts = well_inside(moved)
    assert counts.sum() > 100
    assert (moved - points).norm(dim=-1)[counts].mean() > 1  # something did happen
    assert (centroid - moved).norm(dim=-1)[counts].max() < 0.05


@pytest.mark.parametrize("name", RECIPES)
def test_points_go_there_and_back(name: str) -> None:
    transform = sample_transform(BATCH, SIZE, RECIPES[name], generator(1))
    moved = transform.move_points(points_inside())
    counts = well_inside(moved, 2)
    assert counts.sum() > 100
    torch.testing.assert_close(transform.source(moved)[counts], points_inside()[counts], atol=1e-2, rtol=0)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("stride", [1, 2])
def test_a_landmark_keeps_its_template_coordinate(name: str, stride: int) -> None:
    transform = sample_transform(BATCH, SIZE, RECIPES[name], generator(2))
    uv = affine_uv(pixel_centres()).permute(2, 0, 1).expand(BATCH, -1, -1, -1)
    seen = transform.resample(uv, stride, "border")
    assert seen.shape == (BATCH, 2, SIZE[0] // stride, SIZE[1] // stride)
    points = points_inside()
    moved = transform.move_points(points)
    at = (moved - (stride - 1) / 2) / stride
    grid = normalised(at, (SIZE[0] // stride, SIZE[1] // stride))[:, :, None]
    sampled = torch.nn.functional.grid_sample(seen, grid, align_corners=True)[..., 0].transpose(1, 2)
    counts = well_inside(moved)
    error_uv = (sampled - affine_uv(points)).abs()[counts]
    assert error_uv.max() < 0.05 * 0.025  # 0.05 pixel, the field changes by at most 0.025 per pixel


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_coarse_pixels_lie_in_the_middle_of_the_fine_ones(stride: int) -> None:
    transform = sample_transform(BATCH, SIZE, NOTHING, generator())
    uv = affine_uv(pixel_centres()).permute(2, 0, 1).expand(BATCH, -1, -1, -1)
    expected = affine_uv(pixel_centres(stride)).permute(2, 0, 1)
    torch.testing.assert_close(transform.resample(uv, stride)[0], expected, atol=1e-5, rtol=0)


def test_a_recipe_without_deviations_changes_nothing() -> None:
    transform = sample_transform(BATCH, SIZE, NOTHING, generator())
    images = torch.randn(BATCH, 1, *SIZE, generator=generator())
    torch.testing.assert_close(transform.resample(images), images, atol=1e-3, rtol=0)
    torch.testing.assert_close(transform.move_points(points_inside()), points_inside(), atol=1e-4, rtol=0)
    torch.testing.assert_close(change_intensities(images, NOTHING, generator()), images)


def test_each_deviation_does_what_its_name_says() -> None:
    centre = torch.tensor([(SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2])
    point = (centre + torch.tensor([30.0, 0.0])).expand(50, 1, 2)

    def moved(**deviation: object) -> Tensor:
        transform = sample_transform(50, SIZE, replace(NOTHING, **deviation), generator())
        return (transform.move_points(point) - centre)[:, 0]

    torch.testing.assert_close(moved(scale=(1.2, 1.2)), torch.tensor([[36.0, 0.0]]).expand(50, 2), atol=1e-3, rtol=0)
    turned = moved(rotation_deg=30.0)
    torch.testing.assert_close(turned.norm(dim=1), torch.full((50,), 30.0), atol=1e-3, rtol=0)
    degrees = torch.rad2deg(torch.atan2(turned[:, 1], turned[:, 0]))
    assert degrees.min() < -15
    assert degrees.max() > 15
    assert degrees.abs().max() <= 30
    shifted = (moved(shift=0.1) - torch.tensor([30.0, 0.0])) / torch.tensor([SIZE[1], SIZE[0]])
    assert 0.08 < shifted.abs().max() <= 0.1 + 1e-4
    stretched = moved(anisotropy=0.1)[:, 0] / 30
    assert stretched.min() < 0.95
    assert stretched.max() > 1.05
    assert moved(elastic=0.01).std() > 0


def test_a_landmark_that_is_not_annotated_stays_so_and_harms_no_other() -> None:
    transform = sample_transform(BATCH, SIZE, RECIPES["elastic"], generator())
    whole = transform.move_points(points_inside())
    points = points_inside().clone()
    points[:, 3] = torch.nan
    moved = transform.move_points(points)
    assert moved[:, 3].isnan().all()
    keep = torch.arange(points.shape[1]) != 3
    torch.testing.assert_close(moved[:, keep], whole[:, keep])


def test_what_lies_beside_the_image_is_filled_as_asked() -> None:
    transform = SpatialTransform(torch.eye(2)[None], torch.tensor([[-20.0, 0.0]]), None, SIZE)
    images = torch.full((1, 1, *SIZE), 3.0)
    assert not transform.resample(images)[..., :19].any()
    assert (transform.resample(images, padding="border") == 3).all()
    assert (transform.resample(images)[..., 20:] == 3).all()


LIVELY = AugmentationRecipe(elastic=0.01, gamma=0.4, blur=0.5, noise=0.2)


def test_the_same_generator_draws_the_same_and_another_does_not() -> None:
    images = torch.randn(BATCH, 1, *SIZE, generator=generator(3))

    def draw(seed: int) -> tuple[Tensor, Tensor, Tensor]:
        source = generator(seed)
        transform = sample_transform(BATCH, SIZE, LIVELY, source)
        changed = change_intensities(transform.resample(images), LIVELY, source)
        return transform.move_points(points_inside()), transform.resample(images), changed

    torch.manual_seed(0)
    first = draw(5)
    torch.manual_seed(1)  # the global state has no say
    for one, same, other in zip(first, draw(5), draw(6), strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, other)


@pytest.mark.parametrize("part", ["contrast", "brightness", "gamma", "blur", "noise"])
def test_exposure_changes_grey_values_per_image_and_nothing_else(part: str) -> None:
    images = torch.randn(1, 1, *SIZE, generator=generator(4)).expand(BATCH, -1, -1, -1)
    changed = change_intensities(images, replace(NOTHING, **{part: 0.4}), generator())
    assert changed.shape == images.shape
    assert changed.isfinite().all()
    differences = (changed - images).flatten(1).std(dim=1) + (changed - images).flatten(1).mean(dim=1).abs()
    assert (differences > 1e-3).all()
    assert differences.std() > 1e-3  # each image by its own amount
    if part in ("contrast", "brightness", "gamma"):  # order of grey values is anatomy and stays
        order = images[0].flatten().argsort()
        assert (changed.flatten(1)[:, order].diff(dim=1) >= -1e-5).all()


def test_negatives_are_shown_as_often_as_asked() -> None:
    images = torch.randn(400, 1, 4, 4, generator=generator(4))
    changed = change_intensities(images, replace(NOTHING, invert=0.25), generator())
    inverted = (changed == -images).all(dim=(1, 2, 3))
    assert (changed == images).all(dim=(1, 2, 3)).logical_xor(inverted).all()
    assert 0.17 < inverted.float().mean() < 0.33


def test_turned_images_carry_the_view_that_turned_them() -> None:
    images = torch.randn(600, 1, 6, 6, generator=generator(4))
    turned, views = turn_some(images, 0.5, generator())
    for image, same, k in zip(images, turned, views.tolist(), strict=True):
        assert (VIEWS[k].see(image[0].numpy()) == same[0].numpy()).all()
    counts = torch.bincount(views, minlength=8).float() / 600
    assert counts[0] == pytest.approx(0.5, abs=0.07)
    assert counts[4] == pytest.approx(0.25, abs=0.06)  # mirrored: the one that is hard to notice
    assert (counts > 0.015).all()


def test_a_grid_that_is_not_square_keeps_its_shape() -> None:
    turned, views = turn_some(torch.randn(200, 1, *SIZE, generator=generator(4)), 1.0, generator())
    assert turned.shape == (200, 1, *SIZE)
    assert {VIEWS[k].turn_deg for k in views.tolist()} == {0, 180}


@pytest.mark.parametrize("part", ["collimation", "letters"])
def test_what_lies_over_a_film_hides_part_of_it_and_leaves_the_rest(part: str) -> None:
    smooth = torch.linspace(-1, 1, SIZE[1]).expand(60, 1, *SIZE) + torch.linspace(-1, 1, SIZE[0])[:, None]
    images = (smooth - smooth.mean()) / smooth[0].std()
    changed = add_obstructions(images, replace(NOTHING, **{part: 0.5}), generator())
    touched = (changed != images).flatten(1).any(dim=1)
    assert 0.3 < touched.float().mean() < 0.7
    flat = changed[touched].flatten(1)
    torch.testing.assert_close(flat.mean(dim=1), torch.zeros(len(flat)), atol=1e-4, rtol=0)
    torch.testing.assert_close(flat.std(dim=1), torch.ones(len(flat)), atol=1e-3, rtol=0)
    # What is not hidden is one linear function of what was there: the z-normalisation of the whole.
    for was, now in zip(images[touched, 0], changed[touched, 0], strict=True):
        slope = ((now[:, 1:] - now[:, :-1]) / (was[:, 1:] - was[:, :-1])).flatten()
        kept = (slope - slope.median()).abs() < 1e-2
        assert 0.35 < kept.float().mean() < (1.0 if part == "letters" else 0.9999)
    assert torch.equal(add_obstructions(images, NOTHING, generator()), images)


def test_half_of_the_images_are_seen_in_a_mirror_and_the_others_as_without() -> None:
    recipe = AugmentationRecipe(elastic=0.012)
    plain = sample_transform(200, SIZE, recipe, generator())
    some = sample_transform(200, SIZE, replace(recipe, mirror=0.3), generator())
    assert 0.2 < some.is_mirrored.float().mean() < 0.4
    points = points_inside()[:1].expand(200, -1, -1)
    reflected = points * torch.tensor([-1.0, 1.0]) + torch.tensor([SIZE[1] - 1.0, 0.0])
    before = torch.where(some.is_mirrored[:, None, None], reflected, points)
    torch.testing.assert_close(some.move_points(points), plain.move_points(before), atol=5e-3, rtol=0)


def test_a_bend_by_splines_is_that_of_simpleitk() -> None:
    """Five nodes per side, the outer ones beyond the image: as Payer's group calls SimpleITK, with a mesh of two cells."""
    recipe = replace(NOTHING, elastic=0.05, bend="b_spline")
    transform = sample_transform(1, SIZE, recipe, generator(3))
    drawn = torch.rand((1, 2, 5, 5), generator=_after_the_affine_draws(3)) * 2 - 1
    extent = np.array([SIZE[1], SIZE[0]], float)
    coefficients = drawn[0].double().numpy() * 0.05 * extent[:, None, None]
    spline = sitk.BSplineTransform(2, 3)
    spline.SetTransformDomainOrigin((-0.5, -0.5))
    spline.SetTransformDomainPhysicalDimensions(extent.tolist())
    spline.SetTransformDomainMeshSize((2, 2))
    spline.SetParameters(coefficients.ravel().tolist())
    points = points_inside()[:1]
    expected = [spline.TransformPoint(point) for point in points[0].double().tolist()]
    torch.testing.assert_close(transform.source(points)[0].double(), torch.tensor(expected).double(), atol=2e-3, rtol=0)
    largest = transform.displacement.abs().amax(dim=(0, 2, 3))
    assert (largest > 0.3 * 0.05 * torch.tensor(extent)).all()
    assert (largest <= 0.05 * torch.tensor(extent)).all()


def _after_the_affine_draws(seed: int) -> torch.Generator:
    """A generator that has drawn angle, scale, scales of the axes and shift of one image."""
    source = generator(seed)
    for count in (1, 1, 2, 2):
        torch.rand((1,) if count == 1 else (1, count), generator=source)
    return source


def test_what_was_drawn_before_there_were_splines_and_mirrors_is_drawn_still() -> None:
    """A run that is resumed, and a recipe that is trained again, see the same images as ever."""
    transform = sample_transform(2, (40, 30), RECIPES["elastic"], generator(11))
    moved = transform.move_points(torch.tensor([[[4.0, 9.0], [21.0, 33.0]]]).expand(2, -1, -1))
    expected = [[[0.26724, 11.77706], [25.27848, 38.67020]], [[3.48108, 13.39257], [18.20941, 32.54684]]]
    torch.testing.assert_close(moved, torch.tensor(expected), atol=1e-4, rtol=0)
