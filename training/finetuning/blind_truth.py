"""What people placed without a prediction in sight, as the truth that versions of a model are measured against."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.library.compared_cases import (
    compared_cases,
    decided_blind,
    persons_of,
    placed_blind,
)
from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.models.bundle import BundleDescription
from DenseLandmarksLib.models.descent import trained_on_by


class Truth(NamedTuple):
    """Landmarks of a case that were placed blind and that both versions know, (N, 3) in LPS mm."""

    case: Decisions
    names: tuple[str, ...]
    structures: tuple[str, ...]
    points_lps_mm: NDArray[np.float64]


class Truths(NamedTuple):
    """Of all cases that can be compared on, and by id a line for each that was ``left_out``."""

    cases: tuple[Truth, ...]
    left_out: dict[str, str]


def blind_truths(
    before: BundleDescription,
    after: BundleDescription,
    library: Library,
    decisions: Sequence[Decisions],
    taught: Collection[str] = (),
) -> Truths:
    """Where two versions of a model can be compared, see :func:`compared_cases`.

    ``taught`` are ids of cases that one of them learnt from, besides those of their descent.
    """
    known = frozenset(before.landmark_names) & frozenset(after.landmark_names)
    learnt = {*taught, *trained_on_by(before.metadata), *trained_on_by(after.metadata)}
    found = compared_cases(decided_blind(decisions), persons_of(library.cases()), after, known, learnt)
    return Truths(tuple(truth_of(case, known) for case in found.cases), found.left_out)


def truth_of(case: Decisions, known: Collection[str]) -> Truth:
    """What one case says of the landmarks that are ``known``."""
    placed = placed_blind(case, known)
    points_lps_mm = lps_mm_from_index(case.geometry, [index_ijk for _, index_ijk in placed])
    return Truth(case, tuple(one.name for one, _ in placed), tuple(one.structure for one, _ in placed), points_lps_mm)
