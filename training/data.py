"""Annotated radiographs on disk: the ``dataset.json`` and ``landmarks.csv`` of a data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data_folder import PIXEL_COLUMNS, AnnotatedCases, Spacing, read_data_folder, spacing_of


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
class Dataset(AnnotatedCases[Case]):
    """Radiographs that share L landmarks.

    Where a structure's landmarks form its contour in order, their polygon is the truth of its segmentation. ``source`` is what the
    data set says of where it comes from.
    """

    spacing_source: str = "given"
    source: str = ""

    @property
    def spacing(self) -> Spacing:
        """Where its millimetres came from."""
        return spacing_of(self.name, self.spacing_source, self.source)


def read_dataset(folder: Path) -> Dataset:
    """Read a data folder of radiographs; raises :class:`InputError` when a file is missing or does not fit."""
    read = read_data_folder(folder, PIXEL_COLUMNS, "radiographs")
    cases = tuple(
        Case(
            name=c["case"],
            image_path=folder / c["image"],
            split=c["split"],
            spacing_mm=(float(c["spacing_mm"][0]), float(c["spacing_mm"][1])),
            size_px=(int(c["size_px"][0]), int(c["size_px"][1])),
            points_px=read.points_of(c["case"]),
        )
        for c in read.index["cases"]
    )
    return Dataset(
        read.name,
        tuple(read.structure_of),
        tuple(read.structure_of.values()),
        cases,
        read.index.get("spacing_source", "given"),
        read.index.get("source", ""),
    )
