"""What a model was trained on, and how an image must be looked at to be like that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.geometry.view import AS_STORED, VIEWS, View

LISTS = ("body_parts", "view_positions", "patient_orientation")
OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "H": "F", "F": "H"}


@dataclass(frozen=True)
class Expectation:
    """What a model knows, as far as a file can state it, in DICOM's codes; empty where it does not matter.

    ``patient_orientation`` is where rows and columns of the training images run to, such as ``("L", "F")``;
    ``laterality`` the side of the paired body part that the model was trained on: the other side is mirrored for it.
    """

    body_parts: tuple[str, ...] = ()
    view_positions: tuple[str, ...] = ()
    patient_orientation: tuple[str, ...] = ()
    laterality: str = ""

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Expectation:
        """Read a bundle's entry; what it does not name does not matter."""
        lists = {name: tuple(map(str, raw.get(name, ()))) for name in LISTS}
        return cls(**lists, laterality=str(raw.get("laterality", "")))

    def is_told_side(self, acquisition: Acquisition) -> bool:
        """Whether a file states the side, and the model knows which one it was trained on."""
        return bool(self.laterality and acquisition.laterality)

    def doubts(self, acquisition: Acquisition) -> tuple[str, ...]:
        """What a file states that does not fit this model, a clause each."""
        doubts = []
        part = acquisition.body_part.upper()
        if self.body_parts and part and part not in self.body_parts:
            doubts.append(f"the file states body part {part}, the model knows {self.body_parts[0]}")
        position = acquisition.view_position.upper()
        if self.view_positions and position and position not in self.view_positions:
            doubts.append(f"the file states view {position}, the model knows {' and '.join(self.view_positions)}")
        stated = acquisition.patient_orientation
        if self.patient_orientation and stated and view_between(stated, self.patient_orientation) is None:
            doubts.append(
                f"the file states that rows run to {stated[0]} and columns to {stated[1]}, the model knows "
                f"{self.patient_orientation[0]} and {self.patient_orientation[1]}: another projection"
            )
        return tuple(doubts)


def view_between(stated: tuple[str, ...], wanted: tuple[str, ...]) -> View | None:
    """The view through which an image of orientation ``stated`` has the orientation ``wanted``.

    ``None`` when no turning does it: they are projections along different axes.
    """
    for view in VIEWS:
        # Row i of the matrix says along which stored axis, and which way, the seen axis i runs.
        seen = []
        for row in view.matrix:
            axis = int(np.argmax(np.abs(row)))
            seen.append(stated[axis] if row[axis] > 0 else OPPOSITE[stated[axis]])
        if tuple(seen) == tuple(wanted):
            return view
    return None


def choose_view(
    expectation: Expectation,
    acquisition: Acquisition,
    turn_deg: int | None = None,
    flip: bool | None = None,
    laterality: str = "",
) -> tuple[View, str]:
    """How the model shall see an image, and why, as one clause (empty for an image that is seen as stored).

    Where a person gives ``turn_deg`` or ``flip`` that counts and the file's orientation does not; otherwise the image
    is turned from the orientation that its file states to the model's. The other side of a paired body part, as the
    person or else the file states it, is shown as the mirror image of what the model knows, unless ``flip`` says how.
    """
    side = laterality or acquisition.laterality
    other_side = bool(expectation.laterality and side and side != expectation.laterality)
    of_side = f"for the {'right' if side == 'R' else 'left'} side" if other_side else ""
    if turn_deg is not None or flip is not None:
        view = View(turn_deg or 0, other_side if flip is None else flip)
        reason = "as asked for"
    elif acquisition.patient_orientation and expectation.patient_orientation:
        # The mirror image of a patient has its right where the patient has the left.
        wanted = tuple(OPPOSITE[o] if other_side and o in "RL" else o for o in expectation.patient_orientation)
        view = view_between(acquisition.patient_orientation, wanted) or AS_STORED
        reason = " ".join(filter(None, ("from the orientation that the file states", of_side)))
    else:
        view, reason = View(flip=other_side), of_side
    return view, reason if view != AS_STORED else ""
