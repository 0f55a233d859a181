"""A library of phantom chest radiographs, a small model that knows them badly, and a person who corrects what it says."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.landmarks.template import Template
from Testing.training.finetuning.corrected_cases import Annotator
from training.dense_shape_recipe import DenseShapeRecipe, NetworkRecipe, TargetRecipe
from training.finetune import finetune
from training.finetuning.recipe import FinetuneRecipe
from training.finetuning.request import FinetuneRequest
from training.phantoms import DEMO_SEEDS, Phantom, draw_phantom, phantom_image
from training.run_recipe import AugmentationRecipe, OptimiserRecipe

SIZE = (96, 96)
LUNGS = ("right_lung", "left_lung")
MODEL = DenseShapeRecipe(
    "small-chest",
    "A few epochs on eight phantoms.",
    seed=3,
    network=NetworkRecipe(channels=(8, 16)),
    target=TargetRecipe(grid=(48, 48), structures=LUNGS),
    augmentation=AugmentationRecipe(rotation_deg=4, scale=(0.95, 1.05), shift=0.02, contrast=0.1, brightness=0.1),
    optimiser=OptimiserRecipe(epochs=20, batch=4, learning_rate=1e-2, ema=0.9),
)
FEW_STEPS = FinetuneRecipe(steps=6, epochs=3, ema=0.0, learning_rate_share=0.3)
# For long enough to see what was learned; nothing keeps the weights where they were.
LEARN = replace(FEW_STEPS, steps=36, pull=0.0)
# What many pixels teach is seen sooner.
LEARN_MASKS = replace(LEARN, steps=15)


def phantom_of(template: Template, number: int) -> Phantom:
    """None of those that the model was trained on."""
    return draw_phantom(template, DEMO_SEEDS[20 + number], SIZE)


def write_phantom(folder: Path, phantom: Phantom) -> Path:
    """The radiograph as a file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"phantom-{phantom.seed}.nrrd"
    sitk.WriteImage(phantom_image(phantom).volume, str(path))
    return path


def truth_of(session: Session, phantom: Phantom) -> dict[str, np.ndarray]:
    """Where each landmark is, LPS mm."""
    points = lps_mm_from_pixels(session.state.geometry, phantom.landmarks_px)
    return dict(zip(phantom.template.landmark_names, points, strict=True))


def correct(session: Session, phantom: Phantom, names: Sequence[str]) -> None:
    """Put landmarks where they are, whether the model saw them or not; what the session refuses is left as it is."""
    truth = truth_of(session, phantom)
    owner = {name: s.name for s in phantom.template.structures for name in s.landmark_names}
    landmarks = session.state.landmarks
    seen = [
        name
        for name, presence in zip(landmarks.names, landmarks.presence, strict=True)
        if name in names and presence is Presence.PRESENT
    ]
    for name in names:
        with suppress(InputError):  # a small model is so wrong that a structure would turn over
            if name in seen:
                session.move({name: truth[name]})
            else:
                session.place(name, truth[name], owner[name])


def every_third(template: Template) -> tuple[str, ...]:
    """Some landmarks of each lung."""
    return tuple(name for lung in LUNGS for name in template.structure(lung).landmark_names[::3])


def corrected_library(folder: Path, bundle: Path, template: Template, cases: int = 3) -> Annotator:
    """A library in which a third of the landmarks of each case is corrected."""
    annotator = Annotator.begin(folder, bundle)
    for number in range(cases):
        phantom = phantom_of(template, number)
        annotator.work_on(
            write_phantom(folder / "images", phantom),
            partial(correct, phantom=phantom, names=every_third(template)),
        )
    return annotator


def copy_of(annotator: Annotator, folder: Path) -> Annotator:
    """The same library with its images, to change; it has no versions yet."""
    for part in ("library", "images"):
        shutil.copytree(annotator.folder / part, folder / part)
    return Annotator(Library.open(folder / "library"), annotator.bundle, folder)


def reopened(annotator: Annotator, case_id: str) -> Session:
    """The case again, to decide more."""
    return Session(annotator.library.case(case_id), "an annotator", data_folder=annotator.folder / "user")


def request_for(
    annotator: Annotator, output: Path, options: FinetuneRecipe = FEW_STEPS, **changes: object
) -> FinetuneRequest:
    """To learn from that library on the CPU; versions go beside it."""
    request = FinetuneRequest(
        str(annotator.bundle),
        annotator.library.folder,
        output,
        options,
        data_folder=annotator.folder / "versions",
    )
    return replace(request, **changes)  # type: ignore[arg-type]


def run(annotator: Annotator, output: Path, options: FinetuneRecipe = FEW_STEPS, **changes: object) -> Path:
    """The whole of it; returns the folder of the run."""
    assert finetune(request_for(annotator, output, options, **changes))
    return output


def case_ids(library: Library) -> list[str]:
    """In the order of the library's list."""
    return [entry.id for entry in library.cases()]
