"""The section Image: the cases of the library, how large a pixel is, and which way round the image is."""

from __future__ import annotations

from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v

from DenseLandmarksLib.annotation.library.next_case import CaseEntry
from DenseLandmarksLib.annotation.library.visits import Visits
from DenseLandmarksLib.annotation.worklist import open_landmarks
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.web.ruler_row import RulerRow
from DenseLandmarksLib.web.side_row import SideRow
from DenseLandmarksLib.web.spacing_row import SpacingRow
from DenseLandmarksLib.web.state import ORDERS, Frame, items

_LONGEST = 22


class ImageSection:
    """Shows library, case, pixel size and orientation, and forwards what is chosen."""

    def __init__(self, frame: Frame, scene: Any) -> None:
        self._frame, self._bench = frame, frame.bench
        self._entries: tuple[CaseEntry, ...] = ()
        self._read_at: object = None
        self._problem = ""
        self._reason: tuple[object, str] = (None, "")
        self._visits = Visits()
        self.spacing, self.ruler, self.side = SpacingRow(frame), RulerRow(frame, scene), SideRow(frame)
        # How far the files of one browser are; it says so to itself.
        frame.server.state.client_only("adding")
        frame.server.state.update({"adding": None})
        frame.command("open_case", self._open)
        frame.command("previous_case", self._go_back)
        frame.command("next_case", self._go_on)
        frame.command("added", self._added)

    # What is shown.

    def shown(self) -> dict[str, Any]:
        """All of it."""
        self._read()
        self._note_visit()
        bench = self._bench
        library, session = bench.library, bench.session
        case, reason = self._reason
        return {
            "library_name": self._how_far(),
            "library_folder": self._problem or ("" if library is None else library.name),
            "cases": [self._line(entry) for entry in self._entries],
            "case_id": "" if session is None else session.case.id,
            "case_name": "" if session is None else session.case.name,
            "can_go_back": self._visits.previous() is not None,
            "can_go_on": library is not None or bench.case is not None,
            "case_reason": reason if case is bench.case and reason else "",
            "is_radiograph": self._frame.views.is_radiograph,
            **self.spacing.shown(),
            **self.ruler.shown(),
            **self.side.shown(),
        }

    def _read(self) -> None:
        """Read the library if another one is open, or a case was left or saved since it was last read."""
        library, session = self._bench.library, self._bench.session
        at = (library, None if session is None else (session.case.id, session.revision))
        if at == self._read_at:
            return
        self._read_at, self._entries, self._problem = at, (), ""
        try:
            self._entries = () if library is None else library.cases()
        except InputError as error:
            self._problem = str(error)
        except OSError as error:
            self._problem = f"expected the library, but it cannot be read ({error.strerror}). Open it again."

    def _how_far(self) -> str:
        library = self._bench.library
        if library is None:
            return "none yet: the first case makes one"
        if self._problem:
            return f"{library.name} · cannot be read"
        if not self._entries:
            return f"{library.name} · no cases yet"
        finished = sum(entry.newest is not None and entry.newest.is_reviewed for entry in self._entries)
        return f"{library.name} · {finished} of {len(self._entries)} cases finished"

    def _line(self, entry: CaseEntry) -> dict[str, Any]:
        """ "chest-3 · 12 of 166 left · r2"; the case in hand as it is now, saved or not."""
        session, info = self._bench.session, entry.newest
        if entry.damage:
            text = "damaged"
        elif session is not None and session.case.id == entry.id:
            state = session.state
            text = _left(len(open_landmarks(state)), len(state.counted_rows), state.is_chosen_for_comparison)
            if session.unsaved:
                text += " · unsaved"
            elif session.revision:
                text += f" · r{session.revision}"
            else:
                text = "new"
        elif info is None:
            text = "new"
        else:
            left = _left(info.landmarks - info.reviewed, info.landmarks, info.is_chosen_for_comparison)
            text = f"{left} · r{info.number}"
        return {
            "value": entry.id,
            "title": f"{_short(entry.name)} · {text}",
            "props": {"disabled": bool(entry.damage)},
        }

    # What a person does.

    def _open(self, case_id: str) -> None:
        self._read()
        if case_id not in [entry.id for entry in self._entries]:
            raise InputError("expected a case of this library, got another. Choose one from the list.")
        session = self._bench.session
        if session is None or session.case.id != case_id:
            self._read_at = None
            self._bench.open_case(case_id)

    def _go_back(self) -> None:
        before = self._visits.previous()
        if before is not None:
            self._open(before)

    def _go_on(self) -> None:
        self._read_at = None
        opened = self._bench.open_next(self._frame.chosen("case_order"))
        name = "" if opened is None else opened.session.case.name
        self._reason = (self._bench.case, self._bench.lines[-1].removeprefix(f"{name}: "))

    def _added(self, cases: list[str], notes: list[str]) -> None:
        """What a person sent became cases, of which the first is opened, or did not, and why."""
        self._read_at = None
        if cases:
            self._open(cases[0])
        lines = list(map(str, notes))
        if cases or len(lines) != 1:
            lines.insert(0, f"Added: {len(cases)} of {len(cases) + len(lines)} images.")
        self._bench.tell(" ".join(lines))

    def _note_visit(self) -> None:
        if self._bench.session is not None:
            self._visits.went_to(self._bench.session.case.id)

    # How it looks.

    def draw(self) -> None:
        """Draw it."""
        with html.Div(classes="row"):
            html.Label("Library")
            html.Span("{{ library_name }}", title=("library_folder",), id="library-name", classes="grow")
        with html.Div(classes="row"):
            html.Label()
            # No other library is opened here, as in the panel: a page names no folder.
            v.VBtn(
                "Add images…",
                id="add-images",
                disabled=("!!adding",),
                title="Bring images from this computer into the library.",
                click="window.document.getElementById('upload').click()",
            )
        with html.Div(classes="row", v_if=("adding",), id="adding"):
            html.Label("Adding")
            with v.VProgressLinear(
                model_value=("adding.percent",), height=20, rounded=True, color="secondary", classes="grow"
            ):
                html.Span("{{ adding.done }} of {{ adding.total }} images", classes="on-bar")
            v.VBtn("Cancel", id="cancel-adding", title="Stop; images that are in the library already stay there.")
        with html.Div(classes="row"):
            html.Label("Case")
            v.VSelect(
                id="case",
                model_value=("case_id || null",),
                items=("cases",),
                placeholder="choose a case",
                classes="grow",
                update_modelValue="trigger('open_case', [$event])",
            )
        with html.Div(classes="row"):
            html.Label("Next")
            v.VSelect(v_model=("case_order",), items=("orders", items(ORDERS)), classes="grow")
            v.VBtn(
                "◀",
                id="previous-case",
                classes="narrow",
                disabled=("!can_go_back",),
                title="The case that you were at before. What is unsaved is saved.",
                click="trigger('previous_case')",
            )
            v.VBtn(
                "▶",
                id="next-case",
                classes="narrow",
                disabled=("!can_go_on",),
                title="Save, and open the case that comes next.",
                click="trigger('next_case')",
            )
        with html.Div(classes="row", v_if=("case_reason",)):
            html.Label("Because")
            html.Span("{{ case_reason }}", classes="grow", id="case-reason")
        self.spacing.draw()
        self.ruler.draw()
        self.side.draw()


def _left(left: int, total: int, is_chosen_for_comparison: bool) -> str:
    """How far a case is, and whether models are compared on it: nobody learns from it then."""
    text = "no landmarks" if not total else f"{left} of {total} left" if left else "finished"
    return f"{text}, for comparison" if is_chosen_for_comparison else text


def _short(name: str) -> str:
    """A long name without its middle, so that what follows it is seen."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[1 - _LONGEST // 2 :]}"
