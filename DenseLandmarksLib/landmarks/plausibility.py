"""Does a prediction look like anything that the model knows? A few measures that need no truth.

A network answers every image, also a hand where it learned chests. What it then says does not hold together: the
landmarks form no shape of the kind, masks and landmarks contradict each other, the uv maps are vague.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.landmarks.locate import Located
from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.landmarks.template import Template, umeyama

# What is said when a measure exceeds its limit, with both. Millimetres are those of the template, never of the image.
DOUBTS = {
    "shape_residual_mm": "the landmarks form another shape: {value:.0f} mm off the mean shape at its size, not {limit:.0f}",
    "disagreement": "masks and landmarks contradict each other: {value:.1%} of their area, not {limit:.1%}",
    "shape_sd": "the landmarks form another shape: {value:.1f} standard deviations off what the model knows, not {limit:.1f}",
    "peak_weakness": "the landmarks are faint: their peaks lack {value:.0%} of what they should be, not {limit:.0%}",
    "spread_mm": "the landmarks are vague: uncertain by {value:.0f} mm at the size of the mean shape, not {limit:.0f}",
}
# Said of an image in which hardly anything was found: no finite measure is as bad.
NOTHING_MM = 1000.0
# Overlaps are counted on every second pixel of every second row, which costs a quarter.
EVERY = 2
# Of landmarks that were read one by one, this share must form the shape: one peak on something else is no other shape.
SHAPING = 0.75


def measure_plausibility(
    located: Located, masks: NDArray[np.bool_], template: Template, grid_size: tuple[int, int]
) -> dict[str, float]:
    """The measures of one prediction; each is larger the less plausible it is.

    ``shape_residual_mm`` : root mean square distance of the landmarks of all found contours from the mean shapes under
    one similarity, in mm of the template. ``disagreement`` : 1 - Dice of the mask and the polygon of the contour's
    landmarks, mean over the structures, 1 for one that was not found. ``spread_mm`` : median standard deviation of the
    landmarks, in mm of the template. ``masks`` is (S, H, W) on the grid of ``grid_size`` (height, width).
    """
    mm_per_pixel = template.field_of_view_mm[0] / grid_size[0]
    known, seen = [], []
    coarse = masks[:, ::EVERY, ::EVERY]
    disagreement = np.ones(len(template.structures))
    start = 0
    for s, structure in enumerate(template.structures):
        contour = slice(start, start + len(structure.points_mm))
        start += len(structure.landmark_names)
        if not located.found[contour].all():
            continue
        known.append(structure.points_mm)
        seen.append(located.points[contour])
        polygon = polygon_mask(located.points[contour] / EVERY, coarse.shape[1:])
        disagreement[s] = 1 - 2 * np.count_nonzero(polygon & coarse[s]) / max(polygon.sum() + coarse[s].sum(), 1)
    residual = spread = NOTHING_MM
    if seen:
        residual, scale = _shape_residual(np.vstack(known), np.vstack(seen) * mm_per_pixel)
        deviation = np.sqrt(np.trace(located.covariance[located.found], axis1=1, axis2=2) / 2)
        spread = min(float(np.median(deviation)) * mm_per_pixel / scale, NOTHING_MM)
    return {"shape_residual_mm": residual, "disagreement": float(disagreement.mean()), "spread_mm": spread}


def measure_heat_plausibility(
    points: NDArray[np.float64],
    found: NDArray[np.bool_],
    strength: NDArray[np.float64],
    template: Template,
    grid_size: tuple[int, int],
) -> dict[str, float]:
    """The measures of landmarks (N, 2) of the template, grid pixels, that were read out of heatmaps.

    ``shape_residual_mm`` as above, of the landmarks that were ``found`` (N,), told by the :data:`SHAPING` of them that form
    the shape best. ``peak_weakness`` : what the ``strength`` (N,) of the peaks lacks to 1, the median of all landmarks.
    """
    mm_per_pixel = template.field_of_view_mm[0] / grid_size[0]
    residual = NOTHING_MM
    # Two points fit every other two.
    if found.sum() > 2:
        residual = _trimmed_residual(template.landmarks_mm[found], points[found] * mm_per_pixel)
    return {"shape_residual_mm": residual, "peak_weakness": float(np.clip(1 - np.median(strength), 0, 1))}


def _shape_residual(shape: NDArray[np.float64], image: NDArray[np.float64]) -> tuple[float, float]:
    """How far ``image`` (N, 2) is off ``shape`` (N, 2) under the best similarity, at the shape's size, and its scale."""
    squares, scale = _misfit(shape, image, np.ones(len(shape), bool))
    return min(float(np.sqrt(squares.mean())), NOTHING_MM), scale


def _trimmed_residual(shape: NDArray[np.float64], image: NDArray[np.float64]) -> float:
    """As :func:`_shape_residual` has it, but told by the points that fit best: least trimmed squares (Rousseeuw 1984).

    From the fit to all on, each fit is to those that fitted best before, which never fits them worse (P. J. Rousseeuw and
    K. Van Driessen, 2006). What is cut off is made good as if all were off by the same normal distribution.
    """
    count = max(math.ceil(SHAPING * len(shape)), 3)
    kept = np.ones(len(shape), bool)
    for _ in range(len(shape)):
        squares, _scale = _misfit(shape, image, kept)
        before, kept = kept, np.zeros(len(shape), bool)
        kept[np.argsort(squares, kind="stable")[:count]] = True
        if np.array_equal(kept, before):
            break
    share = count / len(shape)
    lost = 1 - share
    # The mean of the smallest share of values that are exponentially distributed, as squared lengths in the plane are.
    of_all = 1.0 if not lost else 1 + lost / share * math.log(lost)
    return min(float(np.sqrt(squares[kept].mean() / of_all)), NOTHING_MM)


def _misfit(
    shape: NDArray[np.float64], image: NDArray[np.float64], fitted: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Squared distances (N,) at the shape's size under the similarity that fits those ``fitted`` (N,) best, and its scale."""
    scale, rotation, shift = umeyama(shape[fitted], image[fitted])
    scale = max(scale, 1e-6)
    misfit = image - (scale * shape @ rotation.T + shift)
    return (misfit**2).sum(axis=1) / scale**2, scale


def doubts_of(measures: Mapping[str, float], limits: Mapping[str, float]) -> tuple[str, ...]:
    """One clause for each measure that exceeds its limit; measures without a limit raise no doubt."""
    return tuple(
        text.format(value=measures[name], limit=limits[name])
        for name, text in DOUBTS.items()
        if name in limits and measures[name] > limits[name]
    )
