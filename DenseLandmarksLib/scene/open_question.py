"""The one question that a case may bring along, with two answers; front ends say it in words. Work goes on without an answer."""

from __future__ import annotations

from dataclasses import dataclass

from DenseLandmarksLib.annotation.journal import JournalContents
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.scene.two_states import TwoStates
from DenseLandmarksLib.scene.workbench import Workbench


@dataclass(frozen=True)
class TwoStatesQuestion:
    """Which state to go on from: yes is the library's, no the scene's."""

    bench: Workbench
    two_states: TwoStates

    def yes(self) -> None:
        """Keep the library's."""
        self.two_states.keep_library()
        self.bench.version += 1

    def no(self) -> None:
        """Keep the scene's."""
        if self.bench.case is not None and self.bench.case.settle():
            self.two_states.keep_scene()


@dataclass(frozen=True)
class LostWorkQuestion:
    """Whether to go on with work that was not saved: no discards it for good, so that a front end asks once more before."""

    bench: Workbench
    work: JournalContents

    def yes(self) -> None:
        """Go on with it."""
        self.bench.do(Session.recover, self.work)

    def no(self) -> None:
        """Never offer it again."""
        self.bench.do(Session.discard, self.work)


def open_question(bench: Workbench) -> TwoStatesQuestion | LostWorkQuestion | None:
    """What there is to ask of the case in hand now."""
    case = bench.case
    if case is None:
        return None
    if case.two_states is not None and case.two_states.is_open:
        return TwoStatesQuestion(bench, case.two_states)
    session = case.session
    if session.recoverable and not session.can_undo and not session.can_redo:
        return LostWorkQuestion(bench, session.recoverable[0])
    return None
