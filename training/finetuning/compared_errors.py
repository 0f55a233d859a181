"""What two versions of a model get wrong on the cases that are there to compare them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.registry import open_bundle
from training.finetuning.blind_truth import Truth, blind_truths
from training.landmark_measurement import match_landmarks
from training.metrics import landmark_errors_mm


class CancelledComparisonError(Exception):
    """The comparison was given up; there is no verdict."""


@dataclass(frozen=True)
class CaseErrors:
    """Mean errors of both versions over the ``landmarks`` compared in one case of one patient."""

    case_id: str
    name: str
    person: str
    landmarks: int
    before_mm: float
    after_mm: float


@dataclass(frozen=True)
class StructureErrors:
    """Means over the ``cases`` that have landmarks of a structure."""

    structure: str
    cases: int
    landmarks: int
    before_mm: float
    after_mm: float


@dataclass(frozen=True)
class ComparedErrors:
    """All of it.

    Attributes
    ----------
    cases, structures : the errors.
    called_absent : how many of the landmarks the old and the new version called absent.
    notes : a line for each case that was left out.
    """

    cases: tuple[CaseErrors, ...]
    structures: tuple[StructureErrors, ...]
    called_absent: tuple[int, int]
    notes: tuple[str, ...]


class _Measured(NamedTuple):
    """One version on one case: errors (N,), and how many of the landmarks it called absent."""

    errors_mm: NDArray[np.float64]
    called_absent: int


_Found = Mapping[str, _Measured]


def compare_errors(
    before: Bundle,
    after: Bundle,
    library: Library,
    decisions: Sequence[Decisions],
    device: str,
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> ComparedErrors:
    """Have both versions predict the cases for comparison, one version after the other.

    The arguments are those of :func:`training.finetuning.gate.compare`.
    """
    truths, left_out = blind_truths(before, after, library, decisions)

    def measure(bundle: Bundle, done: int) -> _Found:
        predictor, found = open_bundle(bundle, device), {}

        def go_on() -> None:
            if cancelled():
                raise CancelledComparisonError

        for n, truth in enumerate(truths):
            go_on()
            case = truth.case
            try:
                image, _ = library.case(case.case_id).read_image(case.geometry)
                prediction = predictor.predict(image, between_passes=go_on)
            except InputError as error:
                left_out[case.case_id] = f"{case.name}: left out; {error}"
            else:
                matched = match_landmarks(prediction, truth.names, case.name)
                errors_mm = landmark_errors_mm(matched.points_lps_mm, truth.points_lps_mm).tre_mm
                found[case.case_id] = _Measured(errors_mm, int((~matched.present).sum()))
            progress(done + n + 1, 2 * len(truths))
        return found

    old, new = measure(before, 0), measure(after, len(truths))
    return _together([truth for truth in truths if truth.case.case_id in old.keys() & new.keys()], old, new, left_out)


def _together(truths: Sequence[Truth], old: _Found, new: _Found, left_out: Mapping[str, str]) -> ComparedErrors:
    cases = tuple(
        CaseErrors(
            case_id=truth.case.case_id,
            name=truth.case.name,
            person=truth.case.person,
            landmarks=len(truth.names),
            before_mm=float(old[truth.case.case_id].errors_mm.mean()),
            after_mm=float(new[truth.case.case_id].errors_mm.mean()),
        )
        for truth in truths
    )
    before, after = (sum(found[truth.case.case_id].called_absent for truth in truths) for found in (old, new))
    return ComparedErrors(cases, tuple(_by_structure(truths, old, new)), (before, after), tuple(left_out.values()))


def _by_structure(truths: Sequence[Truth], old: _Found, new: _Found) -> Iterator[StructureErrors]:
    """Means over cases of the mean error on each structure, in the order in which structures occur."""
    for structure in dict.fromkeys(name for truth in truths for name in truth.structures):
        means, landmarks = [], 0
        for truth in truths:
            rows = np.flatnonzero(np.array(truth.structures) == structure)
            landmarks += len(rows)
            if len(rows):
                means.append([float(found[truth.case.case_id].errors_mm[rows].mean()) for found in (old, new)])
        before_mm, after_mm = np.mean(means, axis=0).tolist()
        yield StructureErrors(structure, len(means), landmarks, before_mm, after_mm)
