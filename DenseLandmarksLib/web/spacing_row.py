"""How large a pixel is: what is known of it and from where, and typing it."""

from __future__ import annotations

from math import isclose
from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.web.state import Frame

_SOURCES = {
    SpacingSource.CALIBRATED: ("{} mm · calibrated", "success", "The file says that this size was calibrated."),
    SpacingSource.DETECTOR: (
        "{} mm · detector",
        "success",
        "The size at the detector: what is far from it looks larger than it is.",
    ),
    SpacingSource.GIVEN: (
        "{} mm · given",
        "secondary",
        "Stated by the file, or given by a person. Correct it if it is wrong.",
    ),
    SpacingSource.UNKNOWN: (
        "unknown: lengths are in pixels",
        "warning",
        "The file does not say how large a pixel is. Type it below.",
    ),
}


class SpacingRow:
    """Badge and box."""

    def __init__(self, frame: Frame) -> None:
        self._frame, self._bench = frame, frame.bench
        self._in_box: object = None
        frame.server.state.update({"spacing_typed": ""})
        frame.command("set_spacing", self._set_spacing)

    def shown(self) -> dict[str, Any]:
        """What is known."""
        self._show_in_box()
        state = self._bench.state
        if state is None:
            return {
                "spacing_badge": "no image",
                "spacing_colour": "secondary",
                "spacing_tip": "Choose a case of the library, or add an image.",
                "can_type_spacing": False,
            }
        geometry = state.geometry
        text, colour, tip = _SOURCES[geometry.spacing_source]
        return {
            "spacing_badge": text.format(_spacing_text(geometry.spacing_mm, geometry.is_radiograph)),
            "spacing_colour": colour,
            "spacing_tip": tip,
            "can_type_spacing": geometry.is_radiograph,
        }

    def _show_in_box(self) -> None:
        """What a person is typing stays until there is something else to show."""
        state, session = self._bench.state, self._bench.session
        is_it = None if state is None or session is None else (session.case.id, state.geometry)
        if is_it != self._in_box:
            self._in_box = is_it
            known = state is not None and state.geometry.unit == "mm"
            self._frame.choose(
                spacing_typed=f"{state.geometry.spacing_mm[0]:.4g}" if state is not None and known else ""
            )

    def _set_spacing(self) -> None:
        state = self._bench.state
        try:
            width_mm = float(str(self._frame.server.state["spacing_typed"]).replace(",", "."))
        except ValueError:
            width_mm = 0.0
        if not 0 < width_mm < float("inf"):
            raise InputError("expected the size of a pixel in mm, got none. Type it.")
        if state is None or not state.geometry.is_radiograph:
            raise InputError("expected a radiograph, got none. Open one first.")
        x, y, z = state.geometry.spacing_mm
        if state.geometry.unit == "mm" and isclose(x, width_mm, rel_tol=1e-6):
            self._bench.tell("The pixel size is this already.")
        elif self._bench.do(Session.correct_spacing, (width_mm, width_mm * y / x, z)) and self._bench.state is not None:
            text = _spacing_text(self._bench.state.geometry.spacing_mm, True)
            self._bench.tell(f"Pixel size is now {text} mm; undo takes it back.")

    def draw(self) -> None:
        """Draw it."""
        with html.Div(classes="row"):
            html.Label("Pixel size")
            with html.Span(classes="grow"):
                v.VChip(
                    "{{ spacing_badge }}",
                    id="spacing-badge",
                    color=("spacing_colour",),
                    title=("spacing_tip",),
                    size="small",
                    variant="flat",
                    label=True,
                )
        with html.Div(classes="row", v_if=("can_type_spacing",)):
            html.Label("Correct it")
            v.VTextField(
                v_model=("spacing_typed",),
                id="spacing",
                placeholder="unknown",
                suffix="mm",
                classes="grow",
                title="Distance between the middles of two pixels of a row. Every point stays on its pixel.",
                raw_attrs=["@keydown.enter=\"trigger('set_spacing')\""],
            )
            v.VBtn(
                "Set",
                id="set-spacing",
                title="Use this pixel size; one undo takes it back.",
                click="trigger('set_spacing')",
            )


def _spacing_text(spacing_mm: tuple[float, ...], is_radiograph: bool) -> str:
    return " x ".join(f"{value:.4g}" for value in spacing_mm[: 2 if is_radiograph else 3])
