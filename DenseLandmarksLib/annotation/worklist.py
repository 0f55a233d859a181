"""What is left to look at in a case, the most doubtful first, in an order that stays while a person works through it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review


@dataclass(frozen=True)
class Worklist:
    """Landmarks in an order of doubt that was drawn up once: no row of a table jumps while it is worked through.

    Attributes
    ----------
    names : all landmarks of the case, those that nobody decided first, and of these the most doubtful.
    """

    names: tuple[str, ...]

    @classmethod
    def of(cls, state: CaseState) -> Worklist:
        """The list for a visit that begins with ``state``.

        A landmark that the model calls absent is the most doubtful of all: whoever finds it after all adds most. Without a
        confidence, as after an import, nobody vouches for it.
        """
        landmarks = state.landmarks
        confidence = np.nan_to_num(landmarks.confidence, nan=0.0)

        def doubt(row: int) -> tuple[bool, bool, float, int]:
            if not is_open(landmarks.review[row]):
                return True, True, 1.0, row
            return False, landmarks.presence[row] is Presence.PRESENT, float(confidence[row]), row

        return cls(tuple(landmarks.names[row] for row in sorted(range(len(landmarks)), key=doubt)))

    def updated(self, state: CaseState) -> Worklist:
        """The same order for a case that landmarks joined or left in the meantime; new ones come last."""
        now = state.landmarks.names
        kept = [name for name in self.names if name in now]
        return (
            self
            if tuple(kept) == self.names and len(now) == len(kept)
            else Worklist((*kept, *(name for name in now if name not in kept)))
        )

    def next_after(self, name: str, state: CaseState, among: Collection[str] | None = None) -> str | None:
        """The next landmark that nobody decided, from the one after ``name`` on and round; ``None`` when all are decided.

        Only those ``among`` count, where that is given.
        """
        start = self.names.index(name) + 1 if name in self.names else 0
        left = set(open_landmarks(state)).intersection(self.names if among is None else among)
        return next((other for other in (*self.names[start:], *self.names[:start]) if other in left), None)


def is_open(review: Review) -> bool:
    """Whether a landmark still waits for a person: one that somebody was unsure of does not."""
    return review is Review.PREDICTED


def open_landmarks(state: CaseState) -> tuple[str, ...]:
    """The landmarks of a case that wait for a person, in the order of the case; see :attr:`CaseState.counted_rows`."""
    landmarks = state.landmarks
    return tuple(landmarks.names[row] for row in state.counted_rows if is_open(landmarks.review[row]))


def open_masks(state: CaseState) -> tuple[str, ...]:
    """The structures of a case whose mask nobody decided."""
    return tuple(name for name in state.structures if state.structure_review(name) is Review.PREDICTED)


def has_open(state: CaseState, structure: str) -> bool:
    """Whether there is something of a structure to accept: its mask, or one of its landmarks."""
    return bool(structure) and (bool(state.open_names(structure)) or structure in open_masks(state))
