"""Landmarks of radiographs as COCO keypoints, for everybody else's training code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_json
from DenseLandmarksLib.geometry.frames import pixels_from_lps_mm
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence

_CONVENTION = "keypoints: pixel indices, the centre of the first pixel is (0, 0); bbox: its outer corner is (0, 0)"


def write_coco(path: Path, cases: Sequence[tuple[str, ImageGeometry, LandmarkSet]]) -> None:
    """Write the landmarks of radiographs, each with its image's name: one category per structure, one annotation per image and structure.

    COCO has two conventions, and both are kept: a keypoint is a pixel index with pixel centres at integers (as in the
    COCO data, to which Detectron2 adds 0.5 on reading), a box is measured from the outer corner of the first pixel, so
    that a pixel's centre lies at +0.5. v is 2 for a present landmark; an absent or unplaced one is ``0, 0, 0``.

    The key ``landmarks`` of an annotation, which COCO's readers skip, has an entry for each keypoint: presence, review,
    confidence (or null), lps_mm (or null); the entry is null where the image does not have that landmark at all. Images
    carry ``spacing_source`` and ``spacing_mm`` (x, y; null when unknown). Image names become ``file_name``.

    Raises
    ------
    InputError : for a volume, and for two images of one name.
    """
    for name, geometry, _ in cases:
        if not geometry.is_radiograph:
            raise InputError(
                f"expected radiographs for COCO keypoints, which have no third axis, got the volume {name!r}. "
                "Export .mrk.json or CSV."
            )
    names = [name for name, _, _ in cases]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"expected images of different names, got {twice!r} twice. Rename or export them apart.")
    keypoints = _keypoints_by_structure([landmarks for _, _, landmarks in cases])
    annotations: list[dict[str, Any]] = []
    for image_id, (_, geometry, landmarks) in enumerate(cases, start=1):
        present_structures = set(landmarks.structures)
        for category_id, (structure, of_structure) in enumerate(keypoints.items(), start=1):
            if structure in present_structures:
                ids = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category_id}
                annotations.append(ids | _annotation(geometry, landmarks, structure, of_structure))
    document = {
        "info": {"description": "Anatomical landmarks", "pixel_convention": _CONVENTION},
        "images": [_image(image_id, name, geometry) for image_id, (name, geometry, _) in enumerate(cases, start=1)],
        "annotations": annotations,
        "categories": [
            {"id": category_id, "name": structure, "supercategory": "", "keypoints": of_structure, "skeleton": []}
            for category_id, (structure, of_structure) in enumerate(keypoints.items(), start=1)
        ],
    }
    write_json(path, document)


def _keypoints_by_structure(sets: Sequence[LandmarkSet]) -> dict[str, list[str]]:
    """The names of all cases, by structure, in the order of their first appearance."""
    found: dict[str, dict[str, None]] = {}
    for landmarks in sets:
        for name, structure in zip(landmarks.names, landmarks.structures, strict=True):
            found.setdefault(structure, {})[name] = None
    return {structure: list(names) for structure, names in found.items()}


def _image(image_id: int, name: str, geometry: ImageGeometry) -> dict[str, Any]:
    width, height, _ = geometry.size
    return {
        "id": image_id,
        "file_name": name,
        "width": width,
        "height": height,
        "spacing_source": geometry.spacing_source,
        "spacing_mm": list(geometry.spacing_mm[:2]) if geometry.unit == "mm" else None,
    }


def _annotation(
    geometry: ImageGeometry, landmarks: LandmarkSet, structure: str, names: Sequence[str]
) -> dict[str, Any]:
    row_of = {landmarks.names[i]: int(i) for i in landmarks.of_structure(structure)}
    pixels = pixels_from_lps_mm(geometry, landmarks.points_lps_mm).round(6)
    keypoints: list[float] = []
    entries: list[dict[str, Any] | None] = []
    visible: list[int] = []
    for name in names:
        row = row_of.get(name)
        if row is not None and landmarks.presence[row] is Presence.PRESENT:
            keypoints += [*pixels[row].tolist(), 2]
            visible.append(row)
        else:
            keypoints += [0, 0, 0]
        entries.append(None if row is None else _entry(geometry, landmarks, row))
    box = _box(pixels[visible])
    return {
        "keypoints": keypoints,
        "num_keypoints": len(visible),
        "bbox": box,
        "area": box[2] * box[3],
        "iscrowd": 0,
        "landmarks": entries,
    }


def _entry(geometry: ImageGeometry, landmarks: LandmarkSet, row: int) -> dict[str, Any]:
    confidence = landmarks.confidence[row]
    in_mm = landmarks.presence[row] is Presence.PRESENT and geometry.unit == "mm"
    return {
        "presence": landmarks.presence[row],
        "review": landmarks.review[row],
        "confidence": float(confidence.round(4)) if np.isfinite(confidence) else None,
        "lps_mm": landmarks.points_lps_mm[row].round(5).tolist() if in_mm else None,
    }


def _box(pixels: NDArray[np.float64]) -> list[float]:
    """COCO's x, y, width, height around pixel positions, from the outer corner of the first pixel."""
    if not len(pixels):
        return [0.0, 0.0, 0.0, 0.0]
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    box: list[float] = [*(low + 0.5).tolist(), *(high - low).tolist()]
    return box
