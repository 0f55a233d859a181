"""Which case of the library is in hand: a list, the previous one, and the one that comes next with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import qt
from slicer.i18n import tr as _

from DenseLandmarksLib.annotation.library.visits import Visits
from DenseLandmarksLib.panel.case_list import CaseList, Line, text_in_hand
from DenseLandmarksLib.panel.frame import Frame

# Whether QStandardItemModel, which a QComboBox holds, lets an entry be chosen is kept under this role; 0: it does not.
_FLAGS_ROLE = qt.Qt.UserRole - 1
_NOT_CHOOSABLE = 0


class CaseChoice:
    """The list of cases, and the buttons that go through it."""

    def __init__(self, panel: Frame, cases: CaseList) -> None:
        self._panel, self._ui, self._cases = panel, panel.ui, cases
        self._lines: list[Line] = []
        self._reason: tuple[object, str] = (None, "")
        self._visits, self._visited = Visits(), ""
        self._ui.caseSelector.connect("activated(int)", panel.telling(self._pick))
        self._ui.previousCaseButton.clicked.connect(panel.telling(self._go_back))
        self._ui.nextCaseButton.clicked.connect(panel.telling(self._go_on))

    def refresh(self) -> None:
        """Show the cases, and where one can go from here."""
        ui, bench = self._ui, self._panel.bench
        self._cases.update()
        self._note_visit()
        self._list()
        ui.caseSelector.enabled = bool(self._cases.lines)
        ui.previousCaseButton.enabled = self._visits.previous() is not None
        ui.nextCaseButton.enabled = bench.library is not None or bench.case is not None
        ui.caseOrder.enabled = ui.nextCaseButton.enabled
        case, reason = self._reason
        ui.caseReason.text = reason if case is bench.case else ""
        for label in (ui.reasonLabel, ui.caseReason):
            label.visible = bool(ui.caseReason.text)

    def _note_visit(self) -> None:
        """Wherever the wish came from: a pick, a saved scene, an image that was chosen."""
        library = self._panel.bench.library
        if library is not None and library.id != self._visited:
            self._visits, self._visited = Visits(), library.id
        if self._in_hand:
            self._visits.went_to(self._in_hand)

    @property
    def _in_hand(self) -> str:
        """The id of the case in hand, empty where the library that is open has no such case."""
        library, session = self._panel.bench.library, self._panel.bench.session
        if library is None or session is None or session.case.library_id != library.id:
            return ""
        return session.case.id

    def _list(self) -> None:
        """One entry to say what the list is for, then the cases; what is damaged cannot be chosen."""
        selector, session, in_hand = self._ui.caseSelector, self._panel.bench.session, self._in_hand
        head = Line("", _("choose a case") if self._cases.lines else _("no cases yet"))
        lines, row = [head, *self._cases.lines], 0
        for number, line in enumerate(lines):
            if session is not None and line.case_id == in_hand != "":
                now = text_in_hand(session.case.name, session.state, session.revision, session.unsaved)
                lines[number], row = line._replace(text=now), number
        if len(lines) != len(self._lines):
            selector.clear()
            selector.addItems([""] * len(lines))
            self._lines = [Line("", "")] * len(lines)
        for number, (new, old) in enumerate(zip(lines, self._lines, strict=True)):
            if new != old:
                selector.setItemText(number, new.text)
                selector.setItemData(number, new.explanation, qt.Qt.ToolTipRole)
                selector.setItemData(number, None if new.can_be_chosen else _NOT_CHOOSABLE, _FLAGS_ROLE)
        self._lines = lines
        selector.currentIndex = row

    def _pick(self) -> None:
        case_id, session = self._lines[self._ui.caseSelector.currentIndex].case_id, self._panel.bench.session
        if case_id and (session is None or session.case.id != case_id):
            self._open(case_id)

    def _go_back(self) -> None:
        before = self._visits.previous()
        if before is not None:
            self._open(before)

    def _open(self, case_id: str) -> None:
        self._cases.forget()  # whatever comes of it, the library may be another
        with _wait_cursor():
            self._panel.bench.open_case(case_id)

    def _go_on(self) -> None:
        bench = self._panel.bench
        self._cases.forget()
        with _wait_cursor():
            opened = bench.open_next(self._panel.parameters.caseOrder.value)
        name = "" if opened is None else opened.session.case.name
        self._reason = (bench.case, bench.lines[-1].removeprefix(f"{name}: "))


@contextmanager
def _wait_cursor() -> Iterator[None]:
    """As Slicer's own, which lets timers and clicks in meanwhile."""
    qt.QApplication.setOverrideCursor(qt.Qt.WaitCursor)
    try:
        yield
    finally:
        qt.QApplication.restoreOverrideCursor()
