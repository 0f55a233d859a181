"""Starting a process that outlives the window that started it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from DenseLandmarksLib.worker.launch import Launch

# Windows alone has these; 0 elsewhere. No console, no Ctrl+C of somebody else's, and others come first.
_FLAGS = (
    getattr(subprocess, "CREATE_NO_WINDOW", 0)
    | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    | getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
)
# Nobody waits for them. Python would warn of each that is forgotten while it runs.
_started: list[subprocess.Popen[bytes]] = []


def start_detached(launch: Launch, arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start ``launch`` with further arguments; what it says is added to ``log``. Raises ``OSError`` where it cannot start."""
    _started[:] = [one for one in _started if one.poll() is None]
    with log.open("ab") as said:
        process = subprocess.Popen(
            (*launch.command, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=None if launch.environment is None else dict(launch.environment),
            cwd=launch.cwd,
            # Out of reach of whatever ends the window's session.
            start_new_session=True,
            creationflags=_FLAGS,
        )
    _started.append(process)
    return process
