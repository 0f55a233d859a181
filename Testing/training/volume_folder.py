"""A small data folder of volumes, as a person would have it, and a model that knows its truth."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.models.prediction import Prediction
from training.volume_data import VolumeDataset, read_volume_dataset

CASES = ("a", "b", "c", "d")
STRUCTURE_OF = {"left_1": "left_artery", "left_2": "left_artery", "right_1": "right_artery", "chin": "chin"}
SIZE, SPACING_MM = (40, 36, 12), (1.5, 1.5, 3.0)
# Stored from the head down, and turned by 20 degrees about S.
DIRECTION = tuple(sitk.Euler3DTransform((0, 0, 0), 0, 0, np.deg2rad(20)).GetMatrix()[:6]) + (0.0, 0.0, -1.0)


def blob_volume(index_ijk: NDArray[np.float64], seed: int = 0) -> sitk.Image:
    """Faint noise, and a bright blob, 3 mm wide, about a continuous index."""
    volume = sitk.GetImageFromArray(np.random.default_rng(seed).integers(0, 40, SIZE[::-1]).astype(np.int16))
    from_blob_mm = (np.indices(SIZE[::-1])[::-1].T.reshape(-1, 3) - index_ijk) * np.array(SPACING_MM)
    blob = 1000 * np.exp(-0.5 * (from_blob_mm**2).sum(axis=1) / 3**2)
    volume += sitk.GetImageFromArray(blob.reshape(SIZE).T.astype(np.int16))
    volume.SetSpacing(SPACING_MM)
    volume.SetOrigin((-20.0, 15.0, 300.0))
    volume.SetDirection(DIRECTION)
    return volume


def write_volumes(
    folder: Path,
    structure_of: Mapping[str, str] = STRUCTURE_OF,
    left_out: tuple[tuple[str, str], ...] = (),
    absent: Mapping[str, tuple[str, ...]] = {},
) -> VolumeDataset:
    """Four test cases with landmarks inside the volume; ``left_out`` are pairs of a case and a landmark without a row."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows, cases = [], []
    for seed, name in enumerate(CASES):
        index_ijk = rng.uniform(2, np.array(SIZE) - 3, (len(structure_of), 3))
        volume = blob_volume(index_ijk[0], seed)
        sitk.WriteImage(volume, str(folder / "images" / f"{name}.nii.gz"))
        points_lps_mm = lps_mm_from_index(ImageGeometry.of(volume, SpacingSource.GIVEN), index_ijk)
        case = {"case": name, "split": "test", "image": f"images/{name}.nii.gz"}
        cases.append(case | ({"absent": absent[name]} if name in absent else {}))
        rows += [
            (name, landmark, structure, *map(float, point))
            for (landmark, structure), point in zip(structure_of.items(), points_lps_mm, strict=True)
            if (name, landmark) not in left_out and landmark not in absent.get(name, ())
        ]
    (folder / "dataset.json").write_text(json.dumps({"name": "necks", "cases": cases}))
    with (folder / "landmarks.csv").open("w", newline="") as file:
        header = ("case", "landmark", "structure", "x_lps_mm", "y_lps_mm", "z_lps_mm")
        csv.writer(file).writerows([header, *rows])
    return read_volume_dataset(folder)


@dataclass(frozen=True)
class VolumeOracle:
    """A predictor that knows the truth and does to it what ``change`` says; what is absent it places at the origin."""

    dataset: VolumeDataset
    change: Callable[[str, LandmarkSet], LandmarkSet] = lambda case, landmarks: landmarks
    shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    covariance_mm2: NDArray[np.float64] | None = None
    name: str = "oracle"
    version: str = "1"

    def predict(self, image: MedicalImage, view: View | None = None, **_: Any) -> Prediction:
        case = next(case for case in self.dataset.cases if case.image_path.name == image.name)
        points_lps_mm = np.nan_to_num(case.points_lps_mm) + np.array(self.shift_mm)
        count = len(points_lps_mm)
        each = np.zeros((3, 3)) if self.covariance_mm2 is None else self.covariance_mm2
        landmarks = LandmarkSet(
            names=self.dataset.landmark_names,
            structures=self.dataset.landmark_structures,
            points_lps_mm=points_lps_mm,
            predicted_lps_mm=points_lps_mm,
            presence=(Presence.PRESENT,) * count,
            review=(Review.PREDICTED,) * count,
            confidence=np.ones(count),
            covariance_mm2=np.broadcast_to(each, (count, 3, 3)).copy(),
            template_uv=np.full((count, 2), np.nan),
        )
        return Prediction.of_landmarks(self.change(case.name, landmarks), self.name, self.version, "cpu")
