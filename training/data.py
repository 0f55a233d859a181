"""Annotated cases on disk: the ``dataset.json`` and ``landmarks.csv`` of a data folder."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError


@dataclass(frozen=True)
class Case:
    """One annotated radiograph.

    ``points_px`` is (L, 2), continuous pixel positions x, y in the stored image, NaN where not annotated;
    ``spacing_mm`` is (x, y); ``size_px`` is (width, height).
    """

    name: str
    image_path: Path
    split: str
    spacing_mm: tuple[float, float]
    size_px: tuple[int, int]
    points_px: NDArray[np.float64]


@dataclass(frozen=True)
class Dataset:
    """Cases that share L landmarks. ``landmark_structures`` names the structure of each landmark.

    Where a structure's landmarks form its contour in order, their polygon is the truth of its segmentation.
    """

    name: str
    landmark_names: tuple[str, ...]
    landmark_structures: tuple[str, ...]
    spacing_source: str
    cases: tuple[Case, ...]

    @property
    def structures(self) -> tuple[str, ...]:
        """Structure names in order of first appearance."""
        return tuple(dict.fromkeys(self.landmark_structures))

    def landmarks_of(self, structure: str) -> NDArray[np.intp]:
        """Positions, in order, of the landmarks of ``structure``."""
        return np.flatnonzero(np.asarray(self.landmark_structures) == structure)

    def of_split(self, split: str) -> Dataset:
        """Only the cases of ``split``; raises :class:`InputError` when there are none."""
        cases = tuple(case for case in self.cases if case.split == split)
        if not cases:
            known = ", ".join(sorted({case.split for case in self.cases}))
            raise InputError(
                f"expected cases of split {split!r} in data set {self.name!r}; it has {known}. Name one of these."
            )
        return replace(self, cases=cases)

    def fold(self, fold: int, folds: int = 5) -> tuple[Dataset, Dataset]:
        """The cases without and with those of one of ``folds`` folds, dealt in the order of their names."""
        if not 0 <= fold < folds:  # a slice would quietly deal other cases
            raise InputError(f"expected a fold from 0 to {folds - 1}, got {fold}. Correct --fold.")
        ordered = sorted(self.cases, key=lambda case: case.name)
        held = {case.name for case in ordered[fold::folds]}
        return (
            replace(self, cases=tuple(case for case in self.cases if case.name not in held)),
            replace(self, cases=tuple(case for case in self.cases if case.name in held)),
        )


def read_dataset(folder: Path) -> Dataset:
    """Read a data folder of radiographs; raises :class:`InputError` when a file is missing or does not fit."""
    for needed in ("dataset.json", "landmarks.csv"):
        if not (folder / needed).is_file():
            raise InputError(
                f"expected a data folder with {needed}; {folder} has none. Give the folder that holds it with --data."
            )
    raw = json.loads((folder / "dataset.json").read_text())
    structure_of: dict[str, str] = {}
    points: dict[str, dict[str, tuple[float, float]]] = {}
    with (folder / "landmarks.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if "x_px" not in row:
                raise InputError(
                    f"expected pixel columns x_px, y_px in {folder / 'landmarks.csv'}; this set is not of radiographs."
                )
            structure_of.setdefault(row["landmark"], row.get("structure") or raw["name"])
            points.setdefault(row["case"], {})[row["landmark"]] = (float(row["x_px"]), float(row["y_px"]))
    names = tuple(structure_of)
    missing = (float("nan"), float("nan"))
    cases = tuple(
        Case(
            name=c["case"],
            image_path=folder / c["image"],
            split=c["split"],
            spacing_mm=(float(c["spacing_mm"][0]), float(c["spacing_mm"][1])),
            size_px=(int(c["size_px"][0]), int(c["size_px"][1])),
            points_px=np.array([points.get(c["case"], {}).get(name, missing) for name in names]),
        )
        for c in raw["cases"]
    )
    return Dataset(raw["name"], names, tuple(structure_of.values()), raw.get("spacing_source", "given"), cases)
