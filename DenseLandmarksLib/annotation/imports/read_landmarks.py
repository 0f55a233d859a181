"""Landmarks out of any file that we read; what it is shows in its content, not in its name."""

from __future__ import annotations

import json
from pathlib import Path

from DenseLandmarksLib.annotation.imports.coco import landmarks_of_coco
from DenseLandmarksLib.annotation.imports.fcsv import landmarks_of_fcsv
from DenseLandmarksLib.annotation.imports.imported_landmarks import ImportedLandmarks
from DenseLandmarksLib.annotation.imports.landmark_csv import landmarks_of_csv
from DenseLandmarksLib.annotation.imports.markups import landmarks_of_markups
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry

_SUPPORTED = "Slicer's .mrk.json or .fcsv, CSV, or COCO keypoints"


def read_landmarks(path: Path, geometry: ImageGeometry, image_name: str = "") -> ImportedLandmarks:
    """Read the landmarks that a file holds for an image of ``geometry``, into the image's own frame.

    ``path`` is a ``.mrk.json``, an ``.fcsv``, a CSV table (ours or Slicer's) or COCO keypoints (radiographs only), of
    which those of ``image_name`` are read, or of the only image.

    Raises
    ------
    InputError : one line, for every file that is none of these, is damaged, or does not belong to the image.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got '{error.strerror}'. Check the path.") from error
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected {_SUPPORTED} in UTF-8, got other bytes. Save it as UTF-8.") from None
    try:
        return _landmarks_of(text, geometry, image_name)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _landmarks_of(text: str, geometry: ImageGeometry, image_name: str) -> ImportedLandmarks:
    start = text.lstrip()
    if not start:
        raise InputError(f"expected {_SUPPORTED}, got an empty file. Export it again.")
    if start[0] == "#":
        return landmarks_of_fcsv(text, geometry)
    if start[0] not in "{[":
        return landmarks_of_csv(text, geometry)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"expected {_SUPPORTED}, got JSON that is cut off or damaged. Export it again.") from None
    if isinstance(document, dict) and "markups" in document:
        return landmarks_of_markups(document, geometry)
    if isinstance(document, dict) and "annotations" in document:
        return landmarks_of_coco(document, geometry, image_name)
    raise InputError(f"expected {_SUPPORTED}, got JSON of another kind. Give a file of landmarks.")
