"""Which case a person should look at next, and why."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from DenseLandmarksLib.annotation.library.revision import RevisionInfo
from DenseLandmarksLib.errors import InputError

Order = Literal["doubt", "order", "random"]
ORDERS: tuple[Order, ...] = ("doubt", "order", "random")


@dataclass(frozen=True)
class CaseEntry:
    """A line of the list of cases: id, name, its newest revision in brief, and a line about what cannot be read.

    ``patient`` is the key of the patient, empty where that is unknown, ``slices`` how many the image has, 1 for a
    radiograph; 0 where the case is damaged.
    """

    id: str
    name: str
    newest: RevisionInfo | None = None
    damage: str = ""
    patient: str = ""
    slices: int = 0


class NextCase(NamedTuple):
    """A case, and the reason, in one line, why it comes next."""

    id: str
    reason: str


def next_case(
    entries: Sequence[CaseEntry], order: Order = "doubt", after: str | None = None, seed: int = 0
) -> NextCase | None:
    """The case to look at after case ``after``, of those with something to decide; ``None`` where there is none left.

    Parameters
    ----------
    entries : in the library's order.
    order : ``"doubt"``: first predictions that the model itself does not believe, then where most is to be gained, which
        is little reviewed and little sure (see :attr:`RevisionInfo.doubt`); a case without prediction, of which nothing
        is known yet, comes after all others. ``"order"``: the next in the list; after the last comes the first.
        ``"random"``: an order drawn by ``seed``, which stays the same when cases are added or done.
    after : is never offered itself.

    Raises :class:`InputError` for an unknown order.
    """
    if order not in ORDERS:
        raise InputError(f"expected an order of {', '.join(ORDERS)}, got {order!r}. Choose one of them.")
    if order == "random":
        entries = sorted(entries, key=lambda entry: hashlib.sha256(f"{seed} {entry.id}".encode()).digest())
    ids = [entry.id for entry in entries]
    start = ids.index(after) + 1 if after in ids else 0
    round_trip = [*entries[start:], *entries[:start]]
    still_open = [
        entry
        for entry in round_trip
        if entry.id != after and not entry.damage and not (entry.newest is not None and entry.newest.is_reviewed)
    ]
    if not still_open:
        return None
    if order == "doubt":
        chosen = min(still_open, key=lambda entry: (_rank(entry), -_doubt(entry), ids.index(entry.id)))
        return NextCase(chosen.id, _reason(chosen))
    chosen = still_open[0]
    how = "next in the list" if order == "order" else "drawn at random"
    return NextCase(chosen.id, f"{how} of {len(still_open)} with something to decide; {_reason(chosen)}")


def _rank(entry: CaseEntry) -> int:
    info = entry.newest
    if info is None or not info.model:
        return 2
    return 0 if info.doubts else 1


def _doubt(entry: CaseEntry) -> float:
    return 0.0 if entry.newest is None or not entry.newest.model else entry.newest.doubt


def _reason(entry: CaseEntry) -> str:
    info = entry.newest
    if info is None:
        return "nobody has looked at it and no model has seen it"
    reviewed = f"{info.reviewed} of {info.landmarks} landmarks reviewed"
    if not info.model:
        return f"no model has seen it; {reviewed}"
    if info.doubts:
        return f"the model does not believe its own prediction ({info.doubts[0]}); {reviewed}"
    if info.landmarks == 0 or info.confidence is None:
        return f"{info.open_structures} of {info.structures} structures are not reviewed"
    return f"{reviewed}, of the others the model is {info.confidence:.0%} sure"
