"""How a radiograph has to be seen so that what people decided in it lies as a model's template has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.view import MIRRORED, View
from DenseLandmarksLib.landmarks.similarity import align
from DenseLandmarksLib.landmarks.template import Template

FloatArray = NDArray[np.float64]

# Fewer landmarks fit a mirror image nearly as well.
_ENOUGH = 4
# A mirror image is taken for how the model shall see a radiograph where the landmarks fit so much better.
_CLEARLY = 0.5


def view_of_decided(
    stated: View, template: Template, points_of: Callable[[View], FloatArray], changes: Sequence[View]
) -> View:
    """The view among ``stated``, its mirror image and ``changes`` of it in which the landmarks fit the template upright.

    For images that no model looked at, whose file says nothing or something wrong: training has to see them as a model does.
    ``points_of`` gives the template's landmarks (N, 2) as a view sees them, mm, x right and y down, NaN where
    nobody decided. With few landmarks, or where none fits clearly better, it is ``stated``.
    """
    mean_mm = template.landmarks_mm

    def misfit(view: View) -> float:
        seen_mm = points_of(view)
        known = np.isfinite(seen_mm).all(axis=1)
        if known.sum() < _ENOUGH:
            return np.inf
        pose = align(mean_mm[known], seen_mm[known])
        if pose.rotation[0, 0] < np.cos(np.pi / 4):  # a quarter turn is nearer to upright
            return np.inf
        off = pose.apply(mean_mm[known]) - seen_mm[known]
        return float(np.sqrt((off**2).sum(axis=1).mean())) / max(pose.scale, 1e-6)

    own = misfit(stated)
    others = {stated.then(change): misfit(stated.then(change)) for change in (MIRRORED, *changes)}
    best = min(others, key=others.__getitem__)
    return best if others[best] < (_CLEARLY * own if np.isfinite(own) else np.inf) else stated
