"""Why a landmark is where it is, out of a uv field: how likely each pixel has the landmark's template coordinate.

The coordinates themselves say little to a person: u and v are two ramps over the structure. Where the field says how sure it
is, a pixel with coordinate ``c`` and Laplace scale ``b`` has the query ``q`` with the likelihood
``exp(-|c_u - q_u| / b_u - |c_v - q_v| / b_v) / (4 b_u b_v)``: a spot on the landmark, as large as the model's doubt.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import zoom

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.grid import Grid
from DenseLandmarksLib.landmarks.read_out import NEIGHBOURS
from DenseLandmarksLib.landmarks.uv_field import UvField
from DenseLandmarksLib.models.evidence import Evidence, EvidenceMap, grid_to_index, relative

NAME = "Template coordinate"
EXPLANATION = "How likely each pixel of {structure} is this point of the template; 1 is the likeliest."
# The spot of a sure landmark is smaller than a pixel of the field: between pixels the coordinates are interpolated.
_FINER = 4
# Less than a ten-thousandth of the likeliest pixel of the field, and two pixels around the others.
_UNSEEN, _MARGIN = 9.0, 2
_SMALLEST = 1e-6

FloatArray = NDArray[np.floating[Any]]


def uv_evidence(field: UvField, grid: Grid, structure: str, uv_query: ArrayLike, landmark: str) -> Evidence:
    """The map of the template coordinate (2,) of a landmark of ``structure``.

    Raises :class:`InputError` where the structure was not found in the image.
    """
    s = field.structures.index(structure)
    index = field.index(structure)
    if index is None:
        raise InputError(
            f"expected {structure} in the image, which {landmark} lies on, got none: the model did not see it. Its point is a "
            "guess from the other structures."
        )
    query = np.asarray(uv_query, np.float64)
    scale = field.uv_scale
    if scale is None:
        # As far as the read-out goes for the pixels that it takes the landmark from.
        distance, _ = index.tree.query(query, NEIGHBOURS)
        scale = np.full_like(field.uv, distance.mean())
    box = _box(_log_likelihood(field.uv[s], scale[s], field.masks[s], query))
    inside = np.repeat(np.repeat(field.masks[s][box], _FINER, axis=0), _FINER, axis=1)
    log = _log_likelihood(_finer(field.uv[s][:, *box]), _finer(scale[s][:, *box]), inside, query)
    to_index = grid_to_index(grid, field.stride / _FINER)
    to_index[:, 3] = to_index @ [box[1].start * _FINER, box[0].start * _FINER, 0, 1]
    values = relative(np.exp(log - log.max()))[None]
    return Evidence(landmark, (EvidenceMap(NAME, EXPLANATION.format(structure=structure), values, to_index),))


def _log_likelihood(
    uv: FloatArray, scale: FloatArray, inside: NDArray[np.bool_], query: NDArray[np.float64]
) -> FloatArray:
    """Logarithm (h, w), but for a constant, of the likelihood that pixels have the coordinate ``query`` (2,)."""
    scale = np.maximum(scale, _SMALLEST)
    log = -(np.abs(uv - query[:, None, None]) / scale + np.log(scale)).sum(axis=0)
    return np.where(inside & np.isfinite(log), log, -np.inf)


def _box(log: FloatArray) -> tuple[slice, slice]:
    """Rows and columns outside of which nothing would be seen."""
    seen = log > log.max() - _UNSEEN
    found = []
    for axis, count in enumerate(log.shape):
        at = np.flatnonzero(seen.any(axis=1 - axis))
        found.append(slice(max(int(at[0]) - _MARGIN, 0), min(int(at[-1]) + 1 + _MARGIN, count)))
    return found[0], found[1]


def _finer(values: FloatArray) -> FloatArray:
    """Values (2, h, w) on pixels of a fraction of the size, linear between the centres."""
    return np.stack([zoom(one, _FINER, order=1, mode="nearest", grid_mode=True) for one in values])
