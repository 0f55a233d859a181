"""The light side of the worker: asks for predictions and looks after the process, without a thread and without waiting.

Everything happens in :meth:`Worker.poll`, which a front end calls from its own timer::

    worker = Worker()
    client = worker.client()
    request_id = client.request(image, "chest-xray")
    ...
    worker.poll()                       # every few hundredths of a second
    for event in client.events(): ...   # Progress, then Done, Failed or Cancelled
    ...
    client.close()                      # the last one takes the worker along
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from pathlib import Path

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.models.prediction_arrays import view_to_header
from DenseLandmarksLib.models.registry import find_bundle
from DenseLandmarksLib.worker.events import STARTING, Cancelled, Event, Failed
from DenseLandmarksLib.worker.image_arrays import image_to_arrays
from DenseLandmarksLib.worker.keeper import Keeper
from DenseLandmarksLib.worker.launch import Launch
from DenseLandmarksLib.worker.requests import Request, Requests

logger = logging.getLogger(__name__)

# A program that waits looks after the process so often.
SLEEP_S = 0.1


class Client:
    """One front end, or one session of it, with a queue of its own. Made by :meth:`Worker.client`."""

    def __init__(self, worker: Worker, number: int) -> None:
        self._worker = worker
        self._number = number
        self._events: deque[Event] = deque()
        self._closed = False

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_closed(self) -> bool:
        """Whether nothing more will come, as this client or the whole worker was closed."""
        return self._closed

    @property
    def has_events(self) -> bool:
        """Whether something happened since :meth:`events` was last asked."""
        return bool(self._events)

    def request(self, image: MedicalImage, model: str | Path, view: View | None = None, device: str = "auto") -> int:
        """Ask for the prediction of an image, whose volume must not change until the answer; returns the request's id.

        ``model`` is the name of a model or a bundle's folder; ``view`` and ``device`` as
        :meth:`~DenseLandmarksLib.models.prediction.Predictor.predict` and
        :func:`~DenseLandmarksLib.models.registry.choose_device` take them. What is wrong comes as an event, never as an
        exception.
        """
        return self._ask("predict", model, device, image, view)

    def explain(
        self, image: MedicalImage, landmark: str, model: str | Path, view: View | None = None, device: str = "auto"
    ) -> int:
        """Ask what spoke for a landmark of an image; the answer is :class:`Explained`. All else as :meth:`request` has it."""
        return self._ask("explain", model, device, image, view, landmark)

    def load(self, model: str | Path, device: str = "auto") -> int:
        """Ask for a model to be opened; the answer is :class:`Loaded`. Returns the request's id."""
        return self._ask("load", model, device)

    def check(self, model: str | Path, device: str = "auto") -> int:
        """Ask what the worker's environment is and whether the model runs there; the answer is :class:`Checked`.

        A report comes also where packages are missing. Returns the request's id.
        """
        return self._ask("check", model, device)

    def _ask(
        self,
        kind: str,
        model: str | Path,
        device: str,
        image: MedicalImage | None = None,
        view: View | None = None,
        landmark: str = "",
    ) -> int:
        if self._closed:
            raise RuntimeError("expected an open client, got a closed one; take another from Worker.client()")
        return self._worker._ask(self._number, kind, model, device, image, view, landmark)

    def cancel(self, request_id: int) -> None:
        """Ask for a request to be given up; one that has its answer already is left alone."""
        request = self._worker._requests.get(request_id)
        if request is not None and request.client == self._number:
            self._worker._cancel(request)

    def events(self) -> tuple[Event, ...]:
        """What happened since the last call, in order; each is given once."""
        events = tuple(self._events)
        self._events.clear()
        return events

    def wait(self, timeout_s: float) -> None:
        """Poll, blocking, until this client has an event, at most ``timeout_s``: for programs without a timer."""
        self._worker.wait(timeout_s, self)

    def log(self) -> str:
        """What the worker said so far, see :meth:`Worker.log`."""
        return self._worker.log()

    def close(self) -> None:
        """Give up all requests. The last client takes the worker along."""
        if not self._closed:
            self._closed = True
            self._events.clear()
            self._worker._leave(self._number)


class Worker:
    """A process that predicts, its only connection, and the clients that share it.

    It is started when it is first needed, and again when it ended before all was answered. ``launch`` says how; by
    default with this interpreter. To be used from one thread.
    """

    def __init__(self, launch: Launch | None = None) -> None:
        self._clients: dict[int, Client] = {}
        self._numbers = itertools.count(1)
        self._ids = itertools.count(1)
        self._requests = Requests(self._deliver)
        self._keeper = Keeper(launch or Launch.with_interpreter(), self._requests)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- what a front end asks --------------------------------------------------------------------------------------

    def client(self) -> Client:
        """One more client."""
        number = next(self._numbers)
        self._clients[number] = Client(self, number)
        return self._clients[number]

    def start(self, model: str | Path | None = None, device: str = "auto") -> None:
        """Start the process now, and open ``model`` in it, so that the first request finds it warm."""
        if model is not None:
            self._ask(0, "load", model, device)
        if self._keeper.child is None:
            self._keeper.start()

    @property
    def pid(self) -> int | None:
        """Process id of the worker, if it runs."""
        return None if self._keeper.child is None else self._keeper.child.pid

    def log(self) -> str:
        """What all processes of this worker said so far, the end of it where that is very long."""
        return self._keeper.log()

    def poll(self) -> None:
        """Send and take what can be sent and taken now, and look after the process. Takes about 10 ms at most."""
        self._keeper.poll()

    def wait(self, timeout_s: float, client: Client | None = None) -> None:
        """Poll, blocking, until ``client``, or any, has an event, at most ``timeout_s``: for programs without a timer."""
        until = time.monotonic() + timeout_s
        self.poll()
        while (left := until - time.monotonic()) > 0:
            if any(awaited.has_events for awaited in ((client,) if client else self._clients.values())):
                return
            self._keeper.sleep(min(left, SLEEP_S))
            self.poll()

    def close(self) -> None:
        """Close all clients, end the process and wait for it to be gone; the log goes too."""
        for client in tuple(self._clients.values()):
            client.close()
        self._requests.drop_all()
        self._keeper.close()

    # ---- what clients ask -------------------------------------------------------------------------------------------

    def _ask(
        self,
        client: int,
        kind: str,
        model: str | Path,
        device: str,
        image: MedicalImage | None = None,
        view: View | None = None,
        landmark: str = "",
    ) -> int:
        name = "the model" if image is None else image.name
        request = Request(next(self._ids), client, {}, {}, None, name, time.monotonic())
        self._requests.add(request)
        try:
            request.header = {
                "kind": kind,
                "id": request.request_id,
                "client": client,
                # The child may see names and relative folders differently.
                "folder": str(find_bundle(str(model)).absolute()),
                "device": device,
            }
        except InputError as error:
            self._requests.fail(request, "model", str(error))
            return request.request_id
        if image is not None:
            try:
                request.header["view"], request.header["landmark"] = view_to_header(view), landmark
                request.header["image"], request.arrays = image_to_arrays(image)
                request.volume = image.volume
            except (InputError, ValueError) as error:
                self._requests.fail(request, "image", str(error))
                return request.request_id
        if self._keeper.child is not None and not self._keeper.child.ready:
            self._requests.progress(request, STARTING, 0.0)
        return request.request_id

    def _cancel(self, request: Request) -> None:
        if request.cancelled_at is not None:
            return
        request.cancelled_at = time.monotonic()
        connection = self._keeper.connection
        if request.parcel is None or connection is None:
            self._requests.answer(request, Cancelled(request.request_id))
        else:
            request.cancel_parcel = connection.put({"kind": "cancel", "id": request.request_id})

    def _leave(self, client: int) -> None:
        del self._clients[client]
        if self._clients:
            for request in self._requests:
                if request.client == client:
                    self._cancel(request)
            return
        self._requests.drop_all()
        self._keeper.end()

    def _deliver(self, number: int, event: Event) -> None:
        client = self._clients.get(number)
        if client is not None:
            client._events.append(event)
        elif isinstance(event, Failed):
            logger.warning("%s", event.message)
