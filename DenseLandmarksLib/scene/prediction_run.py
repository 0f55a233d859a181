"""A prediction for a case in a scene, from the wish to what came of it."""

from __future__ import annotations

import time
from dataclasses import replace

import SimpleITK as sitk

from DenseLandmarksLib.annotation.prediction_request import PredictionRequest, RequestStatus
from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.volume_node import voxels_zyx
from DenseLandmarksLib.worker.client import Client

_WHY_GONE = "the case was closed while it was being predicted; nothing was changed"


class PredictionRun:
    """One prediction under way. A front end polls the worker, then this, from its own timer.

    Attributes
    ----------
    case : what is predicted. When it is closed meanwhile the prediction is given up.
    status : how it goes.
    """

    def __init__(
        self, case: CaseInScene, client: Client, model: str, view: View | None = None, device: str = "auto"
    ) -> None:
        """Ask for it; ``client`` is closed when nothing more comes.

        Raises :class:`~DenseLandmarksLib.errors.InputError` where the image cannot be read or there is no such model.
        """
        self.case, self._client = case, client
        self._began, self._took_s = time.monotonic(), 0.0
        self._request = PredictionRequest(case.session, client, image_of(case), model, view, device)
        self.status: RequestStatus = self._request.status

    @property
    def is_under_way(self) -> bool:
        """Whether something more will come."""
        return not self.status.finished

    @property
    def elapsed_s(self) -> float:
        """Since it was asked for, or until it ended."""
        return self._took_s or time.monotonic() - self._began

    def cancel(self) -> None:
        """Give it up, soon; the case stays as it is."""
        self._request.cancel()

    def poll(self) -> None:
        """Take what came since the last call; a prediction goes into the case."""
        if not self.is_under_way:
            return
        if not self.case.is_open:
            self._request.cancel()
            self.status = RequestStatus("given up", 1.0, True, _WHY_GONE)
        else:
            if self._client.has_events:
                self.case.poll()  # what was done with the mouse before comes before
            self.status = self._request.poll()
        if self.status.finished:
            self._took_s = self.elapsed_s
            self._client.close()


def image_of(case: CaseInScene) -> MedicalImage:
    """The image of a case, laid out as the session says.

    A radiograph is read again from its file, which says how it was taken. A volume, which would take seconds, comes from
    the scene. Raises :class:`~DenseLandmarksLib.errors.InputError` where it cannot be read.
    """
    about, geometry = case.session.case, case.session.state.geometry
    if geometry.is_radiograph:
        film, _ = about.read_image(geometry)
        return film
    volume = sitk.GetImageFromArray(voxels_zyx(case.image.volume))
    volume.SetSpacing(geometry.spacing_mm)
    volume.SetOrigin(geometry.origin_lps_mm)
    volume.SetDirection(geometry.direction)
    taken = replace(Acquisition(), modality=about.modality, body_part=about.body_part, laterality=about.laterality)
    return MedicalImage(volume, geometry.spacing_source, about.name, taken)
