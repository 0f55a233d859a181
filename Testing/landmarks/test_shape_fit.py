"""Landmarks that a model got plainly wrong are found out by the others, and uncertain ones are helped by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2

from DenseLandmarksLib.landmarks.joint_shape import JointShape
from DenseLandmarksLib.landmarks.shape_fit import Combined, combine, fit_joint_shape
from DenseLandmarksLib.landmarks.similarity import Similarity, step_directions, turn_matrix, turn_of
from Testing.landmarks.patients import draw_patients

FloatArray = NDArray[np.float64]
BOTH = pytest.mark.parametrize("dimension", [2, 3])


def errors_of(points: FloatArray, truth: FloatArray) -> FloatArray:
    return np.linalg.norm(points - truth, axis=1)


def uneven_covariances(count: int, dimension: int, seed: int, sd_mm: float = 2.0) -> FloatArray:
    """Covariances (N, D, D) of different size and direction."""
    generator = np.random.default_rng(seed)
    axes = np.linalg.qr(generator.normal(size=(count, dimension, dimension)))[0]
    deviation = sd_mm * np.exp(generator.normal(0, 0.6, (count, dimension)))
    return np.asarray(np.einsum("nab,nb,ncb->nac", axes, deviation**2, axes))


def noise_of(covariance: FloatArray, seed: int) -> FloatArray:
    drawn = np.random.default_rng(seed).normal(size=covariance.shape[:2])
    return np.asarray(np.einsum("nab,nb->na", np.linalg.cholesky(covariance), drawn))


def predicted(
    shape: JointShape, truth: FloatArray, covariance: FloatArray, seed: int
) -> tuple[FloatArray, FloatArray, Combined]:
    points = truth + noise_of(covariance, seed)
    fitted = fit_joint_shape(shape, points, covariance)
    return points, fitted.points, combine(shape, points, covariance, fitted)


@BOTH
def test_a_patient_who_follows_the_shape_is_found_exactly(dimension: int) -> None:
    shape = replace(draw_patients(10, dimension).shape, residual_sd_mm=np.full(10, 1e-3))
    coefficients = np.array([7.0, -4.0])
    turn = np.array([2.0]) if dimension == 2 else np.array([1.5, -1.0, 0.7])
    pose = Similarity(1.08, turn_matrix(turn, dimension), np.arange(100.0, 100 + dimension))
    truth = pose.apply(shape.at(coefficients))
    fitted = fit_joint_shape(shape, truth, np.zeros((10, dimension, dimension)))
    np.testing.assert_allclose(fitted.points, truth, atol=1e-3)
    np.testing.assert_allclose(fitted.coefficients, coefficients, atol=1e-2)
    assert fitted.pose.scale == pytest.approx(1.08, rel=1e-3)
    assert (fitted.outlier_probability < 0.1).all()


@BOTH
def test_six_of_twenty_landmarks_far_off_do_not_pull_the_others(dimension: int) -> None:
    patients = draw_patients(20, dimension)
    covariance = uneven_covariances(20, dimension, 1, 1.0)
    for seed, truth in enumerate(patients.draw(5, 2)):
        points = truth + noise_of(covariance, seed)
        undisturbed = combine(patients.shape, points, covariance, fit_joint_shape(patients.shape, points, covariance))
        wrong = np.random.default_rng(seed).permutation(20) < 6
        # All to the same side, where they support each other.
        points[wrong] += 60 + 10 * np.random.default_rng(seed).normal(size=(6, dimension))
        fitted = fit_joint_shape(patients.shape, points, covariance)
        assert (fitted.outlier_probability[wrong] > 0.5).all()
        assert (fitted.outlier_probability[~wrong] < 0.5).all()
        assert fitted.residual_sd[wrong].min() > 5 > fitted.residual_sd[~wrong].max()
        combined = combine(patients.shape, points, covariance, fitted)
        assert errors_of(combined.points, truth).max() < 10
        np.testing.assert_allclose(combined.points[~wrong], undisturbed.points[~wrong], atol=2.0)


@BOTH
def test_a_cluster_of_wrong_landmarks_far_away_does_not_turn_the_others(dimension: int) -> None:
    patients = draw_patients(20, dimension)
    covariance = np.tile(np.eye(dimension), (20, 1, 1))
    for seed, truth in enumerate(patients.draw(5, 19)):
        points = truth + noise_of(covariance, seed)
        wrong = np.random.default_rng(seed + 5).permutation(20) < 6
        points[wrong] = truth[0] + 400 + noise_of(covariance, seed + 9)[wrong]
        fitted = fit_joint_shape(patients.shape, points, covariance)
        assert errors_of(fitted.points, truth).max() < 10


def test_landmarks_that_were_taken_for_each_other_are_found_out() -> None:
    # A similarity of all landmarks is then so far off that no small step leads from it to the right one.
    patients = draw_patients(8, 3)
    covariance = np.tile(np.eye(3), (8, 1, 1))
    for seed, truth in enumerate(patients.draw(40, 1)):
        points = truth + noise_of(covariance, seed)
        first, second = np.random.default_rng(seed).permutation(8)[:2]
        points[[first, second]] = points[[second, first]]
        assert errors_of(fit_joint_shape(patients.shape, points, covariance).points, truth).max() < 12


@BOTH
def test_a_prediction_is_judged_by_the_others_and_not_by_itself(dimension: int) -> None:
    patients = draw_patients(5, dimension, modes=1)
    squared = []
    for seed, truth in enumerate(patients.draw(40, 20)):
        covariance = uneven_covariances(5, dimension, seed)
        fitted = fit_joint_shape(patients.shape, truth + noise_of(covariance, seed + 3), covariance)
        squared.append((fitted.residual_sd**2).mean() / dimension)
    # As sure as the others are of it; with its own say in the fit it would be nearly nothing.
    assert 0.75 < np.mean(squared) < 1.35


def test_patients_are_expected_to_lie_and_to_measure_as_the_others_did() -> None:
    alike = draw_patients(6, 3, turn_rad=0.05).shape
    odd = Similarity(1.3, turn_matrix(np.array([0.0, 0.0, 0.3]), 3), np.zeros(3)).apply(alike.mean_mm)
    for variance, share in ((1e-4, (0.95, 1.05)), (1e4, (-0.05, 0.2))):
        pose = fit_joint_shape(alike, odd, np.tile(variance * np.eye(3), (6, 1, 1))).pose
        low, high = share
        # A sure prediction overrules it, an unsure one is overruled.
        assert low * 0.3 <= turn_of(pose.rotation)[2] <= high * 0.3
        assert low * np.log(1.3) <= np.log(pose.scale) <= high * np.log(1.3)


@BOTH
def test_the_result_turns_moves_and_grows_with_the_landmarks(dimension: int) -> None:
    patients = draw_patients(8, dimension)
    truth = patients.draw(1, 3)[0]
    covariance = uneven_covariances(8, dimension, 4)
    points = truth + noise_of(covariance, 5)
    points[2] += 80
    turn = np.array([-2.0]) if dimension == 2 else np.array([0.4, 2.0, -1.0])
    # In other units the shape has them, too.
    change = Similarity(2.5, turn_matrix(turn, dimension), np.full(dimension, -70.0))
    scaled = replace(
        patients.shape,
        mean_mm=2.5 * patients.shape.mean_mm,
        mode_sd_mm=2.5 * patients.shape.mode_sd_mm,
        residual_sd_mm=2.5 * patients.shape.residual_sd_mm,
    )
    turned = 2.5**2 * change.rotation @ covariance @ change.rotation.T
    fitted = fit_joint_shape(patients.shape, points, covariance)
    elsewhere = fit_joint_shape(scaled, change.apply(points), turned)
    np.testing.assert_allclose(elsewhere.points, change.apply(fitted.points), atol=0.05)
    np.testing.assert_allclose(elsewhere.outlier_probability, fitted.outlier_probability, atol=1e-2)
    here = combine(patients.shape, points, covariance, fitted)
    there = combine(scaled, change.apply(points), turned, elsewhere)
    np.testing.assert_allclose(there.points, change.apply(here.points), atol=0.05)
    expected = 2.5**2 * change.rotation @ here.covariance @ change.rotation.T
    np.testing.assert_allclose(there.covariance, expected, rtol=0.02, atol=0.05)


@BOTH
def test_prediction_and_shape_together_are_better_than_either(dimension: int) -> None:
    patients = draw_patients(15, dimension)
    errors = []
    for seed, truth in enumerate(patients.draw(15, 6)):
        points, fit, both = predicted(patients.shape, truth, uneven_covariances(15, dimension, seed), seed + 50)
        errors.append([errors_of(each, truth).mean() for each in (points, fit, both.points)])
    prediction, shape, combined = np.mean(errors, axis=0)
    assert combined < 0.7 * prediction
    assert combined < 0.95 * shape


@BOTH
def test_the_covariance_says_how_far_off_the_result_is(dimension: int) -> None:
    patients = draw_patients(10, dimension)
    inside, joint = [], []
    for seed, truth in enumerate(patients.draw(40, 7)):
        _, _, both = predicted(patients.shape, truth, uneven_covariances(10, dimension, seed), seed + 90)
        off = both.points - truth
        squared = np.einsum("na,nab,nb->n", off, np.linalg.inv(both.covariance), off)
        inside.append((squared <= chi2.ppf(0.9, dimension)).mean())
        joint.append(off.ravel() @ np.linalg.solve(both.joint_covariance, off.ravel()) / off.size)
    assert 0.85 < np.mean(inside) < 0.95
    assert 0.85 < np.mean(joint) < 1.15


@BOTH
def test_the_combination_is_the_product_of_two_gaussians(dimension: int) -> None:
    patients = draw_patients(6, dimension)
    shape, count = patients.shape, 6
    covariance = uneven_covariances(count, dimension, 8, 0.3)
    truth = patients.draw(1, 9)[0]
    points = truth + noise_of(covariance, 10)
    fitted = fit_joint_shape(shape, points, covariance)
    # Weights of one, and a size about which nothing is known, make it a textbook's.
    fitted = replace(fitted, weights=np.ones(count))
    shape = replace(shape, size_sd=1e3)
    both = combine(shape, points, covariance, fitted)
    size, pose = count * dimension, fitted.pose
    posed = pose.apply(shape.at(fitted.coefficients))
    moves = step_directions(posed, posed.mean(axis=0)).reshape(size, -1)
    moves = moves / np.linalg.norm(moves, axis=0)
    modes = (pose.scale * shape.modes @ pose.rotation.T).reshape(-1, size)
    prior = 1e8 * moves @ moves.T + (modes.T * shape.mode_sd_mm**2) @ modes
    prior += np.diag(np.repeat((pose.scale * shape.residual_sd_mm) ** 2, dimension))
    noise = np.zeros((count, dimension, count, dimension))
    noise[np.arange(count), :, np.arange(count)] = covariance
    known, of_prior = np.linalg.inv(noise.reshape(size, size)), np.linalg.inv(prior)
    covariance_of_both = np.linalg.inv(known + of_prior)
    mean = pose.apply(shape.mean_mm).ravel()
    expected = covariance_of_both @ (known @ points.ravel() + of_prior @ mean)
    np.testing.assert_allclose(both.points.ravel(), expected, atol=1e-3)
    np.testing.assert_allclose(both.joint_covariance, covariance_of_both, atol=1e-3)
    blocks = both.joint_covariance.reshape(count, dimension, count, dimension)
    np.testing.assert_allclose(both.covariance, blocks[np.arange(count), :, np.arange(count)])


def test_a_sure_prediction_stays_where_it_is() -> None:
    patients = draw_patients(9, 3)
    truth = patients.draw(1, 11)[0]
    covariance = uneven_covariances(9, 3, 12)
    covariance[4] = 1e-6 * np.eye(3)
    points, _, both = predicted(patients.shape, truth, covariance, 13)
    np.testing.assert_allclose(both.points[4], points[4], atol=0.01)
    assert np.trace(both.covariance[4]) < 1e-4


def test_a_landmark_that_is_not_there_is_where_the_others_expect_it() -> None:
    patients = draw_patients(9, 3)
    squared = []
    for seed, truth in enumerate(patients.draw(25, 14)):
        covariance = uneven_covariances(9, 3, seed, 0.5)
        points = truth + noise_of(covariance, seed)
        points[3] = np.nan
        points[5] += 1000.0
        present = np.arange(9) != 5
        fitted = fit_joint_shape(patients.shape, points, covariance, present)
        np.testing.assert_array_equal(np.flatnonzero(fitted.weights == 0), [3, 5])
        assert np.isnan(fitted.outlier_probability[[3, 5]]).all()
        both = combine(patients.shape, points, covariance, fitted)
        off = (both.points - truth)[[3, 5]]
        squared += list(np.einsum("na,nab,nb->n", off, np.linalg.inv(both.covariance[[3, 5]]), off))
    assert 0.7 < np.mean(squared) / 3 < 1.3


def test_four_landmarks_of_patients_who_lie_alike_tell_which_one_is_wrong() -> None:
    patients = draw_patients(4, 3, modes=1, turn_rad=0.1)
    covariance = np.tile(np.eye(3), (4, 1, 1))
    found, better = [], []
    for seed, truth in enumerate(patients.draw(25, 15)):
        points = truth + noise_of(covariance, seed)
        points[seed % 4] += 60 * np.array([0.6, -0.8, 0.0])
        fitted = fit_joint_shape(patients.shape, points, covariance)
        found.append(int(np.argmax(fitted.outlier_probability)) == seed % 4)
        combined = combine(patients.shape, points, covariance, fitted).points
        better.append(errors_of(combined, truth).mean() / errors_of(points, truth).mean())
    assert np.mean(found) >= 0.8
    assert np.median(better) < 0.5


def test_the_same_prediction_is_fitted_the_same_way_twice() -> None:
    patients = draw_patients(30, 3)
    truth = patients.draw(1, 16)[0]
    covariance = uneven_covariances(30, 3, 17)
    points = truth + noise_of(covariance, 18)
    first, second = (fit_joint_shape(patients.shape, points, covariance) for _ in range(2))
    np.testing.assert_array_equal(first.points, second.points)


def test_too_few_landmarks_have_no_pose() -> None:
    anyhow, alike = draw_patients(5, 3).shape, draw_patients(5, 3, turn_rad=0.1).shape
    covariance, two = np.tile(np.eye(3), (5, 1, 1)), np.arange(5) < 2
    with pytest.raises(ValueError, match="needs 3 landmarks, got 2"):
        fit_joint_shape(anyhow, anyhow.mean_mm, covariance, two)
    fitted = fit_joint_shape(alike, alike.mean_mm + 10, covariance, two)
    np.testing.assert_allclose(fitted.points, alike.mean_mm + 10, atol=0.1)
    with pytest.raises(ValueError, match="expected points"):
        fit_joint_shape(anyhow, anyhow.mean_mm[:4], covariance)
