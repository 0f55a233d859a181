"""Opening a case library, and saving and opening one case of it."""

from __future__ import annotations

import tempfile
from itertools import count
from pathlib import Path

import numpy as np

from DenseLandmarksLib.annotation.edits import Move
from DenseLandmarksLib.annotation.library.library import Library
from Testing.annotation.library.chests import after
from Testing.annotation.library.many_cases import library_of
from Testing.benchmarks.chest import chest_template
from Testing.benchmarks.timing import Row, in_turns

CASES = 1000
OPEN_AT_MOST_MS = 2000.0


def library_rows() -> list[Row]:
    """A thousand cases with files of real size; the disk's cache is warm after the first call, which is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        library = library_of(CASES, Path(folder), chest_template())
        case = library.case(library.cases()[0].id)
        state, _ = case.load()
        numbers = count()

        def open_library() -> None:
            assert len(Library.open(library.folder).cases()) == CASES

        def save() -> None:
            position = (30.0 + next(numbers) / 100, 40.0, 0.0)
            case.save(after(state, Move((("right_lung_03", position),))), "reader-1", 3)

        open_ms, save_ms, load_ms = np.median(in_turns([open_library, save, case.load]), axis=0)
    within = f"≤ {OPEN_AT_MOST_MS:g} ms"
    return [
        Row("open a library of 1,000 cases", open_ms, None, None, within, bool(open_ms <= OPEN_AT_MOST_MS)),
        Row("save a revision of a case, masks and all", save_ms, None, None, None, None),
        Row("open a case", load_ms, None, None, None, None),
    ]
