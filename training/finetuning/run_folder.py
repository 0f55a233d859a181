"""The folder of a run of fine-tuning: what it writes for whoever looks, and what it is told through it.

::

    run.json          which model, library and options, and with which data, weights and program it began; written first
    run.lock          held as long as the process lives: ``state.json`` says "training" and nobody holds it, so it crashed
    state.json        how far it is, in one line for a person
    cancel            made by a front end: the run ends at its next step or case and can be gone on with
    cases.json        what it learns from, revision by revision
    recipe.json  training.csv  validation.csv  checkpoint.pt     as of every training
    bundle/  gate.json  report.md                                what came of it
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from DenseLandmarksLib.annotation.file_lock import try_lock
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_json

FORMAT = 1
RUN, LOCK, STATE, CANCEL, CASES = "run.json", "run.lock", "state.json", "cancel", "cases.json"
GATE, REPORT, BUNDLE = "gate.json", "report.md", "bundle"

Status = Literal["reading", "training", "comparing", "done", "failed", "cancelled"]

# Where each part of a run begins and ends on its bar.
READ, TRAINED = 0.05, 0.9
# Whoever looks does so about this often, and each look at the disk costs a flush.
_EVERY_S = 1.0
# Others lock the file for microseconds to see whether somebody has it.
_TRIES, _PAUSE_S = 20, 0.05


class CancelledError(Exception):
    """Somebody asked the run to end, or its time is over; the argument says which, in one line."""


class OtherRunError(InputError):
    """The folder holds another run than the one that is asked for; it stays as it is."""


class RunFolder:
    """The folder of a run, while a process works in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._told_at = 0.0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder; raises :class:`InputError` where another process works in it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("a+b") as lock:
            for _ in range(_TRIES):
                if try_lock(lock):
                    break
                time.sleep(_PAUSE_S)
            else:
                raise InputError(
                    f"expected a folder that no process works in, got {self.folder}, where a run is under way. Wait for it."
                )
            yield

    def read(self, name: str) -> dict[str, Any] | None:
        """One of its JSON files, ``None`` where it is not there yet; raises :class:`InputError` for a damaged one."""
        path = self.folder / name
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            raw = None
        if not isinstance(raw, dict):
            raise InputError(f"expected a file of a run in {path}, got one that is damaged. Begin in another folder.")
        return raw

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write one of its JSON files, whole or not at all."""
        write_json(self.folder / name, content)

    def tell(
        self,
        status: Status,
        line: str,
        fraction: float,
        epoch: int = 0,
        epochs: int = 0,
        minutes_left: float | None = None,
    ) -> None:
        """Say how far it is."""
        self._told_at = time.monotonic()
        self.write(
            STATE,
            {
                "status": status,
                "line": " ".join(line.split()),
                "fraction": round(fraction, 4),
                "epoch": epoch,
                "epochs": epochs,
                "minutes_left": None if minutes_left is None else round(minutes_left, 1),
            },
        )

    @property
    def is_time_to_tell(self) -> bool:
        """Whether what was told last is old."""
        return time.monotonic() - self._told_at > _EVERY_S

    @property
    def last_fraction(self) -> float:
        """How far it was when it last told, for what ends it."""
        state = self.read(STATE) or {}
        return float(state.get("fraction", 0.0))

    def go_on(self) -> None:
        """It is asked to go on: what asked it to end is over."""
        (self.folder / CANCEL).unlink(missing_ok=True)

    def check_cancelled(self) -> None:
        """Raise :class:`CancelledError` where somebody asked for it."""
        if (self.folder / CANCEL).exists():
            raise CancelledError("cancelled")
