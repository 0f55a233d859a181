"""Keeps a worker running as long as there is something to answer: starts it, notices its end, ends what hangs."""

from __future__ import annotations

import logging
import selectors
import tempfile
import time
from pathlib import Path

from DenseLandmarksLib.worker.child import Child
from DenseLandmarksLib.worker.connection import Connection
from DenseLandmarksLib.worker.conversation import send_requests, take
from DenseLandmarksLib.worker.events import STARTING
from DenseLandmarksLib.worker.launch import Launch
from DenseLandmarksLib.worker.requests import Request, Requests

logger = logging.getLogger(__name__)

# A poll takes about so long at most, however much there is to send.
POLL_BUDGET_S = 0.008
CANCEL_LIMIT_S = 5.0
# Importing torch from a cold disk takes minutes on some machines.
START_LIMIT_S = 300.0
DEATHS_LIMIT = 2
GONE_LIMIT_S = 5.0
LOG_LIMIT_BYTES = 1 << 20
NAP_S = 0.01


class Keeper:
    """One worker process after the other for the given requests, never two at once.

    ``child`` is the one that runs, ``None`` before the first and where there is nothing to do.
    """

    def __init__(self, launch: Launch, requests: Requests) -> None:
        self.child: Child | None = None
        self._launch = launch
        self._requests = requests
        # Goes with this object, or with the program.
        self._folder = tempfile.TemporaryDirectory(prefix="dense-landmarks-worker-", ignore_cleanup_errors=True)
        self._log = Path(self._folder.name) / "worker.log"
        self._ending: list[Child] = []
        # Workers that ended one after the other while no request was at fault.
        self._blameless_deaths = 0
        # What became of the last one, for those who wait for the next.
        self._news = ""

    @property
    def connection(self) -> Connection | None:
        """The connection to the worker, if it runs and has called back."""
        return None if self.child is None else self.child.connection

    def log(self) -> str:
        """What all processes of this worker said so far, the end of it where that is very long."""
        if not self._log.exists():
            return ""
        with self._log.open("rb") as said:
            size = said.seek(0, 2)
            said.seek(max(size - LOG_LIMIT_BYTES, 0))
            return said.read().decode(errors="replace")

    def start(self) -> None:
        """Start a process."""
        try:
            # Whoever tidies the temporary folder does not ask for how long we run.
            self._log.parent.mkdir(exist_ok=True)
            self.child = Child(self._launch, self._log)
        except OSError as error:
            self._fail_all(f"expected a worker started with {self._launch.command[0]}, but {error}")
            return
        text = f"{self._news}; {STARTING} again" if self._news else STARTING
        self._news = ""
        for request in self._requests:
            self._requests.progress(request, text, 0.0)

    def poll(self) -> None:
        """Start what is missing, send and take what goes now, and look after the process; does not wait."""
        until = time.monotonic() + POLL_BUDGET_S
        self._ending = [child for child in self._ending if not child.is_gone()]
        if self.child is None and len(self._requests):
            self.start()
        child = self.child
        if child is None:
            return
        connection = child.connect()
        if connection is not None:
            for message in connection.receive(until):
                if message.kind == "ready":
                    child.ready = True
                elif message.kind == "progress":
                    self._blameless_deaths = 0
                take(self._requests, message)
            send_requests(self._requests, connection, until)
        if child.has_ended():
            self._bury(child)
        self._end_what_does_not_answer()

    def sleep(self, timeout_s: float) -> None:
        """Until the worker says or takes something, at most ``timeout_s``."""
        child = self.child
        connection = self.connection
        if child is None or (connection is not None and connection.ended):
            time.sleep(min(timeout_s, NAP_S))
            return
        with selectors.DefaultSelector() as selector:
            if connection is None:
                for entrance in child.doorway.sockets:
                    selector.register(entrance, selectors.EVENT_READ)
            else:
                writing = selectors.EVENT_WRITE if connection.sending else 0
                selector.register(connection.socket, selectors.EVENT_READ | writing)
            selector.select(timeout_s)

    def end(self) -> None:
        """End the process, without waiting for it to be gone; what it had is to be sent again."""
        if self.child is not None:
            self.child.end()
            self._ending.append(self.child)
            self.child = None
        self._requests.forget_worker()

    def close(self) -> None:
        """End the process and wait for it to be gone; the log goes too."""
        self.end()
        for child in self._ending:
            if not child.wait_until_gone(GONE_LIMIT_S):
                logger.warning("the worker %d is still there %.0f s after it was ended", child.pid, GONE_LIMIT_S)
        self._ending.clear()
        self._folder.cleanup()

    def _bury(self, child: Child) -> None:
        """The process ended by itself, or was ended: whoever it was busy with is told, or tries once more."""
        how, words = child.how_it_ended(), child.last_words()
        logger.warning("the worker %d %s", child.pid, how)
        self._news = f"the worker {how}"
        running = [request for request in self._requests if request.running]
        hopeless = not child.ready and child.ended_by_itself
        self.end()
        for request in running:
            request.deaths += 1
            if request.deaths >= DEATHS_LIMIT and request.cancelled_at is None:
                what = f"expected a prediction of {request.name}, but the worker ended {request.deaths} times over it"
                advice = "Give a smaller image, or report it with the worker's log."
                self._requests.fail(request, "worker", f"{what}: it {how}. {advice}")
        if running or not len(self._requests):
            self._blameless_deaths = 0
            return
        self._blameless_deaths += 1
        if hopeless or self._blameless_deaths >= DEATHS_LIMIT:
            # Of one that ran, the last words were about something else.
            said = f" and said: {words}" if words and not child.ready else ""
            self._fail_all(f"expected a worker that runs, but it {how}{said}")

    def _fail_all(self, what: str) -> None:
        self._blameless_deaths = 0
        logger.warning("%s", what)
        for request in self._requests:
            self._requests.fail(request, "worker", f"{what}. Repair the installation; its log says more.")

    def _end_what_does_not_answer(self) -> None:
        """A worker that does not start, or does not give up a cancelled request, is ended."""
        child, now = self.child, time.monotonic()
        if child is None:
            return
        if not child.ready and now - child.started_at > START_LIMIT_S:
            self.end()
            self._fail_all(f"expected a worker that runs within {START_LIMIT_S:.0f} s, got none")
        elif any(self._is_overdue(request, child, now) for request in self._requests):
            logger.warning("the worker %d did not answer; it is ended and started again", child.pid)
            self._news = "the worker did not give up in time and was ended"
            self.end()

    @staticmethod
    def _is_overdue(request: Request, child: Child, now: float) -> bool:
        if request.cancel_parcel is None or child.connection is None:
            return False
        # As long as a large image is on its way in front of it, the worker cannot have read that it was cancelled.
        told_at = request.cancel_parcel.finished_at or child.connection.moved_at
        return now - max(told_at, request.cancelled_at or now) > CANCEL_LIMIT_S
