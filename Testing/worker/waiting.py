"""Waiting for what a worker says, with an end to the patience."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from DenseLandmarksLib.worker.client import Client, Worker
from DenseLandmarksLib.worker.events import Event, Progress

PATIENCE_S = 90.0


def answers(worker: Worker, *clients: Client, to: Iterable[int]) -> dict[int, Event]:
    """The last event of each request, in the order in which they came."""
    open_requests = set(to)
    last: dict[int, Event] = {}
    until = time.monotonic() + PATIENCE_S
    while open_requests:
        assert time.monotonic() < until, f"no answer to {open_requests} after {PATIENCE_S} s; {worker.log()}"
        worker.wait(1.0)
        for client in clients:
            for event in client.events():
                if not isinstance(event, Progress):
                    assert event.request_id in open_requests, event
                    open_requests.remove(event.request_id)
                    last[event.request_id] = event
    return last


def wait_for_progress(worker: Worker, client: Client, request_id: int, text: str = "predicting") -> Progress:
    """Until the worker says ``text`` of the request; nothing else may come of it before, events of others are lost."""
    until = time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < until, worker.log()
        worker.wait(1.0, client)
        for event in client.events():
            if event.request_id == request_id:
                assert isinstance(event, Progress), event
                if event.text == text:
                    return event


def is_running(pid: int) -> bool:
    """Whether there is such a process, not counting one that ended and was not asked about yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def seconds_until(condition: Callable[[], bool], at_most: float) -> float:
    """How long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < at_most, f"not within {at_most} s"
        time.sleep(0.02)
    return time.monotonic() - began
