"""What the table says of each landmark, in words and colours."""

from __future__ import annotations

from typing import Any

import numpy as np

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.worklist import is_open
from DenseLandmarksLib.landmarks.doubt_radius import radius_90_mm
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.scene.ellipses import confidence_colours, rows_with_region

# Text, tip and colour of what is decided, and how; blue and amber are told apart by everybody, the words say the rest.
_OPEN = "#bebebe"
_REVIEWS = {
    Review.PREDICTED: ("predicted", "The model says so; nobody decided.", _OPEN),
    Review.VERIFIED: ("verified", "A person found it right.", "#009e73"),
    Review.CORRECTED: ("corrected", "A person moved it.", "#0072b2"),
    Review.PLACED: ("placed", "A person placed it.", "#56b4e9"),
    Review.UNSURE: ("unsure", "Nobody can tell where it is.", "#e69f00"),
}
_NOT_PLACED = ("not placed", "It is nowhere yet: place it, or say that it is absent.", _OPEN)
_ABSENT_OPEN = ("absent?", "The model says that it is not in the image; nobody decided.", _OPEN)
_ABSENT = ("absent", "A person said that it is not in the image.", "#5a5a5a")


def rows_of(state: CaseState | None, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """What the table says of each landmark, in this order; none without a case."""
    if state is None:
        return []
    landmarks, unit = state.landmarks, state.geometry.unit
    radius_mm = np.full(len(landmarks), np.nan)
    doubtful = rows_with_region(landmarks)
    radius_mm[doubtful] = radius_90_mm(landmarks.covariance_mm2[doubtful])
    colours = np.round(255 * confidence_colours(landmarks.confidence)).astype(int).tolist()
    made = {}
    for n, name in enumerate(landmarks.names):
        presence, review, radius = landmarks.presence[n], landmarks.review[n], float(radius_mm[n])
        text, tip, colour = _words(presence, review)
        has_radius, confidence = not np.isnan(radius), float(landmarks.confidence[n])
        sure = "" if np.isnan(confidence) else f"Confidence {round(100 * confidence)} %."
        region = f"In 90 % of cases it is at most {radius:.1f} {unit} from here. " if has_radius else ""
        made[name] = {
            "name": name,
            "structure": landmarks.structures[n],
            "state": text,
            "state_tip": tip,
            "state_colour": colour,
            "doubt": f"±{radius:.1f} {unit}" if has_radius else "",
            "doubt_tip": f"{region}{sure}" if has_radius or is_open(review) else "",
            "doubt_colour": "rgb({},{},{})".format(*colours[n][:3]),
            "open": is_open(review),
            "presence": presence.value,
        }
    return [made[name] for name in names if name in made]


def _words(presence: Presence, review: Review) -> tuple[str, str, str]:
    if review is Review.UNSURE:
        return _REVIEWS[review]
    if presence is Presence.UNPLACED:
        return _NOT_PLACED
    if presence is Presence.ABSENT:
        return _ABSENT_OPEN if is_open(review) else _ABSENT
    return _REVIEWS[review]
