"""Phantoms: what is drawn is what the truth says, always the same, and never a test image in training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.landmarks.read_out import UvIndex
from DenseLandmarksLib.landmarks.template import Template
from training.phantoms import (
    DEMO_SEEDS,
    TRAINING_SEEDS,
    draw_phantom,
    landmarks_of,
    phantom_image,
    training_seed,
)

SMALL = (64, 64)


def signed_area(polygons: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shoelace areas (N,) of polygons (N, P, 2)."""
    x, y = np.moveaxis(polygons, -1, 0)
    return 0.5 * (x * np.roll(y, -1, axis=-1) - y * np.roll(x, -1, axis=-1)).sum(axis=-1)


def crosses_itself(contour: NDArray[np.float64]) -> bool:
    """Whether two edges of a closed contour (P, 2) cross."""
    a, b = contour[:, None], np.roll(contour, -1, axis=0)[:, None]
    c, d = a.transpose(1, 0, 2), b.transpose(1, 0, 2)

    def turn(p: NDArray[np.float64], q: NDArray[np.float64], r: NDArray[np.float64]) -> NDArray[np.float64]:
        return (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])

    return bool(((turn(a, b, c) * turn(a, b, d) < 0) & (turn(c, d, a) * turn(c, d, b) < 0)).any())


def test_the_same_seed_draws_the_same_phantom(chest_template: Template) -> None:
    first, second = draw_phantom(chest_template, 900_003), draw_phantom(chest_template, 900_003)
    other = draw_phantom(chest_template, 900_004)
    np.testing.assert_array_equal(first.pixels, second.pixels)
    np.testing.assert_array_equal(first.landmarks_px, second.landmarks_px)
    assert np.abs(first.pixels - other.pixels).mean() > 0.01
    assert np.linalg.norm(first.landmarks_px - other.landmarks_px, axis=1).mean() > 2


def test_pixels_are_what_a_network_expects(chest_template: Template) -> None:
    phantom = draw_phantom(chest_template, 900_000, (128, 128))
    assert phantom.pixels.shape == (128, 128)
    assert phantom.pixels.dtype == np.float32
    assert phantom.pixels.min() >= 0
    assert phantom.pixels.max() <= 1
    assert phantom.spacing_mm == pytest.approx(chest_template.field_of_view_mm[0] / 128)


def test_a_finer_image_shows_the_same_anatomy(chest_template: Template) -> None:
    coarse, fine = draw_phantom(chest_template, 900_001, SMALL), draw_phantom(chest_template, 900_001, (128, 128))
    np.testing.assert_allclose(
        (coarse.landmarks_px + 0.5) * coarse.spacing_mm, (fine.landmarks_px + 0.5) * fine.spacing_mm, atol=1e-9
    )


@pytest.mark.parametrize("seed", DEMO_SEEDS[:4])
def test_landmarks_read_from_the_exact_uv_map_are_the_truth(chest_template: Template, seed: int) -> None:
    phantom = draw_phantom(chest_template, seed)
    read = []
    for structure, mask in zip(chest_template.structures, phantom.masks, strict=True):
        index = UvIndex.build(phantom.uv_map(structure.name), mask)
        assert index is not None
        read.append(index.read(structure.landmark_uv).points)
    distance = np.linalg.norm(np.vstack(read) - phantom.landmarks_px, axis=1)
    assert distance.mean() < 0.5


def test_landmarks_on_the_contour_are_the_contour(chest_template: Template) -> None:
    phantom = draw_phantom(chest_template, 900_002, SMALL)
    np.testing.assert_allclose(phantom.landmarks_px, np.vstack(list(phantom.contours.values())), atol=1e-6)


def test_masks_are_the_polygons_of_the_contours(chest_template: Template) -> None:
    phantom = draw_phantom(chest_template, 900_005)
    for name, mask in zip(chest_template.structure_names, phantom.masks, strict=True):
        np.testing.assert_array_equal(mask, polygon_mask(phantom.contours[name], (256, 256)))
        # The pixels' area is the polygon's: the mask is not cut off by the border of the image.
        assert mask.sum() == pytest.approx(abs(signed_area(phantom.contours[name][None])[0]), rel=0.05)


@pytest.mark.parametrize("seed", DEMO_SEEDS[:10])
def test_lungs_are_dark_and_heart_clavicles_and_spine_bright(chest_template: Template, seed: int) -> None:
    phantom = draw_phantom(chest_template, seed)
    mask = dict(zip(chest_template.structure_names, phantom.masks, strict=True))
    lungs = mask["right_lung"] | mask["left_lung"]
    clavicles = mask["right_clavicle"] | mask["left_clavicle"]
    columns, rows = np.meshgrid(np.arange(256), np.arange(256))
    middle_row = np.nonzero(lungs)[0].mean()
    between = (columns > phantom.contours["right_lung"][:, 0].mean()) & (
        columns < phantom.contours["left_lung"][:, 0].mean()
    )
    spine = between & (abs(rows - middle_row) < 15) & ~lungs
    lung_grey = phantom.pixels[lungs & ~clavicles & ~mask["heart"]].mean()
    for bright in (mask["heart"], clavicles, spine):
        assert phantom.pixels[bright].mean() > lung_grey + 0.02


def test_no_structure_is_turned_inside_out_or_leaves_the_image(chest_template: Template) -> None:
    kept, total = 0, 0
    for seed in range(50):
        phantom = draw_phantom(chest_template, seed, SMALL)
        for structure in chest_template.structures:
            contour = phantom.contours[structure.name]
            assert signed_area(contour[None])[0] * signed_area(structure.points_mm[None])[0] > 0
            assert not crosses_itself(contour)
            assert contour.min() >= 0
            assert contour.max() <= SMALL[0] - 1
            before = signed_area(structure.with_centre(structure.points_mm)[structure.triangles])
            after = signed_area(structure.with_centre(contour)[structure.triangles])
            kept += int((before * after > 0).sum())
            total += len(structure.triangles)
    assert kept >= 0.99 * total


def test_a_landmark_added_inside_a_structure_has_an_exact_place(chest_template: Template) -> None:
    heart = chest_template.structure("heart")
    uv = heart.uv_at(heart.points_mm, heart.points_mm.mean(axis=0))[0]
    grown = chest_template.with_landmark("heart", "heart_centre", uv)
    at = grown.landmark_names.index("heart_centre")
    for seed in range(5):
        phantom = draw_phantom(chest_template, seed)
        found = landmarks_of(grown, phantom.contours)[at]
        x, y = np.round(found).astype(int)
        assert phantom.masks[chest_template.structure_names.index("heart"), y, x]
        index = UvIndex.build(phantom.uv_map("heart"), phantom.masks[chest_template.structure_names.index("heart")])
        assert index is not None
        assert np.linalg.norm(index.read(uv).points[0] - found) < 0.5
        np.testing.assert_allclose(draw_phantom(grown, seed, SMALL).landmarks_px[at] * 4 + 1.5, found, atol=1e-6)


def test_training_never_draws_a_demonstration_image() -> None:
    rng = np.random.default_rng(0)
    assert not set(TRAINING_SEEDS) & set(DEMO_SEEDS)
    drawn = [training_seed(rng) for _ in range(10_000)]
    assert all(seed in TRAINING_SEEDS for seed in drawn)
    assert len(set(drawn)) > 9_900


def test_a_template_of_other_structures_still_gives_a_phantom(chest_template: Template) -> None:
    implant = replace(chest_template.structure("heart"), name="implant")
    template = Template((implant,), chest_template.field_of_view_mm)
    contrast = []
    for seed in range(5):
        phantom = draw_phantom(template, seed, (128, 128))
        (mask,) = phantom.masks
        ring = binary_dilation(mask, iterations=3) & ~mask
        assert np.isfinite(phantom.pixels).all()
        contrast.append(phantom.pixels[mask].mean() - phantom.pixels[ring].mean())
    assert np.mean(contrast) > 0


def test_a_phantom_opens_as_a_radiograph_with_its_spacing(chest_template: Template) -> None:
    phantom = draw_phantom(chest_template, 900_006, SMALL)
    image = phantom_image(phantom)
    assert image.is_radiograph
    assert image.name == "phantom-900006"
    assert image.spacing_source is SpacingSource.GIVEN
    assert image.volume.GetSpacing()[:2] == pytest.approx((phantom.spacing_mm, phantom.spacing_mm))
    np.testing.assert_allclose(image.pixels_yx.astype(float) / 65535, phantom.pixels.astype(float), atol=1e-5)
    assert image.pixels_yx.dtype == np.uint16
