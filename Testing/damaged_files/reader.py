"""The parent's side of the process that reads: it keeps the time, and starts another process when one is lost."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 10.0
_LONGEST_WAIT_SECONDS = 300.0
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Reading:
    """How reading one file ended.

    Attributes
    ----------
    outcome : ``"read"``, ``"refused"``, ``"traceback"``, ``"crash"`` or ``"timeout"``.
    message : of the refusal, the traceback or the crash.
    out, error : everything on standard output and on standard error.
    seconds : by the parent's clock, less the time in which other programs had the processor.
    peak_bytes : largest resident memory of the whole process while it read; 0 after a crash.
    left_behind : files that were not there before.
    """

    outcome: str
    message: str
    out: str
    error: str
    seconds: float
    peak_bytes: int
    left_behind: tuple[str, ...]


class Reader:
    """Reads files in another process, one after the other; with a ``model``, through the command line's ``predict``."""

    def __init__(self, model: str | None = None) -> None:
        self._model = model
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        # The working folder, the folder for temporary files and that for results: all three must stay empty.
        self._folder = Path(tempfile.mkdtemp(prefix="damaged-files-"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._forget()
        shutil.rmtree(self._folder)

    def read(self, path: Path) -> Reading:
        """Read ``path``, for as long as is allowed."""
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        start, queued = time.monotonic(), self._queued_seconds()

        def seconds() -> float:
            # The two clocks differ by less than a millisecond, either way.
            return max(0.0, time.monotonic() - start - (self._queued_seconds() - queued))

        with contextlib.suppress(BrokenPipeError):  # the missing answer tells that the process is gone
            self._process.stdin.write(f"{path.resolve()}\n")
            self._process.stdin.flush()
        line = None
        while line is None and seconds() < LIMIT_SECONDS and time.monotonic() < start + _LONGEST_WAIT_SECONDS:
            line = self._answer(1.0)
        taken = seconds()
        left = self._left_behind()
        if line is None:
            self.kill()
            self._forget()
            return Reading("timeout", f"no answer in {taken:.0f} s", "", "", taken, 0, left)
        if not line:
            status = self._process.wait()
            self._forget()
            return Reading("crash", f"the process ended with status {status}", "", "", taken, 0, left)
        told = json.loads(line)
        return Reading(told["outcome"], told["message"], told["out"], told["error"], taken, told["peak_bytes"], left)

    def _start(self) -> None:
        read_end, write_end = os.pipe()
        for name in ("work", "temporary", "output"):
            (self._folder / name).mkdir(exist_ok=True)
        model = ["--model", self._model] if self._model else []
        command = [sys.executable, "-m", "Testing.damaged_files.reader_process", "--answers", str(write_end)]
        self._process = subprocess.Popen(
            [*command, "--output", str(self._folder / "output"), *model],
            stdin=subprocess.PIPE,
            text=True,
            pass_fds=(write_end,),
            cwd=self._folder / "work",
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self._folder / "temporary")},
        )
        os.close(write_end)
        self._answers = os.fdopen(read_end)
        first = self._answer(_START_SECONDS)
        if not first or json.loads(first)["outcome"] != "read":
            raise RuntimeError(f"the process that reads does not read a good file: {first}")

    def _queued_seconds(self) -> float:
        """How long the process could have run while others did: the second number of schedstat (proc(5))."""
        assert self._process is not None
        return int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[1]) * 1e-9

    def _answer(self, seconds: float) -> str | None:
        """A line, ``""`` when the process is gone, or ``None`` when time is up."""
        ready, _, _ = select.select([self._answers], [], [], seconds)
        return self._answers.readline() if ready else None

    def kill(self) -> None:
        """End the process; the next answer is that it is gone."""
        if self._process is not None:
            self._process.kill()

    def _forget(self) -> None:
        if self._process is not None:
            # Closing flushes what the process was never told.
            with contextlib.suppress(BrokenPipeError):
                assert self._process.stdin is not None
                self._process.stdin.close()
            self._answers.close()
            self._process.wait()
            self._process = None

    def _left_behind(self) -> tuple[str, ...]:
        left = [path for path in self._folder.rglob("*") if path.is_file()]
        names = tuple(sorted(path.name for path in left))
        for path in left:
            path.unlink()
        return names
