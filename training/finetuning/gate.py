"""Is a new model at least as good as the old one? Only where the answer is yes does it take the old one's place.

Both versions predict the same cases, and both are measured against what people placed there without a prediction in sight (see
:mod:`DenseLandmarksLib.annotation.library.comparison`). It is a test of non-inferiority: the upper end of the 95 % interval of
the paired difference must lie below a margin that is stated beforehand, a share of the old error. See Walker and Nowacki,
Understanding equivalence and noninferiority testing, J Gen Intern Med 26 (2011) 192-196. The interval is a bootstrap over
patients, for the images of one patient err together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from DenseLandmarksLib.annotation.library.comparison import NEEDED, NEEDED_PERSONS
from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.models.bundle import Bundle
from training.finetuning.compared_errors import CaseErrors, ComparedErrors, StructureErrors, compare_errors
from training.metrics import bootstrap_pooled_ci95

Outcome = Literal["not enough evidence", "not worse", "worse", "undecided"]

LEAST_MARGIN_MM = 0.05
"""A smaller one would be less than anybody can place a landmark."""


@dataclass(frozen=True)
class Verdict:
    """Whether the new version takes the old one's place, and why.

    Attributes
    ----------
    cases, persons, landmarks : how many were compared.
    before_mm, after_mm : mean over cases of the mean error over landmarks; ``None`` without any case.
    difference_mm : after minus before: mean, and the ends of its 95 % interval; ``None`` for fewer than two patients.
    margin_mm : by how much the new version may be worse; ``None`` without any case.
    outcome : ``"not worse"`` where the interval lies below the margin, else ``"worse"`` where it lies above zero.
    line : one sentence for a person.
    called_absent : how many of the landmarks the old and the new version called absent; their best guess was measured.
    notes : a line for each case that was left out.
    by_case, by_structure : the same errors in detail.
    """

    cases: int
    persons: int
    landmarks: int
    before_mm: float | None
    after_mm: float | None
    difference_mm: tuple[float, float, float] | None
    margin_mm: float | None
    outcome: Outcome
    line: str
    called_absent: tuple[int, int] = (0, 0)
    notes: tuple[str, ...] = ()
    by_case: tuple[CaseErrors, ...] = ()
    by_structure: tuple[StructureErrors, ...] = ()

    @property
    def is_to_be_active(self) -> bool:
        """Whether the new version may take the old one's place."""
        return self.outcome == "not worse"

    def without_cases(self) -> Verdict:
        """What may be passed on with a bundle: no single case, nor where its image lies."""
        return replace(self, notes=(), by_case=())

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            **asdict(self),
            "difference_mm": None if self.difference_mm is None else list(self.difference_mm),
            "called_absent": list(self.called_absent),
            "notes": list(self.notes),
            "by_case": [asdict(row) for row in self.by_case],
            "by_structure": [asdict(row) for row in self.by_structure],
            "is_to_be_active": self.is_to_be_active,
            "needed": {"cases": NEEDED, "persons": NEEDED_PERSONS},
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Verdict:
        """Read what :meth:`to_dict` made; raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        if raw["outcome"] not in get_args(Outcome):
            raise ValueError(f"expected an outcome of {', '.join(get_args(Outcome))}, got {raw['outcome']!r}")
        before, after = raw.get("called_absent", (0, 0))
        return cls(
            cases=int(raw["cases"]),
            persons=int(raw["persons"]),
            landmarks=int(raw["landmarks"]),
            before_mm=_number(raw["before_mm"]),
            after_mm=_number(raw["after_mm"]),
            difference_mm=None if raw["difference_mm"] is None else _three(raw["difference_mm"]),
            margin_mm=_number(raw["margin_mm"]),
            outcome=raw["outcome"],
            line=str(raw["line"]),
            called_absent=(int(before), int(after)),
            notes=tuple(map(str, raw.get("notes", ()))),
            by_case=tuple(CaseErrors(**row) for row in raw.get("by_case", ())),
            by_structure=tuple(StructureErrors(**row) for row in raw.get("by_structure", ())),
        )


def compare(
    before: Bundle,
    after: Bundle,
    library: Library,
    decisions: Sequence[Decisions],
    device: str = "auto",
    margin_share: float = 0.05,
    progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Verdict:
    """Compare two versions of a model on a library's cases for comparison, of nobody of whom one has learnt by its descent.

    Errors are millimetres from the placed landmark to the model's, its best guess where it calls it absent. A case that
    cannot be measured is told in a line of the verdict. The same bundles and decisions give the same verdict on the CPU.

    Parameters
    ----------
    decisions : of all cases of the library, see :func:`~.decisions.read_decisions`.
    margin_share : by which share of the old error the new one may be worse.
    progress : gets how many predictions are done, and of how many.

    Raises :class:`~training.finetuning.compared_errors.CancelledComparisonError` soon after ``cancelled`` says so, and
    :class:`~DenseLandmarksLib.errors.InputError` where a bundle cannot be opened.
    """
    errors = compare_errors(before, after, library, decisions, device, progress, cancelled)
    return verdict_of(errors, margin_share)


def verdict_of(errors: ComparedErrors, margin_share: float = 0.05) -> Verdict:
    """The verdict on errors that were measured; the new version may be worse by ``margin_share`` of the old error."""
    cases = errors.cases
    before_mm = after_mm = margin_mm = None
    if cases:
        before_mm, after_mm = np.mean([[case.before_mm, case.after_mm] for case in cases], axis=0).tolist()
        margin_mm = max(LEAST_MARGIN_MM, margin_share * before_mm)
    persons = len({case.person for case in cases})
    difference_mm = _difference(cases) if persons > 1 else None
    verdict = Verdict(
        cases=len(cases),
        persons=persons,
        landmarks=sum(case.landmarks for case in cases),
        before_mm=before_mm,
        after_mm=after_mm,
        difference_mm=difference_mm,
        margin_mm=margin_mm,
        outcome=_outcome(len(cases), persons, difference_mm, margin_mm),
        line="",
        called_absent=errors.called_absent,
        notes=errors.notes,
        by_case=cases,
        by_structure=errors.structures,
    )
    return replace(verdict, line=_line(verdict))


def _difference(cases: Sequence[CaseErrors]) -> tuple[float, float, float]:
    """Mean over cases of the paired difference, and its interval, resampling patients with all of their cases."""
    of_person: dict[str, list[float]] = {}
    for case in sorted(cases, key=lambda case: case.case_id):
        of_person.setdefault(case.person, []).append(case.after_mm - case.before_mm)
    each = list(of_person.values())
    low, high = bootstrap_pooled_ci95([sum(one) for one in each], [len(one) for one in each])
    return float(np.mean([value for one in each for value in one])), low, high


def _outcome(
    cases: int, persons: int, difference_mm: tuple[float, float, float] | None, margin_mm: float | None
) -> Outcome:
    if cases < NEEDED or persons < NEEDED_PERSONS or difference_mm is None or margin_mm is None:
        return "not enough evidence"
    _, low, high = difference_mm
    if high < margin_mm:
        return "not worse"
    return "worse" if low > 0 else "undecided"


def _line(verdict: Verdict) -> str:
    if verdict.before_mm is None or verdict.after_mm is None:
        return f"Not enough evidence: no case could be compared, {NEEDED} are needed; the old version stays active."
    over = f"{_many(verdict.cases, 'case')} of {_many(verdict.persons, 'patient')}"
    errors = f"mean error {verdict.before_mm:.2f} mm before and {verdict.after_mm:.2f} mm after, over {over}"
    if verdict.outcome == "not enough evidence":
        needed = f"{NEEDED} cases of {NEEDED_PERSONS} patients are needed"
        return f"Not enough evidence: {errors}; {needed}, so the old version stays active."
    assert verdict.difference_mm is not None
    assert verdict.margin_mm is not None
    mean, low, high = verdict.difference_mm
    numbers = (
        f"{errors}; difference {mean:+.2f} mm (95 % interval {low:+.2f} to {high:+.2f}, margin {verdict.margin_mm:.2f})"
    )
    if verdict.outcome == "not worse":
        return f"{'Better' if high < 0 else 'Not worse'}: {numbers}; the new version may be active."
    if verdict.outcome == "worse":
        return f"Worse: {numbers}; the old version stays active."
    return f"Undecided: {numbers}: it may be worse by more than the margin, so the old version stays active."


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _three(value: Any) -> tuple[float, float, float]:
    mean, low, high = (float(number) for number in value)
    return mean, low, high
