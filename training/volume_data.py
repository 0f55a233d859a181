"""Annotated volumes on disk: the ``dataset.json`` and ``landmarks.csv`` of a data folder, in LPS mm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from training.data_folder import INDEX, LPS_COLUMNS, AnnotatedCases, read_data_folder


@dataclass(frozen=True)
class VolumeCase:
    """One annotated volume.

    ``points_lps_mm`` (L, 3) is NaN where a landmark is not annotated; ``absent`` (L,) says where it is known not to be in
    the volume. A landmark that is neither was not looked for: nothing may be learned or measured of it.
    """

    name: str
    image_path: Path
    split: str
    points_lps_mm: NDArray[np.float64]
    absent: NDArray[np.bool_]


@dataclass(frozen=True)
class VolumeDataset(AnnotatedCases[VolumeCase]):
    """Volumes that share L landmarks."""


def read_volume_dataset(folder: Path) -> VolumeDataset:
    """Read a data folder of volumes; raises :class:`InputError` when a file is missing or does not fit.

    A case of ``dataset.json`` may name landmarks under ``absent``; a missing row alone means not annotated.
    """
    read = read_data_folder(folder, LPS_COLUMNS, "volumes")
    names = tuple(read.structure_of)
    cases = []
    for case in read.index["cases"]:
        points = read.points_of(case["case"])
        absent = _absent(folder, case["case"], case.get("absent", ()), names, points)
        cases.append(VolumeCase(case["case"], folder / case["image"], case["split"], points, absent))
    return VolumeDataset(read.name, names, tuple(read.structure_of.values()), tuple(cases))


def _absent(
    folder: Path, case: str, stated: Sequence[str], names: tuple[str, ...], points_lps_mm: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which landmarks (L,) a case states to be absent; raises :class:`InputError` for unknown and for annotated ones."""
    unknown = [name for name in stated if name not in names]
    if unknown:
        raise InputError(
            f"expected landmarks of the data set under 'absent' of case {case} in {folder / INDEX}, got "
            f"{', '.join(unknown)}. Correct the names."
        )
    absent = np.array([name in stated for name in names], bool)
    both = absent & np.isfinite(points_lps_mm).all(axis=1)
    if both.any():
        named = ", ".join(name for name, twice in zip(names, both, strict=True) if twice)
        raise InputError(
            f"expected landmarks of case {case} to be annotated or absent, got both for {named}. "
            f"Remove one of the two in {folder}."
        )
    return absent
