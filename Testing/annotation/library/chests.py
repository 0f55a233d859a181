"""Images in files and cases in libraries, as people have them; nothing is stood in for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import SimpleITK as sitk

from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Edit, TakePrediction
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.perfect_answer import chest_image, perfect_answer


def write_chest(folder: Path, template: Template, seed: int = 0, name: str = "") -> Path:
    """A radiograph as a NRRD file; each seed has other pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name or f'chest-{seed}'}.nrrd"
    sitk.WriteImage(chest_image(template, seed=seed).volume, str(path))
    return path


def predicted(case: LibraryCase, template: Template, lost: tuple[str, ...] = (), confidence: float = 0.8) -> CaseState:
    """The case with a prediction that nobody looked at."""
    state, _ = case.load(0)
    image, _ = case.read_image()
    answer = perfect_answer(template, image, lost=lost)
    sure = answer.prediction.landmarks.confidence * 0 + confidence
    landmarks = replace(answer.prediction.landmarks, confidence=sure)
    answer = replace(answer, prediction=replace(answer.prediction, landmarks=landmarks))
    return apply_edit(state, TakePrediction(answer, image.geometry))


def after(state: CaseState, *edits: Edit) -> CaseState:
    for edit in edits:
        state = apply_edit(state, edit)
    return state
