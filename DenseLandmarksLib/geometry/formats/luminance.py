"""Colours as the grey that they show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# ITU-R BT.601 luma, which Pillow uses as well.
_LUMA = (0.299, 0.587, 0.114)


def luminance(colours: NDArray[np.generic]) -> NDArray[np.generic]:
    """Grey values (...) in the stored type of colours (..., 3 or 4); an alpha channel is left out."""
    grey = sum(weight * colours[..., c].astype(np.float32) for c, weight in enumerate(_LUMA))
    return (np.rint(grey) if colours.dtype.kind in "iu" else grey).astype(colours.dtype)  # type: ignore[union-attr]
