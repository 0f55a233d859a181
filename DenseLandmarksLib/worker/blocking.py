"""A predictor like any other whose network runs in a worker: for command lines, which have nothing to do but wait."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.models.evidence import Evidence
from DenseLandmarksLib.models.prediction import Prediction, do_nothing
from DenseLandmarksLib.worker.client import Client
from DenseLandmarksLib.worker.events import PREDICTING, Cancelled, Checked, Done, Explained, Failed, Loaded, Progress

# Only how long a wait lasts before the next one begins.
WAIT_S = 60.0
LOG_LINES = 40


class WorkerError(Exception):
    """A mistake of this program in the worker; its notes hold the end of the worker's log."""


class WorkerPredictor:
    """Predicts with a model in a worker, and waits for it.

    ``model`` is the name of a model or a bundle's folder, ``device`` as
    :func:`~DenseLandmarksLib.models.registry.choose_device` takes it. The ``client`` is used by nobody else.
    """

    def __init__(self, client: Client, model: str | Path, device: str = "auto") -> None:
        self._client = client
        self._model = model
        self._device = device

    def load(self) -> str:
        """Open the model; the device that it runs on. Raises :class:`InputError` when it cannot be used."""
        answer = self._answer(self._client.load(self._model, self._device), do_nothing)
        assert isinstance(answer, Loaded)
        return answer.device

    def predict(
        self, image: MedicalImage, view: View | None = None, *, between_passes: Callable[[], None] = do_nothing
    ) -> Prediction:
        """Predict one image, see :meth:`~DenseLandmarksLib.models.prediction.Predictor.predict`.

        ``between_passes`` is called when the worker says that it begins a pass, and ends the prediction where it raises.

        Raises
        ------
        InputError : for an image or model that cannot be used, too little memory, and a worker that ended over it.
        WorkerError : for a mistake of this program.
        """
        answer = self._answer(self._client.request(image, self._model, view, self._device), between_passes)
        assert isinstance(answer, Done)
        return answer.prediction

    def evidence(
        self,
        image: MedicalImage,
        landmark: str,
        view: View | None = None,
        *,
        between_passes: Callable[[], None] = do_nothing,
    ) -> Evidence:
        """What spoke for one landmark, see :meth:`~DenseLandmarksLib.models.prediction.Predictor.evidence`.

        Raises as :meth:`predict` does.
        """
        request = self._client.explain(image, landmark, self._model, view, self._device)
        answer = self._answer(request, between_passes)
        assert isinstance(answer, Explained)
        return answer.evidence

    def _answer(self, request_id: int, between_passes: Callable[[], None]) -> Done | Explained | Loaded | Checked:
        try:
            while True:
                self._client.wait(WAIT_S)
                for event in self._client.events():
                    if event.request_id != request_id or isinstance(event, Cancelled):
                        continue  # of one that was given up before
                    if isinstance(event, Progress):
                        if event.text == PREDICTING:
                            between_passes()
                    elif isinstance(event, Failed):
                        raise self._error(event)
                    else:
                        return event
        except BaseException:
            # Ctrl+C, or between_passes: nobody waits for it any more.
            self._client.cancel(request_id)
            raise

    def _error(self, failed: Failed) -> Exception:
        if failed.kind != "internal":
            return InputError(failed.message)
        error = WorkerError(failed.message)
        error.add_note("\n".join(["The worker's log ends with:", *self._client.log().splitlines()[-LOG_LINES:]]))
        return error
