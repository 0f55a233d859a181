"""How far landmarks lie from where the others suggest them: what is not in the image is found where something else is."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# What is farther off than this, in mm of the template, tells the others little: the Cauchy weights of robust regression.
_FAR_MM = 6.0
# How often these weights are taken anew.
_ROUNDS = 6
_FARTHEST_MM = 1000.0
_AS_COMPLEX = np.array([1, 1j])


def off_others_mm(
    points: ArrayLike, strength: ArrayLike, template_mm: ArrayLike, mm_per_pixel: float
) -> NDArray[np.float64]:
    """Distances (N,) of landmarks from their places in the template, under the similarity that fits the *other* ones best.

    Parameters
    ----------
    points : (N, 2) in pixels of the model's grid.
    strength : (N,) of their peaks: what is hardly seen hardly tells where the others are.
    template_mm : (N, 2), their places in the template.
    mm_per_pixel : of the template on that grid.

    Returns
    -------
    Millimetres at the template's size; 0 where fewer than two others are left to tell.
    """
    # Complex numbers: in the plane a similarity without reflection is target = turn * source + shift.
    source = np.asarray(template_mm, np.float64) @ _AS_COMPLEX
    target = np.asarray(points, np.float64) @ _AS_COMPLEX * mm_per_pixel
    if len(source) < 3:
        return np.zeros(len(source))
    of_strength = np.clip(np.asarray(strength, np.float64), 1e-3, 1.2) ** 2
    weights = of_strength
    for _ in range(_ROUNDS):
        weights = of_strength / (1 + (_distances(source, target, weights, np.zeros(len(source))) / _FAR_MM) ** 2)
        weights = weights / weights.max()  # where all are far off too, they are numbers to calculate with
    return np.minimum(_distances(source, target, weights, weights), _FARTHEST_MM)


def _distances(
    source: NDArray[np.complex128],
    target: NDArray[np.complex128],
    weights: NDArray[np.float64],
    without: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Of each (N,) to its place under the weighted least-squares fit of all, ``without`` so much of its own weight."""
    left = weights.sum() - without
    source_mean = ((weights @ source) - without * source) / left
    target_mean = ((weights @ target) - without * target) / left
    # Sums of squares and products about those means, row by row as the means differ.
    square = (weights @ np.abs(source) ** 2 - without * np.abs(source) ** 2) - left * np.abs(source_mean) ** 2
    product = weights @ (source.conj() * target) - without * source.conj() * target
    product = product - left * source_mean.conj() * target_mean
    turn = product / np.maximum(square, 1e-9)
    off = np.abs(target - target_mean - turn * (source - source_mean))
    return np.asarray(off / np.maximum(np.abs(turn), 1e-6), np.float64)
