"""All files of one prediction, in one folder, named after the image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from DenseLandmarksLib.annotation.exports.markups import write_markups
from DenseLandmarksLib.annotation.exports.overlay import draw_overlay
from DenseLandmarksLib.annotation.exports.report import report
from DenseLandmarksLib.annotation.exports.segmentation import write_segmentation
from DenseLandmarksLib.files import write_json
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.structure_style import StructureStyle


def write_results(
    folder: Path,
    image: MedicalImage,
    prediction: Prediction,
    styles: Sequence[StructureStyle],
    new_landmarks: Sequence[str] = (),
) -> list[Path]:
    """Write overlay, markups, segmentation and report of a radiograph; returns their paths, the picture first.

    ``new_landmarks`` names those that the model was never trained on; the overlay shows them as stars.
    """
    overlay = folder / f"{image.name}.overlay.png"
    markups = folder / f"{image.name}.mrk.json"
    segmentation = folder / f"{image.name}.seg.nrrd"
    report_path = folder / f"{image.name}.report.json"
    draw_overlay(overlay, image, prediction, styles, new_landmarks)
    write_markups(markups, prediction.landmarks, image.unit)
    masks = np.stack([prediction.grid.mask_on_image(mask) for mask in prediction.masks])[:, None]
    write_segmentation(segmentation, masks, image.volume, styles)
    write_json(report_path, report(image, prediction, styles))
    return [overlay, markups, segmentation, report_path]
