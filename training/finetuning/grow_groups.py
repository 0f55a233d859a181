"""Which crop the new landmarks of a multi-scale model are in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def grown_groups(
    groups: Sequence[int], points_lps_mm: NDArray[np.float64], extent_mm: float, sharing: int
) -> tuple[int, ...]:
    """The group of each of N landmarks: ``groups`` has those of the first, the parent's, which stay where they are.

    Where every landmark has a crop of its own, so have new ones: what the others see is not touched. Where they share, a
    new one joins the nearest group that has room, fewer than ``sharing``, and all of whose landmarks lie within
    ``extent_mm`` of it in the cases ``points_lps_mm`` (M, N, 3), NaN unknown.
    """
    grown = list(groups)
    is_shared = len(set(groups)) < len(groups)
    for row in range(len(groups), points_lps_mm.shape[1]):
        apart = np.linalg.norm(points_lps_mm[:, :row] - points_lps_mm[:, row, None], axis=2)
        # Where two were never seen in one case nobody knows that they fit.
        farthest = np.nan_to_num(apart, nan=-np.inf).max(axis=0)
        farthest = np.where(np.isfinite(apart).any(axis=0), farthest, np.inf)
        room = [group for group, size in Counter(grown).items() if size < sharing]
        reach = {group: float(farthest[np.array(grown) == group].max()) for group in room}
        near = [group for group in room if reach[group] <= extent_mm] if is_shared else []
        grown.append(min(near, key=reach.__getitem__) if near else max(grown) + 1)
    return tuple(grown)
