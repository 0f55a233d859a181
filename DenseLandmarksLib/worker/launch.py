"""How a process of ours is started: which interpreter, in which environment, which module it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVER, TRAINING = "DenseLandmarksLib.worker.server", "training"


@dataclass(frozen=True)
class Launch:
    """The command that starts a process.

    ``environment`` is all of the process's environment, ``None`` for that of this process; ``cwd`` its folder, ``None``
    for this one.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] | None = None
    cwd: Path | None = None

    @classmethod
    def with_interpreter(
        cls,
        python: str | Path = sys.executable,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        module: str = SERVER,
    ) -> Launch:
        """A module of this source tree under an interpreter, in Slicer PythonSlicer: the worker, or ``TRAINING``.

        Only the child gets the root of the source tree on its path. ``-P`` keeps the folder that a person happens to be
        in off it: a ``random.py`` there must not become part of the worker.
        """
        given = dict(os.environ if environment is None else environment)
        roots = [str(ROOT)]
        if module == TRAINING and not (ROOT / TRAINING).is_dir():
            roots.append(str(_installed_training()))
        path = os.pathsep.join(filter(None, (*roots, given.get("PYTHONPATH", ""))))
        return cls((str(python), "-P", "-m", module), {**given, "PYTHONPATH": path}, cwd)


def _installed_training() -> Path:
    """Where CMakeLists.txt puts ``training``: out of reach of Slicer's own Python, and of other extensions."""
    return ROOT.parents[2] / "share" / ROOT.parent.name / ROOT.name / "DenseLandmarks"
