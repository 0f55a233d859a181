"""What landmarks are called in the mirror: left becomes right."""

from __future__ import annotations

import re

from DenseLandmarksLib.landmarks.template import Template

_OTHER = {"left": "right", "right": "left", "Left": "Right", "Right": "Left", "LEFT": "RIGHT", "RIGHT": "LEFT"}
_SIDE = re.compile("|".join(_OTHER))


def name_of_other_side(name: str) -> str:
    """The name with left and right exchanged: ``"left_eye"`` becomes ``"right_eye"``."""
    return _SIDE.sub(lambda side: _OTHER[side[0]], name)


def names_of_other_side(template: Template) -> tuple[str, ...]:
    """The names (L,) of the template's landmarks in the mirror image of the anatomy that it is of.

    A landmark whose counterpart is not on the same structure keeps its name: its template coordinate would mean nothing
    on another.
    """
    names = []
    for structure in template.structures:
        known = set(structure.landmark_names)
        for name in structure.landmark_names:
            other = name_of_other_side(name)
            names.append(other if other in known else name)
    return tuple(names)
