"""*Check environment*: what the worker has, and one pass of the chosen model there, without keeping anybody waiting."""

from __future__ import annotations

import time

from slicer.i18n import tr as _

from DenseLandmarksLib.models.chosen_model import ChosenModel, chosen_model
from DenseLandmarksLib.panel.frame import Frame
from DenseLandmarksLib.panel.packages import REQUIREMENTS, missing_packages
from DenseLandmarksLib.worker.client import Client
from DenseLandmarksLib.worker.environment_report import EnvironmentReport
from DenseLandmarksLib.worker.events import Cancelled, Checked, Event, Failed, Progress


class EnvironmentCheck:
    """The button, and the report below it."""

    def __init__(self, panel: Frame) -> None:
        self._panel, self._ui = panel, panel.ui
        self._client: Client | None = None
        self._request_id = 0
        self._began, self._doing = 0.0, ""
        self._text = ""
        self._ui.checkButton.clicked.connect(panel.telling(self._check_or_cancel))

    def refresh(self) -> None:
        """Show how the check goes, or what it found."""
        ui, usable = self._ui, bool(self._model().description)
        ui.checkButton.text = _("Cancel check") if self._client is not None else _("Check environment")
        ui.checkButton.enabled = usable or self._client is not None
        if ui.environmentText.plainText != self._text:  # what somebody marked to copy stays marked
            ui.environmentText.plainText = self._text
        ui.environmentText.visible = bool(self._text)

    def tick(self) -> None:
        """Take what the worker sent."""
        if self._client is None:
            return
        if self._client.is_closed:  # the worker was started anew with other packages
            self._end(_("The check was given up, as the worker was started anew."))
        for event in self._client.events() if self._client is not None else ():
            if event.request_id == self._request_id:
                self._take(event)
        if self._client is not None:
            self._show_how_long()
        self.refresh()

    def _model(self) -> ChosenModel:
        parameters = self._panel.parameters
        return chosen_model("" if parameters is None else parameters.model)

    def _check_or_cancel(self) -> None:
        if self._client is not None:
            self._client.cancel(self._request_id)
            return
        missing = missing_packages(self._panel.resources / REQUIREMENTS)
        if missing:
            self._text = _("Missing: {packages}. Predict offers to install them.").format(packages=", ".join(missing))
            return
        parameters = self._panel.parameters
        self._client = self._panel.bench.predicting.worker.client()
        self._request_id = self._client.check(parameters.model, parameters.device.value)
        self._began, self._doing = time.monotonic(), _("checking")
        self._show_how_long()

    def _show_how_long(self) -> None:
        seconds = int(time.monotonic() - self._began)
        self._text = _("{doing} … {seconds} s").format(doing=self._doing, seconds=seconds)

    def _take(self, event: Event) -> None:
        match event:
            case Progress(_id, text, _fraction):
                self._doing = text
            case Checked(_id, report):
                self._end(report_text(report))
            case Failed(_id, _kind, message):
                self._end(message)
            case Cancelled():
                self._end("")

    def _end(self, text: str) -> None:
        if self._client is not None:
            self._client.close()
        self._client, self._text = None, text


def report_text(report: EnvironmentReport) -> str:
    """What matters first, then all of it."""
    if report.problem:
        first = report.problem
    else:
        first = _("Everything works on {device}: one pass of the model takes {seconds} s.").format(
            device=report.device, seconds=f"{report.pass_s or 0.0:.2f}"
        )
    return "\n".join([first, *report.lines])
