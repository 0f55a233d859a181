"""What a model without any error would say about a chest whose contours are those of the template."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.structure_style import StructureStyle, Terminology
from Testing.models.perfect_prediction import perfect_prediction

ANATOMY = ("SCT", "123037004", "Anatomical Structure")


def chest_image(template: Template, size: int = 128, seed: int = 0) -> MedicalImage:
    """Noise that fills the template's field of view: no two seeds have the same pixels."""
    pixels = np.random.default_rng(seed).integers(0, 4096, (1, size, size)).astype(np.uint16)
    volume = sitk.GetImageFromArray(pixels)
    spacing = template.field_of_view_mm[0] / size
    volume.SetSpacing((spacing, spacing, 1.0))
    volume.SetOrigin((-20.0, 35.0, 4.0))
    return MedicalImage(volume, SpacingSource.DETECTOR, f"chest-{seed}")


def perfect_answer(
    template: Template, image: MedicalImage, lost: tuple[str, ...] = (), shift_px: tuple[float, float] = (0.0, 0.0)
) -> ModelAnswer:
    """The template's mean pose as a prediction; structures in ``lost`` were not found, all is moved by ``shift_px``."""
    spacing_mm = np.array(image.geometry.spacing_mm[:2])
    prediction = perfect_prediction(
        template, lambda points_mm: points_mm / spacing_mm - 0.5 + np.array(shift_px), image, lost, stride=2
    )
    styles = tuple(
        StructureStyle(name, (1.0, 0.5, i / 10), Terminology(ANATOMY, ("SCT", str(i), name)))
        for i, name in enumerate(template.structure_names)
    )
    return ModelAnswer(prediction, template, styles)
