"""A corrected landmark takes its unreviewed neighbours along: a Gaussian prior, conditioned on what a person fixed.

The errors of a prediction are taken as jointly normal with covariance S. With annotator noise R, prediction ``x0`` and
the points F that a person fixed at ``z_F``, the others are expected at the conditional mean
``x0 + S[:, F] (S[F, F] + R)^-1 (z_F - x0_F)``. It always starts from the prediction: the order of the corrections is
nothing, and taking one back takes back what it moved.

A model need not know its S. Errors of landmarks belong together in two ways, which add up: a part of the structure is
*shifted* (alike in all directions, by distance), and its contour is right but the landmarks *slide* along it (in the
direction of the contour, by arc length, much farther). Structures do not move each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DenseLandmarksLib.landmarks.barycentric import interpolate_at
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.polygon import contour_tangents
from DenseLandmarksLib.landmarks.template import StructureTemplate, Template

FloatArray = NDArray[np.float64]

# Decisions that say where a landmark is. Unsure says only that a person looked: it neither moves nor moves others.
FIXED = frozenset({Review.VERIFIED, Review.CORRECTED, Review.PLACED})
# Share of the mean variance that is added where S[F, F] + R could be singular, as for two landmarks in one place.
JITTER = 1e-9
# Where errors are those that the model states of each landmark, what a person placed counts as the truth: R is this share
# of the landmark's own variance.
KNOWN_SHARE = 1e-3


@dataclass(frozen=True)
class Kernel:
    """How large the errors of a prediction are and how far they belong together.

    All are millimetres of the template, which has the size of the average patient: the errors of a small chest, or of
    an image without a spacing, are those of the average one at another scale. Without a template they are millimetres
    of the image. The values are chosen on the training cases of ``jsrt``, each predicted by a model trained without it
    (errors of 7.1 mm rms along the contour, 3.8 mm across it); around them hardly anything changes.

    Attributes
    ----------
    shift_sd_mm, shift_length_mm : standard deviation of each component, and the distance over which the correlation
        falls to 1/e.
    slide_sd_mm, slide_length_mm : the same along the contour, by arc length.
    noise_mm : standard deviation of each component of where a person puts a point.
    """

    shift_sd_mm: float = 4.0
    shift_length_mm: float = 30.0
    slide_sd_mm: float = 6.0
    slide_length_mm: float = 75.0
    noise_mm: float = 1.0


@dataclass(frozen=True)
class Propagation:
    """What stays the same while a person drags the points of one case; each drag is one call of :meth:`given`.

    Attributes
    ----------
    predicted_mm : (N, D), D = 2 in the plane of a radiograph or 3, NaN for a landmark that was not placed.
    covariance_mm2 : S, (N D, N D), of all components, point after point.
    noise_mm2 : R, (N, D, D), of where a person would put each point.

    Raises
    ------
    ValueError : when the shapes disagree.
    """

    predicted_mm: FloatArray
    covariance_mm2: FloatArray
    noise_mm2: FloatArray

    def __post_init__(self) -> None:
        count, dimension = self.predicted_mm.shape
        size = count * dimension
        for name, shape in (("covariance_mm2", (size, size)), ("noise_mm2", (count, dimension, dimension))):
            got = np.shape(getattr(self, name))
            if got != shape:
                raise ValueError(f"{name} must have shape {shape} for {count} points in {dimension}D, got {got}")

    @property
    def takes_along(self) -> bool:
        """Whether any point moves another."""
        count, dimension = self.predicted_mm.shape
        between = np.abs(self.covariance_mm2.reshape(count, dimension, count, dimension)).sum(axis=(1, 3))
        # Not by their sums: those of a block diagonal and of its trace may differ in the last bit.
        return bool((between[~np.eye(count, dtype=bool)] > 0).any())

    def given(self, fixed: ArrayLike, points_mm: ArrayLike, strength: float = 1.0) -> FloatArray:
        """Where all points (N, D) are expected once those of ``fixed`` (N,) bool are known to be at ``points_mm``.

        Fixed points are exactly where ``points_mm`` (N, D) has them, of which no other row is read. The others go
        ``strength`` (0 to 1) of the way from the prediction to the conditional mean. A point without a prediction
        tells nothing about others and is NaN unless it is fixed.

        Raises ``ValueError`` for a strength outside 0..1 and for a fixed point that is nowhere.
        """
        if not 0 <= strength <= 1:
            raise ValueError(f"expected a strength from 0 to 1, got {strength}")
        fixed, points = np.asarray(fixed, bool), np.asarray(points_mm, np.float64)
        if not np.isfinite(points[fixed]).all():
            raise ValueError("expected a position for every fixed point, got one that is not finite")
        moved = self.predicted_mm.copy()
        evidence = np.flatnonzero(fixed & np.isfinite(moved).all(axis=1))
        if strength > 0 and len(evidence):
            count, dimension = len(evidence), moved.shape[1]
            known = (evidence[:, None] * dimension + np.arange(dimension)).ravel()
            blocks = self.covariance_mm2[np.ix_(known, known)].reshape(count, dimension, count, dimension)
            each = np.arange(count)
            blocks[each, :, each] += self.noise_mm2[evidence]
            matrix = blocks.reshape(count * dimension, count * dimension)
            matrix[np.diag_indices_from(matrix)] += JITTER * matrix.trace() / len(matrix)
            residual = (points[evidence] - moved[evidence]).ravel()
            shift = self.covariance_mm2[:, known] @ np.linalg.solve(matrix, residual)
            moved += strength * shift.reshape(moved.shape)
        moved[fixed] = points[fixed]
        return moved


def distance_correlation(points: FloatArray, length: float) -> FloatArray:
    """Correlation (N, N) ``exp(-distance / length)`` of points (N, D)."""
    return np.asarray(np.exp(-np.linalg.norm(points[:, None] - points[None], axis=2) / length))


def arc_correlation(contour: FloatArray, length: float) -> FloatArray:
    """Correlation (P, P) ``exp(-arc / length)`` of the points of a closed contour (P, D), the shorter way round.

    Positive definite whatever the length (Gneiting 2013, Table 1, the powered exponential); smoother functions of the
    shorter way round, such as the Gaussian, are not.
    """
    edges = np.linalg.norm(np.roll(contour, -1, axis=0) - contour, axis=1)
    place = np.cumsum(edges) - edges
    way = np.abs(place[:, None] - place)
    return np.asarray(np.exp(-np.minimum(way, edges.sum() - way) / length))


def shift_covariance(positions_mm: FloatArray, dimension: int, kernel: Kernel) -> FloatArray:
    """Covariance (N, D, N, D) of landmarks that are shifted together, by the distance of ``positions_mm`` (N, any)."""
    correlation = kernel.shift_sd_mm**2 * distance_correlation(positions_mm, kernel.shift_length_mm)
    return np.asarray(np.einsum("mn,ab->manb", correlation, np.eye(dimension)))


def slide_covariance(tangents: FloatArray, contour_mm: FloatArray, kernel: Kernel) -> FloatArray:
    """Covariance (P, D, P, D) of points that slide along ``tangents`` (P, D), by arc length of ``contour_mm`` (P, 2)."""
    correlation = kernel.slide_sd_mm**2 * arc_correlation(contour_mm, kernel.slide_length_mm)
    return np.asarray(np.einsum("ma,mn,nb->manb", tangents, correlation, tangents))


def carried_covariance(
    structure: StructureTemplate, uv: FloatArray, is_own: NDArray[np.bool_], covariance: FloatArray
) -> FloatArray:
    """Covariance (M, D, M, D) of landmarks of a structure without a contour, each found for itself.

    The errors of the template's own landmarks, ``is_own`` (M,) in the template's order, are independent, with
    ``covariance`` (M, D, D). Landmarks that were looked up at ``uv`` (M, 2) lie between the own ones and carry their
    errors on, by the share that interpolation in the mean shape gives each, beside a covariance of their own.
    """
    count = len(covariance)
    share = np.zeros((count, count))
    share[is_own, is_own] = 1.0
    others = ~is_own & np.isfinite(uv).all(axis=1)
    if others.any() and is_own.sum() == len(structure.points_mm):
        weight = np.eye(len(structure.points_mm))
        share[np.ix_(others, is_own)] = interpolate_at(
            structure.points_mm, structure.triangles, weight, structure.position_at(uv[others])
        )
    joint = np.einsum("mk,kab,nk->manb", share, covariance, share)
    for row in np.flatnonzero(~is_own):
        joint[row, :, row] += covariance[row]
    return np.asarray(joint)


def landmark_propagation(
    landmarks: LandmarkSet, axes_lps: ArrayLike, template: Template | None = None, kernel: Kernel | None = None
) -> Propagation:
    """What corrections of a prediction will move, by the template's contours and the directions they have here.

    ``axes_lps`` (3, D) are the orthonormal directions in which landmarks may lie apart: the first two columns of the
    direction matrix for a radiograph, all three for a volume. Coordinates of the result are along these.

    A structure whose contour the template knows, and the prediction has whole, shifts and slides; its other landmarks
    shift with it, by distance in the template. Landmarks of which the template says that they are no contour move
    nobody but those that were looked up between them, see :func:`carried_covariance`. Those of other structures shift by
    distance in the image. ``kernel`` is the default one unless given.
    """
    kernel = kernel or Kernel()
    axes = np.asarray(axes_lps, np.float64)
    predicted = landmarks.predicted_lps_mm @ axes
    count, dimension = predicted.shape
    placed = np.asarray(np.isfinite(predicted).all(axis=1))
    contours = {}
    apart = {}
    for structure in template.structures if template is not None else ():
        if not structure.has_contour:
            apart[structure.name] = structure
        elif set(structure.contour_names) <= set(landmarks.names) and len(structure.points_mm) > 2:
            rows = landmarks.index_of(structure.contour_names)
            if placed[rows].all():
                contours[structure.name] = structure, rows
    scale = 1.0  # millimetres here per millimetre of the template
    if contours:
        here = np.vstack([predicted[rows] for _, rows in contours.values()])
        there = np.vstack([structure.points_mm for structure, _ in contours.values()])
        scale = max(float(np.linalg.norm(here - here.mean(axis=0)) / np.linalg.norm(there - there.mean(axis=0))), 1e-6)

    covariance = np.zeros((count, dimension, count, dimension))
    noise = np.tile((scale * kernel.noise_mm) ** 2 * np.eye(dimension), (count, 1, 1))
    each = np.arange(dimension)
    for name in dict.fromkeys(landmarks.structures):
        members = landmarks.of_structure(name)
        members = members[placed[members]]
        if name in apart:
            structure = apart[name]
            own = {landmark: place for place, landmark in enumerate(structure.point_names)}
            members = members[np.argsort([own.get(landmarks.names[row], len(own)) for row in members], kind="stable")]
            is_own = np.array([landmarks.names[row] in own for row in members], bool)
            sure = np.nan_to_num(axes.T @ landmarks.covariance_mm2[members] @ axes)
            joint = carried_covariance(structure, landmarks.template_uv[members], is_own, sure)
            covariance[np.ix_(members, each, members, each)] += joint
            noise[members] = (
                KNOWN_SHARE * np.maximum(sure.trace(axis1=1, axis2=2), 1e-6)[:, None, None] * np.eye(dimension)
            )
            continue
        positions = predicted[members] / scale
        if name in contours:
            structure, rows = contours[name]
            uv = landmarks.template_uv[members]
            looked_up = np.asarray(np.isfinite(uv).all(axis=1))
            uv[~looked_up] = structure.uv_at(predicted[rows], predicted[members[~looked_up]])
            positions = structure.position_at(uv)
            tangents = contour_tangents(predicted[rows])
            covariance[np.ix_(rows, each, rows, each)] += slide_covariance(tangents, structure.points_mm, kernel)
        covariance[np.ix_(members, each, members, each)] += shift_covariance(positions, dimension, kernel)
    size = count * dimension
    return Propagation(predicted, scale**2 * covariance.reshape(size, size), noise)


def propagate(
    landmarks: LandmarkSet, propagation: Propagation, axes_lps: ArrayLike, strength: float = 1.0
) -> LandmarkSet:
    """The landmarks with everything that nobody has reviewed moved to where the reviewed ones suggest.

    Verified, corrected and placed landmarks that are present are what is known, and stay. Landmarks still as predicted
    move, also absent ones whose place is a best guess: the guess follows. What has no predicted place does not move,
    nor does what a person left unsure or decided to be absent. ``propagation`` is that of :func:`landmark_propagation`
    for the same landmarks and ``axes_lps``.
    """
    axes = np.asarray(axes_lps, np.float64)
    fixed = np.array(
        [
            review in FIXED and presence is Presence.PRESENT
            for review, presence in zip(landmarks.review, landmarks.presence, strict=True)
        ],
        bool,
    )
    movable = np.array([review is Review.PREDICTED for review in landmarks.review], bool)
    movable &= np.isfinite(landmarks.predicted_lps_mm).all(axis=1)
    moved = propagation.given(fixed, landmarks.points_lps_mm @ axes, strength)
    points = landmarks.points_lps_mm.copy()
    step = (moved - propagation.predicted_mm)[movable]
    points[movable] = landmarks.predicted_lps_mm[movable] + step @ axes.T
    return replace(landmarks, points_lps_mm=points)
