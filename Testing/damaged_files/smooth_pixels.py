"""Pixels of the good files: smooth, never constant, and the same for the same generator."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def smooth_pixels(rng: np.random.Generator, bits: int = 12) -> NDArray[np.uint16] | NDArray[np.uint8]:
    """A bright bump on a slope, 48 to 160 pixels a side; ``uint8`` up to 8 bits, else ``uint16``."""
    rows, columns = (int(side) for side in rng.integers(48, 161, 2))
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    centre_y, centre_x = rng.uniform(0.3, 0.7, 2)
    bump = np.exp(-((y - centre_y) ** 2 + (x - centre_x) ** 2) / 0.08)
    grey = np.round((0.2 * x + 0.1 * y + 0.7 * bump) * (2**bits - 1))
    return grey.astype(np.uint8 if bits <= 8 else np.uint16)
