"""A data folder of small volumes in which every landmark is a blob of its own size, stored every way; quick to learn."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

FloatArray = NDArray[np.float64]
LANDMARKS = ("left_ear", "right_ear", "chin", "crown")
SHAPE_MM = np.array([[9.0, 2, 1], [-9, 2, 1], [0, -8, -8], [0, 3, 10]])
SIGMA_MM = np.array([2.0, 2.6, 1.6, 3.2])
VALUES = np.array([180.0, 120, 240, 150])


def blobs_at(positions: FloatArray, points_lps_mm: FloatArray) -> FloatArray:
    """The values (...,) at positions (..., 3) of a volume with its blobs at ``points_lps_mm`` (4, 3)."""
    total = np.zeros(positions.shape[:-1])
    for point, sigma, value in zip(points_lps_mm, SIGMA_MM, VALUES, strict=True):
        if np.isfinite(point).all():
            total += value * np.exp(-((positions - point) ** 2).sum(axis=-1) / (2 * sigma**2))
    return total


def blob_volume(
    points_lps_mm: FloatArray,
    middle_lps_mm: FloatArray,
    extent_mm: float = 44.0,
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0),
    direction: FloatArray | None = None,
) -> sitk.Image:
    """A float volume about ``middle_lps_mm``, its axes the columns of ``direction``."""
    matrix = np.eye(3) if direction is None else direction
    size = np.round(extent_mm / np.array(spacing_mm)).astype(int)
    index = np.stack(np.indices(size[::-1])[::-1], axis=-1)
    offsets = (index - (size - 1) / 2) * np.array(spacing_mm)
    volume = sitk.GetImageFromArray(blobs_at(offsets @ matrix.T + middle_lps_mm, points_lps_mm))
    volume.SetSpacing(spacing_mm)
    volume.SetDirection(matrix.ravel().tolist())
    volume.SetOrigin((middle_lps_mm - matrix @ ((size - 1) / 2 * np.array(spacing_mm))).tolist())
    return volume


def draw_points(rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """The landmarks (4, 3) of one patient, and the middle (3,) of the volume."""
    middle = rng.uniform(-200, 200, 3).round(1)
    turn = Rotation.from_rotvec(rng.uniform(-0.2, 0.2, 3)).as_matrix()
    shape = SHAPE_MM * rng.uniform(0.9, 1.1) + rng.normal(0, 0.4, SHAPE_MM.shape)
    return shape @ turn.T + rng.uniform(-3, 3, 3) + middle, middle


def write_blob_volumes(folder: Path, train: int = 5, test: int = 1) -> Path:
    """Every second volume is stored turned and from the head down; one training case lacks a landmark's row."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    cases, rows = [], []
    for number in range(train + test):
        name = f"case{(5 * number) % 17:02d}"
        points, middle = draw_points(rng)
        direction = None
        if number % 2:
            direction = Rotation.from_euler("z", 25, degrees=True).as_matrix() @ np.diag([1.0, 1, -1])
        volume = blob_volume(points, middle, direction=direction)
        sitk.WriteImage(sitk.Cast(volume, sitk.sitkInt16), str(folder / "images" / f"{name}.nrrd"))
        cases.append({"case": name, "image": f"images/{name}.nrrd", "split": "train" if number < train else "test"})
        rows += [
            (name, landmark, "head", *map(float, point))
            for landmark, point in zip(LANDMARKS, points, strict=True)
            if (number, landmark) != (1, "crown")
        ]
    (folder / "dataset.json").write_text(json.dumps({"name": "blobs", "cases": cases}))
    with (folder / "landmarks.csv").open("w", newline="") as file:
        header = ("case", "landmark", "structure", "x_lps_mm", "y_lps_mm", "z_lps_mm")
        csv.writer(file).writerows([header, *rows])
    return folder
