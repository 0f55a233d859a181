"""One started worker: its process and whatever that started, its log, and the connection once it has called back."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

from DenseLandmarksLib.worker.connection import Connection
from DenseLandmarksLib.worker.doorway import Doorway
from DenseLandmarksLib.worker.launch import Launch

# A process whose connection ended is about to be gone; until then nobody knows how it ended.
ENDING_LIMIT_S = 1.0
LAST_LINE_CHARACTERS = 200


class Child:
    """Starts a worker at once; raises ``OSError`` when there is no such command.

    ``log`` is the file that everything it says is added to. ``ready`` is set by the owner when the worker says so.
    """

    def __init__(self, launch: Launch, log: Path) -> None:
        self.log = log
        self.ready = False
        self.started_at = time.monotonic()
        self.connection: Connection | None = None
        self._ended_at: float | None = None
        self._doorway = Doorway()
        try:
            with log.open("ab") as said:
                self._log_begins_at = said.tell()
                self._process = subprocess.Popen(
                    launch.command,
                    stdin=subprocess.PIPE,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    env=None if launch.environment is None else dict(launch.environment),
                    cwd=launch.cwd,
                    # A group of its own can be ended with all that it started, and Ctrl+C is for the parent alone.
                    start_new_session=True,
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0)
                    | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
        except OSError:
            self._doorway.close()
            raise
        assert self._process.stdin is not None
        # Not as arguments, which every process of the machine can read. Where it ended at once, has_ended finds out.
        greeting = json.dumps({"port": self._doorway.port, "key": self._doorway.key})
        with contextlib.suppress(OSError):
            self._process.stdin.write(greeting.encode("ascii") + b"\n")
            self._process.stdin.close()

    @property
    def pid(self) -> int:
        """The worker's own process id once it has called back, until then that of the command that starts it."""
        told = self._doorway.greeting.get("pid")
        return told if isinstance(told, int) else self._process.pid

    @property
    def doorway(self) -> Doorway:
        """Where the worker comes in."""
        return self._doorway

    def connect(self) -> Connection | None:
        """The connection, as soon as there is one."""
        if self.connection is None:
            self.connection = self._doorway.poll()
        return self.connection

    def has_ended(self) -> bool:
        """Whether nothing more will come of this worker, as far as can be known without waiting."""
        if self.connection is None:
            return self._process.poll() is not None
        if not self.connection.ended:
            return False
        now = time.monotonic()
        self._ended_at = self._ended_at or now
        return self._process.poll() is not None or now - self._ended_at > ENDING_LIMIT_S

    @property
    def exit_code(self) -> int | None:
        """As :class:`subprocess.Popen` has it: negative for a signal, ``None`` while the process is there."""
        return self._process.poll()

    @property
    def ended_by_itself(self) -> bool:
        """Whether it ended because it chose to, such as after an error of Python; no signal ended it."""
        code = self.exit_code
        return code is not None and 0 <= code < 128

    def how_it_ended(self) -> str:
        """A clause about the end, such as ``"ended with signal SIGKILL, perhaps not enough memory"``."""
        code = self.exit_code
        if code is None:
            return f"broke off its connection ({self.connection.why if self.connection else 'none yet'})"
        # A launcher between us and the worker says 128 + N for signal N.
        number = -code if code < 0 else code - 128
        try:
            name = signal.Signals(number).name
        except ValueError:
            return f"ended with exit status {code}"
        return f"ended with signal {name}" + (", perhaps not enough memory" if name == "SIGKILL" else "")

    def last_words(self) -> str:
        """The last line that this worker said, shortened; empty where it said nothing."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as said:
            said.seek(self._log_begins_at)
            lines = said.read()[-(1 << 16) :].decode(errors="replace").split("\n")
        spoken = [" ".join(line.split()) for line in lines if line.strip()]
        return spoken[-1][:LAST_LINE_CHARACTERS] if spoken else ""

    def end(self) -> None:
        """End the process and all that it started; does not wait for them to be gone."""
        self._doorway.close()
        if self.connection is not None:
            self.connection.close()
        if self._process.poll() is not None:
            return  # nothing may be sent to its number any more, and what it left finds the connection closed
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            # Windows has no groups to end; this program of Windows walks the tree.
            kill = ["taskkill", "/F", "/T", "/PID", str(self._process.pid)]
            flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
            with subprocess.Popen(
                kill, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, creationflags=flags
            ) as killer:
                killer.wait()

    def is_gone(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def wait_until_gone(self, timeout_s: float) -> bool:
        """Wait for the process to be gone, at most ``timeout_s``; whether it is."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True
