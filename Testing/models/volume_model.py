"""A model of volumes that makes no error: what it says, and a bundle of its family with a network of one number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.models.bundle import save_bundle
from DenseLandmarksLib.models.demonstration import demonstration_doubts
from DenseLandmarksLib.models.family import JOINT_SHAPE
from DenseLandmarksLib.models.prediction import Plausibility, Prediction, do_nothing

NAMES = ("bifurcation_left", "bifurcation_right", "spinous_process", "hyoid")
STRUCTURES = ("carotids", "carotids", "spine", "neck")
SIZE, SPACING_MM, ORIGIN_MM = (40, 36, 18), (1.0, 1.25, 2.0), (-12.0, 30.0, -400.0)
TURN = np.deg2rad(15)
# Oblique, and slices stored from the head down.
DIRECTION = (np.cos(TURN), -np.sin(TURN), 0.0, np.sin(TURN), np.cos(TURN), 0.0, 0.0, 0.0, -1.0)
# Of each landmark in the volume, as a share of its size; the last is not in the image.
PLACES = np.array([[0.6, 0.4, 0.5], [0.35, 0.42, 0.55], [0.5, 0.75, 0.3], [0.5, 0.2, 0.8]])


def neck_volume(seed: int = 0, name: str = "neck") -> MedicalImage:
    """A small oblique volume of noise, in Hounsfield units; no two seeds have the same voxels."""
    voxels = np.random.default_rng(seed).integers(-1000, 1500, SIZE[::-1]).astype(np.int16)
    volume = sitk.GetImageFromArray(voxels)
    volume.SetSpacing(SPACING_MM)
    volume.SetOrigin(ORIGIN_MM)
    volume.SetDirection(DIRECTION)
    return MedicalImage(volume, SpacingSource.CALIBRATED, name)


def perfect_landmarks(geometry: ImageGeometry) -> LandmarkSet:
    """Three landmarks that are present and one that is absent with a best guess; each with a covariance of its own."""
    points = lps_mm_from_index(geometry, PLACES * (np.array(geometry.size) - 1))
    stretched = np.array([[4.0, 1.0, 0.5], [1.0, 2.0, 0.2], [0.5, 0.2, 6.0]])
    return LandmarkSet(
        names=NAMES,
        structures=STRUCTURES,
        points_lps_mm=points,
        predicted_lps_mm=points.copy(),
        presence=(Presence.PRESENT,) * 3 + (Presence.ABSENT,),
        review=(Review.PREDICTED,) * 4,
        confidence=np.array([0.9, 0.8, 0.4, 0.1]),
        covariance_mm2=np.arange(1, 5)[:, None, None] * stretched,
        template_uv=np.full((4, 2), np.nan),
    )


class PerfectVolumeModel:
    """Predicts any volume; ``is_demonstration`` as in a bundle."""

    name, version, device = "perfect-neck", "1.0.0", "cpu"

    def __init__(self, is_demonstration: bool = False) -> None:
        self.is_demonstration = is_demonstration

    def predict(
        self, image: MedicalImage, view: View | None = None, *, between_passes: Callable[[], None] = do_nothing
    ) -> Prediction:
        """The perfect landmarks, doubted as the bundle asks for."""
        between_passes()
        plausibility = Plausibility(demonstration_doubts(self, image))
        landmarks = perfect_landmarks(image.geometry)
        return Prediction.of_landmarks(landmarks, self.name, self.version, self.device, plausibility)


def write_volume_bundle(folder: Path, **metadata: Any) -> Path:
    """A whole bundle of the family, whose weights are one number; ``metadata`` are added or put in the place of others."""
    said = {
        "name": folder.name,
        "version": "1.0.0",
        "family": "multi_scale",
        "description": "Finds nothing: for tests.",
        "structures": [],
        "landmark_names": list(NAMES),
        "landmark_structures": list(STRUCTURES),
        **metadata,
    }
    shape = {"mean_mm": PLACES.tolist(), "modes": []}
    weights = {"one": np.ones(1, np.float16)}
    save_bundle(folder, said, {"dimensions": 3}, {JOINT_SHAPE: json.dumps(shape)}, weights, "A card.", "Terms.")
    return folder
