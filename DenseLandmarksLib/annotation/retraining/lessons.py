"""How much there is to learn from in a library, read case by case for windows that must not wait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from DenseLandmarksLib.annotation.library.compared_cases import compared_cases, decided_blind, persons_of
from DenseLandmarksLib.annotation.library.comparison import NEEDED, for_comparison
from DenseLandmarksLib.annotation.library.decisions import Decisions, newest_decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.next_case import CaseEntry
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.models.bundle import BundleDescription
from DenseLandmarksLib.models.descent import trained_on_by


@dataclass(frozen=True)
class Lessons:
    """What people decided in the cases of a library.

    Attributes
    ----------
    corrected, placed, verified, absent : landmarks by how they were decided, in cases that a model learns from.
    cases : how many of those there are.
    blind : cases in which something was decided blind; :meth:`for_comparison` says on how many of them, of ``needed``,
        versions of a model are compared.
    unreadable : how many cases cannot be read.
    persons : see :func:`persons_of`.
    """

    corrected: int = 0
    placed: int = 0
    verified: int = 0
    absent: int = 0
    cases: int = 0
    blind: tuple[Decisions, ...] = ()
    needed: int = NEEDED
    unreadable: int = 0
    persons: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def is_anything(self) -> bool:
        """Whether there is a case to learn from."""
        return self.cases > 0

    def for_comparison(self, model: BundleDescription) -> int:
        """On how many cases a model is compared with its next version, as far as is known before that learns."""
        taught = trained_on_by(model.metadata)
        return len(compared_cases(self.blind, self.persons, model, model.landmark_names, taught).cases)


class LessonCount:
    """A count under way; revisions that were read for an earlier one are not read again.

    Attributes
    ----------
    lessons : what was found, ``None`` until :attr:`is_over`.
    """

    def __init__(self, library: Library, before: LessonCount | None = None) -> None:
        """Begin; raises ``OSError`` where the library is out of reach."""
        self._library = library
        self._known = before._read if before is not None and before._library.id == library.id else {}
        self._read: dict[tuple[str, int], Decisions | None] = {}
        self._unreadable = 0
        entries = library.cases()
        self._persons = persons_of(entries)
        self._left: Iterator[CaseEntry] = iter(entries)
        self.lessons: Lessons | None = None

    @property
    def is_over(self) -> bool:
        """Whether all cases were read."""
        return self.lessons is not None

    def step(self) -> None:
        """Read one more case that has to be read."""
        for entry in self._left:
            if entry.damage or entry.newest is None:
                self._unreadable += bool(entry.damage)
                continue
            key = entry.id, entry.newest.number
            if key in self._known:
                self._read[key] = self._known[key]
                continue
            self._read[key] = self._decisions(entry.id)
            return
        self.lessons = _lessons(self._read, self._unreadable, self._persons)

    def _decisions(self, case_id: str) -> Decisions | None:
        try:
            decisions, _damage = newest_decisions(self._library.case(case_id))
        except InputError:
            return None
        return decisions


def _lessons(read: Mapping[tuple[str, int], Decisions | None], unreadable: int, persons: Mapping[str, str]) -> Lessons:
    decided = [one for one in read.values() if one is not None and (one.landmarks or one.masks)]
    kept_back = for_comparison(decided)
    teaching = [one for one in decided if one.person not in kept_back]
    rows = [row for one in teaching for row in one.landmarks]

    def placed_as(review: Review) -> int:
        return sum(row.review is review and row.index_ijk is not None for row in rows)

    unreadable += sum(one is None for one in read.values())
    return Lessons(
        corrected=placed_as(Review.CORRECTED),
        placed=placed_as(Review.PLACED),
        verified=placed_as(Review.VERIFIED),
        absent=sum(row.index_ijk is None for row in rows),
        cases=len(teaching),
        blind=decided_blind(decided),
        unreadable=unreadable,
        persons=persons,
    )
