"""What spoke for the selected landmark: a button, and while it is pressed the choice of the map and what it shows."""

from __future__ import annotations

from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v

from DenseLandmarksLib.scene.evidence_overlay import RAMP
from DenseLandmarksLib.web.state import Frame

TIP = "Show over the image what spoke for the selected landmark; press again to take it away."
_LOWEST_PERCENT, _HIGHEST_PERCENT = 10, 100


class WhyRow:
    """Forwards to the workbench's question."""

    def __init__(self, frame: Frame) -> None:
        self._frame, self._bench = frame, frame.bench
        frame.command("why_here", self._ask)
        frame.command("why_map", self._choose_map)
        frame.command("why_strength", self._set_strength)

    def shown(self) -> dict[str, Any]:
        """How the question goes, or that none can be asked."""
        why = self._bench.why
        return {
            "why_on": why.is_on,
            "why_problem": "" if why.is_on else self._problem(),
            "why_busy": why.is_under_way,
            "why_progress": round(100 * why.status.fraction),
            "why_line": why.line,
            "why_maps": list(why.map_names),
            "why_shown": "" if why.shown_map is None else why.shown_map.name,
            "why_percent": round(100 * why.strength),
        }

    def _problem(self) -> str:
        case, state = self._bench.case, self._bench.state
        if case is None or state is None:
            return "Choose an image first."
        if state.answer is None:
            return "Predict first: only a model can say why."
        return "" if case.chosen else "Choose a landmark in the table first."

    def _ask(self) -> None:
        self._bench.ask_why(self._frame.chosen("model"), self._frame.chosen("device"))

    def _choose_map(self, name: str) -> None:
        self._bench.why.choose_map(str(name))

    def _set_strength(self, percent: float) -> None:
        if isinstance(percent, int | float):
            self._bench.why.set_strength(min(_HIGHEST_PERCENT, max(_LOWEST_PERCENT, percent)) / 100)

    def draw(self) -> None:
        """Draw it."""
        with html.Div(classes="buttons"):
            v.VBtn(
                "Why here?",
                id="why-here",
                title=(f"why_problem || '{TIP}'",),
                disabled=("!!why_problem",),
                color=("why_on ? 'primary' : undefined",),
                click="trigger('why_here')",
            )
            v.VSelect(
                v_if=("why_maps.length > 1",),
                id="why-map",
                model_value=("why_shown",),
                items=("why_maps",),
                title="Which of the model's maps is shown.",
                update_modelValue="trigger('why_map', [$event])",
            )
        with html.Div(classes="row", v_if=("why_shown",)):
            html.Span("0", classes="quiet")
            html.Div(
                classes="grow",
                id="why-legend",
                title="The colours of the map, from nothing to its highest value.",
                style=f"height: 10px; background: linear-gradient(to right, {_css_colours()})",
            )
            html.Span("1", classes="quiet")
            html.Span("Opacity", classes="quiet")
            v.VSlider(
                id="why-strength",
                model_value=("why_percent",),
                min=_LOWEST_PERCENT,
                max=_HIGHEST_PERCENT,
                step=5,
                classes="grow",
                title="How much of the image the map hides where it is highest.",
                update_modelValue="trigger('why_strength', [$event])",
            )
        v.VProgressLinear(
            v_if=("why_busy",),
            model_value=("why_progress",),
            indeterminate=("why_progress == 0",),
            height=6,
            rounded=True,
        )
        html.Div("{{ why_line }}", v_if=("why_on",), classes="quiet", id="why-line")


def _css_colours() -> str:
    """The colours of the map for a gradient of CSS."""
    return ", ".join(f"rgb({', '.join(str(round(255 * part)) for part in colour)})" for colour in RAMP)
