"""The joint shape of a model that finds more landmarks than its parent did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.joint_shape import JointShape
from DenseLandmarksLib.landmarks.similarity import align

FloatArray = NDArray[np.float64]


def shown_with_shape(points: FloatArray, rows: Sequence[int]) -> NDArray[np.bool_]:
    """Which of N landmarks some case of ``points`` (M, N, D), NaN unknown, shows beside D of those at ``rows``.

    So many make a pose, in which :func:`grown_shape` can say where another one lies.
    """
    is_known = np.asarray(np.isfinite(points).all(axis=2))
    has_pose = is_known[:, list(rows)].sum(axis=1) >= points.shape[2]
    return np.asarray(is_known[has_pose].any(axis=0))


def grown_shape(parent: JointShape, points: FloatArray, rows: Sequence[int]) -> JointShape:
    """``parent`` with the landmarks that it lacks, put where the cases' ``points`` (M, N, D) have them, in mm, NaN unknown.

    ``rows`` says where each of the parent's landmarks stands among the N. Each case is brought to the parent's mean by the
    landmarks that both have. What was learned of the old landmarks stays: no mode moves a new one. Its residual is the spread
    over the cases, shrunk towards the radius of the whole shape as if one more case had said no more than that: few
    cases know little.

    Raises :class:`InputError` where no case shows a new landmark beside D old ones, see :func:`shown_with_shape`.
    """
    dimension, count = parent.mean_mm.shape[1], points.shape[1]
    old = np.array(rows, np.intp)
    new = np.setdiff1d(np.arange(count), old)
    if not shown_with_shape(points, rows)[new].all():
        raise InputError(
            f"expected every new landmark in a case beside {dimension} that the shape knows, got one that is in none. Verify "
            "them where it was placed."
        )
    aligned = np.full((len(points), count, dimension), np.nan)
    for case, at in enumerate(points):
        known = np.isfinite(at[old]).all(axis=1)
        if known.sum() >= dimension:
            aligned[case] = align(parent.mean_mm[known], at[old][known]).undo(at)
    seen = np.isfinite(aligned).all(axis=2)
    mean = np.zeros((count, dimension))
    residual = np.zeros(count)
    mean[old], residual[old] = parent.mean_mm, parent.residual_sd_mm
    for row in new:
        own = aligned[seen[:, row], row]
        mean[row] = own.mean(axis=0)
        squared = ((own - mean[row]) ** 2).sum() / dimension
        residual[row] = np.sqrt((parent.radius_mm**2 + squared) / (len(own) + 1))
    modes = np.zeros((len(parent.modes), count, dimension))
    modes[:, old] = parent.modes
    # Centred about all of its landmarks, as joint shapes are.
    return JointShape(mean - mean.mean(axis=0), modes, parent.mode_sd_mm, residual, parent.size_sd, parent.turn_sd_rad)
