"""Landmarks as a Slicer markups file (``.mrk.json``, schema v1.0.3)."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from DenseLandmarksLib.files import write_json
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review

_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
# Slicer's words. It draws neither of the last two and keeps them apart; its reader takes "" for their position.
_POSITION_STATUS = {Presence.PRESENT: "defined", Presence.ABSENT: "missing", Presence.UNPLACED: "undefined"}
# What a person decided, as the numbers of the measurement "review"; the tens say the presence.
REVIEW_CODES = {
    Review.PREDICTED: 0,
    Review.VERIFIED: 1,
    Review.CORRECTED: 2,
    Review.PLACED: 3,
    Review.UNSURE: 4,
}
PRESENCE_CODES = {Presence.PRESENT: 0, Presence.ABSENT: 10, Presence.UNPLACED: 20}
_REVIEW_MEANING = "{}; plus {}".format(
    ", ".join(f"{code} {review}" for review, code in REVIEW_CODES.items()),
    ", ".join(f"{code} {presence}" for presence, code in PRESENCE_CODES.items()),
)
REVIEW, REVIEW_LABEL = "review", "review.label_crc32"
REVIEW_POSITION = ("review.l_lps", "review.p_lps", "review.s_lps")
_DIGITS = 5
_MANY_POINTS = 30
_IDENTITY = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]


def write_markups(path: Path, landmarks: LandmarkSet, unit: str) -> None:
    """Write all landmarks as one Fiducial list: label = name, description = structure, positions in LPS.

    One list, because Slicer's storage node, and every script after its documentation, reads the first list of a file
    and nothing else: with a list per structure the other structures' landmarks would be lost without a word.

    An absent or unplaced landmark is in the list without a position, so that nobody measures a guess. The confidence
    of each point is the measurement "confidence". ``unit`` is :attr:`MedicalImage.unit`; ``"px"`` is written as a
    coded unit, which keeps pixels from being taken for millimetres by those who read it.

    What a person decided about each point is the measurement "review", in :data:`REVIEW_CODES`. Slicer keeps it as it is
    when points are dragged, added or removed; so "review.label_crc32" and "review.l_lps", ... say which point it was
    about and where that was, and a reader sees what was changed since.
    """
    many = len(landmarks) > _MANY_POINTS
    confidence = np.nan_to_num(landmarks.confidence, nan=0.0).round(4)
    present = np.array([presence is Presence.PRESENT for presence in landmarks.presence], bool)
    positions = np.where(present[:, None], landmarks.points_lps_mm.round(_DIGITS), 0.0)
    markup: dict[str, Any] = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm" if unit == "mm" else ["{pixel}", "UCUM", "pixel"],
        "locked": False,
        "fixedNumberOfControlPoints": True,
        "labelFormat": "%N-%d",
        "lastUsedControlPointNumber": len(landmarks),
        "controlPoints": [_control_point(landmarks, i) for i in range(len(landmarks))],
        "measurements": [
            {
                "name": "confidence",
                "enabled": True,
                "value": float(confidence.mean().round(4)) if len(confidence) else 0.0,
                "description": "mean; controlPointValues holds that of each landmark, 0 to 1",
                "printFormat": "%5.3f",
                "controlPointValues": confidence.tolist(),
            },
            _not_shown(REVIEW, _REVIEW_MEANING, _review_codes(landmarks)),
            _not_shown(REVIEW_LABEL, "CRC-32 of the label that each review is about", _label_checksums(landmarks)),
            *(
                _not_shown(name, "where that point was; 0 for one that is not present", positions[:, axis].tolist())
                for axis, name in enumerate(REVIEW_POSITION)
            ),
        ],
        # A hundred labels hide the image that they belong to.
        "display": {
            "visibility": True,
            "pointLabelsVisibility": not many,
            "textScale": 3.0,
            "glyphType": "Sphere3D",
            "glyphScale": 1.2 if many else 2.0,
            "useGlyphScale": True,
        },
    }
    write_json(path, {"@schema": _SCHEMA, "markups": [markup]})


def _control_point(landmarks: LandmarkSet, i: int) -> dict[str, Any]:
    present = landmarks.presence[i] is Presence.PRESENT
    return {
        "id": str(i + 1),
        "label": landmarks.names[i],
        "description": landmarks.structures[i],
        "associatedNodeID": "",
        "position": landmarks.points_lps_mm[i].round(_DIGITS).tolist() if present else "",
        "orientation": _IDENTITY,
        "selected": True,
        "locked": False,
        "visibility": True,
        "positionStatus": _POSITION_STATUS[landmarks.presence[i]],
    }


def label_checksum(label: str) -> int:
    """By which a review finds its point; Slicer keeps numbers beside points, but no texts."""
    return zlib.crc32(label.encode("utf-8", "surrogatepass"))


def _label_checksums(landmarks: LandmarkSet) -> list[int]:
    return [label_checksum(name) for name in landmarks.names]


def _review_codes(landmarks: LandmarkSet) -> list[int]:
    return [
        REVIEW_CODES[review] + PRESENCE_CODES[presence]
        for review, presence in zip(landmarks.review, landmarks.presence, strict=True)
    ]


def _not_shown(name: str, description: str, values: list[Any]) -> dict[str, Any]:
    """A measurement that Slicer keeps and does not show: it has no value for the list as a whole."""
    return {"name": name, "enabled": False, "value": 0.0, "description": description, "controlPointValues": values}
