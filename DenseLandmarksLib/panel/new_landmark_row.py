"""A landmark that no template has: named here, then clicked on in a view."""

from __future__ import annotations

from slicer.i18n import tr as _

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.panel.frame import Frame


class NewLandmarkRow:
    """Name, structure, and a button that is pressed while the click is waited for."""

    def __init__(self, panel: Frame) -> None:
        self._ui, self._bench = panel.ui, panel.bench
        self._awaited = ""
        self._tip = self._ui.newLandmarkButton.toolTip
        self._ui.newNameEdit.connect("textChanged(QString)", lambda _text: self.refresh())
        self._ui.newLandmarkButton.connect("clicked(bool)", panel.telling(self._define))

    def refresh(self) -> None:
        """Show whether a landmark can be defined, and why not."""
        case, state = self._bench.case, self._bench.state
        is_waiting = case is not None and state is not None and bool(case.placing)
        is_waiting = is_waiting and case.placing not in state.landmarks.names  # type: ignore[union-attr]
        if self._awaited and not is_waiting:
            if state is not None and self._awaited in state.landmarks.names:
                self._ui.newNameEdit.clear()
            self._awaited = ""
        self._show_structures(state)
        problem = self._problem(state)
        self._ui.newNameEdit.enabled = state is not None and not is_waiting
        self._ui.newStructureSelector.enabled = state is not None and not is_waiting
        self._ui.newLandmarkButton.enabled = is_waiting or not problem
        self._ui.newLandmarkButton.checked = is_waiting
        self._ui.newLandmarkButton.toolTip = self._what_it_will_be(state) if is_waiting or not problem else problem

    @property
    def _name(self) -> str:
        return str(self._ui.newNameEdit.text).strip()

    def _define(self) -> None:
        case, session = self._bench.case, self._bench.session
        if case is None or session is None:
            return
        if case.placing and case.placing == self._awaited:
            case.give_up_placing()
            return
        if self._name in (landmark.name for landmark in session.landmarks_of_library()):
            raise InputError(
                _("expected a name that is new in the library, got {name}. Choose another.").format(name=self._name)
            )
        chosen = self._ui.newStructureSelector.currentIndex
        self._awaited = self._name
        case.place(self._name, str(self._ui.newStructureSelector.currentText) if chosen > 0 else None)

    def _problem(self, state: CaseState | None) -> str:
        if state is None:
            return _("Choose an image first.")
        if not self._name:
            return _("Type the name of the new landmark first.")
        if self._name in state.landmarks.names:
            return _("There is a landmark of this name already: select it and press Place to place it anew.")
        return ""

    def _what_it_will_be(self, state: CaseState | None) -> str:
        if not _stays_here(state):
            return str(self._tip)
        return _(
            "Then click in a view. It is a landmark of this image alone: only a model with a template finds it again."
        )

    def _show_structures(self, state: CaseState | None) -> None:
        box = self._ui.newStructureSelector
        structures = () if state is None else state.structures_of_landmarks
        wanted = [_("None") if _stays_here(state) else _("Automatic"), *structures]
        if [box.itemText(n) for n in range(box.count)] == wanted:
            return
        before = box.currentText
        box.clear()
        for text in wanted:
            box.addItem(text)
        box.currentIndex = wanted.index(before) if before in wanted else 0


def _stays_here(state: CaseState | None) -> bool:
    """Whether there is no template on which a new landmark could be found in other cases."""
    return state is not None and state.template is None
