"""The library as a MONAI datalist: one JSON file from which a network is trained.

``monai.data.load_decathlon_datalist(path, data_list_key="training")`` reads it. Paths are relative to the file. Beyond
``image`` and ``label``, each entry has all that a reader of landmarks needs:

``landmarks`` : path of the markups. ``points`` : the same, each with ``name``, ``structure``, ``presence``, ``review``,
``teaches``, ``index_ijk`` (continuous voxel index of the image, pixel centres at integers), ``lps_mm`` (``lps_px`` where
the spacing is unknown), both null unless it is present, and ``confidence``. ``structures`` : ``name``, ``review`` and
``teaches`` of each segment of ``label``. ``geometry`` : size, spacing, origin and direction as they are in force; where
the image's file states others, ``index_ijk`` counts. ``patient`` : a key, the same for all images of one patient, empty
where that is unknown. ``fold`` : 0 to 4, one for all images of a patient, which never changes.

``teaches`` is what training may learn from: a person decided that the landmark is here, or that it is absent. What
nobody looked at teaches nothing, and neither does what a person was unsure of.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.revision import RevisionInfo
from DenseLandmarksLib.geometry.frames import index_from_lps_mm
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark

FOLDS = 5
_DECIDED = (Review.VERIFIED, Review.CORRECTED, Review.PLACED)
_FRAME = (
    "index_ijk: continuous voxel index, pixel centres at integers; lps_mm: physical LPS under the entry's geometry; "
    "null where the landmark is not present"
)


def datalist(name: str, new_landmarks: Sequence[NewLandmark], entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The whole list, as plain JSON types; ``new_landmarks`` are those of the library's template extension."""
    return {
        "name": name,
        "description": "landmarks and structures as people decided them; learn only from what teaches",
        "frame": _FRAME,
        "folds": FOLDS,
        "template_extension": [landmark.to_dict() for landmark in new_landmarks],
        "training": list(entries),
    }


def datalist_entry(
    folder: Path,
    files: Mapping[str, str],
    case: LibraryCase,
    state: CaseState,
    info: RevisionInfo,
    landmarks: LandmarkSet,
    structures: Sequence[str],
) -> dict[str, Any]:
    """One case, as plain JSON types: ``files`` by key, and those of its ``landmarks`` and ``structures`` that are wanted.

    Raises :class:`~DenseLandmarksLib.errors.InputError` where the note of the image's place is damaged.
    """
    return {
        "image": _relative(case.image_path, folder),
        **files,
        "case": case.id,
        "name": case.name,
        "patient": case.patient_key,
        "fold": fold_of(case.patient_key or case.id),
        "revision": info.number,
        "who": info.who,
        "when": info.when,
        "model": info.model,
        "modality": case.modality,
        "body_part": case.body_part,
        "view_position": case.view_position,
        "laterality": case.laterality,
        "geometry": state.geometry.to_dict(),
        "unit": state.geometry.unit,
        "points": _points(state, landmarks),
        "structures": [
            {"name": name, "review": str(review), "teaches": review is not Review.PREDICTED}
            for name, review in ((name, state.structure_review(name)) for name in structures)
        ],
    }


def teaches(presence: Presence, review: Review) -> bool:
    """Whether training may learn from a landmark: a person decided where it is, or that it is absent."""
    return presence is not Presence.UNPLACED and review in _DECIDED


def fold_of(key: str) -> int:
    """The fold of a patient, 0 to 4: the same whatever else is in the library."""
    return int.from_bytes(hashlib.sha256(f"fold {key}".encode()).digest()[:8]) % FOLDS


def _points(state: CaseState, landmarks: LandmarkSet) -> list[dict[str, Any]]:
    index_ijk = index_from_lps_mm(state.geometry, landmarks.points_lps_mm).round(6)
    lps = landmarks.points_lps_mm.round(6)
    entries = []
    for i, (presence, review) in enumerate(zip(landmarks.presence, landmarks.review, strict=True)):
        present = presence is Presence.PRESENT
        confidence = landmarks.confidence[i]
        entries.append(
            {
                "name": landmarks.names[i],
                "structure": landmarks.structures[i],
                "presence": str(presence),
                "review": str(review),
                "teaches": teaches(presence, review),
                "index_ijk": index_ijk[i].tolist() if present else None,
                f"lps_{state.geometry.unit}": lps[i].tolist() if present else None,
                "confidence": float(confidence.round(4)) if np.isfinite(confidence) else None,
            }
        )
    return entries


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(os.path.abspath(path), os.path.abspath(folder))).as_posix()
    except ValueError:  # another drive of Windows
        return path.absolute().as_posix()
