"""Radiographs cut so that landmarks are truly absent: what a heatmap model still sees of them.

They are cut as volumes are, see :mod:`training.cut_volumes`, on the grid: along its other axis what is left still fills it, so it
keeps the size that the model was trained on, and lies in the middle as every image of its proportions does.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.predictors.heatmap import HeatmapPredictor, HeatSeen
from training.cut_volumes import cut_volumes

CUTS = 2
"""How many a case is seen in: a look at each takes as long as one at the whole."""


def look_at_cut_radiographs(
    predictor: HeatmapPredictor,
    grid_pixels: NDArray[np.float32],
    points: NDArray[np.float64],
    mm_per_pixel: float,
    seed: int,
) -> Iterator[tuple[HeatSeen, NDArray[np.float64]]]:
    """One case on the grid (H, W), cut, and what is true of each landmark (N,): 1 for what is left, 0 for what is absent.

    ``points`` (N, 2) are grid pixels, NaN where not annotated; true is NaN for what nobody knows or lies near the border.
    """
    volume = sitk.GetImageFromArray(np.ascontiguousarray(grid_pixels, np.float32)[None])
    volume.SetSpacing((mm_per_pixel, mm_per_pixel, 1.0))
    whole = MedicalImage(volume, SpacingSource.GIVEN)
    points_lps_mm = lps_mm_from_pixels(whole.geometry, points)
    nowhere = np.zeros(len(points), bool)
    for image, present in islice(cut_volumes(whole, points_lps_mm, nowhere, seed), CUTS):
        yield predictor.look(image)[1], present
