"""Above the sections: the one question that a case may bring along, in words, with two answers."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from DenseLandmarksLib.panel.frame import Frame
from DenseLandmarksLib.scene.open_question import LostWorkQuestion, TwoStatesQuestion, open_question


class Notice:
    """Shows the question, nothing while there is none."""

    def __init__(self, panel: Frame) -> None:
        self._bench, self._ui = panel.bench, panel.ui
        self._ui.noticeYesButton.clicked.connect(panel.telling(self._yes))
        self._ui.noticeNoButton.clicked.connect(panel.telling(self._no))

    def refresh(self) -> None:
        """Show the question that there is now."""
        question = open_question(self._bench)
        self._ui.noticeFrame.visible = question is not None
        if question is not None:
            text, yes, no = _words(question)
            self._ui.noticeLabel.text = text
            self._ui.noticeYesButton.text = yes
            self._ui.noticeNoButton.text = no

    def tick(self) -> None:
        """Nothing moves by itself."""

    def enter(self) -> None:
        """Nothing to prepare."""

    def leave(self) -> None:
        """The question stays."""

    def _yes(self) -> None:
        question = open_question(self._bench)
        if question is not None:
            question.yes()

    def _no(self) -> None:
        question = open_question(self._bench)
        if isinstance(question, LostWorkQuestion) and not slicer.util.confirmYesNoDisplay(
            _("Discard this work? It will not be offered again.")
        ):
            return
        if question is not None:
            question.no()


def _words(question: TwoStatesQuestion | LostWorkQuestion) -> tuple[str, str, str]:
    """What is asked, and what the buttons for yes and no say."""
    if isinstance(question, TwoStatesQuestion):
        return question.two_states.line, _("Keep the library's"), _("Keep the scene's")
    work = question.work
    text = _("{who} worked on this case on {when} and did not save: {count} edits.").format(
        who=work.header.who or _("Somebody"), when=work.header.when, count=work.history.index
    )
    return f"{text} {work.damage}".strip(), _("Go on with that work"), _("Discard")
