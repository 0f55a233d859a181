"""How odd may a prediction be before it is doubted? Limits that a stated share of plausible cases exceeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FALSE_ALARMS = 0.01


def joint_limits(measures: NDArray[np.float64], false_alarms: float = FALSE_ALARMS) -> NDArray[np.float64]:
    """Limits (K,) of K positive measures (N, K) that at most a share ``false_alarms`` of the N cases exceeds in any.

    Each measure is taken as log-normal, so that all limits lie equally many standard deviations above their mean, and
    that number is the quantile over the cases of the largest deviation of each.
    """
    log = np.log(np.maximum(measures, 1e-9))
    mean, deviation = log.mean(axis=0), np.maximum(log.std(axis=0, ddof=1), 1e-9)
    worst = ((log - mean) / deviation).max(axis=1)
    # One of the cases itself, so that not more than the share lies above.
    height = np.quantile(worst, 1 - false_alarms, method="higher")
    return np.asarray(np.exp(mean + height * deviation), np.float64)
