"""Colours as the grey that they show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# ITU-R BT.601 luma, which Pillow uses as well.
_LUMA = (0.299, 0.587, 0.114)
# Pixels that are turned at once: of a large picture, float copies would be larger than the picture.
_BLOCK = 1 << 20


def luminance(colours: NDArray[np.generic]) -> NDArray[np.generic]:
    """Grey values (...) in the stored type of colours (..., 3 or 4); an alpha channel is left out."""
    result = np.empty(colours.shape[:-1], colours.dtype)
    flat, flat_result = colours.reshape(-1, colours.shape[-1]), result.reshape(-1)
    for start in range(0, len(flat), _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float32)
        grey = sum(weight * block[:, c] for c, weight in enumerate(_LUMA))
        flat_result[start : start + _BLOCK] = np.rint(grey) if colours.dtype.kind in "iu" else grey
    return result
