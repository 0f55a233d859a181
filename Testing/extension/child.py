"""What works where only an installed extension lies; run in a process of its own that knows no source tree.

``python -I -S child.py STEP MODULES PACKAGES IMAGE``: the standard library, the folder MODULES as ``qt-scripted-modules``,
the packages in PACKAGES. Says a line of JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

Told = dict[str, object]


def predict(modules: Path, packages: Path, image_path: Path) -> Told:
    """Start a worker as the panel does, and let the shipped model predict an image in it."""
    from DenseLandmarksLib.geometry.read_image import read_image
    from DenseLandmarksLib.worker.blocking import WorkerPredictor
    from DenseLandmarksLib.worker.client import Worker
    from DenseLandmarksLib.worker.launch import Launch

    launch = Launch.with_interpreter(environment={"PYTHONPATH": str(packages), "OMP_NUM_THREADS": "1"})
    # Without site: an installed extension has no editable source tree to fall back on.
    launch = replace(launch, command=(launch.command[0], "-S", *launch.command[1:]))
    image = read_image(image_path)
    with Worker(launch) as worker, worker.client() as client:
        prediction = WorkerPredictor(client, "chest-xray", "cpu").predict(image)
    return {"landmarks": len(prediction.landmarks.names), "doubts": list(prediction.plausibility.doubts)}


def command_line(modules: Path, packages: Path, image_path: Path) -> Told:
    """The command line opens; ``models`` says which models there are."""
    import contextlib
    import io

    from DenseLandmarksLib import cli

    with contextlib.redirect_stdout(io.StringIO()) as said:
        status = cli.main(["models"])
    return {"status": status, "models": said.getvalue()}


STEPS: dict[str, Callable[[Path, Path, Path], Told]] = {"predict": predict, "command_line": command_line}

if __name__ == "__main__":
    sys.path[:0] = sys.argv[2:4]
    told = STEPS[sys.argv[1]](*map(Path, sys.argv[2:5]))
    files = [Path(str(module.__file__)) for name, module in sys.modules.items() if name.startswith("DenseLandmarksLib")]
    elsewhere = sorted(str(file) for file in files if not file.is_relative_to(sys.argv[2]))
    sys.stdout.write(json.dumps({**told, "library_files": len(files), "from_elsewhere": elsewhere}) + "\n")
