"""The section Predict: one button, how it goes, and whether to believe what came."""

from __future__ import annotations

from typing import Any

from trame.widgets import html
from trame.widgets import vuetify3 as v

from DenseLandmarksLib.annotation.prediction_request import RequestStatus
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.models.prediction import Plausibility
from DenseLandmarksLib.web.side_row import SideRow
from DenseLandmarksLib.web.state import Frame

_LOG_CHARACTERS = 20_000


class PredictSection:
    """Asks for predictions of the case in hand, and shows how they go."""

    def __init__(self, frame: Frame, side: SideRow) -> None:
        self._frame, self._bench, self._side = frame, frame.bench, side
        frame.server.state.update({"log_open": False})
        frame.server.state.change("log_open")(lambda **_: frame.refresh())
        frame.command("predict", self._predict_or_cancel)
        frame.command("look_again", self._look_again)

    def shown(self) -> dict[str, Any]:
        """Button, progress, what is missing, and whether the prediction is plausible."""
        predicting, case = self._bench.predicting, self._bench.case
        volume, busy = None if case is None else case.image.volume, predicting.is_under_way
        run = predicting.run
        if run is not None and not busy and run.case is not case:
            run = None  # of a case that was left
        status = RequestStatus() if run is None else run.status
        plausibility = self._plausibility()
        doubtful = plausibility is not None and not plausibility.plausible
        view = plausibility.suggested_view if plausibility is not None and doubtful else None
        return {
            "predicting": busy,
            "missing": "" if busy else predicting.missing(volume, self._frame.chosen("model")),
            "progress": round(100 * status.fraction),
            "predict_said": self._said(status),
            "elapsed": "" if run is None else f"{run.elapsed_s:.1f} s",
            "doubts": self._doubts(plausibility) if plausibility is not None and doubtful else "",
            "advised": "" if view is None else f"Look again at the image {view}",
            "log": predicting.log[-_LOG_CHARACTERS:] if self._frame.server.state["log_open"] else "",
        }

    def _said(self, status: RequestStatus) -> str:
        state = self._bench.state
        if status.problem or not status.finished or status.seconds is None or state is None or state.answer is None:
            return status.problem or status.text
        prediction = state.answer.prediction
        found = sum(presence is Presence.PRESENT for presence in prediction.landmarks.presence)
        by = f"{prediction.model_name} {prediction.model_version} on {prediction.device}"
        return f"{found} of {len(prediction.landmarks)} landmarks by {by}."

    def _plausibility(self) -> Plausibility | None:
        state = self._bench.state
        return None if state is None or state.answer is None else state.answer.prediction.plausibility

    def _doubts(self, plausibility: Plausibility) -> str:
        state = self._bench.state
        has_side = state is None or state.geometry.is_radiograph
        check = "Check the image, its side, and the model." if has_side else "Check the image and the model."
        return f"Not plausible: {'; '.join(plausibility.doubts)}. {check}"

    def _predict_or_cancel(self) -> None:
        if self._bench.predicting.is_under_way:
            self._bench.predicting.cancel()
        else:
            self._bench.predict(self._frame.chosen("model"), self._side.view, self._frame.chosen("device"))

    def _look_again(self) -> None:
        plausibility = self._plausibility()
        if plausibility is not None and plausibility.suggested_view is not None:
            self._side.advise(plausibility.suggested_view)
            self._predict_or_cancel()

    def draw(self) -> None:
        """Draw it."""
        html.Div("{{ missing }}", v_if=("missing",), classes="quiet", id="missing")
        v.VBtn(
            "{{ predicting ? 'Cancel' : 'Predict' }}",
            id="predict",
            block=True,
            color=("predicting ? 'secondary' : 'primary'",),
            variant="flat",
            disabled=("!!missing",),
            title=("missing || 'Find structures and landmarks in the image.'",),
            click="trigger('predict')",
        )
        with html.Div(classes="row", v_if=("predicting",)):
            v.VProgressLinear(
                model_value=("progress",), indeterminate=("progress == 0",), height=6, rounded=True, classes="grow"
            )
            html.Span("{{ elapsed }}", classes="quiet")
        with html.Div(classes="row", v_if=("predict_said",)):
            html.Span("{{ predict_said }}", id="predict-said", classes="grow")
            html.Span("{{ elapsed }}", v_if=("!predicting",), classes="quiet")
        with v.VAlert(v_if=("doubts",), type="warning", variant="tonal", density="compact", id="doubts"):
            html.Div("{{ doubts }}")
            v.VBtn(
                "{{ advised }}",
                v_if=("advised",),
                id="look-again",
                classes="mt-1",
                title="Look again, as the model advises.",
                click="trigger('look_again')",
            )
        with html.Div(classes="row"):
            v.VBtn(
                "{{ log_open ? '▾' : '▸' }} Log",
                variant="text",
                size="small",
                click="log_open = !log_open",
                id="log-button",
            )
            v.VBtn(
                "Copy",
                v_if=("log_open",),
                variant="text",
                size="small",
                title="Copy the log to the clipboard.",
                click="window.navigator.clipboard.writeText(log)",
            )
        html.Pre("{{ log || 'nothing yet' }}", v_if=("log_open",), classes="log", id="log")
