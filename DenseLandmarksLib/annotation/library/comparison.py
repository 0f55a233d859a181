"""Which patients models are compared on, and what a person places in their images without a prediction in sight.

A model may only be judged by what it did not lead people to: a landmark that was accepted unmoved, or that came along with
its neighbour, agrees with the model because the model said so. Truth is what was placed blind, in a patient of whom no
model learnt anything.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence

from DenseLandmarksLib.annotation.library.datalist import fold_of
from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.annotation.library.library import Library

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


def next_for_comparison(library: Library, is_radiograph: bool | None = None, seen: Collection[str] = ()) -> str | None:
    """The id of the case that a person should decide blind next; ``None`` where there is none left.

    It is one in which nobody decided anything, of a patient of whom nobody did. The order is drawn by a hash of the case:
    it has nothing to do with what a model doubts, for cases that are hard for the old model would flatter the new one.

    Parameters
    ----------
    is_radiograph : only radiographs, or only volumes; all kinds for ``None``.
    seen : ids of cases whose prediction the person has just looked at.
    """
    entries = library.cases()
    decided = {entry.patient or entry.id for entry in entries if entry.newest is not None and entry.newest.is_decided}
    free = [
        entry.id
        for entry in entries
        if not entry.damage
        and entry.id not in seen
        and (entry.patient or entry.id) not in decided
        and is_radiograph in (None, entry.slices == 1)
    ]
    return min(free, key=lambda case_id: _drawn("case", case_id), default=None)


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
