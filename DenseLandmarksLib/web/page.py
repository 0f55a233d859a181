"""The page: sections on the left as in the panel in 3D Slicer, views on the right. Drawn once; the state says the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trame.ui.vuetify3 import VAppLayout
from trame.widgets import html, rca
from trame.widgets import vuetify3 as v

from DenseLandmarksLib.web.notice import Notice
from DenseLandmarksLib.web.state import Section
from DenseLandmarksLib.web.views import Views

_FOLDER = Path(__file__).resolve().parent / "browser"
_AT = "__dense_landmarks"
TITLES = ("1  Image", "2  Model", "3  Predict", "4  Landmarks", "5  Save and export", "6  Retrain")
# Unfolded when somebody comes: all but the last, which few need each time.
_OPEN_AT_FIRST = list(range(len(TITLES) - 1))
_DEFAULTS: Mapping[str, Any] = {
    "VBtn": {"density": "comfortable", "variant": "tonal", "size": "small"},
    "VSelect": {
        **{"density": "compact", "hideDetails": True, "variant": "outlined"},
        "menuProps": {"density": "compact"},
    },
    "VTextField": {"density": "compact", "hideDetails": True, "variant": "outlined"},
    "VCheckbox": {"density": "compact", "hideDetails": True, "color": "primary"},
    "VSlider": {"density": "compact", "hideDetails": True, "color": "primary", "thumbSize": 14, "trackSize": 3},
    "VProgressLinear": {"color": "primary"},
}
_CONFIG = {
    "theme": {
        "defaultTheme": "dark",
        "themes": {
            "dark": {
                "dark": True,
                "colors": {
                    "background": "#1c2126",
                    "surface": "#22282e",
                    "primary": "#64b5f6",
                    "secondary": "#5f6b73",
                    "success": "#3fae6a",
                    "warning": "#c77700",
                },
            }
        },
    },
    "defaults": _DEFAULTS,
}


def draw_page(server: Any, notice: Notice, sections: tuple[Section, ...], views: Views) -> None:
    """Draw it; ``sections`` from top to bottom, in the order of the panel."""
    server.enable_module({"serve": {_AT: str(_FOLDER)}, "scripts": [f"{_AT}/page.js"], "styles": [f"{_AT}/page.css"]})
    server.state.update(
        {"trame__title": "DenseLandmarks", "trame__favicon": "favicon.ico", "open_sections": _OPEN_AT_FIRST}
    )
    rca.initialize(server)
    with VAppLayout(server, vuetify_config=_CONFIG), html.Div(classes="page"):
        with html.Div(classes="panel"):
            with html.Div(classes="title"):
                html.Span("Dense Landmarks")
                html.Span("{{ case_name }}", classes="case", id="case-name")
            notice.draw()
            with (
                html.Div(classes="sections"),
                v.VExpansionPanels(v_model=("open_sections",), multiple=True, variant="accordion", elevation=0),
            ):
                for title, section in zip(TITLES, sections, strict=True):
                    with v.VExpansionPanel(eager=True):
                        v.VExpansionPanelTitle(title)
                        with v.VExpansionPanelText(), html.Div(classes="section"):
                            section.draw()
            html.Div("{{ message }}", classes="message", id="message")
            html.Input(type="file", id="upload", multiple=True, style="display: none")
        with html.Div(classes="views-and-more", style="flex: 1; min-width: 0; position: relative; display: flex"):
            views.draw()
            html.Div("Choose a case of the library, or add an image.", v_if=("!has_case",), classes="nothing")
            v.VBtn(
                "Fit",
                v_if=("has_case",),
                id="fit",
                classes="fit",
                variant="elevated",
                title="See all of the image. The wheel zooms a radiograph, the middle button moves it.",
                click="trigger('fit')",
            )
