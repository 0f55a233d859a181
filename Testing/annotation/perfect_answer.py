"""What a model without any error would say about a chest whose contours are those of the template."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.geometry.frames import lps_mm2_from_pixel_covariance, lps_mm_from_pixels
from DenseLandmarksLib.geometry.grid import fit_grid
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.locate import locate_landmarks, reduce_masks
from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.uv_field import UvField
from DenseLandmarksLib.landmarks.uv_maps import draw_uv_map
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.structure_style import StructureStyle, Terminology

GRID = (128, 128)
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
    grid = fit_grid(image, GRID)
    mm_per_pixel = template.field_of_view_mm[0] / GRID[0]
    contours = [s.points_mm / mm_per_pixel - 0.5 + np.array(shift_px) for s in template.structures]
    masks = np.stack([polygon_mask(contour, GRID) for contour in contours])
    for name in lost:
        masks[template.structure_names.index(name)] = False
    stride = 2
    half = (GRID[0] // stride, GRID[1] // stride)
    uv = np.stack(
        [
            draw_uv_map(s, (contour + 0.5) / stride - 0.5, half)
            for s, contour in zip(template.structures, contours, strict=True)
        ]
    ).astype(np.float32)
    field = UvField(template.structure_names, uv, np.full_like(uv, 0.01), reduce_masks(masks, stride), stride, "affine")
    located = locate_landmarks(field, template, GRID)
    points = lps_mm_from_pixels(image.geometry, grid.to_pixels(located.points))
    structures = tuple(s.name for s in template.structures for _ in s.landmark_names)
    per_pixel = grid.pixels_per_grid
    landmarks = LandmarkSet(
        names=template.landmark_names,
        structures=structures,
        points_lps_mm=points,
        predicted_lps_mm=points.copy(),
        presence=tuple(Presence.PRESENT if found else Presence.ABSENT for found in located.found),
        review=(Review.PREDICTED,) * len(structures),
        confidence=np.where(located.found, located.confidence, 0.0),
        covariance_mm2=lps_mm2_from_pixel_covariance(image.geometry, per_pixel @ located.covariance @ per_pixel.T),
        template_uv=np.concatenate([s.landmark_uv for s in template.structures]),
    )
    prediction = Prediction(landmarks, template.structure_names, masks, grid, field, "perfect", "1", "cpu")
    styles = tuple(
        StructureStyle(name, (1.0, 0.5, i / 10), Terminology(ANATOMY, ("SCT", str(i), name)))
        for i, name in enumerate(template.structure_names)
    )
    return ModelAnswer(prediction, template, styles)
