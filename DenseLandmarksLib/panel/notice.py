"""Above the sections: the one question that a case may bring along, with two answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import slicer
from slicer.i18n import tr as _

from DenseLandmarksLib.annotation.journal import JournalContents
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.panel.frame import Frame
from DenseLandmarksLib.scene.two_states import TwoStates


class Question(NamedTuple):
    """What is asked, and the two answers: what the button says, and what it does."""

    text: str
    yes: str
    no: str
    on_yes: Callable[[], object]
    on_no: Callable[[], object]


class Notice:
    """Shows the question, nothing while there is none. Work can go on without an answer."""

    def __init__(self, panel: Frame) -> None:
        self._panel, self._ui = panel, panel.ui
        self._ui.noticeYesButton.clicked.connect(panel.telling(lambda: self._answer(yes=True)))
        self._ui.noticeNoButton.clicked.connect(panel.telling(lambda: self._answer(yes=False)))

    def refresh(self) -> None:
        """Show the question that there is now."""
        question = self._question()
        self._ui.noticeFrame.visible = question is not None
        if question is not None:
            self._ui.noticeLabel.text = question.text
            self._ui.noticeYesButton.text = question.yes
            self._ui.noticeNoButton.text = question.no

    def tick(self) -> None:
        """Nothing moves by itself."""

    def enter(self) -> None:
        """Nothing to prepare."""

    def leave(self) -> None:
        """The question stays."""

    def _answer(self, yes: bool) -> None:
        question = self._question()
        if question is not None:
            (question.on_yes if yes else question.on_no)()

    def _question(self) -> Question | None:
        case = self._panel.bench.case
        if case is None:
            return None
        if case.two_states is not None and case.two_states.is_open:
            return self._of_two_states(case.two_states)
        session = case.session
        if session.recoverable and not session.can_undo and not session.can_redo:
            return self._of_lost_work(session.recoverable[0])
        return None

    def _of_two_states(self, two: TwoStates) -> Question:
        bench = self._panel.bench

        def keep_scene() -> None:
            if bench.case is not None and bench.case.settle():
                two.keep_scene()

        def keep_library() -> None:
            two.keep_library()
            bench.version += 1

        return Question(two.line, _("Keep the library's"), _("Keep the scene's"), keep_library, keep_scene)

    def _of_lost_work(self, work: JournalContents) -> Question:
        bench = self._panel.bench

        def discard() -> None:
            if slicer.util.confirmYesNoDisplay(_("Discard this work? It will not be offered again.")):
                bench.do(Session.discard, work)

        text = _("{who} worked on this case on {when} and did not save: {count} edits.").format(
            who=work.header.who or _("Somebody"), when=work.header.when, count=work.history.index
        )
        if work.damage:
            text += " " + work.damage
        return Question(text, _("Go on with that work"), _("Discard"), lambda: bench.do(Session.recover, work), discard)
