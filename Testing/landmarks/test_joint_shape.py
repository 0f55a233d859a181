"""What belongs together is learned from few patients, in any pose, some of them annotated in part."""

from __future__ import annotations

import json

import numpy as np
import pytest

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.joint_shape import JointShape, build_joint_shape
from DenseLandmarksLib.landmarks.similarity import Similarity, align, step_directions, turn_matrix, turn_of
from Testing.landmarks.patients import draw_patients

BOTH = pytest.mark.parametrize("dimension", [2, 3])


def distances(shape: JointShape) -> np.ndarray:
    return np.linalg.norm(shape.mean_mm[:, None] - shape.mean_mm[None], axis=2)


# ---- similarities -------------------------------------------------------------------------------------------------------


@BOTH
def test_a_similarity_is_found_again_and_never_mirrors(dimension: int) -> None:
    generator = np.random.default_rng(1)
    points = generator.normal(size=(8, dimension))
    turn = np.array([2.5]) if dimension == 2 else np.array([1.0, -2.0, 0.5])
    true = Similarity(3.0, turn_matrix(turn, dimension), np.arange(1.0, dimension + 1))
    found = align(points, true.apply(points))
    assert found.scale == pytest.approx(3)
    np.testing.assert_allclose(found.rotation, true.rotation, atol=1e-12)
    np.testing.assert_allclose(found.shift, true.shift, atol=1e-12)
    np.testing.assert_allclose(turn_of(found.rotation), turn, atol=1e-12)
    np.testing.assert_allclose(found.undo(found.apply(points)), points, atol=1e-12)
    mirrored = points * np.r_[-1.0, np.ones(dimension - 1)]
    assert np.linalg.det(align(points, mirrored).rotation) == pytest.approx(1)


@BOTH
def test_small_steps_of_a_similarity_move_points_as_their_directions_say(dimension: int) -> None:
    generator = np.random.default_rng(2)
    points, centre = generator.normal(size=(5, dimension)), generator.normal(size=dimension)
    directions = step_directions(points, centre)
    here = Similarity(1.0, np.eye(dimension), np.zeros(dimension))
    step = 1e-6 * generator.normal(size=directions.shape[2])
    moved = here.stepped(step, centre).apply(points) - points
    np.testing.assert_allclose(moved, directions @ step, atol=1e-10)


# ---- the shape ----------------------------------------------------------------------------------------------------------


@BOTH
def test_mean_modes_and_residual_are_those_that_patients_were_drawn_from(dimension: int) -> None:
    patients = draw_patients(12, dimension)
    built = build_joint_shape(patients.draw(400, 0), 2)
    pose = align(built.mean_mm, patients.shape.mean_mm)
    np.testing.assert_allclose(pose.apply(built.mean_mm), patients.shape.mean_mm, atol=1.0)
    assert pose.scale == pytest.approx(1, abs=0.02)
    turned = (built.modes @ pose.rotation.T).reshape(2, -1)
    likeness = np.abs((turned * patients.shape.modes.reshape(2, -1)).sum(axis=1))
    assert (likeness > 0.97).all()
    np.testing.assert_allclose(built.mode_sd_mm, patients.shape.mode_sd_mm, rtol=0.15)
    np.testing.assert_allclose(built.residual_sd_mm, patients.shape.residual_sd_mm, rtol=0.3)
    assert built.size_sd == pytest.approx(0.1, rel=0.15)
    assert np.isinf(built.turn_sd_rad)


@BOTH
def test_the_pose_of_the_patients_is_no_part_of_the_shape(dimension: int) -> None:
    patients = draw_patients(9, dimension).draw(12, 3)
    generator = np.random.default_rng(4)
    elsewhere = np.array(
        [
            2 * points @ turn_matrix(generator.normal(0, 2, 1 if dimension == 2 else 3), dimension).T + 100
            for points in patients
        ]
    )
    here, there = build_joint_shape(patients, 3), build_joint_shape(elsewhere, 3)
    np.testing.assert_allclose(distances(there), 2 * distances(here), rtol=1e-6)
    np.testing.assert_allclose(there.mode_sd_mm, 2 * here.mode_sd_mm, rtol=1e-6)
    np.testing.assert_allclose(there.size_sd, here.size_sd, rtol=1e-6)
    # Residuals are alike in all directions of each frame, so the same but for how components are averaged.
    np.testing.assert_allclose(there.residual_sd_mm, 2 * here.residual_sd_mm, rtol=1e-6)


def test_patients_who_lie_alike_give_a_shape_that_lies_as_they_do() -> None:
    patients = draw_patients(6, 3, turn_rad=0.1)
    built = build_joint_shape(patients.draw(60, 5), 2)
    assert built.turn_sd_rad == pytest.approx(0.1, rel=0.35)
    assert np.linalg.norm(turn_of(align(built.mean_mm, patients.shape.mean_mm).rotation)) < 0.1


@BOTH
def test_what_is_not_annotated_is_made_up_from_what_is(dimension: int) -> None:
    patients = draw_patients(10, dimension, residual_mm=0.3)
    shapes = patients.draw(80, 6)
    whole = build_joint_shape(shapes, 2)
    missing = np.random.default_rng(7).random(shapes.shape[:2]) < 0.25
    missing[0] = False
    shapes[missing] = np.nan
    partial = build_joint_shape(shapes, 2)
    np.testing.assert_allclose(distances(partial), distances(whole), atol=1.0)
    # Filled with the mean position they would be smaller: a quarter of the coordinates would not vary at all.
    np.testing.assert_allclose(partial.mode_sd_mm, whole.mode_sd_mm, rtol=0.12)


def test_a_landmark_that_many_lack_is_not_taken_to_vary_less() -> None:
    patients, ratios = draw_patients(8, 3, modes=1, residual_mm=2.0), []
    for seed in range(4):
        shapes = patients.draw(120, seed)
        whole = build_joint_shape(shapes, 1).residual_sd_mm[4]
        shapes[np.arange(120) % 3 > 0, 4] = np.nan
        ratios.append(build_joint_shape(shapes, 1).residual_sd_mm[4] / whole)
    assert 0.92 < np.mean(ratios) < 1.15


def test_few_patients_do_not_make_chance_a_mode() -> None:
    patients = draw_patients(30, 3, modes=0).draw(6, 8)
    built = build_joint_shape(patients, 5)
    # Five modes describe six patients exactly; a seventh would be a millimetre away everywhere.
    assert np.median(built.residual_sd_mm) > 0.7
    related = build_joint_shape(draw_patients(30, 3, modes=1, residual_mm=0.1).draw(6, 8), 5)
    assert related.mode_sd_mm[0] > 10 * np.median(related.residual_sd_mm)


def test_as_many_modes_as_asked_for_and_as_there_can_be() -> None:
    shapes = draw_patients(12, 3).draw(40, 9)
    assert len(build_joint_shape(shapes, 4).mode_sd_mm) == 4
    assert len(build_joint_shape(shapes, 0).mode_sd_mm) == 0
    # Two modes hold nearly all of the variance.
    assert len(build_joint_shape(shapes, 0.9).mode_sd_mm) == 2
    assert len(build_joint_shape(shapes[:4], 0.999).mode_sd_mm) <= 3
    four = draw_patients(4, 3).draw(40, 9)
    assert len(build_joint_shape(four, 12).mode_sd_mm) <= 5  # 12 coordinates less 7 of the pose


@pytest.mark.parametrize("turn_rad", [0.1, 2.0])
def test_a_shape_survives_its_file(turn_rad: float) -> None:
    built = build_joint_shape(draw_patients(7, 3, turn_rad=turn_rad).draw(20, 10), 3)
    again = JointShape.from_dict(json.loads(json.dumps(built.to_dict(), allow_nan=False)))
    for name in built.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(again, name), getattr(built, name))
    empty = build_joint_shape(draw_patients(7, 3).draw(20, 10), 0)
    assert JointShape.from_dict(empty.to_dict()).modes.shape == (0, 7, 3)


def test_a_shape_that_contradicts_itself_is_not_read() -> None:
    raw = build_joint_shape(draw_patients(7, 3).draw(20, 10), 3).to_dict()
    with pytest.raises(ValueError, match="residual_sd_mm"):
        JointShape.from_dict({**raw, "residual_sd_mm": [1.0]})
    with pytest.raises(ValueError, match="positive"):
        JointShape.from_dict({**raw, "size_sd": 0})


def test_too_little_to_learn_from_is_said() -> None:
    shapes = draw_patients(7, 3).draw(5, 11)
    with pytest.raises(InputError, match="3 patients"):
        build_joint_shape(shapes[:2])
    hardly = shapes.copy()
    hardly[1:, 4] = np.nan
    with pytest.raises(InputError, match="2 for every landmark"):
        build_joint_shape(hardly)
    with pytest.raises(InputError, match="expected landmarks"):
        build_joint_shape(shapes[0])
    # A patient of whom two points are known has no pose: the others are enough.
    hardly = shapes.copy()
    hardly[0, 2:] = np.nan
    np.testing.assert_allclose(build_joint_shape(hardly).mean_mm, build_joint_shape(shapes[1:]).mean_mm)
