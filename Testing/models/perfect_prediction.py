"""What a model without any error would say about a patient whose shape is known. Needs numpy, scipy and SimpleITK only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.frames import lps_mm2_from_pixel_covariance, lps_mm_from_pixels
from DenseLandmarksLib.geometry.grid import fit_grid
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import AS_STORED, View
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.locate import locate_landmarks, reduce_masks
from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.uv_field import UvField
from DenseLandmarksLib.landmarks.uv_maps import draw_uv_map
from DenseLandmarksLib.models.prediction import Prediction

GRID = (256, 256)
# A standing patient, a little turned about the head-foot axis; the pixels are wider than tall.
PIXELS, SPACING, ORIGIN = (400, 300), (0.9, 1.2), (-150.0, 40.0, 210.0)
COSINE, SINE = np.cos(np.deg2rad(20)), np.sin(np.deg2rad(20))
DIRECTION = (COSINE, 0.0, SINE, SINE, 0.0, -COSINE, 0.0, -1.0, 0.0)

Patient = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From positions (N, 2) of the template, in mm, to pixels (N, 2) of the patient's image."""


def patient(seed: int = 0, bend_mm: float = 4.0) -> Patient:
    """A patient of one's own: the template under an affine map, and a smooth bend on top of it."""
    rng = np.random.default_rng(seed)
    matrix = 0.9 * (np.eye(2) + rng.uniform(-0.07, 0.07, (2, 2)))
    phase = rng.uniform(0, 2 * np.pi, 2)

    def move(points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        moved = (points_mm - 179) @ matrix.T + 179 + bend_mm * np.sin(points_mm[:, ::-1] / 60 + phase)
        return moved / SPACING - 0.5

    return move


def radiograph(source: SpacingSource = SpacingSource.CALIBRATED, seed: int = 0) -> MedicalImage:
    """Noise: the perfect model does not look at it."""
    pixels = np.random.default_rng(seed).integers(0, 4096, (1, PIXELS[1], PIXELS[0])).astype(np.uint16)
    volume = sitk.GetImageFromArray(pixels)
    volume.SetSpacing((*SPACING, 1.0))
    volume.SetOrigin(ORIGIN)
    volume.SetDirection(DIRECTION)
    return MedicalImage(volume, source, "chest.dcm")


def perfect_prediction(
    template: Template,
    move: Patient,
    image: MedicalImage | None = None,
    lost: Sequence[str] = (),
    stride: int = 1,
    view: View = AS_STORED,
    scale: float | None = 0.01,
) -> Prediction:
    """Exact masks and uv maps of a patient; structures in ``lost`` were not found; ``scale`` is the network's own."""
    image = radiograph() if image is None else image
    grid = fit_grid(image, GRID, view)
    contours = [grid.from_pixels(move(structure.points_mm)) for structure in template.structures]
    masks = np.stack(
        [
            polygon_mask(contour, GRID) & (structure.name not in lost)
            for structure, contour in zip(template.structures, contours, strict=True)
        ]
    )
    size = (GRID[0] // stride, GRID[1] // stride)
    uv = np.stack(
        [
            draw_uv_map(structure, (contour - (stride - 1) / 2) / stride, size)
            for structure, contour in zip(template.structures, contours, strict=True)
        ]
    )
    scales = None if scale is None else np.full_like(uv, scale)
    field = UvField(template.structure_names, uv, scales, reduce_masks(masks, stride), stride)
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
    return Prediction(landmarks, template.structure_names, masks, grid, field, "perfect", "1", "cpu")


def corrected(landmarks: LandmarkSet, points_lps_mm: dict[str, NDArray[np.float64]]) -> LandmarkSet:
    """The landmarks with those that a person dragged where they were dragged to; the others stay."""
    rows = landmarks.index_of(list(points_lps_mm))
    points, review = landmarks.points_lps_mm.copy(), list(landmarks.review)
    for row, point in zip(rows, points_lps_mm.values(), strict=True):
        points[row], review[row] = point, Review.CORRECTED
    return replace(landmarks, points_lps_mm=points, review=tuple(review))
