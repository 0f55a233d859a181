"""Which way round an image is: what its file says, how the model looks at it, and what a person wants instead."""

from __future__ import annotations

from slicer.i18n import tr as _

from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.geometry.view import MIRRORED, View
from DenseLandmarksLib.models.bundle import BundleDescription
from DenseLandmarksLib.models.chosen_model import chosen_model
from DenseLandmarksLib.models.expectation import Expectation, choose_view
from DenseLandmarksLib.panel.frame import Frame
from DenseLandmarksLib.scene.nodes import Node

# In the order of the form's lists; the first of each is automatic.
TURNS = (None, 0, 90, 180, 270)
FLIPS = (None, False, True)
Wish = tuple[int | None, bool | None]
_AUTOMATIC: Wish = (None, None)


class SideRow:
    """The badge, and the two lists; what was wished is remembered for each case, and not in the scene."""

    def __init__(self, panel: Frame) -> None:
        self._panel, self._ui = panel, panel.ui
        self._of_cases: dict[str, Wish] = {}
        self._of_volume: tuple[Node | None, Wish] = (None, _AUTOMATIC)
        self._selectors = [(one, one.toolTip) for one in (self._ui.turnSelector, self._ui.flipSelector)]
        for selector, _tip in self._selectors:
            selector.connect("activated(int)", panel.telling(self._wish))

    @property
    def view(self) -> View | None:
        """How the model shall look at the image, ``None`` where that is its own affair."""
        turn_deg, flip = self._wished
        if (turn_deg, flip) == _AUTOMATIC or not self._can_be_turned:
            return None
        return self._chosen_view(turn_deg, flip)[0]

    def advise(self, view: View) -> None:
        """Have the model look through this view next time."""
        self._remember((view.turn_deg, view.flip))

    def refresh(self) -> None:
        """Show both."""
        self._hand_over()
        ui, (turn_deg, flip) = self._ui, self._wished
        ui.turnSelector.currentIndex = TURNS.index(turn_deg)
        ui.flipSelector.currentIndex = FLIPS.index(flip)
        for selector, tip in self._selectors:
            selector.enabled = self._can_be_turned
            selector.toolTip = self._why_not_turned() or tip
        ui.sideBadge.text = "\n".join(filter(None, (self._stated(), self._seen())))

    def _wish(self) -> None:
        ui = self._ui
        self._remember((TURNS[ui.turnSelector.currentIndex], FLIPS[ui.flipSelector.currentIndex]))

    def _remember(self, wish: Wish) -> None:
        session = self._panel.bench.session
        if session is not None:
            self._of_cases[session.case.id] = wish
        else:
            self._of_volume = (self._panel.volume, wish)

    def _hand_over(self) -> None:
        """What was wished for an image goes to the case that is made of it, and is forgotten when another image comes."""
        session, volume = self._panel.bench.session, self._panel.volume
        if session is not None and volume is not None and self._of_volume[0] is volume:
            self._of_cases.setdefault(session.case.id, self._of_volume[1])
        if session is not None or self._of_volume[0] is not volume:
            self._of_volume = (None, _AUTOMATIC)

    @property
    def _wished(self) -> Wish:
        session, volume = self._panel.bench.session, self._panel.volume
        if session is not None and session.case.id in self._of_cases:
            return self._of_cases[session.case.id]
        return self._of_volume[1] if volume is not None and self._of_volume[0] is volume else _AUTOMATIC

    @property
    def _can_be_turned(self) -> bool:
        volume, state = self._panel.volume, self._panel.bench.state
        if state is not None:
            return state.geometry.is_radiograph
        return (
            volume is not None and volume.GetImageData() is not None and volume.GetImageData().GetDimensions()[2] == 1
        )

    def _why_not_turned(self) -> str:
        volume = self._panel.volume
        if self._can_be_turned or volume is None or volume.GetImageData() is None:
            return ""
        return _("A volume lies in the patient as its scanner wrote; nothing has to be turned.")

    @property
    def _acquisition(self) -> Acquisition | None:
        """What the file stated when the case was made; ``None`` without a case."""
        session = self._panel.bench.session
        return None if session is None else session.case.acquisition

    @property
    def _model(self) -> BundleDescription | None:
        parameters = self._panel.parameters
        return None if parameters is None else chosen_model(parameters.model).description

    @property
    def _looks_at_either_side(self) -> bool:
        model, said = self._model, self._acquisition or Acquisition()
        return model is not None and model.knows_either_side and not model.expectation.is_told_side(said)

    def _chosen_view(self, turn_deg: int | None, flip: bool | None) -> tuple[View, str]:
        model = self._model
        expectation = Expectation() if model is None else model.expectation
        return choose_view(expectation, self._acquisition or Acquisition(), turn_deg, flip)

    # In words.

    def _stated(self) -> str:
        if self._panel.volume is None:
            return _("no image")
        said = self._acquisition
        if said is None:
            return _("What its file says is known once there is a case.")
        parts = []
        if said.laterality:
            parts.append(_("right side") if said.laterality == "R" else _("left side"))
        if said.view_position:
            parts.append(said.view_position)
        if said.patient_orientation is not None:
            rows, columns = (_toward(letter) for letter in said.patient_orientation)
            parts.append(_("rows run to the {rows}, columns to the {columns}").format(rows=rows, columns=columns))
        if not parts:
            return _("The file says nothing about side and orientation.")
        return _("File: {said}").format(said=" · ".join(parts))

    def _seen(self) -> str:
        """How the model saw the image, and how it will look next."""
        if not self._can_be_turned:
            return ""
        state = self._panel.bench.state
        saw = None if state is None or state.answer is None else state.answer.prediction.view
        will, reason = self._chosen_view(*self._wished)
        because = f" ({reason})" if reason else ""
        chooses = self._wished == _AUTOMATIC and self._looks_at_either_side
        if saw is None and chooses:
            return _("The model will see it {view}, or mirrored where that looks better.").format(
                view=f"{will}{because}"
            )
        if saw is None:
            return _("The model will see it {view}.").format(view=f"{will}{because}")
        if chooses and saw == will.then(MIRRORED):
            return _("The model saw it {view}: it knows either side, and this one looked better.").format(view=saw)
        if saw == will:
            return _("The model saw it {view}.").format(view=f"{will}{because}")
        return _("The model saw it {view}; next time {next}.").format(view=saw, next=f"{will}{because}")


def _toward(letter: str) -> str:
    return {
        "R": _("right"),
        "L": _("left"),
        "A": _("front"),
        "P": _("back"),
        "H": _("head"),
        "F": _("feet"),
    }[letter]
