"""The curves of a retraining: what its process added to two tables so far."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

TRAINING_TABLE, VALIDATION_TABLE = "training.csv", "validation.csv"
_EPOCH, _LOSS, _ERROR = "epoch", "loss", "error_mm"

Curve = tuple[tuple[float, float], ...]
"""Points (epoch, value), in the order in which they were measured."""


@dataclass(frozen=True)
class Curves:
    """``loss`` over epochs, and ``error_mm``, which is shown and never used to choose."""

    loss: Curve = ()
    error_mm: Curve = ()


def read_curves(folder: Path) -> Curves:
    """What the tables of a run say; rows that are half written or hold no numbers are left out, as are missing tables."""
    return Curves(_read(folder / TRAINING_TABLE, _LOSS), _read(folder / VALIDATION_TABLE, _ERROR))


def curves_changed(folder: Path) -> object:
    """Another value whenever one of the tables was written to."""
    return tuple(_stamp(folder / name) for name in (TRAINING_TABLE, VALIDATION_TABLE))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size


def _read(path: Path, column: str) -> Curve:
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            # The last line may be half written: it counts when its end is there.
            lines = [line for line in file if line.endswith("\n")]
    except OSError:
        return ()
    points = []
    try:
        for row in csv.DictReader(lines):
            epoch, value = _number(row.get(_EPOCH)), _number(row.get(column))
            if epoch is not None and value is not None:
                points.append((epoch, value))
    except csv.Error:  # a byte that is in no table; what comes before it is shown
        pass
    return tuple(points)


def _number(said: object) -> float | None:
    try:
        value = float(said)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
