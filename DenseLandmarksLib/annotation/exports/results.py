"""All files of one prediction, in one folder, named after the image."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from DenseLandmarksLib.annotation.exports.markups import write_markups
from DenseLandmarksLib.annotation.exports.overlay import draw_overlay
from DenseLandmarksLib.annotation.exports.report import report
from DenseLandmarksLib.annotation.exports.segmentation import write_segmentation
from DenseLandmarksLib.annotation.exports.volume_overlay import draw_volume_overlay
from DenseLandmarksLib.files import write_json
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.structure_style import StructureStyle

RESULT_ENDINGS = (".overlay.png", ".mrk.json", ".seg.nrrd", ".report.json")


def result_paths(folder: Path, name: str) -> tuple[Path, Path, Path, Path]:
    """Overlay, markups, segmentation and report of the image that is called ``name``."""
    overlay, markups, segmentation, report_path = (folder / f"{name}{ending}" for ending in RESULT_ENDINGS)
    return overlay, markups, segmentation, report_path


def write_results(
    folder: Path,
    image: MedicalImage,
    prediction: Prediction,
    styles: Sequence[StructureStyle],
    new_landmarks: Sequence[str] = (),
    case_key: str | None = None,
) -> tuple[Path, ...]:
    """Write overlay, markups, segmentation and report of an image; returns their paths, the picture first.

    Of a model that finds landmarks only there is no segmentation; a volume's overlay shows it along each of its axes.
    The files are called after ``image.name``, which stands in the overlay and the report as well. ``new_landmarks``
    names those that the model was never trained on; the overlay shows them as stars. ``case_key`` goes into the report.
    """
    overlay, markups, segmentation, report_path = result_paths(folder, image.name)
    if image.is_radiograph:
        draw_overlay(overlay, image, prediction, styles, new_landmarks)
    else:
        draw_volume_overlay(overlay, image, prediction, styles)
    write_markups(markups, prediction.landmarks, image.unit)
    written = [overlay, markups]
    if prediction.structures:
        grid = prediction.need_grid()
        masks = np.stack([grid.mask_on_image(mask) for mask in prediction.masks])[:, None]
        write_segmentation(segmentation, masks, image.geometry, styles)
        written.append(segmentation)
    else:
        segmentation.unlink(missing_ok=True)  # what another model said before
    write_json(report_path, report(image, prediction, styles, case_key))
    return *written, report_path


def results_are_whole(folder: Path, name: str) -> bool:
    """Whether all result files of the image that is called ``name`` are there and can be read to their end.

    Without structures in the report there is no segmentation to wait for.
    """
    from PIL import Image

    overlay, markups, segmentation, report_path = result_paths(folder, name)
    try:
        with Image.open(overlay) as picture:
            picture.verify()
        json.loads(markups.read_bytes())
        if not json.loads(report_path.read_bytes())["structures"]:
            return True
        _header, _, voxels = segmentation.read_bytes().partition(b"\n\n")
        gzip_reader = zlib.decompressobj(wbits=31)
        gzip_reader.decompress(voxels)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        SyntaxError,
        zlib.error,
    ):  # SyntaxError is Pillow's word for a broken PNG
        return False
    return gzip_reader.eof
