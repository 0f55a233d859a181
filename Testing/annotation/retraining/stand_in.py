"""``python -m Testing.annotation.retraining.stand_in finetune ...``: writes the folder of a retraining, and learns nothing.

For tests of what front ends do while a retraining starts, goes on, is cancelled, and dies; the real command, which takes
longer and ends when it ends, has tests of its own. ``HOLD`` in the environment is a file that stops it after an epoch
for as long as it is there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

from DenseLandmarksLib.annotation.file_lock import try_lock
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.files import write_json
from DenseLandmarksLib.models.bundle import METADATA, read_metadata
from DenseLandmarksLib.models.descent import next_version
from DenseLandmarksLib.models.manage_versions import add_version, set_active
from DenseLandmarksLib.models.registry import find_bundle
from DenseLandmarksLib.models.versions import list_versions

EPOCHS = 4
GATE = {
    **{"cases": 3, "persons": 3, "landmarks": 30, "before_mm": 2.5, "after_mm": 2.25},
    **{"difference_mm": [-0.25, -0.5, 0.125], "margin_mm": 0.125, "called_absent": [2, 1]},
    **{"outcome": "not enough evidence", "line": "Not enough evidence: 3 cases; the old version stays active."},
    "by_structure": [{"structure": "heart", "cases": 3, "landmarks": 30, "before_mm": 2.5, "after_mm": 2.25}],
}


def main(argv: list[str]) -> int:
    """Run to the end, or until ``cancel`` is there."""
    given = _arguments(argv)
    output = given.output
    with (output / "run.lock").open("a+b") as lock:
        if not try_lock(lock):
            sys.stderr.write("error: somebody else runs here\n")
            return 2
        if given.resume:
            (output / "cancel").unlink(missing_ok=True)
        done = int((output / "checkpoint").read_text()) if (output / "checkpoint").exists() else 0
        _begin(given)
        for epoch in range(done, EPOCHS):
            _state(output, "training", f"epoch {epoch + 1} of {EPOCHS}", epoch)
            _row(output / "training.csv", f"{epoch},{1 / (epoch + 1):.4f},0.1", "epoch,loss,seconds")
            _row(output / "validation.csv", f"{epoch},{5 - epoch:.4f}", "epoch,error_mm")
            (output / "checkpoint").write_text(str(epoch + 1))
            if _is_told_to_end(output):
                _state(output, "cancelled", f"cancelled after epoch {epoch + 1}", epoch + 1)
                return 0
        _finish(given)
    return 0


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["finetune"])
    for name in ("--model", "--device", "--steps", "--replay"):
        parser.add_argument(name)
    for name in ("--library", "--output", "--data-folder"):
        parser.add_argument(name, type=Path, required=True)
    for name in ("--resume", "--low-priority"):
        parser.add_argument(name, action="store_true")
    return parser.parse_args(argv)


def _begin(given: argparse.Namespace) -> None:
    library, parent = Library.open(given.library), read_metadata(find_bundle(given.model, given.data_folder))
    about = {"id": library.id, "name": library.name, "folder": str(library.folder)}
    run = {
        "format": 1,
        "id": str(given.output),
        "model": given.model,
        "parent": f"{parent['name']} {parent['version']}",
        "library": about,
    }
    write_json(given.output / "run.json", run)


def _state(output: Path, status: str, line: str, epoch: int) -> None:
    left = 2.0 if status == "training" else None
    content = {"status": status, "line": line, "fraction": epoch / EPOCHS, "epoch": epoch, "epochs": EPOCHS}
    write_json(output / "state.json", {**content, "minutes_left": left})


def _row(path: Path, row: str, head: str) -> None:
    text = "" if path.exists() else f"{head}\n"
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{text}{row}\n")


def _is_told_to_end(output: Path) -> bool:
    hold = Path(os.environ.get("HOLD", "/nowhere"))
    while hold.exists() and not (output / "cancel").exists():
        time.sleep(0.01)
    return (output / "cancel").exists()


def _finish(given: argparse.Namespace) -> None:
    output, parent = given.output, find_bundle(given.model, given.data_folder)
    bundle = output / "bundle"
    shutil.copytree(parent, bundle)
    metadata = read_metadata(bundle)
    run = json.loads((output / "run.json").read_text())
    name, version = metadata["name"], next_version(metadata["name"], metadata["version"], given.data_folder)
    descent = {
        **{"parent": run["parent"], "library": run["library"], "revisions": {}, "corrections": {"corrected": 1}},
        **{"new_landmarks": [], "gate": GATE, "trained_on": [], "run": run["id"], "when": "2026-01-01T00:00:00Z"},
    }
    (bundle / METADATA).write_text(json.dumps({**metadata, "version": version, "descent": descent}))
    before = metadata["version"]
    add_version(bundle, given.data_folder)
    if before in [one.version for one in list_versions(name, given.data_folder)]:  # not one that a folder was given for
        set_active(name, before, given.data_folder)
    write_json(output / "gate.json", GATE)
    _state(output, "done", f"{name} {version} is there and not active: {GATE['line']}", EPOCHS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
