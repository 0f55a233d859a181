"""Which patients models are compared on, and what a person places in their images without a prediction in sight.

A model may only be judged by what it did not lead people to: a landmark that was accepted unmoved, or that came along with
its neighbour, agrees with the model because the model said so. Truth is what was placed blind, in a patient of whom no
model learnt anything.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from DenseLandmarksLib.annotation.blind import left_to_place
from DenseLandmarksLib.annotation.library.case import LibraryCase, one_line
from DenseLandmarksLib.annotation.library.datalist import fold_of
from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.revision import RevisionInfo

NEEDED = 20
"""Fewer cases say nothing about which of two models is better."""

NEEDED_PERSONS = 10
"""Neither do more cases of fewer patients: a bootstrap over a handful of them gives intervals that are too narrow."""

# Of those whose landmarks all came from outside one fold of five is kept back, the others teach.
_KEPT_BACK = 0


def for_comparison(decisions: Sequence[Decisions]) -> frozenset[str]:
    """The patients (:attr:`Decisions.person`) on whom models are compared, and from whom none ever learns.

    Those of a case that was begun blind; and of those of whom everything was decided without a prediction in sight, as in
    landmarks out of a file, the ones whose key falls into fold 0.
    """
    chosen = {one.person for one in decisions if one.is_chosen_for_comparison}
    open_eyed = {one.person for one in decisions if not {row.name for row in one.landmarks} <= one.blind}
    from_outside = {one.person for one in decisions if one.blind} - open_eyed
    return frozenset(chosen | {person for person in from_outside if fold_of(person) == _KEPT_BACK})


def next_for_comparison(
    library: Library,
    is_radiograph: bool | None = None,
    has_seen: Callable[[LibraryCase], bool] = lambda case: False,
    who: str = "",
    names: Collection[str] = (),
) -> str | None:
    """The id of the case that a person should decide blind next; ``None`` where there is none left.

    First comes one that they began and did not finish, for it counts when all that was asked for is decided. Else it is one
    in which nobody decided anything, of a patient of whom nobody did. The order is drawn by a hash of the case: it has
    nothing to do with what a model doubts, for cases that are hard for the old model would flatter the new one.

    Parameters
    ----------
    is_radiograph : only radiographs, or only volumes; all kinds for ``None``.
    has_seen : whether the person had a prediction of a case in sight: such a case is not theirs to decide blind.
    who : the person, as revisions name them.
    names : the model's landmarks; what was begun with those of another model does not go on.
    """
    entries = library.cases()
    decided = {entry.patient or entry.id for entry in entries if entry.newest is not None and entry.newest.is_decided}
    begun, free = list[str](), list[str]()
    for entry in entries:
        if entry.damage or is_radiograph not in (None, entry.slices == 1):
            continue
        if entry.newest is not None and _is_unfinished(entry.newest):
            is_own = entry.newest.who == one_line(who)
            begun += [entry.id] if is_own and _asks_for(library.case(entry.id), names) else []
        elif (entry.patient or entry.id) not in decided:
            free.append(entry.id)
    in_turn = (case_id for ids in (begun, free) for case_id in sorted(ids, key=lambda one: _drawn("case", one)))
    return next((case_id for case_id in in_turn if not has_seen(library.case(case_id))), None)


def _is_unfinished(newest: RevisionInfo) -> bool:
    """Whether somebody decided some of what a case for comparison asks for, and is to decide the rest."""
    return newest.is_chosen_for_comparison and not newest.model and 0 < newest.reviewed < newest.landmarks


def _asks_for(case: LibraryCase, names: Collection[str]) -> bool:
    """Whether one of these landmarks is still to be placed in a case that was begun."""
    state, _ = case.load()
    return not names or not set(left_to_place(state)).isdisjoint(names)


def landmarks_to_place(
    names: Sequence[str], structures: Sequence[str], case_id: str, most: int = 12
) -> tuple[tuple[str, str], ...]:
    """At most ``most`` landmarks, each (name, structure), to be placed in a case: not all, for that is too much work.

    They are spread evenly over the structures and along each, and begin elsewhere in each case, so that over many cases
    all are compared. ``names`` and ``structures`` are those of a model, in its order; the same case gets the same ones.
    """
    rows = {structure: [i for i, of in enumerate(structures) if of == structure] for structure in structures}
    in_turn = sorted(rows, key=lambda structure: _drawn(case_id, structure))
    shares: Counter[str] = Counter()
    while shares.total() < min(most, len(names)):
        for structure in in_turn:
            if shares[structure] < len(rows[structure]) and shares.total() < most:
                shares[structure] += 1
    wanted = []
    for structure, share in shares.items():
        of_structure = rows[structure]
        start = _drawn(case_id, f"start on {structure}") % len(of_structure)
        wanted += [of_structure[(start + n * len(of_structure) // share) % len(of_structure)] for n in range(share)]
    return tuple((names[row], structures[row]) for row in sorted(wanted))


def _drawn(what: str, key: str) -> int:
    return int.from_bytes(hashlib.sha256(f"comparison {what} {key}".encode()).digest()[:8])
