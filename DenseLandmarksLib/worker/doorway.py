"""The door that a worker comes in by: a port of this machine alone, and a key that only the worker was given."""

from __future__ import annotations

import hmac
import secrets
import socket
import time

from DenseLandmarksLib.worker.connection import Connection
from DenseLandmarksLib.worker.wire import Message

# What a stranger may send and how long it may take, before it is shown the door.
GREETING_LIMIT_BYTES = 4096
GREETING_LIMIT_S = 10.0
GREETING_BUDGET_S = 0.001
STRANGERS_LIMIT = 8


class Doorway:
    """Waits for one worker on 127.0.0.1, without blocking.

    ``port`` and ``key`` are to be told to the worker in private; whoever comes without the key is refused, and the
    door stays open for the worker. ``greeting`` is what the worker said of itself when it came in.
    """

    def __init__(self) -> None:
        self.key = secrets.token_hex(32)
        self.greeting: dict[str, object] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=STRANGERS_LIMIT)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._strangers: list[tuple[Connection, float]] = []

    @property
    def sockets(self) -> list[socket.socket]:
        """What to wait on for somebody to come or to speak."""
        return [self._listener, *(stranger.socket for stranger, _ in self._strangers)]

    def poll(self) -> Connection | None:
        """The connection of the worker once it has shown the key; the door is closed then."""
        now = time.monotonic()
        if len(self._strangers) < STRANGERS_LIMIT:
            try:
                came, _ = self._listener.accept()
                self._strangers.append((Connection(came, GREETING_LIMIT_BYTES, 0), now))
            except (BlockingIOError, InterruptedError, ConnectionError):
                pass
        for stranger, since in list(self._strangers):
            # One message, as what follows the greeting is for whoever is let in.
            for message in stranger.receive(now + GREETING_BUDGET_S, at_most=1):
                if message.kind == "hello" and self._knows_the_key(message):
                    self.greeting = message.header
                    self._strangers = [entry for entry in self._strangers if entry[0] is not stranger]
                    self.close()
                    # It has proved who it is: from here on it may send predictions.
                    return Connection(stranger.socket)
                stranger.close()
            if stranger.ended or now - since > GREETING_LIMIT_S:
                stranger.close()
                self._strangers.remove((stranger, since))
        return None

    def _knows_the_key(self, message: Message) -> bool:
        shown = str(message.header.get("key")).encode("utf-8", "replace")
        return hmac.compare_digest(shown, self.key.encode("ascii"))

    def close(self) -> None:
        """Let nobody in any more."""
        self._listener.close()
        for stranger, _ in self._strangers:
            stranger.close()
        self._strangers.clear()
