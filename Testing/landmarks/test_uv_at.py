"""What is read at a click is found again at the click, on perfect maps and on noisy ones, a little outside as well."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from DenseLandmarksLib.landmarks.polygon import contains, polygon_mask
from DenseLandmarksLib.landmarks.read_out import NEIGHBOURS, REACH_PX
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.uv_at import uv_at
from DenseLandmarksLib.landmarks.uv_field import UvField
from DenseLandmarksLib.landmarks.uv_maps import draw_uv_map

FloatArray = NDArray[np.float64]
SIZE = (256, 256)
STRUCTURES = ("right_lung", "left_lung", "heart", "right_clavicle", "left_clavicle")


def bent(points_mm: FloatArray) -> FloatArray:
    """Grid pixels of a patient: smoothly bent, turned, a little smaller."""
    x, y = points_mm.T / 1.4
    return np.stack(
        [12 + 0.9 * x - 0.06 * y + 4 * np.sin(y / 50), 20 + 0.05 * x + 0.88 * y + 3 * np.sin(x / 40)], axis=1
    )


def field_of(template: Template, stride: int, lost: tuple[str, ...] = (), noise_uv: float = 0.0) -> UvField:
    size = (SIZE[0] // stride, SIZE[1] // stride)
    contours = [(bent(structure.points_mm) - (stride - 1) / 2) / stride for structure in template.structures]
    uv = np.stack([draw_uv_map(s, c, size) for s, c in zip(template.structures, contours, strict=True)])
    masks = np.stack([polygon_mask(contour, size) for contour in contours])
    for name in lost:
        masks[template.structure_names.index(name)] = False
    uv += np.random.default_rng(0).normal(0, noise_uv, uv.shape).astype(np.float32)
    return UvField(template.structure_names, uv, None, masks, stride)


def clicks_in(template: Template, structure: str, count: int = 100) -> FloatArray:
    contour = bent(template.structure(structure).points_mm)
    points = np.random.default_rng(1).uniform(contour.min(axis=0), contour.max(axis=0), (40 * count, 2))
    return points[contains(contour, points)][:count]


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("stride", [1, 2])
def test_on_perfect_maps_a_click_is_found_where_it_was(chest_template: Template, structure: str, stride: int) -> None:
    field, clicks = field_of(chest_template, stride), clicks_in(chest_template, structure)
    read = uv_at(field, structure, clicks)
    assert read is not None
    found = field.read(structure, read.uv)
    assert found is not None
    missed = np.linalg.norm(found.points - clicks, axis=1)
    # Where the maps of neighbouring triangles meet, no coordinate may be read out at just that place.
    assert np.percentile(missed, 97) < 0.1
    assert missed.max() < 0.5
    assert read.gap.max() < 1.5 * stride


@pytest.mark.parametrize("structure", STRUCTURES)
def test_on_perfect_maps_the_coordinate_is_the_true_one(chest_template: Template, structure: str) -> None:
    clicks = clicks_in(chest_template, structure)
    read = uv_at(field_of(chest_template, 1), structure, clicks)
    assert read is not None
    of_template = chest_template.structure(structure)
    truth = of_template.uv_at(bent(of_template.points_mm), clicks)
    off_mm = np.linalg.norm((read.uv - truth) * np.ptp(of_template.points_mm, axis=0) / 2, axis=1)
    assert off_mm.mean() < 0.25
    assert off_mm.max() < 2.0


@pytest.mark.parametrize("stride", [1, 2])
def test_a_click_a_little_outside_is_found_again_too(chest_template: Template, stride: int) -> None:
    field = field_of(chest_template, stride)
    contour = bent(chest_template.structure("heart").points_mm)
    outward = contour - contour.mean(axis=0)
    clicks = contour + 0.5 * REACH_PX * stride * outward / np.linalg.norm(outward, axis=1, keepdims=True)
    read = uv_at(field, "heart", clicks)
    assert read is not None
    found = field.read("heart", read.uv)
    assert found is not None
    assert np.linalg.norm(found.points - clicks, axis=1).max() < 0.1
    assert read.gap.min() > 0.5 * stride


def test_far_outside_the_distance_says_so(chest_template: Template) -> None:
    field = field_of(chest_template, 2)
    contour = bent(chest_template.structure("heart").points_mm)
    click = contour[contour[:, 1].argmax()] + np.array([0.0, 25.0])
    read = uv_at(field, "heart", click[None])
    assert read is not None
    assert read.gap[0] == pytest.approx(25, abs=3)
    assert np.isfinite(read.uv).all()


def test_on_a_noisy_map_a_click_is_found_much_nearer_than_by_one_fit(chest_template: Template) -> None:
    """The neighbours of a click in the image are not those of its coordinate in uv."""
    field, clicks = field_of(chest_template, 1, noise_uv=0.05), clicks_in(chest_template, "heart", 200)
    read = uv_at(field, "heart", clicks)
    assert read is not None
    found = field.read("heart", read.uv)
    assert found is not None
    missed = np.linalg.norm(found.points - clicks, axis=1)
    of_template = chest_template.structure("heart")
    true_uv = of_template.uv_at(bent(of_template.points_mm), clicks)
    by_truth = field.read("heart", true_uv)
    assert by_truth is not None
    assert np.median(missed) < 0.2 * np.median(np.linalg.norm(by_truth.points - clicks, axis=1))
    # And the coordinate is not bent out of shape for it: on average it is as near the truth as the noise allows.
    assert np.abs(read.uv - true_uv).mean() < 0.05


def test_a_structure_that_was_not_found_has_no_coordinates(chest_template: Template) -> None:
    assert uv_at(field_of(chest_template, 1, lost=("heart",)), "heart", [[100.0, 100.0]]) is None


def test_a_structure_of_just_enough_pixels_is_read(chest_template: Template) -> None:
    field = field_of(chest_template, 1)
    mask = np.zeros(SIZE, bool)
    mask[100, 100 : 100 + NEIGHBOURS] = True
    few = UvField(field.structures, field.uv, None, np.stack([mask] * 5), 1)
    read = uv_at(few, "heart", [[110.0, 100.0]])
    assert read is not None
    np.testing.assert_allclose(read.uv[0], field.uv[2, :, 100, 110], atol=0.01)


def test_no_clicks_are_no_coordinates(chest_template: Template) -> None:
    read = uv_at(field_of(chest_template, 1), "heart", np.zeros((0, 2)))
    assert read is not None
    assert read.uv.shape == (0, 2)
