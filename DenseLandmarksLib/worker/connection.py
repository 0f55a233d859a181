"""A connection that never waits: what does not fit now is sent, and what has not come yet is taken, the next time."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from DenseLandmarksLib.worker.wire import ARRAYS_LIMIT_BYTES, HEADER_LIMIT_BYTES, Message, Unpacker, WireError, pack

# One call of the system copies at most so much, a fraction of a millisecond's work.
AT_ONCE_BYTES = 1 << 20


@dataclass
class Parcel:
    """A message on its way: ``size`` bytes, of which ``sent`` were handed to the system.

    ``began_at`` and ``finished_at`` (:func:`time.monotonic`) are when its first and its last piece were, ``None`` before.
    """

    pieces: deque[memoryview] = field(repr=False)
    size: int
    sent: int = 0
    began_at: float | None = None
    finished_at: float | None = None


class Connection:
    """Messages over a socket that never blocks.

    ``ended`` becomes true, for good, when the other side is gone or speaks something else; ``why`` says which.
    ``moved_at`` is when bytes were last handed over (:func:`time.monotonic`).
    """

    def __init__(
        self,
        opened: socket.socket,
        header_limit_bytes: int = HEADER_LIMIT_BYTES,
        arrays_limit_bytes: int = ARRAYS_LIMIT_BYTES,
    ) -> None:
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = opened
        self.ended = False
        self.why = ""
        self.moved_at = time.monotonic()
        self._leaving: deque[Parcel] = deque()
        self._unpacker = Unpacker(header_limit_bytes, arrays_limit_bytes)

    @property
    def sending(self) -> bool:
        """Whether something has still to be handed over."""
        return bool(self._leaving)

    def put(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> Parcel:
        """Queue a message; nothing is sent before :meth:`send`. The arrays must not change before they are sent."""
        pieces = pack(header, arrays)
        parcel = Parcel(deque(pieces), sum(map(len, pieces)))
        self._leaving.append(parcel)
        return parcel

    def send(self, until: float) -> None:
        """Hand over what the system takes, but begin nothing after ``until`` (:func:`time.monotonic`)."""
        while self._leaving and not self.ended:
            parcel = self._leaving[0]
            # Taken before: the worker may be at work with it before this thread has its turn again.
            given_at = time.monotonic()
            try:
                count = self.socket.send(parcel.pieces[0][:AT_ONCE_BYTES])
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                # What it said before it went may still be there to be read: receive() finds the end.
                self.why = str(error)
                self._leaving.clear()
                return
            now = self.moved_at = time.monotonic()
            parcel.began_at = parcel.began_at or given_at
            parcel.sent += count
            parcel.pieces[0] = parcel.pieces[0][count:]
            if not len(parcel.pieces[0]):
                parcel.pieces.popleft()
            if not parcel.pieces:
                parcel.finished_at = given_at
                self._leaving.popleft()
            if now >= until:
                return

    def receive(self, until: float, at_most: int | None = None) -> list[Message]:
        """The messages that are complete by now, ``at_most`` so many; no byte is taken after ``until``."""
        messages: list[Message] = []
        while not self.ended and len(messages) != at_most:
            try:
                count = self.socket.recv_into(self._unpacker.space[:AT_ONCE_BYTES])
                message = self._unpacker.advance(count) if count else None
            except (BlockingIOError, InterruptedError):
                break
            except (OSError, WireError, MemoryError) as error:
                self._end(str(error) or type(error).__name__)
                break
            if not count:
                self._end(self.why or "it closed the connection")
            if message is not None:
                messages.append(message)
            if time.monotonic() >= until:
                break
        return messages

    def close(self) -> None:
        """End the connection from this side."""
        self._end("closed here")
        self.socket.close()

    def _end(self, why: str) -> None:
        if not self.ended:
            self.ended, self.why = True, why
            self._leaving.clear()
