"""The section Model: which one predicts, what is known of it, its versions, and where it runs.

Unlike in the panel there is no button for a model's folder: a page names no folder, whatever is read or written.
"""

from __future__ import annotations

import time
from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v

from DenseLandmarksLib.models.bundle import CARD, BundleDescription
from DenseLandmarksLib.models.chosen_model import chosen_model
from DenseLandmarksLib.models.measured import figure
from DenseLandmarksLib.models.versions import is_demonstration, model_names
from DenseLandmarksLib.web.state import DEVICES, Frame, items
from DenseLandmarksLib.web.version_row import VersionRow
from DenseLandmarksLib.worker.client import Client
from DenseLandmarksLib.worker.events import Cancelled, Checked, Event, Failed, Progress


class ModelSection:
    """Shows the model, and checks that it can run."""

    def __init__(self, frame: Frame) -> None:
        self._frame, self._bench = frame, frame.bench
        self._client: Client | None = None
        self._request_id, self._began, self._doing, self._found = 0, 0.0, "", ""
        self._versions = VersionRow(frame)
        frame.server.state.update({"card_open": False})
        frame.server.state.change("card_open")(lambda **_: frame.refresh())
        frame.command("check", self._check_or_cancel)

    @property
    def is_checking(self) -> bool:
        """Whether a check of the environment is under way."""
        return self._client is not None

    def tick(self) -> None:
        """Take what the worker sent."""
        if self._client is None:
            return
        if self._client.is_closed:
            self._end("The check was given up, as the worker was started anew.")
            return
        for event in self._client.events():
            if event.request_id == self._request_id:
                self._take(event)

    def shown(self) -> dict[str, Any]:
        """All of it."""
        model = chosen_model(self._frame.chosen("model"))
        found = f"{self._doing} … {int(time.monotonic() - self._began)} s" if self._client is not None else self._found
        instead, part = self._bench.fitting_instead(model.name)
        return {
            "fitting_model": instead,
            "fitting_model_tip": f"The image's file states body part {part}, which this model knows."
            if instead
            else "",
            "models": items(tuple((name, _text(name)) for name in model_names())),
            "model_problem": model.problem,
            "model_about": {} if model.description is None else _about(model.description),
            "card": self._card(model.description),
            **self._versions.shown(),
            "checking": self._client is not None,
            "can_check": model.description is not None,
            "check_found": found,
        }

    def _card(self, model: BundleDescription | None) -> str:
        """Of the model that is chosen, while somebody reads it; what a browser says leads to no other file."""
        if model is None or self._frame.server.state["card_open"] is not True:
            return ""
        try:
            return (model.folder / CARD).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            return f"expected the card of {model.name}, but it cannot be read ({error.strerror})."

    def _check_or_cancel(self) -> None:
        if self._client is not None:
            self._client.cancel(self._request_id)
            return
        self._client = self._bench.predicting.worker.client()
        self._request_id = self._client.check(self._frame.chosen("model"), self._frame.chosen("device"))
        self._began, self._doing = time.monotonic(), "checking"

    def _take(self, event: Event) -> None:
        match event:
            case Progress(_id, text, _fraction):
                self._doing = text
            case Checked(_id, report):
                first = report.problem or (
                    f"Everything works on {report.device}: one pass of the model takes {report.pass_s or 0.0:.2f} s."
                )
                self._end("\n".join([first, *report.lines]))
            case Failed(_id, _kind, message):
                self._end(message)
            case Cancelled():
                self._end("")

    def _end(self, text: str) -> None:
        if self._client is not None:
            self._client.close()
        self._client, self._found = None, text
        self._bench.version += 1

    def draw(self) -> None:
        """Draw it."""
        with html.Div(classes="row"):
            html.Label("Model")
            v.VSelect(
                v_model=("model",), items=("models",), id="model", classes="grow", title="The model that predicts."
            )
            v.VBtn(
                "{{ 'Use ' + fitting_model }}",
                id="fitting-model",
                v_if=("fitting_model",),
                title=("fitting_model_tip",),
                click="model = fitting_model",
            )
        html.Div("{{ model_problem }}", v_if=("model_problem",), classes="problem")
        with html.Div(v_if=("model_about.name",), classes="about", id="model-summary"):
            html.B("{{ model_about.name }}")
            html.Div("{{ model_about.description }}", classes="quiet")
            with html.Div(classes="row"):
                html.Label("Finds")
                with html.Span(classes="grow"):
                    with html.Span(v_for="one in model_about.structures", key="one.name", classes="structure"):
                        html.Span("■", style=("'color:' + one.colour",))
                        html.Span("{{ one.name }}")
                    html.Div("{{ model_about.landmarks }} landmarks")
            with html.Div(classes="row", v_for="one in model_about.rows", key="one.head"):
                html.Label("{{ one.head }}")
                with html.Span(classes="grow"):
                    html.Span("{{ one.text }}")
                    with v.Template(v_if="one.has_card"):
                        html.Span(" · ")
                        html.A(
                            "model card", href="#", id="model-card", click="$event.preventDefault(); card_open = true"
                        )
        with (
            v.VDialog(v_model=("card_open",), max_width=760, scrollable=True),
            v.VCard(title=("model_about.name",), id="card"),
        ):
            with v.VCardText():
                html.Pre("{{ card }}", classes="card-text")
            with v.VCardActions():
                v.VSpacer()
                v.VBtn("Close", click="card_open = false", id="close-card")
        self._versions.draw()
        with html.Div(classes="row"):
            html.Label("Device")
            v.VSelect(
                v_model=("device",),
                items=("devices", items(DEVICES)),
                classes="grow",
                title="Where the model runs. Automatic takes the graphics card where there is one.",
            )
            v.VBtn(
                "{{ checking ? 'Cancel check' : 'Check environment' }}",
                id="check",
                disabled=("!can_check",),
                title="Versions, graphics card, and one small pass of the model.",
                click="trigger('check')",
            )
        html.Pre("{{ check_found }}", v_if=("check_found",), classes="log", id="check-found")


def _text(name: str) -> str:
    return f"{name} (demonstration)" if is_demonstration(name) else name


def _about(model: BundleDescription) -> dict[str, Any]:
    """What a person should know of a model before trusting it."""
    about = model.metadata
    return {
        "name": f"{model.name} {model.version}",
        "description": str(about.get("description", "")),
        "structures": [
            {
                "name": style.name.replace("_", " "),
                "colour": "rgb({},{},{})".format(*(round(255 * c) for c in style.colour)),
            }
            for style in model.styles
        ],
        "landmarks": len(about["landmark_names"]),
        "rows": [
            {"head": "Error", "text": _error(about.get("measured"))},
            {"head": "Trained on", "text": _trained_on(about.get("training"))},
            {
                "head": "Licence",
                "text": str(about.get("license") or "not stated"),
                "has_card": (model.folder / CARD).is_file(),
            },
        ],
    }


def _error(measured: Any) -> str:
    """As the bundle says; with the data, as a figure without them says nothing."""
    average = measured.get("average") if isinstance(measured, dict) else None
    if not isinstance(average, dict):
        return "not measured"
    parts = []
    if (landmarks := figure(average, "tre_mm")) != "-":
        parts.append(f"landmarks {landmarks} mm")
    if (masks := figure(average, "dsc")) != "-":
        parts.append(f"overlap {masks} %")
    if not parts:
        return "not measured"
    cases, data, split = (measured.get(key, "?") for key in ("cases", "data", "split"))
    return f"{', '.join(parts)} on {cases} cases of {data} ({split})"


def _trained_on(training: Any) -> str:
    if not isinstance(training, dict) or not training.get("data"):
        return "not stated"
    if not training.get("cases"):
        return str(training["data"])
    return f"{training['cases']} cases of {training['data']}"
