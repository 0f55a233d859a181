"""A landmark that no template has: named here, then clicked on in a view."""

from __future__ import annotations

from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.web.state import Frame

EVERYWHERE = "Then click in a view. It is found in all other cases of the library, without training."
ALONE = "Then click in a view. It is a landmark of this image alone: only a model with a template finds it again."


class NewLandmarkRow:
    """Name, structure, and a button that is pressed while the click is waited for."""

    def __init__(self, frame: Frame) -> None:
        self._frame, self._bench = frame, frame.bench
        self._awaited = ""
        frame.command("new_landmark", self._new_landmark)

    def shown(self) -> dict[str, Any]:
        """Whether a landmark can be defined, and why not."""
        case, state = self._bench.case, self._bench.state
        placing = "" if case is None else case.placing
        is_waiting = bool(placing) and state is not None and placing not in state.landmarks.names
        self._note_new(state, is_waiting)
        return {
            "placing_new": placing if is_waiting else "",
            "new_problem": self._new_problem(state),
            "new_tip": ALONE if _stays_here(state) else EVERYWHERE,
            "structures": [
                {"value": "", "title": "None" if _stays_here(state) else "Automatic"},
                *({"value": s, "title": s} for s in (() if state is None else state.structures_of_landmarks)),
            ],
        }

    def _new_landmark(self) -> None:
        case, session, name = self._bench.case, self._bench.session, self._frame.chosen("new_name").strip()
        if case is None or session is None:
            return
        if case.placing and case.placing == self._awaited:
            case.give_up_placing()
            return
        if name in (landmark.name for landmark in session.landmarks_of_library()):
            raise InputError(f"expected a name that is new in the library, got {name}. Choose another.")
        structure = self._frame.chosen("new_structure")
        self._awaited = name
        case.place(name, structure if structure in session.state.structures_of_landmarks else None)

    def _note_new(self, state: CaseState | None, is_waiting: bool) -> None:
        if self._awaited and not is_waiting:
            if state is not None and self._awaited in state.landmarks.names:
                self._frame.choose(new_name="")
            self._awaited = ""

    def _new_problem(self, state: CaseState | None) -> str:
        name = self._frame.chosen("new_name").strip()
        if state is None:
            return "Choose an image first."
        if not name:
            return "Type the name of the new landmark first."
        if name in state.landmarks.names:
            return "There is a landmark of this name already: select it and press Place to place it anew."
        return ""

    def draw(self) -> None:
        """Draw it."""
        with html.Div(classes="row"):
            v.VTextField(
                v_model=("new_name",),
                id="new-name",
                placeholder="Name of a new landmark",
                disabled=("!has_case || !!placing_new",),
                classes="grow",
                title="What the new landmark is called.",
            )
            v.VSelect(
                v_model=("new_structure",),
                items=("structures",),
                disabled=("!has_case || !!placing_new",),
                style="max-width: 120px",
                title="The structure that it lies on. Automatic: the one that was clicked on.",
            )
        v.VBtn(
            "{{ placing_new ? 'Click in a view…' : 'New landmark' }}",
            id="new-landmark",
            block=True,
            color=("placing_new ? 'primary' : undefined",),
            disabled=("!placing_new && !!new_problem",),
            title=("new_problem || new_tip",),
            click="trigger('new_landmark')",
        )


def _stays_here(state: CaseState | None) -> bool:
    """Whether there is no template on which a new landmark could be found in other cases."""
    return state is not None and state.template is None
