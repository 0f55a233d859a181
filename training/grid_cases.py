"""Cases brought to the model's grid: all that training needs of the images, in arrays that fit into one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_beside_and_rename
from training.data import read_dataset
from training.packed_file import telling_what_is_not_packed


@dataclass(frozen=True)
class GridCases:
    """M cases on the grid.

    ``images`` (M, H, W) float16, z-normalised; ``points`` (M, L, 2), grid pixels x, y, NaN where not annotated;
    ``mm_per_pixel`` (M,) size of a grid pixel, NaN where the spacing of a library's image is unknown; ``splits`` and ``names``
    M strings; ``landmark_names`` and ``landmark_structures`` L strings.

    What people decided in a library has more: ``weights`` (M, L) float32, how much each landmark teaches, ``None`` where all
    teach alike; ``absent`` (M, L) bool, decided not to be in the image; ``masks``, per case the structures (H, W) that were
    decided themselves, and ``mask_weights`` what each of them teaches. Of data without them they are ``None``.
    """

    data_name: str
    names: tuple[str, ...]
    splits: tuple[str, ...]
    images: NDArray[np.float16]
    points: NDArray[np.float64]
    mm_per_pixel: NDArray[np.float64]
    landmark_names: tuple[str, ...]
    landmark_structures: tuple[str, ...]
    weights: NDArray[np.float32] | None = None
    absent: NDArray[np.bool_] | None = None
    masks: tuple[Mapping[str, NDArray[np.bool_]], ...] | None = None
    mask_weights: tuple[Mapping[str, float], ...] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def select(self, keep: NDArray[np.bool_]) -> GridCases:
        """The cases where ``keep`` (M,) is true."""
        rows = np.flatnonzero(keep)
        return GridCases(
            self.data_name,
            tuple(self.names[i] for i in rows),
            tuple(self.splits[i] for i in rows),
            self.images[rows],
            self.points[rows],
            self.mm_per_pixel[rows],
            self.landmark_names,
            self.landmark_structures,
            None if self.weights is None else self.weights[rows],
            None if self.absent is None else self.absent[rows],
            None if self.masks is None else tuple(self.masks[i] for i in rows),
            None if self.mask_weights is None else tuple(self.mask_weights[i] for i in rows),
        )

    def of_landmarks(self, rows: NDArray[np.intp]) -> GridCases:
        """The same cases with only the landmarks of these positions, in their order."""
        return replace(
            self,
            points=self.points[:, rows],
            landmark_names=tuple(self.landmark_names[i] for i in rows),
            landmark_structures=tuple(self.landmark_structures[i] for i in rows),
            weights=None if self.weights is None else self.weights[:, rows],
            absent=None if self.absent is None else self.absent[:, rows],
        )

    def of_split(self, split: str) -> GridCases:
        """Only the cases of ``split``."""
        return self.select(np.array([s == split for s in self.splits]))

    def fold(self, fold: int, folds: int) -> tuple[GridCases, GridCases]:
        """The cases without and with those of one of ``folds`` folds, dealt in the order of their names."""
        held = np.zeros(len(self), bool)
        held[np.argsort(self.names, kind="stable")[fold::folds]] = True
        return self.select(~held), self.select(held)


def read_grid_cases(
    folder: Path, grid_size: tuple[int, int], between_cases: Callable[[], None] = lambda: None
) -> GridCases:
    """Read every case of a data folder and fit it to a grid of ``grid_size`` (height, width).

    ``between_cases`` is called before each and may raise what ends the reading.
    """
    from DenseLandmarksLib.geometry.grid import fit_grid
    from DenseLandmarksLib.geometry.read_image import read_image

    dataset = read_dataset(folder)
    images, points, sizes = [], [], []
    for case in tqdm(dataset.cases, desc="reading images", leave=False):
        between_cases()
        image = read_image(case.image_path, case.spacing_mm)
        grid = fit_grid(image, grid_size)
        images.append(grid.resample(image.pixels_yx).astype(np.float16))
        points.append(grid.from_pixels(case.points_px))
        sizes.append(float(grid.pixel_size(case.spacing_mm)[0]))
    return GridCases(
        dataset.name,
        tuple(case.name for case in dataset.cases),
        tuple(case.split for case in dataset.cases),
        np.stack(images),
        np.stack(points),
        np.array(sizes),
        dataset.landmark_names,
        dataset.landmark_structures,
    )


def save_grid_cases(path: Path, cases: GridCases) -> None:
    """Write all arrays into one ``.npz``, from which a machine without the images can train."""
    with write_beside_and_rename(path) as beside, beside.open("wb") as file:
        np.savez_compressed(
            file,
            data_name=np.array(cases.data_name),
            names=np.array(cases.names),
            splits=np.array(cases.splits),
            images=cases.images,
            points=cases.points,
            mm_per_pixel=cases.mm_per_pixel,
            landmark_names=np.array(cases.landmark_names),
            landmark_structures=np.array(cases.landmark_structures),
        )


def load_grid_cases(
    data: Path, grid_size: tuple[int, int], between_cases: Callable[[], None] = lambda: None
) -> GridCases:
    """Cases from a data folder, or from a file of :func:`save_grid_cases`; raises :class:`InputError` if it is neither.

    ``between_cases`` as in :func:`read_grid_cases`.
    """
    if data.is_dir():
        return read_grid_cases(data, grid_size, between_cases)
    with telling_what_is_not_packed(data), np.load(data, allow_pickle=False) as raw:
        cases = GridCases(
            str(raw["data_name"]),
            tuple(raw["names"].tolist()),
            tuple(raw["splits"].tolist()),
            raw["images"],
            raw["points"],
            raw["mm_per_pixel"],
            tuple(raw["landmark_names"].tolist()),
            tuple(raw["landmark_structures"].tolist()),
        )
    if cases.images.shape[1:] != grid_size:
        raise InputError(
            f"expected cases on a grid of {grid_size}, {data} holds {cases.images.shape[1:]}. Pack them again."
        )
    return cases
