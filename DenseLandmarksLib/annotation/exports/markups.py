"""Landmarks as a Slicer markups file (``.mrk.json``, schema v1.0.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from DenseLandmarksLib.files import write_json
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence

_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
# Slicer's words. It draws neither of the last two and keeps them apart; its reader takes "" for their position.
_POSITION_STATUS = {Presence.PRESENT: "defined", Presence.ABSENT: "missing", Presence.UNPLACED: "undefined"}
_MANY_POINTS = 30
_IDENTITY = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]


def write_markups(path: Path, landmarks: LandmarkSet, unit: str) -> None:
    """Write all landmarks as one Fiducial list: label = name, description = structure, positions in LPS.

    One list, because Slicer's storage node, and every script after its documentation, reads the first list of a file
    and nothing else: with a list per structure the other structures' landmarks would be lost without a word.

    An absent or unplaced landmark is in the list without a position, so that nobody measures a guess. The confidence
    of each point is the measurement "confidence". ``unit`` is :attr:`MedicalImage.unit`; ``"px"`` is written as a
    coded unit, which keeps pixels from being taken for millimetres by those who read it.
    """
    many = len(landmarks) > _MANY_POINTS
    confidence = np.nan_to_num(landmarks.confidence, nan=0.0).round(4)
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
            }
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
        "position": landmarks.points_lps_mm[i].round(5).tolist() if present else "",
        "orientation": _IDENTITY,
        "selected": True,
        "locked": False,
        "visibility": True,
        "positionStatus": _POSITION_STATUS[landmarks.presence[i]],
    }
