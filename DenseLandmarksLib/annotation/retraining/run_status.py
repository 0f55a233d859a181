"""How a retraining goes: what its process wrote last, and whether it is still there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from DenseLandmarksLib.annotation.file_lock import is_locked
from DenseLandmarksLib.annotation.library.json_file import read_json
from DenseLandmarksLib.errors import InputError

STATE, LOCK, CANCEL, LOG = "state.json", "run.lock", "cancel", "log.txt"
_LAST_LINE_CHARACTERS, _TAIL_BYTES = 200, 1 << 14


class Phase(StrEnum):
    """Where a retraining is; all but ``STARTING`` and ``INTERRUPTED`` are words of its process."""

    STARTING = "starting"
    READING = "reading"
    TRAINING = "training"
    COMPARING = "comparing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def is_under_way(self) -> bool:
        """Whether a process is at it."""
        return self in _UNDER_WAY

    @property
    def can_go_on(self) -> bool:
        """Whether it ended before it was done, and goes on from its last checkpoint where somebody wants it to."""
        return self in (Phase.CANCELLED, Phase.INTERRUPTED, Phase.FAILED)


_UNDER_WAY = (Phase.STARTING, Phase.READING, Phase.TRAINING, Phase.COMPARING)


@dataclass(frozen=True)
class RunStatus:
    """How it goes.

    Attributes
    ----------
    line : for a person, one line.
    fraction : of the whole run, 0 to 1.
    epoch, epochs : how many are done, and how many there are to be.
    minutes_left : as the process expects; ``None`` where it does not know.
    is_cancelling : whether it was told to end and has not ended yet.
    """

    phase: Phase
    line: str = ""
    fraction: float = 0.0
    epoch: int = 0
    epochs: int = 0
    minutes_left: float | None = None
    is_cancelling: bool = False


def read_status(folder: Path, is_starting: bool, is_alive: bool = False) -> RunStatus:
    """The status of the run in a folder. Never raises: whatever cannot be read is what the line says.

    ``is_starting``: its process was started and has not written anything since. ``is_alive``: it is known to be there.
    """
    is_there = is_alive or _is_held(folder / LOCK)
    is_cancelling = (folder / CANCEL).exists()
    try:
        state = read_json(folder / STATE, "the state of a retraining", "Retrain again.")
    except InputError as error:
        if is_there or is_starting:
            return RunStatus(Phase.STARTING, "starting …", is_cancelling=is_cancelling)
        if (folder / STATE).exists():
            return RunStatus(Phase.INTERRUPTED, str(error))
        return RunStatus(Phase.INTERRUPTED, _ended_early(folder))
    phase, status = _phase(state), _status(state)
    if phase.is_under_way and not is_there and not is_starting:
        line = f"interrupted: the process ended without a word. {_ended_early(folder)}"
        return _with(status, Phase.INTERRUPTED, line, False)
    if not phase.is_under_way and is_starting:  # told to go on, and has not come to it yet
        return _with(status, Phase.STARTING, "starting …", is_cancelling)
    return _with(status, phase, status.line, phase.is_under_way and is_cancelling)


def _with(status: RunStatus, phase: Phase, line: str, is_cancelling: bool) -> RunStatus:
    left = status.minutes_left if phase.is_under_way else None
    return RunStatus(phase, line, status.fraction, status.epoch, status.epochs, left, is_cancelling)


def _phase(state: dict[str, Any]) -> Phase:
    said = state.get("status")
    return Phase(said) if said in tuple(Phase) else Phase.FAILED


def _status(state: dict[str, Any]) -> RunStatus:
    """What is in it that can be used; a number that is none is the one that says least."""
    line = state.get("line")
    return RunStatus(
        Phase.READING,
        " ".join(line.split()) if isinstance(line, str) else "",
        min(1.0, max(0.0, _number(state.get("fraction"), 0.0) or 0.0)),
        int(_number(state.get("epoch"), 0.0) or 0),
        int(_number(state.get("epochs"), 0.0) or 0),
        _number(state.get("minutes_left"), None),
    )


def _number(said: object, otherwise: float | None) -> float | None:
    is_number = isinstance(said, int | float) and not isinstance(said, bool) and math.isfinite(said)
    return float(said) if is_number else otherwise  # type: ignore[arg-type]


def _is_held(lock: Path) -> bool:
    try:
        return is_locked(lock)
    except OSError:  # none was made yet
        return False


def _ended_early(folder: Path) -> str:
    """What the process said last, before it ended."""
    said = last_line(folder / LOG)
    return f"Its log ends with: {said}" if said else "Its log is empty."


def last_line(log: Path) -> str:
    """The last line of a log that says something, shortened; empty without any."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    # A progress bar goes back to the start of its line.
    spoken = [" ".join(line.split()) for line in text.replace("\r", "\n").split("\n") if line.strip()]
    return spoken[-1][:_LAST_LINE_CHARACTERS] if spoken else ""
