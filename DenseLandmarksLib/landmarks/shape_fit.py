"""Predicted landmarks and the joint shape: find the pose that most of them agree on, then let each inform the others.

With x the landmarks, ``x = pose(mean + modes b + e)``, and the prediction ``z = x + n``: b and e are
normal with the deviations of the :class:`JointShape`, n with the covariance of the prediction. A prediction
can be plainly wrong, so the fit replaces the normal distribution of ``z``, and those of the size and the turn of the
patient, by Student's (Lange, Little and Taylor 1989); its maximum is found by weighting again and again, from several
starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb, gamma, lgamma, log, pi
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DenseLandmarksLib.landmarks.joint_shape import JointShape
from DenseLandmarksLib.landmarks.similarity import Similarity, align, step_directions, turn_of

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Degrees of freedom of Student's distribution, the usual choice where data are too few to estimate them (ibid.).
FREEDOM = 4.0
# Share of the predictions that is taken to be plainly wrong before one sees them.
WRONG_BEFOREHAND = 0.1
# As many groups of D landmarks as find three right ones among 30 % wrong ones but twice in 10^9 (0.657^48).
STARTS = 48
REFINED = 4
ROUNDS = 50
LEAST_WEIGHT = 1e-6


@dataclass(frozen=True)
class FittedShape:
    """The joint shape in the pose, and with the coefficients, that most of the predicted landmarks agree on.

    Attributes
    ----------
    points : (N, D), of every landmark, also of one that was not predicted, in the frame of the predicted points.
    weights : (N,), how much each prediction counts beside its covariance, 0 (wrong, or not predicted) to about 1.
    outlier_probability : (N,), that the prediction is plainly wrong given the others; NaN where there is none.
    residual_sd : (N,), Mahalanobis distance of the prediction from where the shape and the *other* predictions expect
        it, in standard deviations of that difference; about sqrt(D) where all is well, NaN where there is none.
    pose : the similarity from millimetres of the shape.
    coefficients : (K,), of the modes, in mm.
    """

    points: FloatArray
    weights: FloatArray
    outlier_probability: FloatArray
    residual_sd: FloatArray
    pose: Similarity
    coefficients: FloatArray


@dataclass(frozen=True)
class Combined:
    """What prediction and shape together say: points (N, D), their covariance (N, D, D) and the joint (N D, N D)."""

    points: FloatArray
    covariance: FloatArray
    joint_covariance: FloatArray


class _Predicted(NamedTuple):
    """What is fitted to: points (N, D), their covariances (N, D, D) and which of them count (N,)."""

    points: FloatArray
    covariance: FloatArray
    seen: BoolArray


class _Place(NamedTuple):
    """Where the shape is, and which: the pose and the coefficients (K,) of the modes."""

    pose: Similarity
    coefficients: FloatArray


@dataclass(frozen=True)
class _Linear:
    """Shape, pose and coefficients made linear: points (N, D) move along ``directions`` (N, D, P + K).

    ``prior`` (P + K,) is the precision of the steps and ``pull`` (P + K,) what it says of this place;
    ``noise`` (N, D, D) is the residual of the shape.
    """

    points: FloatArray
    directions: FloatArray
    prior: FloatArray
    pull: FloatArray
    noise: FloatArray


def fit_joint_shape(
    shape: JointShape, points: ArrayLike, covariance: ArrayLike, present: ArrayLike | None = None, seed: int = 0
) -> FittedShape:
    """Fit the shape to predicted points (N, D) with covariances (N, D, D), in mm, by robust maximum a posteriori.

    ``present`` (N,) bool says which predictions count; those that are not finite never do. About 30 % of them may be
    plainly wrong. ``seed`` draws the groups of D landmarks from which the fit starts.

    Raises ``ValueError`` for other shapes, and for fewer landmarks that count than have a pose: D, or two where it is
    known how patients lie.
    """
    count, dimension = shape.mean_mm.shape
    points, covariance = np.asarray(points, np.float64), np.asarray(covariance, np.float64)
    if points.shape != (count, dimension) or covariance.shape != (count, dimension, dimension):
        raise ValueError(
            f"expected points ({count}, {dimension}) and a covariance each, got {points.shape} and {covariance.shape}"
        )
    seen = np.isfinite(points).all(axis=1) & np.isfinite(covariance).all(axis=(1, 2))
    if present is not None:
        seen = seen & np.asarray(present, bool)
    fewest = 2 if np.isfinite(shape.turn_sd_rad) else dimension
    if seen.sum() < fewest:
        raise ValueError(f"the pose of this shape needs {fewest} landmarks, got {seen.sum()}")
    predicted = _Predicted(points, covariance, seen)
    none = np.zeros(len(shape.mode_sd_mm))
    starts = [_Place(pose, none) for pose in _start_poses(shape, predicted, seed)]
    starts.sort(key=lambda place: _cost(shape, place, predicted))
    ends = [_refine(shape, place, predicted) for place in starts[:REFINED]]
    best = min(ends, key=lambda place: _cost(shape, place, predicted))
    linear = _linearise(shape, best)
    probability, distance = _judge(linear, predicted, shape.radius_mm * best.pose.scale)
    weights = np.where(seen, (1 - probability) * (FREEDOM + dimension) / (FREEDOM + distance**2), 0.0)
    return FittedShape(
        linear.points,
        np.minimum(weights, 1.0),
        np.where(seen, probability, np.nan),
        np.where(seen, distance, np.nan),
        best.pose,
        best.coefficients,
    )


def combine(shape: JointShape, points: ArrayLike, covariance: ArrayLike, fitted: FittedShape) -> Combined:
    """The landmarks given the predicted points (N, D), their covariances (N, D, D) and the shape.

    The posterior of the linear Gaussian model about ``fitted``, the fit of the same points, in which a prediction of
    weight w has the covariance C / w. What was not predicted, or is wrong, is where the others and the shape expect it.
    Pose and modes are uncertain too: the joint covariance says what one correction would mean for the others.
    """
    points, covariance = np.asarray(points, np.float64), np.asarray(covariance, np.float64)
    used = fitted.weights > LEAST_WEIGHT
    linear = _linearise(shape, _Place(fitted.pose, fitted.coefficients))
    count, dimension = points.shape
    of_prediction = np.zeros_like(linear.noise)
    of_prediction[used] = covariance[used] / fitted.weights[used, None, None]
    precision = np.zeros_like(linear.noise)
    precision[used] = np.linalg.inv(linear.noise[used] + of_prediction[used])
    off = np.where(used[:, None], points - linear.points, 0.0)
    matrix, side = _normal_equations(linear, precision, off)
    spread = np.linalg.inv(matrix)
    moved = linear.directions @ (spread @ side)

    # x | z, steps = A steps + gain (z - A steps): how far each residual e follows its own prediction.
    gain = linear.noise @ precision
    away = np.eye(dimension) - gain
    along = (away @ linear.directions).reshape(count * dimension, -1)
    joint = (along @ spread @ along.T).reshape(count, dimension, count, dimension)
    each = np.arange(count)
    joint[each, :, each] += away @ linear.noise
    size = count * dimension
    matrix = joint.reshape(size, size)
    matrix = (matrix + matrix.T) / 2
    marginal = matrix.reshape(count, dimension, count, dimension)[each, :, each]
    followed = np.einsum("nab,nb->na", gain, off - moved)
    return Combined(linear.points + moved + followed, marginal, matrix)


def _start_poses(shape: JointShape, predicted: _Predicted, seed: int) -> list[Similarity]:
    """Poses by all landmarks, by groups of D of them, and the mean pose at the median place."""
    points, seen = predicted.points, predicted.seen
    rows = np.flatnonzero(seen)
    dimension = points.shape[1]
    if comb(len(rows), dimension) <= STARTS:
        groups = [np.array(group) for group in combinations(rows, dimension)]
    else:
        generator = np.random.default_rng(seed)
        groups = [generator.choice(rows, dimension, replace=False) for _ in range(STARTS)]
    poses = [align(shape.mean_mm[group], points[group]) for group in (rows, *groups)]
    # Some D landmarks cannot have said anything of the size, as two in one place.
    poses = [pose for pose in poses if abs(log(max(pose.scale, 1e-9))) < max(5 * shape.size_sd, 0.5)]
    middle = np.median(points[rows] - shape.mean_mm[rows], axis=0)
    return [*poses, Similarity(1.0, np.eye(dimension), middle)]


def _linearise(shape: JointShape, place: _Place) -> _Linear:
    pose, coefficients = place
    dimension = shape.mean_mm.shape[1]
    points = pose.apply(shape.at(coefficients))
    modes = pose.scale * shape.modes @ pose.rotation.T
    directions = np.concatenate([step_directions(points, pose.shift), modes.transpose(1, 2, 0)], axis=2)
    # A patient may lie, or measure, as none of the few did that the shape was built from: these are Student's, too.
    turn_rad = turn_of(pose.rotation)
    turn, size = turn_rad / shape.turn_sd_rad, log(pose.scale) / shape.size_sd
    turn_precision = (FREEDOM + len(turn)) / (FREEDOM + turn @ turn) / shape.turn_sd_rad**2
    size_precision = (FREEDOM + 1) / (FREEDOM + size**2) / shape.size_sd**2
    prior = np.concatenate(
        [
            np.zeros(dimension),
            np.full(len(turn), turn_precision),
            [size_precision],
            shape.mode_sd_mm**-2.0,
        ]
    )
    here = np.concatenate([np.zeros(dimension), turn_rad, [log(pose.scale)], coefficients])
    noise = np.multiply.outer((pose.scale * shape.residual_sd_mm) ** 2, np.eye(dimension))
    # Nothing is known of the place, and of the turn where patients lie anyhow: as good as nothing can be inverted.
    free = prior == 0
    reach = 1e3 * shape.radius_mm * pose.scale
    prior[free] = np.where(np.arange(len(prior)) < dimension, reach**-2.0, 1e-6)[free]
    return _Linear(points, directions, prior, -np.where(free, 0.0, prior) * here, noise)


def _normal_equations(linear: _Linear, precision: FloatArray, off: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Matrix and right side of the steps that bring the points ``off`` (N, D) nearer."""
    unknowns = linear.directions.shape[2]
    weighted = (precision @ linear.directions).reshape(-1, unknowns)
    matrix = weighted.T @ linear.directions.reshape(-1, unknowns)
    matrix[np.diag_indices_from(matrix)] += linear.prior
    return matrix, weighted.T @ off.ravel() + linear.pull


def _squared_distances(noise: FloatArray, off: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("na,na->n", off, np.linalg.solve(noise, off[:, :, None])[:, :, 0]))


def _cost(shape: JointShape, place: _Place, predicted: _Predicted) -> float:
    """The negative logarithm of the posterior, but for a constant."""
    points, covariance, seen = predicted
    pose, coefficients = place
    dimension = points.shape[1]
    linear = _linearise(shape, place)
    noise = linear.noise[seen] + covariance[seen]
    squared = _squared_distances(noise, points[seen] - linear.points[seen])
    turn = turn_of(pose.rotation) / shape.turn_sd_rad
    of_pose = (FREEDOM + len(turn)) * log(1 + turn @ turn / FREEDOM)
    of_pose += (FREEDOM + 1) * log(1 + (log(pose.scale) / shape.size_sd) ** 2 / FREEDOM)
    fit = (FREEDOM + dimension) * np.log1p(squared / FREEDOM).sum() + np.linalg.slogdet(noise)[1].sum()
    return float(fit + of_pose + ((coefficients / shape.mode_sd_mm) ** 2).sum()) / 2


def _refine(shape: JointShape, place: _Place, predicted: _Predicted) -> _Place:
    """Weighted Gauss-Newton steps until nothing moves by a hundredth of a residual."""
    points, covariance, seen = predicted
    dimension = points.shape[1]
    of_pose = dimension * (dimension + 1) // 2 + 1
    for _ in range(ROUNDS):
        linear = _linearise(shape, place)
        noise = linear.noise[seen] + covariance[seen]
        off = np.zeros_like(points)
        off[seen] = points[seen] - linear.points[seen]
        precision = np.zeros_like(linear.noise)
        weight = (FREEDOM + dimension) / (FREEDOM + _squared_distances(noise, off[seen]))
        precision[seen] = weight[:, None, None] * np.linalg.inv(noise)
        step = np.asarray(np.linalg.solve(*_normal_equations(linear, precision, off)), np.float64)
        pose = place.pose.stepped(step[:of_pose], place.pose.shift)
        place = _Place(pose, place.coefficients + step[of_pose:])
        moved = np.abs(linear.directions @ step).max(axis=1)
        if (moved < 1e-2 * pose.scale * shape.residual_sd_mm).all():
            break
    return place


def _judge(linear: _Linear, predicted: _Predicted, radius: float) -> tuple[FloatArray, FloatArray]:
    """Outlier probability (N,) and Mahalanobis distance (N,) of every prediction, given all others.

    A wrong prediction lies anywhere in a ball of twice the shape's ``radius``; a right one is Student's about where
    the shape, fitted to the others, expects it.
    """
    points, covariance, seen = predicted
    dimension = points.shape[1]
    noise = linear.noise.copy()
    noise[seen] += covariance[seen]
    off = np.where(seen[:, None], points - linear.points, 0.0)
    weight = np.where(seen, (FREEDOM + dimension) / (FREEDOM + _squared_distances(noise, off)), 0.0)
    precision = weight[:, None, None] * np.linalg.inv(noise)
    matrix, side = _normal_equations(linear, precision, off)
    # Without its own part of the sums, a prediction is judged by the others alone.
    weighted = (precision @ linear.directions).transpose(0, 2, 1)
    spread = np.linalg.inv(matrix - weighted @ linear.directions)
    others = side - (weighted @ off[:, :, None])[:, :, 0]
    expected = (linear.directions @ (spread @ others[:, :, None]))[:, :, 0]
    total = noise + linear.directions @ spread @ linear.directions.transpose(0, 2, 1)
    squared = _squared_distances(total, off - expected)
    half = (FREEDOM + dimension) / 2
    constant = lgamma(half) - lgamma(FREEDOM / 2) - dimension / 2 * log(FREEDOM * pi)
    right = np.exp(constant - np.linalg.slogdet(total)[1] / 2 - half * np.log1p(squared / FREEDOM))
    ball = pi ** (dimension / 2) / gamma(dimension / 2 + 1) * (2 * radius) ** dimension
    wrong = WRONG_BEFOREHAND / ball
    return wrong / (wrong + (1 - WRONG_BEFOREHAND) * right), np.sqrt(squared)
