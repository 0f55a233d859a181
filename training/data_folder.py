"""What data folders of radiographs and of volumes have in common: ``dataset.json``, ``landmarks.csv``, splits and folds."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError

INDEX, TABLE = "dataset.json", "landmarks.csv"
PIXEL_COLUMNS = ("x_px", "y_px")
LPS_COLUMNS = ("x_lps_mm", "y_lps_mm", "z_lps_mm")
FROM_LANDMARKS = "from_landmarks"
"""``spacing_source`` of a data set whose millimetres are a known distance between two of its landmarks."""


class NamedCase(Protocol):
    """What splitting and reading need of a case."""

    @property
    def name(self) -> str:
        """Unique in its data set."""
        ...

    @property
    def image_path(self) -> Path:
        """The image that was annotated."""
        ...

    @property
    def split(self) -> str:
        """``train``, ``test`` or another."""
        ...


CaseT = TypeVar("CaseT", bound=NamedCase)


class Spacing(TypedDict):
    """Where a data set's millimetres came from, as JSON types.

    ``source`` is a :class:`~DenseLandmarksLib.geometry.image_geometry.SpacingSource` or :data:`FROM_LANDMARKS`; ``note`` is the
    sentence that must stand beside every figure then.
    """

    source: str
    note: str | None


def spacing_of(data: str, source: str, words: str) -> Spacing:
    """The spacing of a data set called ``data``; ``words`` are its own about where it comes from, maybe none."""
    if source != FROM_LANDMARKS:
        return {"source": source, "note": None}
    how = f" ({words})" if words else ""
    note = f"Millimetres of `{data}` were derived from its landmarks{how}: by another convention the same errors are others."
    return {"source": source, "note": note}


@dataclass(frozen=True)
class AnnotatedCases(Generic[CaseT]):
    """Cases that share L landmarks. ``landmark_structures`` names the structure of each landmark."""

    name: str
    landmark_names: tuple[str, ...]
    landmark_structures: tuple[str, ...]
    cases: tuple[CaseT, ...]

    @property
    def structures(self) -> tuple[str, ...]:
        """Structure names in order of first appearance."""
        return tuple(dict.fromkeys(self.landmark_structures))

    @property
    def spacing(self) -> Spacing | None:
        """What the data set says of its millimetres; nothing of volumes, whose files do."""
        return None

    def landmarks_of(self, structure: str) -> NDArray[np.intp]:
        """Positions, in order, of the landmarks of ``structure``."""
        return np.flatnonzero(np.asarray(self.landmark_structures) == structure)

    def of_split(self, split: str) -> Self:
        """Only the cases of ``split``; raises :class:`InputError` when there are none."""
        cases = tuple(case for case in self.cases if case.split == split)
        if not cases:
            known = ", ".join(sorted({case.split for case in self.cases}))
            raise InputError(
                f"expected cases of split {split!r} in data set {self.name!r}; it has {known}. Name one of these."
            )
        return replace(self, cases=cases)

    def fold(self, fold: int, folds: int = 5) -> tuple[Self, Self]:
        """The cases without and with those of one of ``folds`` folds, dealt in the order of their names."""
        if not 0 <= fold < folds:  # a slice would quietly deal other cases
            raise InputError(f"expected a fold from 0 to {folds - 1}, got {fold}. Correct --fold.")
        ordered = sorted(self.cases, key=lambda case: case.name)
        held = {case.name for case in ordered[fold::folds]}
        return (
            replace(self, cases=tuple(case for case in self.cases if case.name not in held)),
            replace(self, cases=tuple(case for case in self.cases if case.name in held)),
        )


@dataclass(frozen=True)
class DataFolder:
    """The two files of a data folder as they were read.

    Attributes
    ----------
    name : of the data set.
    index : ``dataset.json``.
    structure_of : the structure of each landmark, in order of first appearance.
    points : per case and landmark the position, in the columns that were asked for.
    """

    name: str
    index: Mapping[str, Any]
    structure_of: Mapping[str, str]
    points: Mapping[str, Mapping[str, tuple[float, ...]]]
    dimensions: int

    def points_of(self, case: str) -> NDArray[np.float64]:
        """Positions (L, D) of the landmarks of a case, NaN where there is no row."""
        missing = (float("nan"),) * self.dimensions
        known = self.points.get(case, {})
        rows = [known.get(name, missing) for name in self.structure_of]
        return np.array(rows, np.float64).reshape(-1, self.dimensions)


def is_of_volumes(folder: Path) -> bool:
    """Whether the landmarks of a data folder are in LPS mm; raises :class:`InputError` when they are in neither frame."""
    columns = _columns_of(folder)
    if not set(LPS_COLUMNS) <= set(columns) and not set(PIXEL_COLUMNS) <= set(columns):
        raise InputError(
            f"expected columns {', '.join(PIXEL_COLUMNS)} (radiographs) or {', '.join(LPS_COLUMNS)} (volumes) in "
            f"{folder / TABLE}, got {', '.join(columns) or 'none'}. Name the columns so."
        )
    return set(LPS_COLUMNS) <= set(columns)


def read_data_folder(folder: Path, columns: Sequence[str], kind: str) -> DataFolder:
    """Read the two files; raises :class:`InputError` when one is missing or ``columns`` are not those of the landmarks.

    ``kind`` says what images these columns belong to.
    """
    given = _columns_of(folder)
    if not set(columns) <= set(given):
        raise InputError(
            f"expected landmarks of {kind} ({', '.join(columns)}), got {', '.join(given) or 'nothing'} in "
            f"{folder / TABLE}. Give a data folder of {kind}, or choose a model or command for this one."
        )
    raw = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    structure_of: dict[str, str] = {}
    points: dict[str, dict[str, tuple[float, ...]]] = {}
    with (folder / TABLE).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            structure_of.setdefault(row["landmark"], row.get("structure") or raw["name"])
            points.setdefault(row["case"], {})[row["landmark"]] = tuple(float(row[column]) for column in columns)
    return DataFolder(raw["name"], raw, structure_of, points, len(columns))


def _columns_of(folder: Path) -> list[str]:
    """Names of the columns of the landmarks; raises :class:`InputError` where a file is missing."""
    for needed in (INDEX, TABLE):
        if not (folder / needed).is_file():
            raise InputError(
                f"expected a data folder with {needed}; {folder} has none. Give the folder that holds it with --data."
            )
    with (folder / TABLE).open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])
