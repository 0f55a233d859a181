"""How far off a landmark may be, as one length that people can read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# 90 % quantile of the standard normal distribution.
_Z_90 = 1.2815515655


def radius_90_mm(covariance_mm2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Radii (N,) of the circles, or spheres, that hold 90 % of normal distributions with covariances (N, 3, 3).

    NaN where a covariance is. Directions without any extent, as across a radiograph, do not count. The squared distance is
    taken for a scaled chi-square variable of the same mean and variance (F. E. Satterthwaite, 1946), and its quantile from
    the cube-root approximation (E. B. Wilson and M. M. Hilferty, 1931): within 2 % of the true radius.
    """
    mean = np.trace(covariance_mm2, axis1=1, axis2=2)
    squares = np.einsum("nij,nji->n", covariance_mm2, covariance_mm2)
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = mean**2 / squares
        quantile = (1 - 2 / (9 * freedom) + _Z_90 * np.sqrt(2 / (9 * freedom))) ** 3
        radius = np.sqrt(mean * quantile)
    return np.where(mean == 0, 0.0, radius)
