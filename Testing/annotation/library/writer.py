"""A process that saves one revision after the other until somebody kills it."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Edit, Move
from DenseLandmarksLib.annotation.library.library import Library
from Testing.annotation.library.chests import after


def moved(number: int) -> Edit:
    """What person or save ``number`` did: found again in the state, it tells which one that is."""
    return Move((("right_lung_03", (30.0 + number / 8, 40.0, 0.0)),))


def number_of(state: CaseState) -> float:
    """Which :func:`moved` a state holds."""
    return round((float(state.index_ijk[state.landmarks.names.index("right_lung_03")][0]) - 30) * 8, 6)


def save_for_ever(folder: Path, case_id: str, answers: Connection) -> None:
    """Save on; each save is answered with its number. Revision N holds ``moved(N - 1)``."""
    case = Library.open(folder).case(case_id)
    state, info = case.load()
    number = 0 if info is None else info.number
    answers.send(number)
    while True:
        state = after(state, moved(number))
        number = case.save(state, "writer", number).number
        answers.send(number)
