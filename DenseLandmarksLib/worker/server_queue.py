"""What waits to be predicted: a queue for each client, and the clients take turns."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from DenseLandmarksLib.worker.wire import Message


@dataclass(frozen=True)
class Queued:
    """A request, and when it had come completely (:func:`time.monotonic`)."""

    message: Message
    came_at: float

    @property
    def request_id(self) -> Any:
        """As the client gave it."""
        return self.message.header["id"]


class RequestQueue:
    """Filled by one thread, emptied by another."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # In the order of their turns: whoever was served goes to the end.
        self._clients: dict[Any, deque[Queued]] = {}
        self._running: Any = None
        self._given_up = False

    def put(self, message: Message) -> None:
        """One more request at the end of its client's queue."""
        with self._changed:
            self._clients.setdefault(message.header["client"], deque()).append(Queued(message, time.monotonic()))
            self._changed.notify()

    def take(self, timeout_s: float | None = None) -> Queued | None:
        """Wait for a request and take it: the oldest of the client whose turn it is. It counts as running now.

        ``None`` where none came within ``timeout_s``; by default it waits for ever.
        """
        with self._changed:
            self._running, self._given_up = None, False
            if not self._changed.wait_for(lambda: bool(self._clients), timeout_s):
                return None
            client = next(iter(self._clients))
            waiting = self._clients.pop(client)
            queued = waiting.popleft()
            if waiting:
                self._clients[client] = waiting
            self._running = queued.request_id
            return queued

    def cancel(self, request_id: Any) -> bool:
        """Give up a request: true if it only waited and is gone now; one that runs is to ask :meth:`given_up`."""
        with self._changed:
            if self._running is not None and request_id == self._running:
                self._given_up = True
                return False
            for client, waiting in self._clients.items():
                for queued in waiting:
                    if queued.request_id == request_id:
                        waiting.remove(queued)
                        if not waiting:
                            del self._clients[client]
                        return True
            return False

    def given_up(self) -> bool:
        """Whether the running request was cancelled."""
        with self._changed:
            return self._given_up
