"""The template: a mean shape free of pose, that can be saved, asked and added to."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.template import Template, build_template, mean_shape, umeyama

SHAPE = np.array([[0.0, 0.0], [40.0, 5.0], [55.0, 40.0], [30.0, 70.0], [-10.0, 45.0]])


def similarity(degrees: float, scale: float, shift: tuple[float, float]) -> tuple[NDArray[np.float64], Any]:
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return rotation, lambda points: scale * points @ rotation.T + np.array(shift)


def distance_after_alignment(shape: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Largest distance of corresponding points once the best similarity is taken out."""
    scale, rotation, shift = umeyama(shape, reference)
    return float(np.linalg.norm(scale * shape @ rotation.T + shift - reference, axis=1).max())


@pytest.mark.parametrize("degrees", [0, 37, -120, 180])
def test_umeyama_recovers_a_known_similarity(degrees: float) -> None:
    rotation, move = similarity(degrees, 1.7, (12.0, -30.0))
    scale, found, shift = umeyama(SHAPE, move(SHAPE))
    assert scale == pytest.approx(1.7)
    np.testing.assert_allclose(found, rotation, atol=1e-12)
    np.testing.assert_allclose(shift, [12.0, -30.0], atol=1e-9)


def test_umeyama_never_mirrors_a_patient() -> None:
    mirrored = SHAPE * [-1, 1]
    scale, rotation, shift = umeyama(SHAPE, mirrored)
    assert np.linalg.det(rotation) == pytest.approx(1)
    # The best that a turn can do: no other angle comes closer.
    best = ((scale * SHAPE @ rotation.T + shift - mirrored) ** 2).sum()
    for degrees in range(0, 360, 15):
        turn, _ = similarity(degrees, 1.0, (0.0, 0.0))
        turned = (SHAPE - SHAPE.mean(axis=0)) @ turn.T
        size = (turned * (mirrored - mirrored.mean(axis=0))).sum() / (turned**2).sum()
        other = ((size * turned - (mirrored - mirrored.mean(axis=0))) ** 2).sum()
        assert best <= other + 1e-9


def test_the_mean_shape_has_the_shape_that_only_pose_told_apart() -> None:
    """A plain mean of turned copies would shrink: the training images' poses would leak into the template."""
    poses = [similarity(d, s, t)[1] for d, s, t in [(0, 1, (0, 0)), (50, 1.3, (30, 9)), (-70, 0.8, (-5, 60))]]
    shapes = np.stack([pose(SHAPE) for pose in poses])
    mean = mean_shape(shapes)
    assert distance_after_alignment(mean, SHAPE) < 1e-4
    # It is put back where the chests are: at their mean position and their mean size.
    np.testing.assert_allclose(mean.mean(axis=0), shapes.mean(axis=(0, 1)), atol=1e-6)
    sizes = np.linalg.norm(shapes - shapes.mean(axis=1, keepdims=True), axis=(1, 2))
    assert np.linalg.norm(mean - mean.mean(axis=0)) == pytest.approx(sizes.mean())


def test_posing_each_training_shape_anew_leaves_the_mean_shape() -> None:
    rng = np.random.default_rng(0)
    shapes = SHAPE + rng.normal(0, 2, (12, *SHAPE.shape))
    posed = np.stack(
        [similarity(d, 1.0, (x, y))[1](s) for s, d, x, y in zip(shapes, *rng.uniform(-25, 25, (3, 12)), strict=True)]
    )
    assert distance_after_alignment(mean_shape(posed), mean_shape(shapes)) < 0.05


def test_the_papers_template_is_the_plain_mean() -> None:
    shapes = np.stack([SHAPE, similarity(60, 1.0, (10, 0))[1](SHAPE)])
    names = {"a": [str(i) for i in range(len(SHAPE))]}
    template = build_template({"a": shapes}, names, (100.0, 100.0), align=False)
    np.testing.assert_array_equal(template.structures[0].points_mm, shapes.mean(axis=0))


def test_no_triangle_covers_what_is_outside_the_contour() -> None:
    horseshoe = np.array([[0, 0], [30, 0], [30, 30], [20, 30], [20, 10], [10, 10], [10, 30], [0, 30]], float)
    template = build_template({"a": horseshoe[None]}, {"a": list("abcdefgh")}, (50.0, 50.0)).structures[0]
    corners = template.points_mm[template.triangles]
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    assert np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / 2 == pytest.approx(700)


@pytest.mark.parametrize("chart", ["cartesian", "polar"])
def test_a_saved_template_is_the_template(chest_template: Template, chart: Any) -> None:
    built = build_template(
        {s.name: s.points_mm[None] for s in chest_template.structures},
        {s.name: s.landmark_names for s in chest_template.structures},
        (300.0, 358.4),
        chart,
    ).with_landmark("heart", "apex", (0.2, 0.7))
    read = Template.from_json(built.to_json())
    assert read.field_of_view_mm == (300.0, 358.4)
    assert read.landmark_names == built.landmark_names
    for got, expected in zip(read.structures, built.structures, strict=True):
        assert (got.name, got.chart) == (expected.name, expected.chart)
        np.testing.assert_array_equal(got.triangles, expected.triangles)
        for array in ("points_mm", "uv", "landmark_uv"):
            np.testing.assert_allclose(getattr(got, array), getattr(expected, array), atol=1e-4)
    assert Template.from_json(read.to_json()).to_json() == read.to_json()


def test_text_that_is_no_template_is_refused(chest_template: Template) -> None:
    for text in ("", "[]", "{}", json.dumps({"structures": []})):
        with pytest.raises((KeyError, ValueError, TypeError)):
            Template.from_json(text)


def test_a_new_landmark_leaves_the_old_ones_and_the_old_template(chest_template: Template) -> None:
    before = chest_template.landmark_names
    more = chest_template.with_landmark("heart", "apex", (0.2, 0.7))
    assert chest_template.landmark_names == before
    assert set(more.landmark_names) - set(before) == {"apex"}
    heart, old = more.structure("heart"), chest_template.structure("heart")
    np.testing.assert_array_equal(heart.landmark_uv[:-1], old.landmark_uv)
    np.testing.assert_array_equal(heart.landmark_uv[-1], [0.2, 0.7])
    low, high = old.points_mm.min(axis=0), old.points_mm.max(axis=0)
    np.testing.assert_allclose(heart.position_at([[0.2, 0.7]])[0], low + np.array([0.6, 0.85]) * (high - low))


def test_a_name_cannot_mean_two_landmarks(chest_template: Template) -> None:
    with pytest.raises(ValueError, match="heart_01"):
        chest_template.with_landmark("left_lung", "heart_01", (0, 0))


def test_a_landmark_on_an_unknown_structure_is_told_which_there_are(chest_template: Template) -> None:
    with pytest.raises(KeyError, match=r"'liver'.*right_lung, left_lung, heart"):
        chest_template.with_landmark("liver", "dome", (0, 0))


# ---- landmark sets --------------------------------------------------------------------------------------------------


def landmark_set(**changed: Any) -> LandmarkSet:
    points = np.arange(9.0).reshape(3, 3)
    fields: dict[str, Any] = {
        "names": ("a", "b", "c"),
        "structures": ("heart", "lung", "heart"),
        "points_lps_mm": points,
        "predicted_lps_mm": points,
        "presence": (Presence.PRESENT,) * 3,
        "review": (Review.PREDICTED,) * 3,
        "confidence": np.ones(3),
        "covariance_mm2": np.zeros((3, 3, 3)),
        "template_uv": np.zeros((3, 2)),
    }
    return LandmarkSet(**{**fields, **changed})


def test_landmarks_are_found_by_structure_and_by_name() -> None:
    landmarks = landmark_set()
    assert len(landmarks) == 3
    np.testing.assert_array_equal(landmarks.of_structure("heart"), [0, 2])
    np.testing.assert_array_equal(landmarks.index_of(["c", "a"]), [2, 0])
    with pytest.raises(KeyError, match="d"):
        landmarks.index_of(["d"])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("structures", ("heart",)),
        ("points_lps_mm", np.zeros((3, 2))),
        ("predicted_lps_mm", np.zeros((2, 3))),
        ("presence", (Presence.PRESENT,) * 4),
        ("review", ()),
        ("confidence", np.ones((3, 1))),
        ("covariance_mm2", np.zeros((3, 2, 2))),
        ("template_uv", np.zeros((3, 3))),
    ],
)
def test_a_set_whose_parts_do_not_fit_is_refused_by_the_name_of_the_part(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        landmark_set(**{field: value})


def test_a_set_with_one_name_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="unique"):
        landmark_set(names=("a", "b", "a"))
