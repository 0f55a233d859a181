"""Annotated volumes of a data folder, brought to the levels of a model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.geometry.read_level import level_grids, read_level
from DenseLandmarksLib.models.intensity import IntensityRecipe, normalised
from training.stored_pyramid import StoredPyramid, from_bytes, to_bytes
from training.volume_cases import VolumeCases
from training.volume_data import VolumeCase, VolumeDataset, read_volume_dataset
from training.volume_recipe import LevelsRecipe


def plan_spacings(cases: Sequence[VolumeCase], crop_size: int) -> tuple[float, ...]:
    """Levels for these volumes, the coarsest first.

    A crop of the coarsest sees the whole of the largest volume, the finest has the voxels of the median volume along its
    coarsest axis, and each level has about half the spacing of the one before.
    """
    extents, finest = [], []
    for case in cases:
        geometry = read_image(case.image_path).geometry
        (grid,) = level_grids(geometry, [min(geometry.spacing_mm)])
        extents.append(max(grid.size) * grid.spacing_mm)
        finest.append(max(geometry.spacing_mm))
    coarse, fine = max(extents) / crop_size, float(np.median(finest))
    steps = max(round(np.log2(coarse / fine)), 0) if coarse > fine else 0
    return tuple(float(f"{spacing:.3g}") for spacing in np.geomspace(coarse, min(fine, coarse), steps + 1))


def spacings_of(levels: LevelsRecipe, folder: Path) -> tuple[float, ...]:
    """Spacings in mm, the coarsest first: the recipe's, or those planned for the training volumes of a data folder."""
    return levels.spacings_mm or plan_spacings(read_volume_dataset(folder).of_split("train").cases, levels.crop_size)


def read_pyramid(path: Path, spacings_mm: Sequence[float], intensity: IntensityRecipe) -> StoredPyramid:
    """All levels of one volume of a file."""
    image = read_image(path)
    if image.is_radiograph:
        raise InputError(f"expected a volume, {path} is one slice. Choose a recipe for radiographs.")
    return pyramid_of(image, spacings_mm, intensity)


def pyramid_of(image: MedicalImage, spacings_mm: Sequence[float], intensity: IntensityRecipe) -> StoredPyramid:
    """All levels of one volume, normalised, in the steps that a packed file has."""
    grids = level_grids(image.geometry, spacings_mm)
    levels = []
    limits = None
    for grid in grids:
        values = read_level(image.volume, grid, (0, 0, 0), grid.size, outside=np.nan)
        if limits is None:
            limits = intensity.limits_of(values[np.isfinite(values)])
        levels.append(from_bytes(to_bytes(normalised(values, limits))))
    return StoredPyramid(grids, levels)


def read_volume_cases(
    folder: Path,
    spacings_mm: Sequence[float],
    intensity: IntensityRecipe,
    split: str | None = None,
    between_cases: Callable[[], None] = lambda: None,
) -> VolumeCases:
    """Read the volumes of a data folder, of one split where it is named.

    ``between_cases`` is called before each and may raise what ends the reading.
    """
    dataset: VolumeDataset = read_volume_dataset(folder)
    if split is not None:
        dataset = dataset.of_split(split)
    pyramids = []
    for case in tqdm(dataset.cases, desc="reading volumes", unit="case", file=sys.stderr, leave=False):
        between_cases()
        pyramids.append(read_pyramid(case.image_path, spacings_mm, intensity))
    return VolumeCases(
        dataset.name,
        tuple(case.name for case in dataset.cases),
        tuple(case.split for case in dataset.cases),
        tuple(pyramids),
        np.stack([case.points_lps_mm for case in dataset.cases]),
        np.stack([case.absent for case in dataset.cases]),
        dataset.landmark_names,
        dataset.landmark_structures,
        intensity,
    )
