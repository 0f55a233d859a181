"""Templates of single landmarks, which no line joins: joints of a hand, points of a skull."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.other_side import name_of_other_side, names_of_other_side
from DenseLandmarksLib.landmarks.polygon import convex_hull, polygon_mask
from DenseLandmarksLib.landmarks.propagation import landmark_propagation, propagate
from DenseLandmarksLib.landmarks.template import Template, build_template
from DenseLandmarksLib.landmarks.template_warp import TemplateWarp

# A middle point that no contour has, and an order that would make a star of them.
POINTS = np.array([[0.0, 0.0], [60.0, 80.0], [64.0, 2.0], [30.0, 44.0], [-4.0, 84.0]])
NAMES = ("a", "b", "c", "middle", "e")
INSIDE = np.array([[20.0, 20.0], [50.0, 40.0], [10.0, 70.0], [30.0, 44.0]])


@pytest.fixture
def template() -> Template:
    return build_template({"skull": POINTS[None]}, {"skull": NAMES}, (100.0, 100.0), chart="points")


def test_its_triangles_cover_the_hull_whatever_the_order(template: Template) -> None:
    skull = template.structure("skull")
    assert (skull.has_contour, skull.contour_names, skull.point_names) == (False, (), NAMES)
    corners = skull.points_mm[skull.triangles]
    edges = corners[:, 1:] - corners[:, :1]
    area = np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]).sum() / 2
    hull = convex_hull(skull.points_mm)
    shoelace = np.cross(np.pad(hull, [(0, 0), (0, 1)]), np.pad(np.roll(hull, -1, axis=0), [(0, 0), (0, 1)]))
    assert area == pytest.approx(abs(shoelace.sum()) / 2)
    np.testing.assert_allclose(skull.position_at(skull.uv_at(skull.points_mm, INSIDE)), INSIDE, atol=1e-9)


def test_a_file_keeps_it_and_its_key(template: Template) -> None:
    skull = template.structure("skull")
    (read,) = Template.from_json(template.to_json()).structures
    assert (read.chart, read.key, read.landmark_names) == ("points", skull.key, NAMES)
    assert json.loads(template.to_json())["structures"][0]["chart"] == "points"
    # The same points in the same triangles are another thing where they are a contour.
    assert replace(skull, chart="cartesian").key != skull.key
    assert template.with_landmark("skull", "new", (0.1, 0.2)).structure("skull").key == skull.key


@pytest.mark.parametrize("points", [POINTS[:2], np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [5.0, 5.0]])])
def test_points_that_span_nothing_are_told(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="three points that are not on one line"):
        build_template({"s": points[None]}, {"s": [str(i) for i in range(len(points))]}, (9.0, 9.0), chart="points")
    assert len(convex_hull(points)) == 0


def test_the_hull_is_the_polygon_around_all(template: Template) -> None:
    mask = polygon_mask(convex_hull(POINTS), (100, 100))
    assert mask[40, 30]
    assert mask[80, 30]
    assert not mask[90, 30]


def test_new_landmarks_are_found_by_the_warp_of_the_points(template: Template) -> None:
    skull = template.structure("skull")
    angle = np.deg2rad(30)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    warp = TemplateWarp.through(skull, skull.landmark_uv, 1.3 * POINTS @ turn.T + [7, 9])
    assert warp is not None
    here = 1.3 * INSIDE @ turn.T + [7, 9]
    np.testing.assert_allclose(warp.uv(here), skull.uv_at(skull.points_mm, INSIDE), atol=1e-6)
    np.testing.assert_allclose(warp.positions(skull.uv_at(skull.points_mm, INSIDE)), here, atol=1e-6)
    assert warp.error < 1e-6


def landmarks(template: Template, added_uv: np.ndarray, added_sd: float = 3.0) -> LandmarkSet:
    skull = template.structure("skull")
    count = len(POINTS) + len(added_uv)
    points = np.pad(np.vstack([POINTS, skull.position_at(added_uv)]), [(0, 0), (0, 1)])
    sds = np.array([0.5] * len(POINTS) + [added_sd] * len(added_uv))
    return LandmarkSet(
        names=(*NAMES, *(f"new {n}" for n in range(len(added_uv)))),
        structures=("skull",) * count,
        points_lps_mm=points,
        predicted_lps_mm=points.copy(),
        presence=(Presence.PRESENT,) * count,
        review=(Review.PREDICTED,) * count,
        confidence=np.ones(count),
        covariance_mm2=sds[:, None, None] ** 2 * np.diag([1.0, 1.0, 0.0]),
        template_uv=np.vstack([skull.uv, added_uv]),
    )


def corrected(before: LandmarkSet, row: int, by: list[float], template: Template) -> np.ndarray:
    """How far everybody moves, (N, 2), when a person drags one landmark."""
    axes = np.eye(3)[:, :2]
    points, review = before.points_lps_mm.copy(), list(before.review)
    points[row] += [*by, 0.0]
    review[row] = Review.CORRECTED
    dragged = replace(before, points_lps_mm=points, review=tuple(review))
    after = propagate(dragged, landmark_propagation(before, axes, template), axes)
    return (after.points_lps_mm - before.points_lps_mm)[:, :2]


def test_a_correction_takes_along_what_lies_between_and_nobody_else(template: Template) -> None:
    skull = template.structure("skull")
    between = (POINTS[0] + POINTS[2] + POINTS[3]) / 3  # in a triangle with these corners
    before = landmarks(template, skull.uv_at(skull.points_mm, np.array([POINTS[3], between])))
    moved = corrected(before, 3, [4.0, -2.0], template)
    np.testing.assert_allclose(moved[[0, 1, 2, 4]], 0, atol=1e-9)
    np.testing.assert_allclose(moved[5], [4.0, -2.0], rtol=0.01)  # it lies on the corrected one
    np.testing.assert_allclose(moved[6], np.array([4.0, -2.0]) / 3, rtol=0.01)


def test_a_corrected_new_landmark_tells_little_of_those_that_the_model_saw(template: Template) -> None:
    skull = template.structure("skull")
    before = landmarks(template, skull.uv_at(skull.points_mm, np.array([[30.0, 20.0]])), added_sd=6.0)
    moved = corrected(before, 5, [6.0, 0.0], template)
    np.testing.assert_allclose(moved[5], [6.0, 0.0])
    assert np.abs(moved[:5]).max() < 0.05


def test_without_all_of_the_models_landmarks_each_stays_alone(template: Template) -> None:
    skull = template.structure("skull")
    before = landmarks(template, skull.uv_at(skull.points_mm, INSIDE[:1])).rows([0, 1, 3, 5])
    moved = corrected(before, 2, [3.0, 3.0], template)
    np.testing.assert_allclose(moved[[0, 1, 3]], 0, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("left_eye", "right_eye"),
        ("Right orbit", "Left orbit"),
        ("tooth LEFT", "tooth RIGHT"),
        ("hand_01", "hand_01"),
    ],
)
def test_left_is_right_in_the_mirror(name: str, other: str) -> None:
    assert (name_of_other_side(name), name_of_other_side(other)) == (other, name)


def test_only_landmarks_whose_counterpart_there_is_change_their_name() -> None:
    names = ("left_eye", "right_eye", "left_ear", "cleft", "chin")
    template = build_template({"skull": POINTS[None]}, {"skull": names}, (9.0, 9.0), chart="points")
    assert names_of_other_side(template) == ("right_eye", "left_eye", "left_ear", "cleft", "chin")
