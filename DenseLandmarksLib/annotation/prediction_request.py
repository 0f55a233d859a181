"""A session's wish for a prediction: asked of the worker, and taken into the case when it comes."""

from __future__ import annotations

from dataclasses import dataclass

from DenseLandmarksLib.annotation.blind import refuse_prediction
from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.models.bundle import read_description
from DenseLandmarksLib.models.fitting_models import refuse_misfit
from DenseLandmarksLib.models.prediction_arrays import says_the_same
from DenseLandmarksLib.models.registry import find_bundle
from DenseLandmarksLib.worker.client import Client
from DenseLandmarksLib.worker.events import Cancelled, Done, Failed, Progress, Seconds


@dataclass(frozen=True)
class RequestStatus:
    """How a request goes.

    Attributes
    ----------
    text, fraction : what is being done, and about how far it is, 0 to 1.
    finished : nothing more will come.
    problem : why it ended without a prediction, one line; empty for one that was cancelled.
    seconds : where the time went, when the prediction came.
    """

    text: str = ""
    fraction: float = 0.0
    finished: bool = False
    problem: str = ""
    seconds: Seconds | None = None


class PredictionRequest:
    """One prediction on its way. A front end polls the worker, then this, from its own timer.

    Whatever happens to the worker, the case and its edits are untouched until the prediction is there; people may go on
    correcting in the meantime, and what they decided stays.
    """

    def __init__(
        self,
        session: Session,
        client: Client,
        image: MedicalImage,
        model: str,
        view: View | None = None,
        device: str = "auto",
    ) -> None:
        """Ask for the prediction of the session's image. The ``client`` must have no other request meanwhile.

        Raises :class:`InputError` where there is no such model, where it is for another kind of image, and where something
        is still to be placed in a case chosen for comparison.
        """
        refuse_prediction(session.state)
        self._session, self._client = session, client
        self._geometry = image.geometry
        self._description = read_description(find_bundle(model))
        refuse_misfit(self._description, image.name, self._geometry.size[2])
        self._id = client.request(image, model, view, device)
        self.status = RequestStatus("waiting for the worker")

    def cancel(self) -> None:
        """Give the prediction up, soon."""
        self._client.cancel(self._id)

    def poll(self) -> RequestStatus:
        """Take what came since the last call; a prediction goes into the session."""
        for event in self._client.events():
            if event.request_id != self._id or self.status.finished:
                continue
            match event:
                case Progress(_, text, fraction):
                    self.status = RequestStatus(text, fraction)
                case Done(_, prediction, seconds):
                    known = self._session.state.answer
                    # Undo keeps every prediction: one that is repeated is kept once.
                    if known is not None and says_the_same(known.prediction, prediction):
                        prediction = known.prediction
                    answer = ModelAnswer(prediction, self._description.template, self._description.styles)
                    try:
                        self._session.take(answer, self._geometry)
                        self.status = RequestStatus("predicted", 1.0, True, seconds=seconds)
                    except InputError as error:  # the disk is full: the prediction is not kept, the case is as it was
                        self.status = RequestStatus("not taken", 1.0, True, str(error), seconds)
                case Failed(_, _, message):
                    self.status = RequestStatus("failed", 1.0, True, message)
                case Cancelled():
                    self.status = RequestStatus("cancelled", 1.0, True)
        return self.status
