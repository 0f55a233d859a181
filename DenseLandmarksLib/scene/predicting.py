"""The worker of one person, and the one prediction at a time that it is asked for."""

from __future__ import annotations

from collections.abc import Callable

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.models.bundle import METADATA, BundleDescription, read_description
from DenseLandmarksLib.models.fitting_models import misfit
from DenseLandmarksLib.models.registry import find_bundle
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.prediction_run import PredictionRun
from DenseLandmarksLib.worker.client import Client, Worker


class Predicting:
    """A front end polls it from its own timer.

    Attributes
    ----------
    run : the last prediction that was asked for, also when it is over.
    """

    def __init__(self, make_worker: Callable[[], Worker]) -> None:
        """``make_worker`` is called when a worker is needed for the first time, and after each :meth:`restart`."""
        self.run: PredictionRun | None = None
        self._make_worker = make_worker
        self._worker: Worker | None = None
        self._keeps_warm: Client | None = None
        self._described: tuple[object, BundleDescription] | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether a prediction is."""
        return self.run is not None and self.run.is_under_way

    @property
    def has_worker(self) -> bool:
        """Whether there is a worker to poll."""
        return self._worker is not None

    @property
    def worker(self) -> Worker:
        """Where networks run; made when it is first asked for. Raises :class:`InputError` where none can be."""
        if self._worker is None:
            self._worker = self._make_worker()
            self._keeps_warm = self._worker.client()  # else it would end with each prediction
        return self._worker

    @property
    def log(self) -> str:
        """What the worker said so far."""
        return "" if self._worker is None else self._worker.log()

    def missing(self, volume: Node | None, model: str) -> str:
        """What stands in the way of a prediction, one line; empty where nothing does."""
        if volume is None:
            return "expected an image, got none. Load one and choose it above."
        data = volume.GetImageData()
        if data is None or data.GetNumberOfScalarComponents() != 1:
            return f"expected an image with grey values, got {volume.GetName()!r}. Choose a radiograph or a volume."
        try:
            description = self._description(model)
        except InputError as error:
            return str(error)
        return misfit(description, volume.GetName(), data.GetDimensions()[2])

    def ask(self, case: CaseInScene, model: str, view: View | None = None, device: str = "auto") -> None:
        """Ask for the prediction of a case. Raises :class:`InputError`, in one line, where that cannot be."""
        if self.is_under_way:
            raise InputError("expected one prediction at a time, got another. Wait for the first, or cancel it.")
        client = self.worker.client()
        try:
            self.run = PredictionRun(case, client, model, view, device)
        except InputError:
            client.close()
            raise

    def cancel(self) -> None:
        """Give up the prediction that is under way."""
        if self.run is not None:
            self.run.cancel()

    def poll(self) -> bool:
        """Take what the worker sent; returns whether the prediction went on, or ended."""
        if self._worker is not None:
            self._worker.poll()
        if self.run is None or not self.run.is_under_way:
            return False
        before = self.run.status
        self.run.poll()
        return self.run.status != before

    def restart(self) -> None:
        """End the worker; the next prediction starts it anew, with packages that were installed meanwhile."""
        if self.run is not None and self.run.is_under_way:
            self.run.cancel()
            self.run.poll()
            self.run = None
        if self._worker is not None:
            self._worker.close()
            self._worker = self._keeps_warm = None

    def _description(self, model: str) -> BundleDescription:
        """A model's description; read again when another is asked for, or its folder changed."""
        folder = find_bundle(model)
        key = folder, (folder / METADATA).stat().st_mtime_ns
        if self._described is None or self._described[0] != key:
            self._described = key, read_description(folder)
        return self._described[1]
