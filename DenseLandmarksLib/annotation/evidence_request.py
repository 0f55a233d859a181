"""A question why a landmark is where it is: asked of the worker, which answers with maps."""

from __future__ import annotations

from pathlib import Path

from DenseLandmarksLib.annotation.prediction_request import RequestStatus
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.models.evidence import Evidence
from DenseLandmarksLib.worker.client import Client
from DenseLandmarksLib.worker.events import Cancelled, Explained, Failed, Progress


class EvidenceRequest:
    """Evidence on its way from the worker. A front end polls the worker, then this, from its own timer.

    Attributes
    ----------
    status : how it goes.
    evidence : what came, ``None`` until then.
    """

    def __init__(
        self, client: Client, image: MedicalImage, landmark: str, model: Path, view: View, device: str = "auto"
    ) -> None:
        """Ask for it. The ``client`` must have no other request meanwhile, and is closed when nothing more comes."""
        self.status = RequestStatus("waiting for the worker")
        self.evidence: Evidence | None = None
        self._client = client
        self._id = client.explain(image, landmark, model, view, device)

    def cancel(self) -> None:
        """Give it up; nothing more is heard of it."""
        if not self.status.finished:
            self._client.cancel(self._id)
            self._end(RequestStatus("cancelled", 1.0, True))

    def poll(self) -> RequestStatus:
        """Take what came since the last call."""
        if self._client.is_closed and not self.status.finished:
            self.status = RequestStatus(
                "given up", 1.0, True, "The worker was ended before it could answer. Ask again."
            )
        for event in () if self.status.finished else self._client.events():
            match event:
                case Progress(_, text, fraction):
                    self.status = RequestStatus(text, fraction)
                case Explained(_, evidence):
                    self.evidence = evidence
                    self._end(RequestStatus("there", 1.0, True))
                case Failed(_, _, message):
                    self._end(RequestStatus("failed", 1.0, True, message))
                case Cancelled():
                    self._end(RequestStatus("cancelled", 1.0, True))
        return self.status

    def _end(self, status: RequestStatus) -> None:
        self.status = status
        self._client.close()
