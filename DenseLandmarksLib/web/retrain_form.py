"""How the section Retrain looks: buttons, curves, and the table before and after."""

from __future__ import annotations

from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v
from trame_client.widgets.core import AbstractElement

from DenseLandmarksLib.web.curve_chart import HEIGHT, WIDTH, axes

_ANYWAY = "Nobody knows whether the new version is as good as the one before. Use it anyway?"


def draw_form() -> None:
    """Draw all that is below the lessons, once."""
    with html.Div(classes="buttons"):
        _button(
            "Retrain",
            "retrain",
            "Make a new version of the model out of what was decided and saved in the library. It goes on when the window "
            "is closed.",
            "why_no_retraining",
            color="primary",
        )
        v.VBtn(
            "Cancel",
            v_if=("retraining",),
            id="cancel-retraining",
            title="End soon, and keep what was learnt so far.",
            disabled=("retraining_cancels",),
            click="trigger('cancel_retraining')",
        )
        v.VBtn(
            "Go on",
            v_if=("retraining_can_go_on",),
            id="go-on-retraining",
            title="Go on from where it ended.",
            click="trigger('go_on_retraining')",
        )
    v.VProgressLinear(
        v_if=("retraining",),
        model_value=("retraining_percent",),
        indeterminate=("retraining_percent == 0",),
        height=6,
        rounded=True,
    )
    html.Div("{{ retraining_line }}", v_if=("retraining_line",), id="retraining-line")
    _draw_charts()
    with html.Table(v_if=("retraining_rows.length",), classes="figures", id="before-after"):
        with html.Tr():
            for head in ("", "Before", "After", "Difference"):
                html.Th(head)
        with html.Tr(v_for="row in retraining_rows", key="row[0]"):
            html.Td("{{ cell }}", v_for="(cell, n) in row", key="n")
    html.Div(
        "{{ retraining_verdict }}",
        v_if=("retraining_verdict && !retraining_line.includes(retraining_verdict)",),
        classes="quiet",
        id="verdict",
    )
    with html.Div(classes="buttons"):
        _button(
            "Make active",
            "make_active",
            "Predict with the new version from now on. The one before stays.",
            "why_not_active",
            before=f"(!retraining_is_unsure || window.confirm('{_ANYWAY}')) && ",
        )
        _button(
            "Roll back",
            "roll_back",
            "Predict with the version again that the one in use was made from.",
            "why_no_roll_back",
        )
        _button(
            "Annotate blind",
            "annotate_blind",
            "Open a case to compare versions on: no prediction is shown before all landmarks that it asks for are decided.",
            "why_not_blind",
        )


def _button(text: str, command: str, tip: str, why_not: str, before: str = "", **how: Any) -> None:
    """One that says in place of what it does why it cannot be pressed, where that is so."""
    v.VBtn(
        text,
        id=command.replace("_", "-"),
        title=(f"{why_not} || '{tip}'",),
        disabled=(f"!!{why_not}",),
        click=f"{before}trigger('{command}')",
        **how,
    )


def _draw_charts() -> None:
    with (
        html.Div(v_for="one in retraining_charts", key="one.title", classes="chart"),
        html.Svg(
            raw_attrs=[f'viewBox="0 0 {WIDTH} {HEIGHT}"', 'role="img"', ":aria-label=\"one.title + ' ' + one.last\""]
        ),
    ):
        _shape("path", d=axes(), fill="none", stroke="#5f6b73")
        _shape("text", "{{ one.title }}", x="44", y="13", fill="#eceff1")
        _shape("text", "{{ one.last }}", **{"x": "372", "y": "13", "text-anchor": "end", ":fill": "one.colour"})
        _shape(
            "text",
            "{{ word.text }}",
            **{"v-for": "word in one.words", ":key": "word.x + ' ' + word.y", ":x": "word.x", ":y": "word.y"},
            **{":text-anchor": "word.anchor", "fill": "#90a4ae"},
        )
        _shape("path", **{":d": "one.line", "fill": "none", ":stroke": "one.colour", "stroke-width": "1.5"})
        _shape(
            "circle",
            **{"v-for": "dot in one.dots", ":key": "dot.x", ":cx": "dot.x", ":cy": "dot.y", "r": "2.2"},
            **{":fill": "one.colour"},
        )


def _shape(name: str, text: str | None = None, **attributes: str) -> None:
    """A part of an SVG picture, with attributes as they stand in the page."""
    AbstractElement(name, text, raw_attrs=[f'{key}="{value}"' for key, value in attributes.items()])
