"""The predictor of dense-shape models: image to grid, one network pass, masks and uv field, read-out, LPS."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm2_from_pixel_covariance, lps_mm_from_pixels
from DenseLandmarksLib.geometry.grid import fit_grid
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.locate import locate_landmarks
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.uv_field import ReadOutMethod
from DenseLandmarksLib.models.networks.dense_shape import DenseShapeOutput
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.predictors.decode import decode_output

logger = logging.getLogger(__name__)


@dataclass
class DenseShapePredictor:
    """Predicts radiographs with a dense-shape network.

    ``network`` maps z-normalised grids (B, 1, H, W) to :class:`DenseShapeOutput`; ``grid_size`` is (H, W); ``device``
    changes from ``"cuda"`` to ``"cpu"`` for good when the card's memory does not suffice; ``read_out`` as in
    :class:`~DenseLandmarksLib.landmarks.uv_field.UvField`.
    """

    network: nn.Module
    template: Template
    grid_size: tuple[int, int]
    name: str
    version: str
    device: str = "cpu"
    read_out: ReadOutMethod = "border"

    def __post_init__(self) -> None:
        self.network.to(self.device).eval()

    def run_network(self, grid_pixels: np.ndarray) -> DenseShapeOutput:
        """One pass over a grid (H, W); falls back to the CPU, saying so, when the accelerator's memory is short."""
        try:
            with torch.inference_mode():
                return self.network(torch.from_numpy(grid_pixels)[None, None].to(self.device))
        except torch.OutOfMemoryError:
            if self.device == "cpu":
                raise
            logger.warning("not enough memory on %s; going on with the CPU", self.device)
            self.device = "cpu"
            self.network.to("cpu")
            torch.cuda.empty_cache()
            return self.run_network(grid_pixels)

    def predict(self, image: MedicalImage) -> Prediction:
        """Predict a radiograph; raises :class:`InputError` for a volume."""
        if not image.is_radiograph:
            raise InputError(
                f"expected a radiograph (one slice) for model {self.name}; {image.name} has "
                f"{image.volume.GetSize()[2]} slices. Choose a model for volumes, or give one image."
            )
        grid = fit_grid(image, self.grid_size)
        output = self.run_network(grid.resample(image.pixels_yx))
        masks, field = decode_output(output, self.template.structure_names, read_out=self.read_out)
        located = locate_landmarks(field, self.template, self.grid_size)
        points_lps_mm = lps_mm_from_pixels(image.volume, grid.to_pixels(located.points))
        per_pixel = np.diag(1 / grid.scale_xy)
        structures = tuple(s.name for s in self.template.structures for _ in s.landmark_names)
        landmarks = LandmarkSet(
            names=self.template.landmark_names,
            structures=structures,
            points_lps_mm=points_lps_mm,
            predicted_lps_mm=points_lps_mm.copy(),
            presence=tuple(Presence.PRESENT if found else Presence.ABSENT for found in located.found),
            review=(Review.PREDICTED,) * len(structures),
            confidence=np.where(located.found, located.confidence, 0.0),
            covariance_mm2=lps_mm2_from_pixel_covariance(image.volume, per_pixel @ located.covariance @ per_pixel),
            template_uv=np.concatenate([s.landmark_uv for s in self.template.structures]),
        )
        return Prediction(
            landmarks, self.template.structure_names, masks, grid, field, self.name, self.version, self.device
        )
