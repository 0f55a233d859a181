"""How the section Landmarks looks: table, buttons, and what is shown in the views."""

from __future__ import annotations

from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v

from DenseLandmarksLib.web.new_landmark_row import NewLandmarkRow
from DenseLandmarksLib.web.state import SHOWN, items
from DenseLandmarksLib.web.why_row import WhyRow

_ROW_PIXELS = 24


def draw_form(new: NewLandmarkRow, why: WhyRow) -> None:
    """Draw all of it, once."""
    with html.Div(classes="row"):
        html.Span("{{ left_text }}", id="left", classes="grow left", title="Landmarks that nobody decided yet.")
        _button("Undo", "undo", "Take back the last thing that was done to this case (Ctrl+Z).", "can_undo")
        _button("Redo", "redo", "Do again what was taken back (Ctrl+Y).", "can_redo")
    with html.Div(classes="row"):
        v.VTextField(
            v_model=("filter",),
            id="filter",
            placeholder="Filter",
            clearable=True,
            raw_attrs=["@click:clear=\"filter = ''\""],
            classes="grow",
            title="Show only landmarks and structures with this in their name.",
        )
        v.VSelect(
            v_model=("shown",),
            items=("shown_choices", items(SHOWN)),
            id="shown",
            classes="grow",
            disabled=("!has_case",),
        )
    with html.Div(classes="table", id="landmarks", title="The most doubtful first. A click centres the views."):
        with html.Div(classes="line head"):
            for head in ("Name", "Structure", "State", "Doubt"):
                html.Span(head)
        with (
            v.VVirtualScroll(ref="rows", items=("rows",), item_height=_ROW_PIXELS, height=252),
            v.Template(v_slot_default="{ item }"),
        ):
            _draw_row()
    with html.Div(classes="buttons"):
        _button("Accept", "accept", "The selected landmarks are right (A).", "can_accept", color="success")
        _button("Absent", "absent", "The selected landmarks are not in the image (X).", "can_decide")
        _button("Unsure", "unsure", "Nobody can tell where the selected landmarks are (U).", "can_decide")
        _button("Reset", "reset", "The selected landmarks are again what the model said (Backspace).", "can_reset")
    with html.Div(classes="buttons"):
        _button("Next doubtful", "next", "Go to the next landmark that nobody decided (N).", "can_next")
        _button(
            "Place",
            "place",
            "Click in a view where the selected landmark is (P).",
            "can_place",
            color=("placing ? 'primary' : undefined",),
        )
    with html.Div(classes="buttons"):
        _button(
            "Accept structure",
            "accept_structure",
            "The whole structure of the selected landmark is right: its mask, and all landmarks that nobody decided.",
            "can_accept_structure",
        )
        _button(
            "Accept all remaining",
            "accept_all",
            "Everything that nobody decided is right, landmarks and structures; one Undo takes it back.",
            "can_accept_all",
        )
    why.draw()
    with html.Div(classes="row"):
        v.VCheckbox(
            v_model=("go_on",),
            label="Go on to the next",
            title="After Accept, Absent or Unsure jump to the next landmark that nobody decided.",
            classes="grow",
        )
        html.Span("Close-up", classes="quiet")
        v.VSlider(
            v_model=("close_up",),
            min=0.05,
            max=1.0,
            step=0.05,
            title="How much of the image a jump shows: 1 is all of it.",
            style="max-width: 110px",
        )
    with html.Div(classes="row"):
        html.Label("Neighbours follow")
        v.VSlider(
            id="strength",
            model_value=("strength",),
            min=0,
            max=100,
            step=5,
            disabled=("!has_case || !!why_no_strength",),
            classes="grow",
            title=(
                "why_no_strength || "
                "'How far a correction takes its neighbours along; those that somebody decided never move.'",
            ),
            raw_attrs=["@end=\"trigger('set_strength', [$event])\""],
        )
        html.Span("{{ strength }} %", classes="quiet")
    new.draw()
    with html.Div(classes="row"):
        v.VCheckbox(
            v_model=("ellipses",),
            label="Uncertainty",
            classes="grow",
            title="Show around each landmark that nobody decided the region that holds it in 90 % of cases; "
            "yellow is doubtful, violet sure.",
        )
        v.VCheckbox(
            v_model=("names",), label="Names", classes="grow", title="Show the names of all landmarks in the views."
        )
    html.Div(
        "Structures are shown here, not edited; edit them in 3D Slicer.", classes="quiet", v_if=("has_structures",)
    )


def _draw_row() -> None:
    with html.Div(
        classes=(
            "'line' + (selected.includes(item.name) ? ' selected' : '') + (item.name == current ? ' current' : '')",
        ),
        click="trigger('pick', [item.name, $event.ctrlKey || $event.metaKey, $event.shiftKey])",
        raw_attrs=[":data-name='item.name'"],
    ):
        html.Span("{{ item.name }}", title=("item.name",))
        html.Span("{{ item.structure }}", title=("item.structure",))
        with html.Span(title=("item.state_tip",)):
            html.I(classes="dot", style=("'background:' + item.state_colour",))
            html.Span("{{ item.state }}")
        with html.Span(title=("item.doubt_tip",)):
            html.I(classes="dot", v_if=("item.doubt",), style=("'background:' + item.doubt_colour",))
            html.Span("{{ item.doubt }}")


def _button(text: str, command: str, tip: str, when: str, **how: Any) -> None:
    v.VBtn(text, id=command.replace("_", "-"), title=tip, disabled=(f"!{when}",), click=f"trigger('{command}')", **how)
