"""Above the sections: the one question that a case may bring along, with two answers, and the message line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from trame.widgets import html
from trame.widgets import vuetify3 as v

from DenseLandmarksLib.annotation.journal import JournalContents
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.scene.two_states import TwoStates
from DenseLandmarksLib.web.state import Frame


class Question(NamedTuple):
    """What is asked, and the two answers: what the button says, and what it does."""

    text: str
    yes: str
    no: str
    on_yes: Callable[[], object]
    on_no: Callable[[], object]


class Notice:
    """Shows the question, nothing while there is none. Work can go on without an answer."""

    def __init__(self, frame: Frame) -> None:
        self._bench = frame.bench
        frame.command("notice_yes", lambda: self._answer(yes=True))
        frame.command("notice_no", lambda: self._answer(yes=False))

    def shown(self) -> dict[str, Any]:
        """The question, and what the person was told last."""
        question, lines = self._question(), self._bench.lines
        return {
            "notice": "" if question is None else question.text,
            "notice_yes": "" if question is None else question.yes,
            "notice_no": "" if question is None else question.no,
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
                click="(notice_no != 'Discard' || window.confirm('Discard this work? It will not be offered again.'))"
                " && trigger('notice_no')",
            )

    def _answer(self, yes: bool) -> None:
        question = self._question()
        if question is not None:
            (question.on_yes if yes else question.on_no)()

    def _question(self) -> Question | None:
        case = self._bench.case
        if case is None:
            return None
        if case.two_states is not None and case.two_states.is_open:
            return self._of_two_states(case.two_states)
        session = case.session
        if session.recoverable and not session.can_undo and not session.can_redo:
            return self._of_lost_work(session.recoverable[0])
        return None

    def _of_two_states(self, two: TwoStates) -> Question:
        def keep_scene() -> None:
            if self._bench.case is not None and self._bench.case.settle():
                two.keep_scene()

        def keep_library() -> None:
            two.keep_library()
            self._bench.version += 1

        return Question(two.line, "Keep the library's", "Keep the scene's", keep_library, keep_scene)

    def _of_lost_work(self, work: JournalContents) -> Question:
        header = work.header
        text = f"{header.who or 'Somebody'} worked on this case on {header.when} and did not save: {work.history.index} edits."
        return Question(
            f"{text} {work.damage}".strip(),
            "Go on with that work",
            "Discard",
            lambda: self._bench.do(Session.recover, work),
            lambda: self._bench.do(Session.discard, work),
        )
