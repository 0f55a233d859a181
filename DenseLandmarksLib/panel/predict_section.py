"""Section 3, Predict: one button, how it goes, and whether to believe what came."""

from __future__ import annotations

import qt
from slicer.i18n import tr as _

from DenseLandmarksLib.annotation.prediction_request import RequestStatus
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.models.prediction import Plausibility
from DenseLandmarksLib.panel.frame import Frame
from DenseLandmarksLib.panel.image_section import ImageSection
from DenseLandmarksLib.panel.need_case import need_case
from DenseLandmarksLib.panel.packages import REQUIREMENTS, RestartAdvisedError, install_packages, missing_packages


class PredictSection:
    """Asks for predictions of the case in hand, and shows how they go."""

    def __init__(self, panel: Frame, image_section: ImageSection) -> None:
        self._panel, self._ui, self._image_section = panel, panel.ui, image_section
        self._log_shown = ""
        # Looked up when the panel is opened and when something was installed: it takes too long for each refresh.
        self._to_install: list[str] = []
        ui = self._ui
        ui.predictButton.clicked.connect(panel.telling(self._predict_or_cancel))
        ui.advisedButton.clicked.connect(panel.telling(self._look_again))
        ui.copyLogButton.clicked.connect(lambda *_: qt.QApplication.clipboard().setText(panel.bench.predicting.log))
        ui.logSection.connect("contentsCollapsed(bool)", lambda *_: self._show_log())

    # What is shown.

    def refresh(self) -> None:
        """Button, progress, what is missing, and whether the prediction is plausible."""
        ui, bench = self._ui, self._panel.bench
        busy = bench.predicting.is_under_way
        missing = "" if busy else self._missing()
        ui.missingLabel.text = missing or self._note()
        ui.missingLabel.visible = bool(ui.missingLabel.text)
        ui.predictButton.text = _("Cancel") if busy else _("Predict")
        ui.predictButton.enabled = busy or not missing
        ui.predictButton.toolTip = missing or _("Find structures and landmarks in the image.")
        ui.progressBar.visible = busy
        status = bench.predicting.run.status if bench.predicting.run is not None else RequestStatus()
        ui.progressBar.value = round(100 * status.fraction)
        ui.statusLabel.text = self._said(status)
        ui.statusLabel.visible = bool(ui.statusLabel.text)
        self._show_elapsed()
        self._show_doubts()
        self._show_log()

    def tick(self) -> None:
        """The clock of a prediction runs."""
        if self._panel.bench.predicting.is_under_way:
            self._show_elapsed()
            self._show_log()

    def enter(self) -> None:
        """Look what would have to be installed."""
        self._to_install = missing_packages(self._panel.resources / REQUIREMENTS)

    def leave(self) -> None:
        """A prediction goes on while the panel is closed."""

    def _missing(self) -> str:
        """What has to be done before anything can be predicted, one line; empty where nothing has."""
        volume, parameters = self._panel.volume, self._panel.parameters
        if parameters is None:
            return _("Open the module to predict.")
        return self._panel.bench.predicting.missing(volume, parameters.model)

    def _note(self) -> str:
        """What the first prediction will bring along."""
        if not self._to_install or self._panel.bench.predicting.is_under_way:
            return ""
        return _("Predict first asks to install: {packages}.").format(packages=", ".join(self._to_install))

    def _said(self, status: RequestStatus) -> str:
        if status.problem:
            return status.problem
        state = self._panel.bench.state
        if status.finished and status.seconds is not None and state is not None and state.answer is not None:
            prediction = state.answer.prediction
            return _("{found} of {all} landmarks by {model} {version} on {device}.").format(
                found=sum(presence is Presence.PRESENT for presence in prediction.landmarks.presence),
                all=len(prediction.landmarks),
                model=prediction.model_name,
                version=prediction.model_version,
                device=prediction.device,
            )
        return status.text

    def _show_elapsed(self) -> None:
        run = self._panel.bench.predicting.run
        text = "" if run is None else _("{seconds} s").format(seconds=f"{run.elapsed_s:.1f}")
        if self._ui.elapsedLabel.text != text:
            self._ui.elapsedLabel.text = text

    def _show_doubts(self) -> None:
        plausibility = self._plausibility()
        doubtful = plausibility is not None and not plausibility.plausible
        self._ui.doubtFrame.visible = doubtful
        if plausibility is None or not doubtful:
            return
        state = self._panel.bench.state
        text = _("Not plausible: {reasons}. Check the image, its side, and the model.")
        if state is not None and not state.geometry.is_radiograph:
            text = _("Not plausible: {reasons}. Check the image and the model.")
        self._ui.doubtLabel.text = text.format(reasons="; ".join(plausibility.doubts))
        view = plausibility.suggested_view
        self._ui.advisedButton.visible = view is not None
        if view is not None:
            self._ui.advisedButton.text = _("Look again at the image {how}").format(how=view)

    def _show_log(self) -> None:
        if self._ui.logSection.collapsed:
            return
        log = self._panel.bench.predicting.log
        if log != self._log_shown:
            self._log_shown = log
            self._ui.logText.plainText = log
            self._ui.logText.moveCursor(qt.QTextCursor.End)

    def _plausibility(self) -> Plausibility | None:
        state = self._panel.bench.state
        return None if state is None or state.answer is None else state.answer.prediction.plausibility

    # What is done.

    def _predict_or_cancel(self) -> None:
        bench, parameters = self._panel.bench, self._panel.parameters
        if bench.predicting.is_under_way:
            bench.predicting.cancel()
            return
        self._install()
        need_case(self._panel)
        bench.predict(parameters.model, self._image_section.view, parameters.device.value)

    def _install(self) -> None:
        requirements = self._panel.resources / REQUIREMENTS
        try:
            if install_packages(requirements):
                self._panel.bench.restart_worker()
        except RestartAdvisedError:
            self._panel.bench.restart_worker()
            raise
        finally:
            self._to_install = missing_packages(requirements)

    def _look_again(self) -> None:
        plausibility = self._plausibility()
        if plausibility is not None and plausibility.suggested_view is not None:
            self._image_section.advise(plausibility.suggested_view)
            self._predict_or_cancel()
