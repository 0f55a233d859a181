"""Annotated volumes at the levels of a model: all that training needs of the images, in memory or in one file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_beside_and_rename
from DenseLandmarksLib.geometry.level_grid import LevelGrid
from DenseLandmarksLib.models.intensity import IntensityRecipe
from training.packed_file import telling_what_is_not_packed
from training.stored_pyramid import StoredPyramid, from_bytes, to_bytes

# Up to so many landmarks have a crop each.
OWN_CROPS = 8


@dataclass(frozen=True)
class VolumeCases:
    """M volumes at K levels, with L landmarks.

    ``points_lps_mm`` (M, L, 3) NaN where not annotated or absent, ``absent`` (M, L) where a landmark is truly not there,
    ``intensity`` how the values were normalised, ``None`` where nobody says; ``weights`` (M, L) how much each landmark
    counts, ``None`` where all count 1.
    """

    data_name: str
    names: tuple[str, ...]
    splits: tuple[str, ...]
    pyramids: tuple[StoredPyramid, ...]
    points_lps_mm: NDArray[np.float64]
    absent: NDArray[np.bool_]
    landmark_names: tuple[str, ...]
    landmark_structures: tuple[str, ...]
    intensity: IntensityRecipe | None = None
    weights: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def spacings_mm(self) -> tuple[float, ...]:
        """Of the levels, the coarsest first."""
        return tuple(grid.spacing_mm for grid in self.pyramids[0].grids)

    def select(self, keep: NDArray[np.bool_]) -> VolumeCases:
        """The cases where ``keep`` (M,) is true."""
        rows = np.flatnonzero(keep)
        return replace(
            self,
            names=tuple(self.names[i] for i in rows),
            splits=tuple(self.splits[i] for i in rows),
            pyramids=tuple(self.pyramids[i] for i in rows),
            points_lps_mm=self.points_lps_mm[rows],
            absent=self.absent[rows],
            weights=None if self.weights is None else self.weights[rows],
        )

    def of_split(self, split: str) -> VolumeCases:
        """Only the cases of ``split``; raises :class:`InputError` when there are none."""
        keep = np.array([s == split for s in self.splits], bool)
        if not keep.any():
            raise InputError(
                f"expected cases of split {split!r} in {self.data_name}, got none. Choose another data set."
            )
        return self.select(keep)

    def fold(self, fold: int, folds: int) -> tuple[VolumeCases, VolumeCases]:
        """The cases without and with those of one of ``folds`` folds, dealt in the order of their names.

        Raises :class:`InputError` where nothing would be left to train on, or to hold out.
        """
        held = set(sorted(self.names)[fold::folds])
        if not 0 < len(held) < len(self):
            raise InputError(
                f"expected more cases than fold {fold} of {folds} can be dealt from, got {len(self)} in {self.data_name}. "
                "Use fewer folds."
            )
        out = np.array([name in held for name in self.names], bool)
        return self.select(~out), self.select(out)


def plan_groups(shapes_lps_mm: NDArray[np.float64], extent_mm: float, sharing: int) -> tuple[int, ...]:
    """Which of L landmarks share a crop: all have their own, or up to ``sharing`` neighbours at most ``extent_mm`` apart.

    ``shapes_lps_mm`` (M, L, 3) may have NaN.
    """
    count = shapes_lps_mm.shape[1]
    if count <= OWN_CROPS:
        return tuple(range(count))
    apart = np.linalg.norm(shapes_lps_mm[:, :, None] - shapes_lps_mm[:, None], axis=-1)
    largest = np.nan_to_num(np.nanmax(apart, axis=0), nan=np.inf)
    upper = largest[np.triu_indices(count, 1)]
    found = fcluster(linkage(np.minimum(upper, 1e6), "complete"), extent_mm, "distance")
    taken: dict[int, int] = {}
    labels = []
    for group in found.tolist():
        labels.append((group, taken.get(group, 0) // sharing))
        taken[group] = taken.get(group, 0) + 1
    order = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return tuple(order[label] for label in labels)


def save_volume_cases(path: Path, cases: VolumeCases) -> None:
    """Write the cases as one ``.npz`` without pickle, their values as bytes of 256 steps."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for number, pyramid in enumerate(cases.pyramids):
        for level, (grid, values) in enumerate(zip(pyramid.grids, pyramid.levels, strict=True)):
            arrays[f"values_{number}_{level}"] = to_bytes(values)
            arrays[f"origin_{number}_{level}"] = np.array(grid.origin_lps_mm)
    with write_beside_and_rename(path) as beside, beside.open("wb") as file:
        np.savez_compressed(
            file,
            data_name=np.array(cases.data_name),
            names=np.array(cases.names),
            splits=np.array(cases.splits),
            spacings_mm=np.array(cases.spacings_mm),
            points_lps_mm=cases.points_lps_mm,
            absent=cases.absent,
            landmark_names=np.array(cases.landmark_names),
            landmark_structures=np.array(cases.landmark_structures),
            intensity=np.array("" if cases.intensity is None else json.dumps(asdict(cases.intensity))),
            **arrays,  # type: ignore[arg-type]
        )


def load_packed_volumes(path: Path) -> VolumeCases:
    """Read a file of :func:`save_volume_cases`; raises :class:`InputError` for anything else."""
    with telling_what_is_not_packed(path), np.load(path, allow_pickle=False) as raw:
        spacings = raw["spacings_mm"].tolist()
        pyramids = []
        for number in range(len(raw["names"])):
            levels = [from_bytes(raw[f"values_{number}_{k}"]) for k in range(len(spacings))]
            grids = [
                LevelGrid(tuple(raw[f"origin_{number}_{k}"].tolist()), spacing, levels[k].shape[::-1])
                for k, spacing in enumerate(spacings)
            ]
            pyramids.append(StoredPyramid(grids, levels))
        intensity = str(raw["intensity"]) if "intensity" in raw else ""
        return VolumeCases(
            str(raw["data_name"]),
            tuple(raw["names"].tolist()),
            tuple(raw["splits"].tolist()),
            tuple(pyramids),
            raw["points_lps_mm"],
            raw["absent"],
            tuple(raw["landmark_names"].tolist()),
            tuple(raw["landmark_structures"].tolist()),
            IntensityRecipe(**json.loads(intensity)) if intensity else None,
        )
