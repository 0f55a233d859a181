"""The section Landmarks: what is left to decide, and the buttons that decide it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.annotation.worklist import has_open, open_landmarks, open_masks
from DenseLandmarksLib.web.landmark_form import draw_form
from DenseLandmarksLib.web.landmark_rows import rows_of
from DenseLandmarksLib.web.new_landmark_row import NewLandmarkRow
from DenseLandmarksLib.web.state import Frame
from DenseLandmarksLib.web.why_row import WhyRow

CORRECTED_ALONE = "This model says each landmark by itself: a correction moves no other."


class LandmarkSection:
    """Shows the worklist and forwards to the session."""

    def __init__(self, frame: Frame) -> None:
        self._frame, self._bench = frame, frame.bench
        self._selected: tuple[str, ...] = ()
        self._followed = ""
        self._rows: list[dict[str, Any]] = []
        self._new, self._why = NewLandmarkRow(frame), WhyRow(frame)
        frame.server.state.update({"strength_now": 100})
        commands: dict[str, Callable[..., object]] = {
            "pick": self._pick,
            "accept": self._accept,
            "absent": partial(self._decide, Session.mark_absent),
            "unsure": partial(self._decide, Session.mark_unsure),
            "reset": self._reset,
            "next": self._next,
            "place": self._place,
            "give_up": self._give_up,
            "accept_structure": self._accept_structure,
            "accept_all": self._accept_all,
            "undo": self._bench.undo,
            "redo": self._bench.redo,
            "set_strength": self._set_strength,
            "fit": frame.views.fit,
            "delete_point": frame.views.press_delete,
        }
        for name, handler in commands.items():
            frame.command(name, handler)

    # What is shown.

    def shown(self) -> dict[str, Any]:
        """Rows, what is selected, and what can be done with it."""
        bench, state = self._bench, self._bench.state
        every = rows_of(state, bench.worklist.names)
        self._rows = [row for row in every if self._is_shown(row)]
        self._follow([row["name"] for row in every])
        self._show_in_views()
        session, left = bench.session, () if state is None else open_landmarks(state)
        chosen = [row for row in every if row["name"] in self._selected]
        placing = "" if bench.case is None else bench.case.placing
        is_new = bool(placing) and state is not None and placing not in state.landmarks.names
        percent = 100 if state is None else round(100 * state.strength)
        return {
            "rows": self._rows,
            "selected": list(self._selected),
            "current": self._current,
            "left_text": _left_text(state),
            "can_accept": any(row["presence"] != "unplaced" for row in chosen),
            "can_decide": bool(chosen),
            "can_reset": any(not row["open"] for row in chosen),
            "can_next": bool(left),
            "can_place": bool(self._current),
            "can_accept_structure": state is not None and has_open(state, self._structure),
            "can_accept_all": state is not None and bool(state.open_names() or open_masks(state)),
            "can_undo": session is not None and session.can_undo,
            "can_redo": session is not None and session.can_redo,
            "placing": "" if is_new else placing,
            **self._new.shown(),
            **self._why.shown(),
            "strength": percent,
            "why_no_strength": CORRECTED_ALONE if state is not None and state.is_corrected_one_by_one else "",
            "has_structures": state is not None and bool(state.structures),
            "has_case": state is not None,
        }

    @property
    def _current(self) -> str:
        return "" if self._bench.case is None else self._bench.case.chosen

    @property
    def _structure(self) -> str:
        """That of the current landmark."""
        state = self._bench.state
        if state is None or self._current not in state.landmarks.names:
            return ""
        return str(state.landmarks.structures[state.landmarks.names.index(self._current)])

    def _is_shown(self, row: dict[str, Any]) -> bool:
        sought, shown = self._frame.chosen("filter").strip().casefold(), self._frame.chosen("shown")
        if sought and sought not in row["name"].casefold() and sought not in row["structure"].casefold():
            return False
        if shown == "absent":
            return bool(row["presence"] == "absent")
        return shown == "all" or row["open"] == (shown == "left")

    def _follow(self, names: list[str]) -> None:
        """What was pressed or placed in a view is the selected row; the view stays where it is."""
        self._selected = tuple(name for name in self._selected if name in names)
        if self._current != self._followed:
            self._followed = self._current
            if self._current not in self._selected:
                self._selected = (self._current,) if self._current else ()
                self._scroll_to(self._current)

    def _scroll_to(self, name: str) -> None:
        shown = [row["name"] for row in self._rows]
        if name in shown:
            self._frame.server.js_call("rows", "scrollToIndex", max(0, shown.index(name) - 3))

    def _show_in_views(self) -> None:
        case = self._bench.case
        if case is None:
            return
        ellipses, names = self._frame.chosen("ellipses"), self._frame.chosen("names")
        if case.ellipses.is_visible != ellipses:
            case.ellipses.set_visible(ellipses)
        if case.lists.names_visible != names:
            case.lists.set_names_visible(names)

    # What people do.

    def _pick(self, name: str, add: bool = False, range_: bool = False) -> None:
        """A click on a row, with Ctrl or Shift to select more than one."""
        shown = [row["name"] for row in self._rows]
        if name not in shown:
            return
        if range_ and self._current in shown:
            first, last = sorted((shown.index(self._current), shown.index(name)))
            self._selected = tuple(shown[first : last + 1])
            return
        if add:
            others = tuple(one for one in self._selected if one != name)
            self._selected = others if name in self._selected else (*others, name)
        else:
            self._selected = (name,)
        self._go_to(name)

    def _go_to(self, name: str) -> None:
        """Mark a landmark in the views and look at it."""
        case = self._bench.case
        if case is None or not name:
            return
        case.choose(name)
        self._followed = case.chosen
        point_ras_mm = case.world_ras_mm(name)
        if point_ras_mm is not None:
            close_up = min(1.0, max(0.05, self._frame.chosen("close_up")))
            self._frame.views.look_at(point_ras_mm, close_up * case.image.larger_side_mm)

    def _in_order(self) -> list[str]:
        return [row["name"] for row in self._rows if row["name"] in self._selected]

    def _accept(self) -> None:
        unplaced = {row["name"] for row in self._rows if row["presence"] == "unplaced"}
        self._decide(Session.accept, [name for name in self._in_order() if name not in unplaced])

    def _decide(self, command: Any, names: list[str] | None = None) -> None:
        decided = self._in_order() if names is None else names
        if decided and self._bench.do(command, *decided) and self._frame.chosen("go_on"):
            self._show_and_go_to(self._following(decided[-1]))

    def _reset(self) -> None:
        self._bench.do(Session.reset, *self._in_order())

    def _next(self) -> None:
        following = self._following(self._current)
        self._show_and_go_to(following)
        if following is None:
            self._bench.tell("None of the landmarks that the table shows is left. Clear the filter to see the others.")

    def _following(self, name: str) -> str | None:
        state = self._bench.state
        if state is None:
            return None
        every = rows_of(state, self._bench.worklist.names)
        return self._bench.worklist.next_after(name, state, [row["name"] for row in every if self._is_shown(row)])

    def _show_and_go_to(self, name: str | None) -> None:
        if name is not None:
            self._selected = (name,)
            self._scroll_to(name)
            self._go_to(name)

    def _place(self) -> None:
        case, name = self._bench.case, self._current
        if case is None:
            return
        if case.placing == name:
            case.give_up_placing()
        elif name:
            case.place(name)

    def _give_up(self) -> None:
        if self._bench.case is not None:
            self._bench.case.give_up_placing()

    def _accept_structure(self) -> None:
        if self._structure:
            self._bench.do(Session.accept_structure, self._structure)

    def _accept_all(self) -> None:
        before = self._bench.state
        if before is not None and self._bench.do(Session.accept_remaining):
            landmarks, masks = len(before.open_names()), len(open_masks(before))
            structures = f" and {masks} structures" if before.structures else ""
            self._bench.tell(f"{landmarks} landmarks{structures} accepted. One Undo takes it back.")

    def _set_strength(self, percent: float) -> None:
        state = self._bench.state
        if state is not None and round(100 * state.strength) != percent:
            self._bench.do(Session.set_strength, float(percent) / 100)

    def draw(self) -> None:
        """Draw it."""
        draw_form(self._new, self._why)


def _left_text(state: CaseState | None) -> str:
    if state is None:
        return "Choose an image above, or a case of the library."
    if not len(state.landmarks):
        return "No landmarks yet: predict them, or define new ones below."
    left, total = len(open_landmarks(state)), len(state.landmarks)
    return f"{left} of {total} left" if left else f"0 of {total} left: all decided"
