"""``python -m Testing.scene.walk``: a person who does anything to a scene in any order, and loses nothing.

A walk takes random steps in a real scene with two cases of a real library: drags and table edits, transforms, painting, nodes
that are removed, undo, saves, scenes that are saved and read, applications that end. Each step knows what it must have
done, and after each all that everybody may rely on is checked. A walk is a list of (kind of step, number): the same list
does the same again, so a failure is cut down to the few steps that it needs.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from vtkmodules.vtkCommonCore import vtkLogger, vtkOutputWindow

from Testing.scene.walk.person import Walk
from Testing.scene.walk.rules import STEPS_OF_A_WALK, BrokenRuleError, Step
from Testing.scene.walk.steps import STEPS

# Each of them adds its steps to those that there are.
for part in ("point", "image", "structure", "session", "desk"):
    import_module(f"Testing.scene.walk.{part}_steps")


def draw(seed: int, count: int) -> list[Step]:
    """The steps of a walk."""
    rng = random.Random(seed)
    kinds, weights = list(STEPS), [weight for weight, _ in STEPS.values()]
    return [(rng.choices(kinds, weights)[0], rng.randrange(10**6)) for _ in range(count)]


@contextmanager
def hearing_errors(errors: list[str]) -> Iterator[None]:
    """Collect errors of VTK, errors in callbacks, which VTK only prints, and warnings of the library."""

    def heard(_: Any, __: Any, text: str) -> None:
        # Slicer makes surfaces anew when it empties a segment that has some, and then finds nothing to make them of.
        if "vtkDiscreteFlyingEdges3D" not in text:
            errors.append(text)

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            errors.append(record.getMessage())

    heard.CallDataType = "string0"  # type: ignore[attr-defined]
    window, hook, handler = vtkOutputWindow.GetInstance(), sys.excepthook, Handler(logging.WARNING)
    mode = window.GetDisplayMode()
    window.SetDisplayMode(window.NEVER)  # warnings of a scene without a selection node, and what is packed in a bundle
    tag = window.AddObserver("ErrorEvent", heard)
    sys.excepthook = lambda kind, error, trace: errors.append("".join(traceback.format_exception(kind, error, trace)))
    logging.getLogger("DenseLandmarksLib").addHandler(handler)
    try:
        yield
    finally:
        window.RemoveObserver(tag)
        window.SetDisplayMode(mode)
        sys.excepthook = hook
        logging.getLogger("DenseLandmarksLib").removeHandler(handler)


def walk_along(steps: Sequence[Step]) -> tuple[Walk, int, Exception | None]:
    """Take steps in a library and a scene of their own; returns how many were taken, and what went wrong."""
    with tempfile.TemporaryDirectory(prefix="scene-machine-") as folder:
        walk = Walk(Path(folder))
        with hearing_errors(walk.errors):
            for n, (kind, number) in enumerate(steps):
                try:
                    walk.step(kind, number)
                except Exception as error:  # whatever it is, it is what the walk looks for
                    return walk, n + 1, error
            try:
                walk.desk.close()
                walk.check_nothing_left()
            except Exception as error:
                return walk, len(steps), error
        return walk, len(steps), None


def fault_of(error: Exception) -> tuple[str, ...]:
    """What is the same of two errors that have the same cause."""
    if isinstance(error, BrokenRuleError):
        return (str(error).split(":")[0],)
    frames = traceback.extract_tb(error.__traceback__)
    return type(error).__name__, frames[-1].name


def shortest(steps: Sequence[Step], error: Exception) -> list[Step]:
    """As few of the steps as lead to the same fault."""
    kept, fault = list(steps), fault_of(error)

    def fails(tried: list[Step]) -> bool:
        _, taken, again = walk_along(tried)
        del taken
        return again is not None and fault_of(again) == fault

    size = max(len(kept) // 2, 1)
    while True:
        n, cut = 0, False
        while n < len(kept):
            without = kept[:n] + kept[n + size :]
            if fails(without):
                kept, cut = without, True
            else:
                n += size
        if size == 1 and not cut:
            return kept
        size = max(size // 2, 1)


def main() -> int:
    """Walk until enough steps were taken; a fault is cut down and shown."""
    parser = argparse.ArgumentParser(prog="python -m Testing.scene.walk", description=__doc__)
    parser.add_argument("--steps", type=int, default=2000, help="steps to take in all")
    parser.add_argument("--seed", type=int, default=1, help="of the first walk; the others follow")
    parser.add_argument("--go-on", action="store_true", help="go on after a fault")
    arguments = parser.parse_args()
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    started, taken, seed, faults = time.perf_counter(), 0, arguments.seed, 0
    kinds: Counter[str] = Counter()
    done = refused = 0
    known: set[tuple[str, ...]] = set()
    while taken < arguments.steps:
        steps = draw(seed, STEPS_OF_A_WALK)
        walk, count, error = walk_along(steps)
        taken += count
        kinds += walk.taken
        done, refused = done + walk.edits, refused + walk.refusals
        if error is not None:
            faults += 1
            print(f"seed {seed}: {''.join(traceback.format_exception(error))}", flush=True)
            if fault_of(error) not in known:
                known.add(fault_of(error))
                print(f"shortest: {shortest(steps[:count], error)}", flush=True)
            if not arguments.go_on:
                return 1
        seed += 1
    by_kind = ", ".join(f"{kind} {number}" for kind, number in kinds.most_common())
    print(
        f"{taken} random steps, {done} edits, {refused} refusals, {faults} faults, {time.perf_counter() - started:.0f} s"
    )
    print(by_kind)
    return 1 if faults else 0
