"""Which way round an image is: what its file says, how the model looks at it, and what a person wants instead."""

from __future__ import annotations

from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v

from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.geometry.view import MIRRORED, View
from DenseLandmarksLib.models.bundle import BundleDescription
from DenseLandmarksLib.models.chosen_model import chosen_model
from DenseLandmarksLib.models.expectation import Expectation, choose_view
from DenseLandmarksLib.web.state import Frame, items

TURNS = (("", "Automatic"), ("0", "0°"), ("90", "90°"), ("180", "180°"), ("270", "270°"))
FLIPS = (("", "Automatic"), ("no", "As stored"), ("yes", "Mirrored"))
_TOWARD = {"R": "right", "L": "left", "A": "front", "P": "back", "H": "head", "F": "feet"}
Wish = tuple[int | None, bool | None]


class SideRow:
    """What was wished is remembered for each case, as long as the program runs."""

    def __init__(self, frame: Frame) -> None:
        self._frame, self._bench = frame, frame.bench
        self._wishes: dict[str, Wish] = {}
        frame.command("set_view", self._set_view)

    @property
    def view(self) -> View | None:
        """How the model shall look at the image, ``None`` where that is its own affair."""
        wish = self._wish
        return None if wish == (None, None) or not self._can_be_turned else self._chosen_view(wish)[0]

    def advise(self, view: View) -> None:
        """Have the next prediction look through this view."""
        self._remember((view.turn_deg, view.flip))

    def shown(self) -> dict[str, Any]:
        """Both, in words."""
        turn, flip = self._wish
        return {
            "side_stated": self._stated(),
            "side_seen": self._seen(),
            "turn": "" if turn is None else str(turn),
            "flip": "" if flip is None else ("yes" if flip else "no"),
            "can_be_turned": self._can_be_turned,
        }

    def _stated(self) -> str:
        said = self._acquisition
        if said is None:
            return "no image"
        parts = []
        if said.laterality:
            parts.append("right side" if said.laterality == "R" else "left side")
        if said.view_position:
            parts.append(said.view_position)
        if said.patient_orientation is not None:
            rows, columns = (_TOWARD[letter] for letter in said.patient_orientation)
            parts.append(f"rows run to the {rows}, columns to the {columns}")
        return f"File: {' · '.join(parts)}" if parts else "The file says nothing about side and orientation."

    def _seen(self) -> str:
        """How the model saw the image, and how it will look next."""
        if not self._can_be_turned:
            return ""
        state = self._bench.state
        saw = None if state is None or state.answer is None else state.answer.prediction.view
        will, reason = self._chosen_view(self._wish)
        how = f"{will} ({reason})" if reason else f"{will}"
        chooses = self._wish == (None, None) and self._looks_at_either_side
        if saw is None and chooses:
            return f"The model will see it {how}, or mirrored where that looks better."
        if saw is None:
            return f"The model will see it {how}."
        if chooses and saw == will.then(MIRRORED):
            return f"The model saw it {saw}: it knows either side, and this one looked better."
        return f"The model saw it {how}." if saw == will else f"The model saw it {saw}; next time {how}."

    def _set_view(self, turn: str, flip: str) -> None:
        if turn in [value for value, _ in TURNS] and flip in [value for value, _ in FLIPS]:
            self._remember((int(turn) if turn else None, flip == "yes" if flip else None))

    def _remember(self, wish: Wish) -> None:
        if self._bench.session is not None:
            self._wishes[self._bench.session.case.id] = wish

    @property
    def _wish(self) -> Wish:
        session = self._bench.session
        return (None, None) if session is None else self._wishes.get(session.case.id, (None, None))

    @property
    def _can_be_turned(self) -> bool:
        state = self._bench.state
        return state is not None and state.geometry.is_radiograph

    @property
    def _acquisition(self) -> Acquisition | None:
        session = self._bench.session
        return None if session is None else session.case.acquisition

    @property
    def _model(self) -> BundleDescription | None:
        return chosen_model(self._frame.chosen("model")).description

    @property
    def _looks_at_either_side(self) -> bool:
        model, said = self._model, self._acquisition or Acquisition()
        return model is not None and model.knows_either_side and not model.expectation.is_told_side(said)

    def _chosen_view(self, wish: Wish) -> tuple[View, str]:
        model = self._model
        expectation = Expectation() if model is None else model.expectation
        return choose_view(expectation, self._acquisition or Acquisition(), *wish)

    def draw(self) -> None:
        """Draw it."""
        with html.Div(classes="row"):
            html.Label("Orientation")
            with html.Span(classes="grow quiet", id="orientation"):
                html.Div("{{ side_stated }}")
                html.Div("{{ side_seen }}", v_if=("side_seen",))
        with html.Div(classes="row", v_if=("can_be_turned",)):
            html.Label("Turn, mirror")
            for name, other, choices, tip in (
                ("turn", "[$event, flip]", TURNS, "How the model shall turn the image, clockwise, before it looks."),
                ("flip", "[turn, $event]", FLIPS, "Whether the model shall look at the mirror image."),
            ):
                v.VSelect(
                    id=name,
                    model_value=(name,),
                    items=(f"{name}s", items(choices)),
                    title=f"{tip} The image itself stays as it is.",
                    classes="grow",
                    update_modelValue=f"trigger('set_view', {other})",
                )
