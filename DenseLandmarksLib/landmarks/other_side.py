"""What landmarks are called in the mirror: left becomes right."""

from __future__ import annotations

import re
from collections.abc import Sequence

from DenseLandmarksLib.landmarks.template import Template

_OTHER = {"left": "right", "right": "left", "Left": "Right", "Right": "Left", "LEFT": "RIGHT", "RIGHT": "LEFT"}
_SIDE = re.compile("|".join(_OTHER))


def name_of_other_side(name: str) -> str:
    """The name with left and right exchanged: ``"left_eye"`` becomes ``"right_eye"``."""
    return _SIDE.sub(lambda side: _OTHER[side[0]], name)


def names_of_other_side(template: Template) -> tuple[str, ...]:
    """The names (L,) of the template's landmarks in the mirror image of the anatomy that it is of."""
    structures = [structure.name for structure in template.structures for _ in structure.landmark_names]
    return names_in_mirror(template.landmark_names, structures)


def names_in_mirror(names: Sequence[str], structures: Sequence[str]) -> tuple[str, ...]:
    """What landmarks called ``names`` (L,), which lie on ``structures`` (L,), are called in the mirror.

    A landmark whose counterpart is not on the same structure keeps its name: its template coordinate would mean nothing
    on another.
    """
    known = set(zip(names, structures, strict=True))
    others = [name_of_other_side(name) for name in names]
    return tuple(
        other if (other, structure) in known else name
        for name, other, structure in zip(names, others, structures, strict=True)
    )
