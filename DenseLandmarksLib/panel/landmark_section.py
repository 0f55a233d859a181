"""The section Landmarks: what is left to decide, and the buttons that decide it."""

from __future__ import annotations

from functools import partial
from typing import Any

from slicer.i18n import tr as _

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.annotation.worklist import has_open, open_landmarks, open_masks
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.panel.choices import Shown
from DenseLandmarksLib.panel.frame import Frame
from DenseLandmarksLib.panel.landmark_rows import rows_of
from DenseLandmarksLib.panel.landmark_table import LandmarkTable
from DenseLandmarksLib.panel.new_landmark_row import NewLandmarkRow
from DenseLandmarksLib.panel.segment_editing import edit_structures
from DenseLandmarksLib.panel.shortcuts import Shortcuts
from DenseLandmarksLib.panel.strength_row import StrengthRow
from DenseLandmarksLib.panel.views import look_at
from DenseLandmarksLib.panel.why_row import WhyRow
from DenseLandmarksLib.scene.case_in_scene import CaseInScene


class LandmarkSection:
    """Shows the worklist and forwards to the session."""

    def __init__(self, panel: Frame) -> None:
        self._panel, self._ui, self._bench = panel, panel.ui, panel.bench
        self._title = panel.ui.landmarkSection.text
        self._edit_tip = panel.ui.editStructuresButton.toolTip
        self._seen: object = None
        self.table = LandmarkTable(self._ui.landmarkTable)
        self.new_landmark = NewLandmarkRow(panel)
        self.strength, self.why = StrengthRow(panel), WhyRow(panel)
        self.shortcuts = Shortcuts(self._ui, panel.telling(self._give_up))
        self._connect()

    def _connect(self) -> None:
        ui, telling = self._ui, self._panel.telling
        ui.landmarkSection.connect("contentsCollapsed(bool)", telling(lambda: None))
        ui.landmarkTable.connect("currentCellChanged(int,int,int,int)", self._go_to_current)
        ui.landmarkTable.connect("cellClicked(int,int)", self._go_to_current)
        ui.landmarkTable.connect("itemSelectionChanged()", self._show_enabled)
        for button, handler in (
            (ui.acceptButton, self._accept),
            (ui.absentButton, partial(self._decide, Session.mark_absent)),
            (ui.unsureButton, partial(self._decide, Session.mark_unsure)),
            (ui.resetButton, self._reset),
            (ui.nextButton, self._next),
            (ui.placeButton, self._place),
            (ui.acceptStructureButton, self._accept_structure),
            (ui.acceptAllButton, self._accept_all),
            (ui.undoButton, self._bench.undo),
            (ui.redoButton, self._bench.redo),
            (ui.editStructuresButton, self._edit_structures),
        ):
            button.connect("clicked(bool)", telling(handler))

    # What the panel calls.

    def refresh(self) -> None:
        """Show what the workbench says now."""
        case, state, parameters = self._bench.case, self._bench.state, self._panel.parameters
        wanted, shown = ("", Shown.ALL) if parameters is None else (parameters.filter, parameters.shown)
        self.table.show(rows_of(state, self._bench.worklist), wanted, shown)
        self._follow(case)
        self._show_left(state)
        self._show_enabled()
        self.new_landmark.refresh()
        self.strength.refresh()
        if case is not None and parameters is not None:
            _show_in_views(case, parameters.ellipses, parameters.names)
        self._seen = self._now()

    def tick(self) -> None:
        """A landmark may have been pressed in a view, or a click that is waited for been given up there."""
        if self._now() != self._seen:
            self._panel.refresh()

    def enter(self) -> None:
        """The keys work."""
        self.shortcuts.enter()
        self.refresh()

    def leave(self) -> None:
        """The keys are everybody's again, and no click is waited for."""
        self.shortcuts.leave()
        self._give_up()
        self.refresh()

    # What people do.

    def _go_to_current(self) -> None:
        self._go_to(self.table.current)
        self._show_enabled()

    def _go_to(self, name: str) -> None:
        """Mark a landmark in the views and look at it."""
        case, parameters = self._bench.case, self._panel.parameters
        if case is None or not name:
            return
        case.choose(name)
        self._seen = self._now()
        point_ras_mm = case.world_ras_mm(name)
        if point_ras_mm is not None and parameters is not None:
            look_at(point_ras_mm, parameters.closeUp * case.image.larger_side_mm)

    def _accept(self) -> None:
        names = [row.name.text for row in self.table.selected_rows() if row.presence is not Presence.UNPLACED]
        self._decide(Session.accept, names)

    def _decide(self, command: Any, names: list[str] | None = None) -> None:
        decided = list(self.table.selected()) if names is None else names
        parameters = self._panel.parameters
        if decided and self._bench.do(command, *decided) and parameters is not None and parameters.goOn:
            following = self._following(decided[-1])
            if following is not None:
                self._show_and_go_to(following)

    def _reset(self) -> None:
        self._bench.do(Session.reset, *self.table.selected())

    def _next(self) -> None:
        following = self._following(self.table.current)
        if following is not None:
            self._show_and_go_to(following)
        else:
            self._bench.tell(
                _("None of the landmarks that the table shows is left. Clear the filter to see the others.")
            )

    def _following(self, name: str) -> str | None:
        state = self._bench.state
        return None if state is None else self._bench.worklist.next_after(name, state, self.table.seen())

    def _show_and_go_to(self, name: str) -> None:
        self.table.go_to(name)
        self._go_to(name)

    def _place(self) -> None:
        case, name = self._bench.case, self.table.current
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
        structure = self._structure()
        if structure:
            self._bench.do(Session.accept_structure, structure)

    def _accept_all(self) -> None:
        before = self._bench.state
        if before is None or not self._bench.do(Session.accept_remaining):
            return
        landmarks, masks = len(before.open_names()), len(open_masks(before))
        text = _("{landmarks} landmarks and {masks} structures accepted. One Undo takes it back.")
        if not before.structures:
            text = _("{landmarks} landmarks accepted. One Undo takes it back.")
        self._bench.tell(text.format(landmarks=landmarks, masks=masks))

    def _edit_structures(self) -> None:
        case = self._bench.case
        if case is not None and case.segments.node is not None:
            edit_structures(self._panel.scene, case.segments.node, case.image.volume, self._structure())

    # What is shown.

    def _structure(self) -> str:
        """That of the current row."""
        current = self.table.current_row
        return "" if current is None else current.structure.text

    def _now(self) -> object:
        case = self._bench.case
        return None if case is None else (case, case.chosen, case.placing)

    def _follow(self, case: CaseInScene | None) -> None:
        """What was pressed or placed in a view is the current row; the view stays where it is."""
        chosen = "" if case is None else case.chosen
        if chosen != self.table.current:
            self.table.go_to(chosen)

    def _show_left(self, state: CaseState | None) -> None:
        if state is None:
            text = _("Choose an image above, or a case of the library.")
        elif not len(state.landmarks):
            text = _("No landmarks yet: predict them, or define new ones below.")
        else:
            left, total = len(open_landmarks(state)), len(state.landmarks)
            text = _("{left} of {total} left").format(left=left, total=total)
            if not left:
                text = _("0 of {total} left: all decided").format(total=total)
        _set(self._ui.leftLabel, "text", text)
        folded = self._ui.landmarkSection.collapsed and state is not None
        _set(self._ui.landmarkSection, "text", f"{self._title} — {text}" if folded else self._title)

    def _show_enabled(self) -> None:
        ui, bench, selected = self._ui, self._bench, self.table.selected_rows()
        case, state, session = bench.case, bench.state, bench.session
        placing = "" if case is None else case.placing
        is_known = state is not None and placing in state.landmarks.names
        left = () if state is None else open_landmarks(state)
        structure = self._structure()
        for button, can in (
            (ui.landmarkTable, state is not None),
            (ui.filterEdit, state is not None),
            (ui.shownSelector, state is not None),
            (ui.acceptButton, any(row.presence is not Presence.UNPLACED for row in selected)),
            (ui.absentButton, bool(selected)),
            (ui.unsureButton, bool(selected)),
            (ui.resetButton, any(row.review is not Review.PREDICTED for row in selected)),
            (ui.nextButton, bool(left)),
            (ui.placeButton, bool(self.table.current)),
            (ui.acceptStructureButton, state is not None and has_open(state, structure)),
            (ui.acceptAllButton, state is not None and bool(state.open_names() or open_masks(state))),
            (ui.undoButton, session is not None and session.can_undo),
            (ui.redoButton, session is not None and session.can_redo),
            (ui.editStructuresButton, case is not None and case.segments.node is not None),
        ):
            _set(button, "enabled", can)
        _set(ui.placeButton, "checked", is_known)
        has_none = case is not None and case.segments.node is None
        _set(ui.editStructuresButton, "toolTip", _("This case has no structures.") if has_none else self._edit_tip)
        self.shortcuts.listen_to_escape(bool(placing))
        self.why.refresh()


def _set(widget: Any, name: str, value: Any) -> None:
    if getattr(widget, name) != value:
        setattr(widget, name, value)


def _show_in_views(case: CaseInScene, ellipses: bool, names: bool) -> None:
    if case.ellipses.is_visible != ellipses:
        case.ellipses.set_visible(ellipses)
    if case.lists.names_visible != names:
        case.lists.set_names_visible(names)
