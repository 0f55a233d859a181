"""One worker for many panels, as each start takes seconds."""

from __future__ import annotations

from typing import Any

from DenseLandmarksLib.worker.client import Client, Worker


class LentWorker:
    """The real worker, in the hands of a panel that takes it for its own: what it closes is its clients."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._clients: list[Client] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker, name)

    def client(self) -> Client:
        """One more client, which :meth:`close` closes."""
        self._clients.append(self._worker.client())
        return self._clients[-1]

    def close(self) -> None:
        """Give the worker back."""
        for client in self._clients:
            client.close()
