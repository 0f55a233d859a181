"""The process that reads: one path a line on standard input, one JSON answer each on file descriptor ``--answers``.

It is a process of its own because a reader written in C++ may crash, hang or eat all memory, and because it prints
past Python. Everything that it prints goes into files, which the answer quotes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from DenseLandmarksLib.errors import InputError

# Far above what is allowed, so that a failed allocation hides nothing, and below what would hurt the machine.
_ADDRESS_SPACE = 16 << 30


def main() -> None:
    """Answer until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--answers", type=int, required=True, help="file descriptor")
    parser.add_argument("--output", type=Path, required=True, help="folder for results of predict")
    parser.add_argument("--model", help="predict with this model instead of only reading")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    act = _predict(arguments.model, arguments.output) if arguments.model else _read
    with (
        os.fdopen(arguments.answers, "w") as answers,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as error,
    ):
        printed = (out, error)
        for descriptor, file in enumerate(printed, start=1):
            os.dup2(file.fileno(), descriptor)
        # The first reading imports readers (and loads the model); no damaged file is charged with that.
        with tempfile.TemporaryDirectory() as folder:
            slope = Path(folder) / "slope.png"
            Image.fromarray(np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)).save(slope)
            first = _answer(act, slope, printed)
        for left in arguments.output.rglob("*"):
            left.unlink()
        print(json.dumps(first), file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(_answer(act, Path(line.rstrip("\n")), printed)), file=answers, flush=True)


def _answer(
    act: Callable[[Path], tuple[str, str]], path: Path, printed: tuple[IO[bytes], IO[bytes]]
) -> dict[str, object]:
    """How it ended (``"read"``, ``"refused"`` or ``"traceback"``), what was said, what was printed, and the memory."""
    for file in printed:
        file.seek(0)
        file.truncate()
    # Resets VmHWM, the peak of the resident memory (proc(5)).
    Path("/proc/self/clear_refs").write_text("5")
    try:
        outcome, message = act(path)
    except BaseException:  # whatever it is, it is what the person would have seen
        outcome, message = "traceback", traceback.format_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    for file in printed:
        file.seek(0)
    out, error = (file.read(1 << 16).decode(errors="replace") for file in printed)
    return {
        "outcome": outcome,
        "message": message,
        "out": out,
        "error": error,
        "peak_bytes": _peak_bytes(),
    }


def _peak_bytes() -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def _read(path: Path) -> tuple[str, str]:
    from DenseLandmarksLib.geometry.read_image import read_image

    try:
        image = read_image(path)
    except InputError as error:
        return "refused", str(error)
    return "read", f"{image.volume.GetSize()} {image.volume.GetPixelIDTypeAsString()}"


def _predict(model: str, output: Path) -> Callable[[Path], tuple[str, str]]:
    def act(path: Path) -> tuple[str, str]:
        from DenseLandmarksLib.cli import main

        status = 0
        with contextlib.suppress(SystemExit):
            status = main(["predict", str(path), "--model", model, "--output", str(output), "--device", "cpu"])
        return ("read" if status == 0 else "refused"), f"status {status}"

    return act


if __name__ == "__main__":
    main()
