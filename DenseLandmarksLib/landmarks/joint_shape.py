"""The joint shape of a set of landmarks, in the plane or in space: what belongs together, whatever the pose.

A patient's landmarks are ``size * turn (mean + modes @ coefficients + residual) + shift``. The mean has the size and
the orientation of the average patient, so that millimetres of the shape are millimetres of that patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.similarity import Similarity, align, turn_of

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

ROUNDS = 50
# Share of the shape's radius below which no standard deviation falls, so that every covariance can be inverted.
SMALLEST_SHARE = 1e-4
# Patients who are turned by more than this (one radian in all directions is nearly anyhow) lie anyhow.
LIES_ANYHOW_RAD = 0.5


@dataclass(frozen=True)
class JointShape:
    """Mean, modes and what they leave, of N landmarks in D = 2 or 3 dimensions; all lengths in mm of the mean.

    Attributes
    ----------
    mean_mm : (N, D), centred at the origin, of the geometric mean size and the mean orientation of the patients.
    modes : (K, N, D), orthonormal as vectors of N * D numbers, the most varying first.
    mode_sd_mm : (K,), standard deviation of each mode's coefficient.
    residual_sd_mm : (N,), standard deviation of each component of what the modes leave of a landmark.
    size_sd : standard deviation of the natural logarithm of the patients' sizes.
    turn_sd_rad : standard deviation of each component of the patients' turns from the mean orientation; infinite where
        they lie anyhow.

    Raises
    ------
    ValueError : when shapes disagree, or a standard deviation is not positive.
    """

    mean_mm: FloatArray
    modes: FloatArray
    mode_sd_mm: FloatArray
    residual_sd_mm: FloatArray
    size_sd: float
    turn_sd_rad: float

    def __post_init__(self) -> None:
        if self.mean_mm.ndim != 2 or self.mean_mm.shape[1] not in (2, 3):
            raise ValueError(f"mean_mm must have shape (N, 2) or (N, 3), got {self.mean_mm.shape}")
        count, modes = len(self.mean_mm), len(self.mode_sd_mm)
        for name, shape in {
            "modes": (modes, *self.mean_mm.shape),
            "mode_sd_mm": (modes,),
            "residual_sd_mm": (count,),
        }.items():
            if np.shape(getattr(self, name)) != shape:
                raise ValueError(f"{name} must have shape {shape}, got {np.shape(getattr(self, name))}")
        positive = np.concatenate([self.mode_sd_mm, self.residual_sd_mm, [self.size_sd, self.turn_sd_rad]])
        if not (positive > 0).all():
            raise ValueError("the standard deviations of a joint shape must be positive")

    @property
    def radius_mm(self) -> float:
        """Root mean square distance of the landmarks from their centre."""
        return float(np.sqrt((self.mean_mm**2).sum(axis=1).mean()))

    def at(self, coefficients: FloatArray) -> FloatArray:
        """The shape (N, D) with these coefficients (K,) of the modes, in mm, in the pose of the mean."""
        return np.asarray(self.mean_mm + np.tensordot(coefficients, self.modes, 1))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "mean_mm": self.mean_mm.tolist(),
            "modes": self.modes.tolist(),
            "mode_sd_mm": self.mode_sd_mm.tolist(),
            "residual_sd_mm": self.residual_sd_mm.tolist(),
            "size_sd": self.size_sd,
            "turn_sd_rad": self.turn_sd_rad if np.isfinite(self.turn_sd_rad) else None,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> JointShape:
        """Read what :meth:`to_dict` made; raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        mean = np.asarray(raw["mean_mm"], np.float64)
        return cls(
            mean,
            np.asarray(raw["modes"], np.float64).reshape(-1, *mean.shape),
            np.asarray(raw["mode_sd_mm"], np.float64),
            np.asarray(raw["residual_sd_mm"], np.float64),
            float(raw["size_sd"]),
            np.inf if raw["turn_sd_rad"] is None else float(raw["turn_sd_rad"]),
        )


def build_joint_shape(shapes: ArrayLike, modes: int | float = 0.9) -> JointShape:
    """The joint shape of the annotated landmarks (M, N, D) of M patients, NaN where one is not annotated, in mm.

    Generalised Procrustes alignment without reflection (Gower 1975), then the principal modes of the covariance. Few
    patients exaggerate how landmarks belong together: all covariances are multiplied by the factor that loses least on
    average (Schaefer and Strimmer 2005, Table 2, target D), each landmark keeps its variance, and what the modes thereby
    lose is residual. What is not annotated is filled in by the conditional mean under that covariance,
    with its uncertainty added (Dempster, Laird and Rubin 1977).

    ``modes`` is how many modes there are, or, as a float, the share of the variance that they cover. They are at most
    M - 1 and at most the dimensions that N landmarks have beside their pose. Patients with fewer than D landmarks, which
    have no pose, are left out. Raises :class:`InputError` for fewer than three others and for a landmark that fewer
    than two of them have.
    """
    given = np.asarray(shapes, np.float64)
    if given.ndim != 3 or given.shape[2] not in (2, 3):
        raise InputError(f"expected landmarks of patients as (M, N, 2 or 3), got {given.shape}. Stack the patients.")
    dimension = given.shape[2]
    annotated: BoolArray = np.asarray(np.isfinite(given).all(axis=2))
    posed = annotated.sum(axis=1) >= dimension
    patients, annotated = given[posed], annotated[posed]
    if len(patients) < 3 or annotated.sum(axis=0).min() < 2:
        raise InputError(
            f"expected 3 patients with at least {dimension} landmarks and 2 for every landmark, got {len(patients)} and "
            f"{annotated.sum(axis=0).min(initial=0)}. Annotate more, or leave the landmark out."
        )
    mean, poses = procrustes_mean(patients, annotated)
    aligned = np.array([pose.undo(shape) for pose, shape in zip(poses, patients, strict=True)])
    aligned[~annotated] = np.nan
    mean, covariance, kept = shrunk_covariance(aligned, annotated, mean)
    smallest = SMALLEST_SHARE * np.sqrt((mean**2).sum(axis=1).mean())

    count = len(mean)
    free = count * dimension - (dimension * (dimension + 1) // 2 + 1)
    variances, vectors = np.linalg.eigh(kept)
    variances, vectors = np.maximum(variances[::-1], 0), vectors[:, ::-1].T
    wanted = modes
    if isinstance(modes, float):
        wanted = 1 + int(np.searchsorted(variances.cumsum(), modes * variances.sum()))
    number = max(0, min(int(wanted), len(patients) - 1, free, int((variances > smallest**2).sum())))
    left = np.diagonal(covariance) - (variances[:number, None] * vectors[:number] ** 2).sum(axis=0)
    residual = np.sqrt(np.maximum(left, 0).reshape(count, dimension).mean(axis=1))
    turns = np.array([turn_of(pose.rotation) for pose in poses])
    turn = float(np.sqrt((turns**2).sum(axis=0) / (len(poses) - 1)).max())
    return JointShape(
        mean_mm=mean,
        modes=vectors[:number].reshape(number, count, dimension),
        mode_sd_mm=np.sqrt(variances[:number]),
        residual_sd_mm=np.maximum(residual, smallest),
        size_sd=max(float(np.std(np.log([pose.scale for pose in poses]), ddof=1)), SMALLEST_SHARE),
        turn_sd_rad=np.inf if turn > LIES_ANYHOW_RAD else max(turn, SMALLEST_SHARE),
    )


def procrustes_mean(shapes: FloatArray, annotated: BoolArray) -> tuple[FloatArray, list[Similarity]]:
    """The mean (N, D) of aligned shapes (M, N, D), and the M similarities that bring the mean to each.

    The mean is centred, the geometric mean of the sizes is 1 and the mean of the turns is none.
    """
    mean = shapes[np.argmax(annotated.sum(axis=1))].copy()
    mean -= np.nanmean(mean, axis=0)
    size = float(np.sqrt(np.nansum(mean**2)))
    poses: list[Similarity] = []
    for _ in range(ROUNDS):
        poses, used = [], []
        for shape, seen in zip(shapes, annotated, strict=True):
            shared = seen & np.isfinite(mean).all(axis=1)
            if shared.sum() >= shapes.shape[2]:
                poses.append(align(mean[shared], shape[shared]))
                used.append(poses[-1].undo(np.where(seen[:, None], shape, np.nan)))
        known = np.isfinite(used).all(axis=2).any(axis=0)
        updated = np.full_like(mean, np.nan)
        updated[known] = np.nanmean(np.array(used)[:, known], axis=0)
        updated -= updated[known].mean(axis=0)
        # Least squares shrinks the mean a little in every round.
        if known.all():
            updated *= size / np.linalg.norm(updated)
        still = known.all() and np.isfinite(mean).all() and np.abs(updated - mean).max() < 1e-9 * np.abs(mean).max()
        mean = updated
        if still:
            break
    if len(poses) < len(shapes) or not np.isfinite(mean).all():
        raise InputError(
            "expected patients whose landmarks overlap, got some that share too few with the others. Leave them out."
        )
    growth = float(np.exp(np.mean(np.log([pose.scale for pose in poses]))))
    left, _, right = np.linalg.svd(np.sum([pose.rotation for pose in poses], axis=0))
    sign = np.ones(len(left))
    sign[-1] = np.sign(np.linalg.det(left @ right))
    mean = growth * mean @ ((left * sign) @ right).T
    poses = [align(mean[seen], shape[seen]) for shape, seen in zip(shapes, annotated, strict=True)]
    return mean, poses


def shrunk_covariance(
    aligned: FloatArray, annotated: BoolArray, mean: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean (N, D), covariance (N D, N D) after shrinking, and what of it was kept of the sample's covariance.

    ``aligned`` (M, N, D) is NaN where ``annotated`` (M, N) is not. The difference of the two covariances is diagonal.
    """
    patients, count, dimension = aligned.shape
    data, seen = aligned.reshape(patients, -1), np.repeat(annotated, dimension, axis=1)
    centre = mean.ravel()
    filled = np.where(seen, data, centre)
    covariance = kept = np.diag(filled.var(axis=0, ddof=1))
    for _ in range(ROUNDS if not seen.all() else 1):
        before = covariance
        unknown = np.zeros_like(covariance)
        for row in np.flatnonzero(~seen.all(axis=1)):
            here, gone = np.flatnonzero(seen[row]), np.flatnonzero(~seen[row])
            gain = np.linalg.lstsq(before[np.ix_(here, here)], before[np.ix_(here, gone)], rcond=None)[0].T
            filled[row, gone] = centre[gone] + gain @ (data[row, here] - centre[here])
            unknown[np.ix_(gone, gone)] += before[np.ix_(gone, gone)] - gain @ before[np.ix_(here, gone)]
        centre = filled.mean(axis=0)
        away = filled - centre
        sample = (away.T @ away + unknown) / (patients - 1)
        own = np.diag(np.repeat(np.diagonal(sample).reshape(count, dimension).mean(axis=1), dimension))
        share = share_to_shrink(away, dimension)
        kept = (1 - share) * sample
        covariance = kept + share * own
        if np.abs(covariance - before).max() <= 1e-4 * np.abs(covariance).max():
            break
    return centre.reshape(count, dimension), covariance, kept


def share_to_shrink(away: FloatArray, dimension: int) -> float:
    """Which share (0..1) of the covariances between landmarks is noise, of M centred samples (M, N D).

    Schaefer and Strimmer (2005), over the pairs of different landmarks: the same in every frame.
    """
    number, size = away.shape
    mean = away.T @ away / number
    spread = (away**2).T @ away**2 - number * mean**2  # sum over samples of (x_i x_j - mean)^2
    landmark = np.arange(size) // dimension
    others = landmark[:, None] != landmark
    noise = number / (number - 1) ** 3 * spread[others].sum()
    signal = ((number / (number - 1) * mean[others]) ** 2).sum()
    return float(np.clip(noise / signal, 0, 1)) if signal > 0 else 1.0
