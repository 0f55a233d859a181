"""One small prediction, made from real types, and Slicer's own readers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.geometry.frames import lps_mm2_from_pixel_covariance, lps_mm_from_pixels
from DenseLandmarksLib.geometry.grid import fit_grid
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.structure_style import StructureStyle

STYLES = Path(__file__).parents[2] / "training/recipes/structures/chest-xray.json"


@pytest.fixture
def styles() -> list[StructureStyle]:
    """Right lung and heart, as the chest recipe defines them."""
    by_name = {raw["name"]: StructureStyle.from_dict(raw) for raw in json.loads(STYLES.read_text())}
    return [by_name["right_lung"], by_name["heart"]]


@pytest.fixture
def radiograph() -> MedicalImage:
    """120 x 100 pixels (x, y) of 0.5 x 0.8 mm, not at the origin, brighter to the right."""
    pixels = np.tile(np.arange(120, dtype=np.uint16) * 30, (100, 1))[None]
    volume = sitk.GetImageFromArray(pixels)
    volume.SetSpacing((0.5, 0.8, 1.0))
    volume.SetOrigin((-20.0, 35.0, 4.0))
    return MedicalImage(volume, SpacingSource.CALIBRATED, "chest.dcm")


@pytest.fixture
def prediction(radiograph: MedicalImage) -> Prediction:
    """Two overlapping structures and four landmarks: two present, one absent with a best guess, one unplaced."""
    points = lps_mm_from_pixels(radiograph.geometry, [[30, 40], [70.5, 60.25], [90, 20], [0, 0]])
    points[3] = np.nan
    covariance = lps_mm2_from_pixel_covariance(radiograph.geometry, np.tile(np.diag([36.0, 4.0]), (4, 1, 1)))
    covariance[3] = np.nan
    landmarks = LandmarkSet(
        names=("apex", "border", "guess", "later"),
        structures=("right_lung", "heart", "heart", "heart"),
        points_lps_mm=points,
        predicted_lps_mm=points.copy(),
        presence=(Presence.PRESENT, Presence.PRESENT, Presence.ABSENT, Presence.UNPLACED),
        review=(Review.PREDICTED, Review.CORRECTED, Review.PREDICTED, Review.PREDICTED),
        confidence=np.array([0.9, 0.75, 0.1, np.nan]),
        covariance_mm2=covariance,
        template_uv=np.full((4, 2), np.nan),
    )
    grid = fit_grid(radiograph, (64, 64))
    masks = np.zeros((2, 64, 64), bool)
    masks[0, 10:40, 10:40] = True
    masks[1, 30:60, 25:55] = True
    return Prediction(landmarks, ("right_lung", "heart"), masks, grid, None, "chest-xray", "3", "cpu")
