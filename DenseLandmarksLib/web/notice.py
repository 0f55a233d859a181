"""Above the sections: the one question that a case may bring along, in words, with two answers, and the message line."""

from __future__ import annotations

from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v

from DenseLandmarksLib.scene.open_question import LostWorkQuestion, TwoStatesQuestion, open_question
from DenseLandmarksLib.web.state import Frame


class Notice:
    """Shows the question, nothing while there is none."""

    def __init__(self, frame: Frame) -> None:
        self._bench = frame.bench
        frame.command("notice_yes", lambda: self._answer(yes=True))
        frame.command("notice_no", lambda: self._answer(yes=False))

    def shown(self) -> dict[str, Any]:
        """The question, and what the person was told last."""
        question, lines = open_question(self._bench), self._bench.lines
        text, yes, no = ("", "", "") if question is None else _words(question)
        return {
            "notice": text,
            "notice_yes": yes,
            "notice_no": no,
            "notice_discards": isinstance(question, LostWorkQuestion),
            "message": lines[-1] if lines else "",
        }

    def draw(self) -> None:
        """Draw it."""
        with v.VAlert(v_if=("notice",), type="info", variant="tonal", density="compact", classes="ma-2", id="notice"):
            html.Div("{{ notice }}", classes="mb-2")
            v.VBtn("{{ notice_yes }}", id="notice-yes", size="small", classes="mr-2", click="trigger('notice_yes')")
            v.VBtn(
                "{{ notice_no }}",
                id="notice-no",
                size="small",
                variant="text",
                click="(!notice_discards || window.confirm('Discard this work? It will not be offered again.'))"
                " && trigger('notice_no')",
            )

    def _answer(self, yes: bool) -> None:
        question = open_question(self._bench)
        if question is not None:
            (question.yes if yes else question.no)()


def _words(question: TwoStatesQuestion | LostWorkQuestion) -> tuple[str, str, str]:
    """What is asked, and what the buttons for yes and no say."""
    if isinstance(question, TwoStatesQuestion):
        return question.two_states.line, "Keep the library's", "Keep the scene's"
    work = question.work
    text = (
        f"{work.header.who or 'Somebody'} worked on this case on {work.header.when} and did not save: "
        f"{work.history.index} edits. {work.damage}"
    )
    return text.strip(), "Go on with that work", "Discard"
