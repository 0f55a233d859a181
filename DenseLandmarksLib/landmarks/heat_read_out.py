"""Reading landmarks out of heatmaps: where is the peak, how wide is it, and is it one at all?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
HeatKind = Literal["regression", "distribution"]

# Pixels to each side of the maximum whose mean is the position in a distribution: 7 x 7 in the plane.
MEAN_REACH = 3
# Pixels to each side over which the covariance is taken: 97 % of a Gaussian whose sigma is 3 pixels, in the plane.
SPREAD_REACH = 7


@dataclass(frozen=True)
class HeatReadOut:
    """What N heatmaps of D dimensions say.

    Attributes
    ----------
    points : (N, D), continuous positions in heatmap pixels, order x, y(, z), pixel centres at integers.
    covariance : (N, D, D) in heatmap pixels^2, the second moment of the heatmap about the point, in a window.
    strength : (N,); of a regression the peak's height as a share of the height that was taught, 1 as taught; of a
        distribution the probability of the window about the maximum.
    """

    points: FloatArray
    covariance: FloatArray
    strength: FloatArray


def read_heat(
    heat: NDArray[np.floating], kind: HeatKind, sub_pixel: bool = True, peak: ArrayLike | None = None
) -> HeatReadOut:
    """Read N landmarks out of heatmaps (N, [Z,] Y, X), float32, in milliseconds.

    Of a ``"regression"``, whose heatmaps are heights, the maximum, moved along each axis to the top of the parabola through it and its two neighbours
    (``cep/network.py`` of Payer et al.; never by more than half a pixel, not where there is no curvature, and not at
    the border); ``peak``, a number or (N,), is the height that was taught, without which the strength is the height.
    Of a ``"distribution"``, whose heatmaps are logits, the mean of the spatial softmax over 7 pixels each way about the
    maximum. Without ``sub_pixel`` the maximum itself, as DenseSeg's HeatReg has it.

    Raises ``ValueError`` for anything but two or three dimensions.
    """
    if heat.ndim not in (3, 4) or not heat[0:1].size:
        raise ValueError(f"expected heatmaps (N, Y, X) or (N, Z, Y, X), got an array of shape {heat.shape}")
    size = np.array(heat.shape[1:])
    flat = np.ascontiguousarray(heat).reshape(len(heat), -1)
    best = flat.argmax(axis=1)
    centre = np.stack(np.unravel_index(best, tuple(size)), axis=1)
    height = np.take_along_axis(flat, best[:, None], axis=1)[:, 0].astype(np.float64)
    values, inside = _window(heat, centre, SPREAD_REACH)
    if kind == "distribution":
        weight = np.where(inside, np.exp(values - height.reshape(-1, *[1] * (values.ndim - 1))), 0.0)
        near = _middle(weight, SPREAD_REACH - MEAN_REACH)
        # Row by row, so that what lies between stays in the processor's cache.
        total = np.array([np.exp(row - row[k]).sum(dtype=np.float64) for row, k in zip(flat, best, strict=True)])
        strength = near.reshape(len(heat), -1).sum(axis=1) / total
        offset = _mean(near, MEAN_REACH)
    else:
        weight = np.where(inside, np.maximum(values, 0.0), 0.0)
        strength = np.maximum(height, 0.0) / (1.0 if peak is None else np.asarray(peak, np.float64))
        offset = _parabola(values, inside)
    if not sub_pixel:
        offset = np.zeros_like(offset)
    # A window without any heat tells that the landmark may be anywhere in it.
    empty = ~(weight.reshape(len(heat), -1).sum(axis=1) > 0)
    weight[empty] = inside[empty]
    points = (centre + offset)[:, ::-1]
    return HeatReadOut(points, _second_moment(weight, offset)[:, ::-1, ::-1], strength)


def taught_peak(height: float, is_normalised: bool, sigma: ArrayLike, dimensions: int) -> FloatArray:
    """Height (N,) of target Gaussians of ``sigma`` (N,) heatmap pixels.

    Normalised, as SCN has it, they are ``height / ((2 pi)^(D / 2) sigma^D)`` tall, otherwise ``height``.
    """
    sigma = np.asarray(sigma, np.float64)
    tall = (
        height / ((2 * np.pi) ** (dimensions / 2) * sigma**dimensions) if is_normalised else np.full_like(sigma, height)
    )
    return np.asarray(tall)


def _window(heat: NDArray[np.floating], centre: NDArray[np.intp], reach: int) -> tuple[FloatArray, NDArray[np.bool_]]:
    """The heatmaps about ``centre`` (N, D), (N, K, ..., K) with K = 2 reach + 1, and which of it is in the map."""
    count, dimensions = centre.shape
    steps = np.arange(-reach, reach + 1)
    index: list[NDArray[np.intp]] = [np.arange(count).reshape(-1, *[1] * dimensions)]
    inside = np.ones((count, *[len(steps)] * dimensions), bool)
    for axis in range(dimensions):
        shape = [count, *[1] * dimensions]
        shape[axis + 1] = len(steps)
        place = centre[:, axis, None] + steps
        last = heat.shape[axis + 1] - 1
        inside &= ((place >= 0) & (place <= last)).reshape(shape)
        index.append(np.clip(place, 0, last).reshape(shape))
    return heat[tuple(index)].astype(np.float64), inside


def _middle(window: FloatArray, off: int) -> FloatArray:
    """A window (N, K, ..., K) without ``off`` pixels at each end of each axis."""
    return window[(slice(None), *[slice(off, -off)] * (window.ndim - 1))]


def _mean(weight: FloatArray, reach: int) -> FloatArray:
    """Mean offset (N, D), in axis order, of a window (N, K, ..., K) whose middle is 0."""
    steps = np.arange(-reach, reach + 1)
    axes = range(1, weight.ndim)
    total = weight.sum(axis=tuple(axes))
    means = [weight.sum(axis=tuple(other for other in axes if other != axis)) @ steps / total for axis in axes]
    return np.stack(means, axis=1)


def _parabola(values: FloatArray, inside: NDArray[np.bool_]) -> FloatArray:
    """Offsets (N, D), in axis order, of the tops of the parabolas along each axis through the middles of windows."""
    middle = [values.shape[1] // 2] * (values.ndim - 1)
    top = values[(slice(None), *middle)]
    offsets = np.zeros((len(values), len(middle)))
    for axis in range(len(middle)):
        sides = [list(middle), list(middle)]
        sides[0][axis] -= 1
        sides[1][axis] += 1
        before, after = (values[(slice(None), *side)] for side in sides)
        there = inside[(slice(None), *sides[0])] & inside[(slice(None), *sides[1])]
        curvature = before - 2 * top + after
        bent = there & (curvature < -1e-6 * np.maximum(np.abs(top), 1e-30))
        offsets[bent, axis] = 0.5 * (before - after)[bent] / curvature[bent]
    return np.clip(offsets, -0.5, 0.5)


def _second_moment(weight: FloatArray, about: FloatArray) -> FloatArray:
    """Second moments (N, D, D), in axis order, of windows (N, K, ..., K) about offsets (N, D) from their middles."""
    count, dimensions = about.shape
    reach = weight.shape[1] // 2
    steps = np.stack(
        np.meshgrid(*[np.arange(-reach, reach + 1, dtype=np.float64)] * dimensions, indexing="ij"), axis=-1
    ).reshape(-1, dimensions)
    share = weight.reshape(count, -1)
    share = share / share.sum(axis=1, keepdims=True)
    mean = share @ steps
    squares = (share @ (steps[:, :, None] * steps[:, None]).reshape(len(steps), -1)).reshape(
        count, dimensions, dimensions
    )
    cross = np.einsum("ni,nj->nij", mean, about)
    return np.asarray(squares - cross - cross.mT + np.einsum("ni,nj->nij", about, about))
