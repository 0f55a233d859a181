"""What people decided of landmarks in one volume, in arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.landmarks.landmark_set import Review


@dataclass(frozen=True)
class DecidedLandmarks:
    """Of one case: ``points_lps_mm`` (L, 3) NaN where unknown, ``absent`` (L,) and ``weights`` (L,)."""

    points_lps_mm: NDArray[np.float64]
    absent: NDArray[np.bool_]
    weights: NDArray[np.float64]


def decided_landmarks(
    decided: Decisions, names: Sequence[str], weight_of: Callable[[Review], float]
) -> DecidedLandmarks:
    """What one case says of the landmarks ``names``; what teaches nothing is as if nobody had decided it."""
    said = DecidedLandmarks(np.full((len(names), 3), np.nan), np.zeros(len(names), bool), np.zeros(len(names)))
    for decision in decided.landmarks:
        if decision.name not in names or not weight_of(decision.review) > 0:
            continue
        row = names.index(decision.name)
        said.weights[row] = weight_of(decision.review)
        if decision.index_ijk is None:
            said.absent[row] = True
        else:
            said.points_lps_mm[row] = lps_mm_from_index(decided.geometry, [decision.index_ijk])[0]
    return said
