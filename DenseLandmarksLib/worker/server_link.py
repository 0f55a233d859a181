"""The worker's end of the connection: it may wait, for it has a thread to read and one to predict."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from DenseLandmarksLib.worker.wire import Message, Unpacker, pack

logger = logging.getLogger(__name__)

CONNECT_LIMIT_S = 10.0


class Link:
    """A connection to the client on ``port`` of this machine; sending is safe from both threads."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), CONNECT_LIMIT_S)
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sending = threading.Lock()
        self._unpacker = Unpacker()

    def send(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Send a message; ends the process when nobody is there to take it.

        Raises ``ValueError`` for what cannot be sent, and ``MemoryError``; then nothing was sent.
        """
        pieces = pack(header, arrays)
        try:
            with self._sending:
                for piece in pieces:
                    self._socket.sendall(piece)
        except OSError:
            os._exit(0)

    def receive(self) -> Message | None:
        """Wait for the next message; ``None`` when the connection has ended. Raises :class:`WireError`."""
        while True:
            try:
                count = self._socket.recv_into(self._unpacker.space)
            except OSError:
                return None
            if not count:
                return None
            message = self._unpacker.advance(count)
            if message is not None:
                return message
