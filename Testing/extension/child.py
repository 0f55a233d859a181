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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from DenseLandmarksLib.worker.launch import Launch

Told = dict[str, object]


def _launch(packages: Path, module: str | None = None) -> Launch:
    """How the panel starts a process, the worker for ``None``."""
    from DenseLandmarksLib.worker.launch import SERVER, Launch

    environment = {"PYTHONPATH": str(packages), "OMP_NUM_THREADS": "1"}
    launch = Launch.with_interpreter(environment=environment, module=module or SERVER)
    # Without site: an installed extension has no editable source tree to fall back on.
    return replace(launch, command=(launch.command[0], "-S", *launch.command[1:]))


def predict(modules: Path, packages: Path, image_path: Path) -> Told:
    """Start a worker as the panel does, and let the shipped model predict an image in it."""
    from DenseLandmarksLib.geometry.read_image import read_image
    from DenseLandmarksLib.worker.blocking import WorkerPredictor
    from DenseLandmarksLib.worker.client import Worker

    image = read_image(image_path)
    with Worker(_launch(packages)) as worker, worker.client() as client:
        prediction = WorkerPredictor(client, "chest-xray", "cpu").predict(image)
    return {"landmarks": len(prediction.landmarks.names), "doubts": list(prediction.plausibility.doubts)}


def retrain(modules: Path, packages: Path, image_path: Path) -> Told:
    """Correct a landmark of a predicted image and let a model learn from it, in a process as the panel starts it."""
    import time

    from DenseLandmarksLib.annotation.library.library import Library
    from DenseLandmarksLib.annotation.library.predict_cases import predict_cases
    from DenseLandmarksLib.annotation.retraining.retraining import LOG, Retraining
    from DenseLandmarksLib.annotation.session import Session
    from DenseLandmarksLib.models.bundle import load_bundle
    from DenseLandmarksLib.models.registry import find_bundle
    from DenseLandmarksLib.worker.blocking import WorkerPredictor
    from DenseLandmarksLib.worker.client import Worker
    from DenseLandmarksLib.worker.launch import TRAINING

    here = Path.cwd()
    library = Library.create(here / "library", "retrained")
    case_id = library.add(image_path).id
    with Worker(_launch(packages)) as worker, worker.client() as client:
        bundle = load_bundle(find_bundle("chest-xray"))
        (told,) = predict_cases(library, bundle, WorkerPredictor(client, "chest-xray", "cpu"), "model")
    assert not told.problem, told.problem
    session = Session(library.case(case_id), "annotator", data_folder=here / "user")
    name = session.state.landmarks.names[0]
    session.move({name: session.state.landmarks.points_lps_mm[0] + [2.0, 0.0, 0.0]})
    session.save()
    session.close()
    training = _launch(packages, TRAINING)
    run = Retraining.start(training, "chest-xray", library, here / "run", here / "user", steps=2, device="cpu")
    until = time.monotonic() + 270
    while run.status.phase.is_under_way and time.monotonic() < until:
        time.sleep(0.2)
    log = run.folder / LOG
    return {"phase": str(run.status.phase), "log": log.read_text(encoding="utf-8") if log.is_file() else ""}


def command_line(modules: Path, packages: Path, image_path: Path) -> Told:
    """The command line opens; ``models`` says which models there are."""
    import contextlib
    import io

    from DenseLandmarksLib import cli

    with contextlib.redirect_stdout(io.StringIO()) as said:
        status = cli.main(["models"])
    return {"status": status, "models": said.getvalue()}


STEPS: dict[str, Callable[[Path, Path, Path], Told]] = {
    "predict": predict,
    "retrain": retrain,
    "command_line": command_line,
}

if __name__ == "__main__":
    sys.path[:0] = sys.argv[2:4]
    told = STEPS[sys.argv[1]](*map(Path, sys.argv[2:5]))
    files = [Path(str(module.__file__)) for name, module in sys.modules.items() if name.startswith("DenseLandmarksLib")]
    elsewhere = sorted(str(file) for file in files if not file.is_relative_to(sys.argv[2]))
    sys.stdout.write(json.dumps({**told, "library_files": len(files), "from_elsewhere": elsewhere}) + "\n")
