"""Measuring how large a pixel is, with a ruler over something whose length is known."""

from __future__ import annotations

from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.scene.calibration import Ruler, spacing_from_line
from DenseLandmarksLib.web.state import Frame


class RulerRow:
    """A ruler that is there from the press of a button until it was used, or another image comes."""

    def __init__(self, frame: Frame, scene: Any) -> None:
        self._frame, self._bench, self._scene = frame, frame.bench, scene
        self._ruler: Ruler | None = None
        self._on: object = None
        frame.server.state.update({"ruler_length": ""})
        frame.command("ruler", self._draw_or_give_up)
        frame.command("calibrate", self._calibrate)

    def now(self) -> object:
        """What there is of the ruler, to notice that it was drawn, dragged or given up in the view."""
        return None if self._ruler is None else (self._ruler.was_given_up, self._measured())

    def shown(self) -> dict[str, Any]:
        """Whether it is there, and how long it is."""
        if self._ruler is not None and (self._on != self._image() or self._ruler.was_given_up):
            self.remove()
        return {
            "ruling": self._ruler is not None,
            "ruler_done": self._ruler is not None and self._ruler.is_done,
            "ruler_measured": self._measured(),
        }

    def remove(self) -> None:
        """Take it back."""
        if self._ruler is not None:
            self._ruler.remove()
        self._ruler = None

    def _image(self) -> object:
        case = self._bench.case
        return None if case is None else (case, case.session.state.geometry)

    def _measured(self) -> str:
        case = self._bench.case
        if self._ruler is None or case is None:
            return ""
        if not self._ruler.is_done:
            return "click both ends"
        return f"now {self._ruler.length_mm(case.image):.1f} {case.session.state.geometry.unit}"

    def _draw_or_give_up(self) -> None:
        if self._ruler is not None:
            self.remove()
        elif self._bench.case is not None:
            self._bench.case.give_up_placing()
            self._ruler, self._on = Ruler(self._scene), self._image()

    def _calibrate(self) -> None:
        case, ruler = self._bench.case, self._ruler
        if case is None or ruler is None:
            return
        try:
            length_mm = float(str(self._frame.server.state["ruler_length"]).replace(",", "."))
        except ValueError:
            raise InputError("expected the length of the ruler in mm, got none. Type it.") from None
        spacing_mm = spacing_from_line(case.image, ruler.node, length_mm)
        self.remove()
        if self._bench.do(Session.correct_spacing, spacing_mm):
            text = " x ".join(f"{value:.4g}" for value in spacing_mm[:2])
            self._bench.tell(f"Pixel size is now {text} mm; undo takes it back.")

    def draw(self) -> None:
        """Draw it."""
        with html.Div(classes="row", v_if=("has_case",)):
            html.Label("By a ruler")
            v.VBtn(
                "Draw a ruler",
                id="ruler",
                color=("ruling ? 'primary' : undefined",),
                title=(
                    "ruling ? 'Press again to take it away.' : 'Click both ends of something whose length you know.'",
                ),
                click="trigger('ruler')",
            )
            html.Span("{{ ruler_measured }}", id="ruler-measured", classes="grow quiet")
        with html.Div(classes="row", v_if=("ruling",)):
            html.Label()
            v.VTextField(
                v_model=("ruler_length",),
                id="ruler-length",
                placeholder="true length",
                suffix="mm",
                classes="grow",
                title="The true length of what the ruler was drawn over.",
            )
            v.VBtn(
                "Calibrate",
                id="calibrate",
                disabled=("!ruler_done",),
                title="Set the pixel size so that the ruler has this length.",
                click="trigger('calibrate')",
            )
