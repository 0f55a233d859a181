"""What the comparison of the new version with the old one came to, as the run's ``gate.json`` has it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from DenseLandmarksLib.annotation.library.json_file import read_json
from DenseLandmarksLib.errors import InputError

GATE = "gate.json"
NOT_WORSE = "not worse"


@dataclass(frozen=True)
class StructureErrors:
    """Mean errors of both versions on the landmarks of one structure."""

    name: str
    landmarks: int
    before_mm: float
    after_mm: float


@dataclass(frozen=True)
class Comparison:
    """Of two versions, on landmarks that were decided blind.

    Attributes
    ----------
    cases, persons, landmarks : how many were compared on.
    before_mm, after_mm : mean error of the old and the new version, ``None`` where none could be measured.
    difference_mm : mean of after - before, and the ends of its interval.
    outcome : "not enough evidence", "not worse", "worse" or "undecided".
    line : one sentence that says what, by how much, and why the new version was made active or not.
    called_absent : how many of the landmarks the old and the new version called absent.
    structures : the errors on each.
    """

    cases: int
    persons: int
    landmarks: int
    before_mm: float | None
    after_mm: float | None
    difference_mm: tuple[float, float, float] | None
    outcome: str
    line: str
    called_absent: tuple[int, int] = (0, 0)
    structures: tuple[StructureErrors, ...] = ()


def signed(length_mm: float) -> str:
    """A difference as people read it, two digits behind the point; what rounds to nothing is ``+0.00``."""
    return f"{round(length_mm, 2) + 0.0:+.2f}"


def read_comparison(folder: Path) -> Comparison | None:
    """The comparison of the run in a folder; ``None`` before there is one, and where it cannot be read."""
    try:
        raw = read_json(folder / GATE, "the comparison of a retraining", "Retrain again.")
    except InputError:
        return None
    outcome, line = raw.get("outcome"), raw.get("line")
    if not isinstance(outcome, str) or not isinstance(line, str):
        return None
    before, after = _number(raw.get("before_mm")), _number(raw.get("after_mm"))
    absent = raw.get("called_absent")
    both = (_count(absent[0]), _count(absent[1])) if isinstance(absent, list) and len(absent) == 2 else (0, 0)
    rows = raw.get("by_structure")
    structures = tuple(filter(None, map(_structure, rows))) if isinstance(rows, list) else ()
    return Comparison(
        cases=_count(raw.get("cases")),
        persons=_count(raw.get("persons")),
        landmarks=_count(raw.get("landmarks")),
        before_mm=before,
        after_mm=after,
        difference_mm=_interval(raw.get("difference_mm")),
        outcome=outcome,
        line=" ".join(line.split()),
        called_absent=both,
        structures=structures,
    )


def _structure(row: Any) -> StructureErrors | None:
    if not isinstance(row, dict) or not isinstance(row.get("structure"), str):
        return None
    before, after = _number(row.get("before_mm")), _number(row.get("after_mm"))
    if before is None or after is None:
        return None
    return StructureErrors(row["structure"], _count(row.get("landmarks")), before, after)


def _interval(said: Any) -> tuple[float, float, float] | None:
    values = [_number(one) for one in said] if isinstance(said, list) else []
    if len(values) != 3 or None in values:
        return None
    mean, low, high = values
    return mean, low, high  # type: ignore[return-value]


def _count(said: object) -> int:
    return int(_number(said) or 0)


def _number(said: object) -> float | None:
    is_number = isinstance(said, int | float) and not isinstance(said, bool) and math.isfinite(said)
    return float(said) if is_number else None  # type: ignore[arg-type]
