"""A case in a slice view: bringing a prediction in, and one frame of a drag."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.models.bundle import read_description
from DenseLandmarksLib.models.registry import find_bundle
from DenseLandmarksLib.scene.desk import Desk
from Testing.annotation.perfect_answer import perfect_answer
from Testing.benchmarks.timing import Row
from Testing.scene.offscreen import OffscreenSlice
from Testing.scene.open_cases import chest_library, world_ras_mm

VIEW = (1024, 1024)
FRAME_AT_MOST_MS, PREDICTION_AT_MOST_MS = 100.0, 300.0
_FRAMES, _ROUNDS = 60, 11


def scene_rows() -> list[Row]:
    """The shipped model's 166 landmarks, an ellipse each, and five structures, on images of two sizes."""
    return [row for side in (1024, 2048) for row in _rows(side)]


def _rows(side: int) -> list[Row]:
    described = read_description(find_bundle("chest-xray"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        library = chest_library(folder, described.template, 1, side)
        screen = OffscreenSlice(VIEW)
        desk = Desk(screen.scene, "reader-1", lambda line: None, folder / "user")
        case = desk.open(library.case(library.cases()[0].id))
        screen.look_at(case.image.volume)
        image, _ = case.session.case.read_image()
        prediction = perfect_answer(described.template, image).prediction
        taken_ms = []
        for _ in range(_ROUNDS):
            # A new object each time, as if it had just come from the worker: nothing is known of it yet.
            answer = ModelAnswer(prediction, described.template, described.styles)
            start = time.perf_counter()
            case.session.take(answer, image.geometry)
            taken_ms.append(1000 * (time.perf_counter() - start))
            screen.render()
            case.undo()
            screen.render()
        case.redo()
        screen.render()
        name = case.session.state.landmarks.names[10]
        x, y = screen.display_xy(world_ras_mm(case, name))
        screen.press(x, y)
        frame_ms = []
        for frame in range(_FRAMES):
            start = time.perf_counter()
            screen.move_unseen(x + frame // 2, y)  # Slicer moves the point
            case.poll()  # neighbours come along
            screen.render()
            frame_ms.append(1000 * (time.perf_counter() - start))
        screen.release(x + _FRAMES // 2, y)
        start = time.perf_counter()
        case.poll()
        dropped_ms = 1000 * (time.perf_counter() - start)
        desk.close()
        screen.close()
    on = f"on {side} x {side} pixels"
    take, frame = float(np.median(taken_ms)), float(np.median(frame_ms))
    return [
        Row(
            f"prediction into the scene {on}",
            take,
            None,
            None,
            f"≤ {PREDICTION_AT_MOST_MS:g} ms",
            take <= PREDICTION_AT_MOST_MS,
        ),
        Row(f"a frame of a drag {on}", frame, None, None, f"≤ {FRAME_AT_MOST_MS:g} ms", frame <= FRAME_AT_MOST_MS),
        Row(f"a point is dropped {on}", dropped_ms, None, None, None, None),
    ]
