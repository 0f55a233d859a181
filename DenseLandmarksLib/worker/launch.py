"""How a worker is started: which interpreter, in which environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVER = "DenseLandmarksLib.worker.server"


@dataclass(frozen=True)
class Launch:
    """The command that starts a worker.

    ``environment`` is all of the worker's environment, ``None`` for that of this process; ``cwd`` its folder, ``None``
    for this one.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] | None = None
    cwd: Path | None = None

    @classmethod
    def with_interpreter(
        cls, python: str | Path = sys.executable, environment: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Launch:
        """The worker of this source tree under an interpreter, in Slicer PythonSlicer.

        Only the child gets the root of the source tree on its path. ``-P`` keeps the folder that a person happens to be
        in off it: a ``random.py`` there must not become part of the worker.
        """
        given = dict(os.environ if environment is None else environment)
        path = os.pathsep.join(filter(None, (str(ROOT), given.get("PYTHONPATH", ""))))
        return cls((str(python), "-P", "-m", SERVER), {**given, "PYTHONPATH": path}, cwd)
