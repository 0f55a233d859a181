"""Retrainings of a tiny model from a library of chests."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.worker.launch import Launch
from Testing.annotation.perfect_answer import chest_image
from Testing.scene.open_cases import chest_library, predict

STAND_IN = "Testing.annotation.retraining.stand_in"
WITHIN_S = 20.0


def launch(hold: Path, module: str = STAND_IN) -> Launch:
    """Starts the stand-in, which waits after an epoch while ``hold`` is there."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOLD": str(hold)}
    return Launch.with_interpreter(environment=environment, module=module)


def taught_library(folder: Path, template: Template, count: int = 2, corrected: int = 3) -> Library:
    """A library of chests; in each some landmarks are corrected, one is absent and the others are accepted."""
    library = chest_library(folder, template, count)
    for entry in library.cases():
        session = Session(library.case(entry.id), "anna", data_folder=folder / "taught")
        predict(session, template)
        teach(session, corrected)
        session.close()
    return library


def teach(session: Session, corrected: int = 3) -> None:
    """Decide a case as :func:`taught_library` does, and save it."""
    landmarks = session.state.landmarks
    for name in landmarks.names[:corrected]:
        row = landmarks.names.index(name)
        session.move({name: landmarks.points_lps_mm[row] + (0.5, 0.5, 0.0)})
    session.mark_absent(landmarks.names[corrected])
    session.accept_remaining()
    session.save()


def place_blind(library: Library, folder: Path, template: Template) -> str:
    """One more case, in which two landmarks were placed before any prediction; returns its id."""
    sitk.WriteImage(chest_image(template, 128, 77).volume, str(folder / "blind.nrrd"))
    case = library.add(folder / "blind.nrrd")
    session = Session(case, "anna", data_folder=folder / "taught")
    session.start_blind((("heart_01", "heart"), ("heart_02", "heart")))
    for name in ("heart_01", "heart_02"):
        session.place(name, session.state.geometry.origin_lps_mm)
    session.save()
    session.close()
    return case.id


def until(done: Callable[[], Any], what: str = "what was waited for", at_most_s: float = WITHIN_S) -> Any:
    """Wait for something; returns it."""
    end = time.monotonic() + at_most_s
    while time.monotonic() < end:
        found = done()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen")
