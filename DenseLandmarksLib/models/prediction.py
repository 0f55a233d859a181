"""What a predictor returns, whichever family it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.grid import Grid
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet
from DenseLandmarksLib.landmarks.uv_field import UvField


@dataclass(frozen=True)
class Prediction:
    """What a model says about one image.

    Attributes
    ----------
    landmarks : in LPS millimetres of the image's own frame.
    structures : S names, in the order of ``masks``.
    masks : (S, H, W) bool on ``grid``; structures may overlap. :meth:`Grid.mask_on_image` brings one to the image.
    grid : the model's grid over the image.
    uv_field : what later look-ups read; ``None`` for models without one.
    model_name, model_version, device : which model made it, and where it ran (``"cpu"``, ``"cuda"``).
    """

    landmarks: LandmarkSet
    structures: tuple[str, ...]
    masks: NDArray[np.bool_]
    grid: Grid
    uv_field: UvField | None
    model_name: str
    model_version: str
    device: str


class Predictor(Protocol):
    """Anything that turns an image into a :class:`Prediction`."""

    def predict(self, image: MedicalImage) -> Prediction:
        """Predict one image; raises :class:`~DenseLandmarksLib.errors.InputError` for one the model cannot use."""
        ...
