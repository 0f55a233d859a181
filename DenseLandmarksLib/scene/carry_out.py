"""Gestures become the session's commands; what cannot be done is told in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.scene.gesture import Gesture

Tell = Callable[[str], None]
"""Takes one line for the person at work."""


def carry_out(session: Session, gesture: Gesture, tell: Tell) -> None:
    """Do in the session what a person did to the lists. The lists must be shown anew afterwards, whatever came of it."""
    for structure in gesture.dragged_lists:
        tell(
            f"{_list(structure)} was moved as a whole and is back in place. Drag single landmarks; to move an image with "
            "all that belongs to it, put the image under a transform."
        )
    for name, label in gesture.renamed.items():
        tell(f"{name} keeps its name instead of {label!r}: models, exports and training know it by that name.")
    if gesture.moved_lps_mm:
        attempt(tell, session.move, gesture.moved_lps_mm)
    if gesture.deleted:
        attempt(tell, session.mark_absent, *gesture.deleted)
    for name, point_lps_mm in gesture.placed_lps_mm.items():
        attempt(tell, session.place, name, point_lps_mm)
    for structure, label, point_lps_mm in gesture.added_lps_mm:
        attempt(tell, session.place, _new_name(session, structure, label), point_lps_mm, structure)


def attempt(tell: Tell, command: Callable[..., Any], *arguments: Any) -> bool:
    """Do one command; where it cannot be done say so, and return false. Nothing has happened then."""
    try:
        command(*arguments)
    except InputError as error:
        tell(str(error))
        return False
    return True


def _list(structure: str) -> str:
    return f"The list of {structure}" if structure else "The list of landmarks"


def _new_name(session: Session, structure: str, label: str) -> str:
    """What a landmark that somebody added by hand is called: its label, if nothing else has that name."""
    wanted = label.strip() or f"{structure or 'landmark'}-added"
    name, number = wanted, 2
    while name in session.state.landmarks.names:
        name, number = f"{wanted}-{number}", number + 1
    return name
