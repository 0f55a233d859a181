"""The requests that wait for an answer: whose turn it is to be sent, and what each is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.worker.connection import Parcel
from DenseLandmarksLib.worker.events import Cancelled, Event, Failed, FailureKind, Progress

# One that the worker is at and one that it finds when it is done: the others stay here, where nothing is copied.
UNDER_WAY_LIMIT = 2


@dataclass
class Request:
    """One question to the worker, and how far it got.

    ``header`` and ``arrays`` are the message; ``volume`` keeps the memory that the arrays lie in. ``client`` is the
    number of the one who asked, 0 for nobody. ``parcel`` is there once it was queued for the worker that runs now,
    ``running`` once that worker began with it. ``deaths`` counts the workers that ended while it ran. A cancelled one
    has ``cancelled_at`` and, where the worker has to be told, ``cancel_parcel``.
    """

    request_id: int
    client: int
    header: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(repr=False)
    volume: sitk.Image | None
    name: str
    asked_at: float
    parcel: Parcel | None = None
    running: bool = False
    deaths: int = 0
    fraction_told: float = 0.0
    cancelled_at: float | None = None
    cancel_parcel: Parcel | None = None


class Requests:
    """Unanswered requests in the order in which they were asked.

    ``deliver(client, event)`` passes an event on to the client of that number.
    """

    def __init__(self, deliver: Callable[[int, Event], None]) -> None:
        self._deliver = deliver
        self._by_id: dict[int, Request] = {}
        self._turns = 0
        self._last_turn: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Request]:
        """Over a copy: a request may be answered on the way."""
        return iter(tuple(self._by_id.values()))

    def get(self, request_id: object) -> Request | None:
        """The request, if it has no answer yet."""
        return self._by_id.get(request_id) if isinstance(request_id, int) else None

    def add(self, request: Request) -> None:
        """One more."""
        self._by_id[request.request_id] = request

    def progress(self, request: Request, text: str, fraction: float) -> None:
        """Tell how far it is; whoever gave it up hears no more of that."""
        if request.cancelled_at is None:
            self._deliver(request.client, Progress(request.request_id, text, fraction))

    def answer(self, request: Request, event: Event) -> None:
        """The last that is heard of it; whoever gave it up hears that, whatever came of it."""
        self._by_id.pop(request.request_id, None)
        self._deliver(request.client, event if request.cancelled_at is None else Cancelled(request.request_id))

    def fail(self, request: Request, kind: FailureKind, message: str) -> None:
        """Answer that it failed."""
        self.answer(request, Failed(request.request_id, kind, " ".join(message.split())))

    def drop_all(self) -> None:
        """Nobody is left to be answered."""
        self._by_id.clear()

    def forget_worker(self) -> None:
        """The worker is gone: what was sent to it is to be sent again, and what it was to give up is given up."""
        for request in self:
            if request.cancelled_at is not None:
                self.answer(request, Cancelled(request.request_id))
            request.parcel, request.running, request.cancel_parcel = None, False, None
            request.fraction_told = 0.0

    def next_to_send(self) -> Request | None:
        """The next to be sent: clients take turns, each with a few requests under way at most."""
        under_way: dict[int, int] = {}
        waiting: dict[int, Request] = {}
        for request in self._by_id.values():
            if request.parcel is not None:
                under_way[request.client] = under_way.get(request.client, 0) + 1
            else:
                waiting.setdefault(request.client, request)
        free = [client for client in waiting if under_way.get(client, 0) < UNDER_WAY_LIMIT]
        if not free:
            return None
        client = min(free, key=lambda number: self._last_turn.get(number, 0))
        self._turns += 1
        self._last_turn[client] = self._turns
        return waiting[client]
