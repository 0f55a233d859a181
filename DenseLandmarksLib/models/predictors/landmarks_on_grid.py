"""What was found on a grid, as the landmarks of a template in LPS."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.frames import lps_mm2_from_pixel_covariance, lps_mm_from_pixels
from DenseLandmarksLib.geometry.grid import Grid
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.locate import Located
from DenseLandmarksLib.landmarks.template import Template


def landmarks_on_grid(
    image: MedicalImage, grid: Grid, template: Template, located: Located, is_plausible: bool | NDArray[np.bool_]
) -> LandmarkSet:
    """The template's landmarks as predicted: absent where they were not found, sure of nothing that is not plausible."""
    points_lps_mm = lps_mm_from_pixels(image.geometry, grid.to_pixels(located.points))
    per_pixel = grid.pixels_per_grid
    structures = tuple(s.name for s in template.structures for _ in s.landmark_names)
    return LandmarkSet(
        names=template.landmark_names,
        structures=structures,
        points_lps_mm=points_lps_mm,
        predicted_lps_mm=points_lps_mm.copy(),
        presence=tuple(Presence.PRESENT if found else Presence.ABSENT for found in located.found),
        review=(Review.PREDICTED,) * len(structures),
        confidence=np.where(located.found & is_plausible, located.confidence, 0.0),
        covariance_mm2=lps_mm2_from_pixel_covariance(image.geometry, per_pixel @ located.covariance @ per_pixel.T),
        template_uv=np.concatenate([s.landmark_uv for s in template.structures]),
    )
