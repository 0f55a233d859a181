"""The cases of the library as the panel lists them, read only when something may have changed."""

from __future__ import annotations

from typing import NamedTuple

from slicer.i18n import tr as _

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.next_case import CaseEntry
from DenseLandmarksLib.annotation.worklist import open_landmarks
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.scene.workbench import Workbench

_LONGEST = 26


class Line(NamedTuple):
    """A case in a list: its id, what is seen, what the mouse brings up, and whether it can be chosen."""

    case_id: str
    text: str
    explanation: str = ""
    can_be_chosen: bool = True


class CaseList:
    """Library and cases as they were when last read.

    Attributes
    ----------
    lines : the cases by name.
    finished : how many of them have everything decided.
    problem : why the library cannot be read, one line; empty where it can.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self.lines: tuple[Line, ...] = ()
        self.finished, self.problem = 0, ""
        self._read_at: object = None

    def forget(self) -> None:
        """Somebody may have changed the library."""
        self._read_at = None

    def update(self) -> None:
        """Read the library if another one is open, or a case was left or saved since it was last read."""
        library, session = self._bench.library, self._bench.session
        at = (library, None if session is None else (session.case.id, session.revision))
        if at == self._read_at:
            return
        self._read_at, self.lines, self.finished, self.problem = at, (), 0, ""
        if library is None:
            return
        try:
            Library.open(library.folder)
            self._take(library.cases())
        except InputError as error:
            self.problem = str(error)
        except OSError as error:
            self.problem = _("expected the library {folder}, but it cannot be read ({why}). Open it again.").format(
                folder=library.folder, why=error.strerror
            )

    def _take(self, entries: tuple[CaseEntry, ...]) -> None:
        self.lines = tuple(
            Line(entry.id, entry_text(entry), entry.damage or entry.name, not entry.damage) for entry in entries
        )
        self.finished = sum(entry.newest is not None and entry.newest.is_reviewed for entry in entries)


def entry_text(entry: CaseEntry) -> str:
    """A case as the list shows it: "chest-3 · 12 of 166 left · r2"."""
    if entry.damage:
        return _("{name} · damaged").format(name=_short(entry.name))
    info = entry.newest
    if info is None:
        return _("{name} · new").format(name=_short(entry.name))
    if info.is_reviewed:
        left = _("finished")
    elif info.landmarks:
        left = _("{left} of {all} left").format(left=info.landmarks - info.reviewed, all=info.landmarks)
    else:
        left = _("no landmarks")
    left = _marked(left, info.is_chosen_for_comparison)
    return _("{name} · {left} · r{number}").format(name=_short(entry.name), left=left, number=info.number)


def text_in_hand(name: str, state: CaseState, revision: int, unsaved: bool) -> str:
    """The case in hand as the list shows it: as it is now, saved or not."""
    there = len(state.counted_rows)
    if not there:
        left = _("no landmarks")
    elif open_left := len(open_landmarks(state)):
        left = _("{left} of {all} left").format(left=open_left, all=there)
    else:
        left = _("finished")
    left = _marked(left, state.is_chosen_for_comparison)
    if unsaved:
        return _("{name} · {left} · unsaved").format(name=_short(name), left=left)
    if not revision:
        return _("{name} · new").format(name=_short(name))
    return _("{name} · {left} · r{number}").format(name=_short(name), left=left, number=revision)


def _marked(left: str, is_chosen_for_comparison: bool) -> str:
    """How far a case is, and whether models are compared on it: nobody learns from it then."""
    return _("{left}, for comparison").format(left=left) if is_chosen_for_comparison else left


def _short(name: str) -> str:
    """A long name without its middle, so that what follows it is seen; the tool tip has the whole of it."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[1 - _LONGEST // 2 :]}"
