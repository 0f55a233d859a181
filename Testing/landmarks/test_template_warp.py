"""Without a uv map the template itself is bent through the landmarks: they are met, and what lies between follows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.template_warp import GROWTH_OUTSIDE, TemplateWarp

FloatArray = NDArray[np.float64]
INSIDE = np.random.default_rng(0).uniform(-0.6, 0.6, (50, 2))


def posed(points_mm: FloatArray, bend: float = 4.0) -> FloatArray:
    """Pixels of a patient: turned by 15 degrees, of 0.6 pixels per mm, bent."""
    cosine, sine = np.cos(np.deg2rad(15)), np.sin(np.deg2rad(15))
    turned = 0.6 * points_mm @ np.array([[cosine, sine], [-sine, cosine]])
    return turned + bend * np.sin(points_mm[:, ::-1] / 70) + 40


@pytest.mark.parametrize("structure", ["heart", "left_lung", "right_clavicle"])
def test_landmarks_are_met_and_coordinates_come_back(chest_template: Template, structure: str) -> None:
    template = chest_template.structure(structure)
    warp = TemplateWarp.through(template, template.uv, posed(template.points_mm))
    assert warp is not None
    np.testing.assert_allclose(warp.positions(template.uv), posed(template.points_mm), atol=1e-6)
    np.testing.assert_allclose(warp.uv(posed(template.points_mm)), template.uv, atol=1e-6)
    np.testing.assert_allclose(warp.uv(warp.positions(INSIDE)), INSIDE, atol=1e-6)


def test_under_a_similarity_everything_is_exact_also_far_outside(chest_template: Template) -> None:
    template = chest_template.structure("heart")
    warp = TemplateWarp.through(template, template.uv[:5], posed(template.points_mm[:5], bend=0))
    assert warp is not None
    uv = np.array([[0.0, 0.0], [1.5, -2.0]])
    np.testing.assert_allclose(warp.positions(uv), posed(template.position_at(uv), bend=0), atol=1e-6)
    assert warp.error < 1e-6


def test_the_stated_error_is_that_at_landmarks_it_was_not_given(chest_template: Template) -> None:
    template = chest_template.structure("left_lung")
    seen = posed(template.points_mm, bend=12)
    half = TemplateWarp.through(template, template.uv[::2], seen[::2])
    assert half is not None
    error = np.sqrt(((half.positions(template.uv[1::2]) - seen[1::2]) ** 2).sum(axis=1).mean())
    # Leaving one out of the half is to bridge a gap of four, the others lie in gaps of two.
    assert 0.1 < error / half.error < 1.0


def test_the_case_that_defined_a_landmark_adds_its_own_error_and_many_add_less(chest_template: Template) -> None:
    template = chest_template.structure("left_lung")
    warp = TemplateWarp.through(template, template.uv, posed(template.points_mm, bend=12))
    assert warp is not None
    middle = np.zeros((1, 2))
    once = float(warp.error_at(middle)[0])
    assert once == pytest.approx(np.sqrt(2) * warp.error)
    assert warp.error_at(middle, 4)[0] == pytest.approx(np.sqrt(1.25) * warp.error)
    np.testing.assert_allclose(warp.error_at(INSIDE), once)


def test_the_variance_grows_with_the_way_out_of_the_landmarks(chest_template: Template) -> None:
    template = chest_template.structure("left_lung")
    warp = TemplateWarp.through(template, template.uv, posed(template.points_mm, bend=12))
    assert warp is not None
    lowest = template.points_mm[template.points_mm[:, 1].argmax()]
    ways_mm = np.array([1e-6, 10.0, 20.0, 40.0])
    error = warp.error_at(template.uv_at(template.points_mm, lowest + ways_mm[:, None] * [0.0, 1.0]))
    grown = (error / error[0]) ** 2 - 1
    np.testing.assert_allclose(grown[1:] / grown[1], ways_mm[1:] / 10, rtol=1e-3)
    assert grown[1] == pytest.approx(GROWTH_OUTSIDE * 10 * warp.scale / warp.warp.spacing, rel=1e-3)


def test_landmarks_on_a_line_say_less_of_what_lies_beside_it(chest_template: Template) -> None:
    template = chest_template.structure("heart")
    on_line = template.uv_at(template.points_mm, np.linspace([150.0, 200.0], [220.0, 200.0], 4))
    seen = posed(template.position_at(on_line))
    warp = TemplateWarp.through(template, on_line, seen)
    assert warp is not None
    at, near, far = warp.error_at(
        template.uv_at(template.points_mm, np.array([[180.0, 200.0], [180.0, 210.0], [180.0, 230.0]]))
    )
    assert at == pytest.approx(np.sqrt(2) * warp.error)
    assert at < near < far < 4 * at


@pytest.mark.parametrize("rows", [[], [0], [0, 13], [4, 4, 4]], ids=["none", "one", "two", "three times the same"])
def test_too_few_landmarks_are_no_warp(chest_template: Template, rows: list[int]) -> None:
    template = chest_template.structure("heart")
    assert TemplateWarp.through(template, template.uv[rows], posed(template.points_mm[rows])) is None


def test_landmarks_in_one_place_of_the_image_are_no_warp(chest_template: Template) -> None:
    template = chest_template.structure("heart")
    assert TemplateWarp.through(template, template.uv[:5], np.tile([50.0, 60.0], (5, 1))) is None
