"""Landmarks of one radiograph out of a file of COCO keypoints, ours or foreign."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from DenseLandmarksLib.annotation.imports.imported_landmarks import (
    ImportedLandmarks,
    ImportedPoint,
    gather,
    numbers,
    shown,
    stated_presence,
    stated_review,
)
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.landmarks.landmark_set import Presence

_PRESENCE = {0: Presence.UNPLACED, 1: Presence.PRESENT, 2: Presence.PRESENT}


def landmarks_of_coco(document: dict[str, Any], geometry: ImageGeometry, image_name: str = "") -> ImportedLandmarks:
    """The keypoints of the image that is called ``image_name``, or of the only one: category = structure.

    Keypoints are pixel indices with pixel centres at integers (see
    :func:`~DenseLandmarksLib.annotation.exports.coco.write_coco`). v = 2 and 1 are present, v = 0 is unplaced unless
    our key ``landmarks`` says absent. Raises :class:`InputError` for a volume, for an image that the file lacks or
    whose size differs, and for damaged entries.
    """
    if not geometry.is_radiograph:
        raise InputError("expected a radiograph for COCO keypoints, got a volume. Import .mrk.json or CSV.")
    images, annotations, categories = (_entries(document, key) for key in ("images", "annotations", "categories"))
    mine = _entry_of(images, geometry, image_name)
    by_id = {shown(category.get("id")): category for category in categories}
    points: list[ImportedPoint] = []
    for annotation in annotations:
        if annotation.get("image_id") != mine.get("id") or "keypoints" not in annotation:
            continue
        category = by_id.get(shown(annotation.get("category_id")))
        if category is None:
            raise InputError(
                f"expected a category for every annotation, got category_id {shown(annotation.get('category_id'))}. "
                "Export the file again."
            )
        points += _points(annotation, category, geometry)
    return gather(points, geometry)


def _entry_of(images: list[dict[str, Any]], geometry: ImageGeometry, image_name: str) -> dict[str, Any]:
    found = [entry for entry in images if PurePath(str(entry.get("file_name", ""))).name == image_name]
    if not found and len(images) == 1:
        found = images
    if len(found) != 1:
        raise InputError(
            f"expected one image called {image_name!r}, got {len(found)} among {len(images)}. Check its file_name."
        )
    stated = (found[0].get("width"), found[0].get("height"))
    width, height, _ = geometry.size
    if stated not in ((width, height), (None, None)):
        raise InputError(
            f"expected an image of {width} x {height} pixels, got keypoints of one of {shown(stated[0])} x "
            f"{shown(stated[1])}. Give the file that belongs to this image."
        )
    return found[0]


def _points(annotation: dict[str, Any], category: dict[str, Any], geometry: ImageGeometry) -> list[ImportedPoint]:
    names, structure = category.get("keypoints"), category.get("name", "")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in [*names, structure]):
        raise InputError(f"expected keypoint names in category {shown(structure)}, got {shown(names)}. Add them.")
    values = numbers(annotation["keypoints"], 3 * len(names), f"the keypoints of {shown(structure)}")
    extras = annotation.get("landmarks")
    if extras is None:
        extras = [{}] * len(names)
    if not isinstance(extras, list) or len(extras) != len(names):
        raise InputError(f"expected {len(names)} entries in 'landmarks', got {shown(extras)}. Export it again.")
    points = []
    for name, extra, x, y, v in zip(names, extras, values[::3], values[1::3], values[2::3], strict=True):
        if extra is None:  # a landmark of other images in this file
            continue
        if v not in _PRESENCE or not isinstance(extra, dict):
            raise InputError(f"expected visibility 0, 1 or 2 for {shown(name)}, got {v:g}. Correct the file.")
        presence = _PRESENCE[int(v)]
        if presence is not Presence.PRESENT and "presence" in extra:
            presence = stated_presence(extra["presence"])
            if presence is Presence.PRESENT:
                raise InputError(f"expected a visibility for {shown(name)}, which is present, got 0. Correct the file.")
        point = lps_mm_from_pixels(geometry, [[x, y]])[0] if presence is Presence.PRESENT else None
        points.append(ImportedPoint(name, structure, presence, point, stated_review(extra.get("review"))))
    return points


def _entries(document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = document.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"expected a list of {key} in COCO keypoints, got {shown(entries)}. Export it again.")
    return entries
