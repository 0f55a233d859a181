"""Models of volumes of blobs, people who want the chin elsewhere, and what the models learn of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from DenseLandmarksLib.annotation.library.decisions import read_decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.intensity import IntensityRecipe
from DenseLandmarksLib.models.registry import open_predictor
from Testing.training.blob_volumes import LANDMARKS, blob_volume, draw_points
from Testing.training.finetuning.corrected_cases import Annotator
from training.finetuning.recipe import FinetuneRecipe, finetuned, recipe_of
from training.finetuning.volumes import FinetuneHeatmapVolumeTask, FinetuneMultiScaleTask, finetune_task
from training.fit import fit
from training.heatmap_recipe import HeatmapLossRecipe, HeatmapNetworkRecipe
from training.heatmap_volume_recipe import HeatmapVolumeRecipe, TilesRecipe
from training.rewrite_bundle import rewrite_bundle
from training.run_recipe import OptimiserRecipe
from training.trainer import Trainer
from training.volume_recipe import (
    LevelsRecipe,
    LocNetRecipe,
    ScaleLossRecipe,
    VolumeAlterationRecipe,
    VolumeAugmentationRecipe,
    VolumeRecipe,
)

WINDOW = IntensityRecipe("window", 0.0, 240.0)
MULTI_SCALE = VolumeRecipe(
    "blobs",
    "A few epochs on five volumes of blobs.",
    seed=3,
    passes=2,
    confidence_radius_mm=3.0,
    intensity=WINDOW,
    levels=LevelsRecipe(crop_size=16, spacings_mm=(4.0, 2.0)),
    network=LocNetRecipe(channels=(4, 8), convolutions=1),
    loss=ScaleLossRecipe(schedule="equal", distance="huber", point_weight=0.05, heat_weight=1.0),
    augmentation=VolumeAugmentationRecipe(rotation_deg=5, shift_mm=2, guided=0.3, noise_mm=1),
    optimiser=OptimiserRecipe(epochs=6, batch=1, learning_rate=2e-2, ema=0.8),
)
HEATMAPS = HeatmapVolumeRecipe(
    "blobs",
    "A few epochs on five volumes of blobs.",
    seed=3,
    confidence_radius_mm=3.0,
    intensity=WINDOW,
    tiles=TilesRecipe(2.0, (24, 24, 24), 16),
    network=HeatmapNetworkRecipe("CompactHeatmapNet", {"channels": [8, 16], "residual_units": 1}),
    loss=HeatmapLossRecipe("distribution", sigma=1.0, absent_weight=0.2),
    augmentation=VolumeAlterationRecipe(5, shift_mm=2, contrast=0, brightness=0, gamma=0, noise=0.02),
    optimiser=OptimiserRecipe(epochs=8, batch=1, learning_rate=2e-2, ema=0.0),
)
RECIPES = {"multi_scale": MULTI_SCALE, "heatmap_volume": HEATMAPS}
OPTIONS = FinetuneRecipe(steps=20, epochs=2, batch=2, learning_rate_share=0.5, ema=0.0, seed=5)
# Enough for two runs to differ.
SHORT = replace(OPTIONS, steps=4, epochs=1)
CHIN = LANDMARKS.index("chin")
# Where people want the chin: beside the blob that the models were taught.
OFF_MM = np.array([6.0, 0.0, 3.0])
Task = FinetuneMultiScaleTask | FinetuneHeatmapVolumeTask
Decide = Callable[[int], Callable[[Session], None]]


def make_parent(family: str, data: Path, folder: Path, epochs: int = 0, **changes: Any) -> Bundle:
    """As a run leaves it, and calibrated; with ``epochs``, trained for so many instead, and ``changes`` to its recipe."""
    recipe: Any = replace(RECIPES[family], **changes)
    if epochs:
        recipe = replace(recipe, optimiser=replace(recipe.optimiser, epochs=epochs))
    assert fit(recipe, data, folder / family)
    own = {"multi_scale": "shifted", "heatmap_volume": "sigma"}[family]
    ellipsoids = {"weights": {own: 1.0, "heat": 0.5}, "floor_mm2": 0.5, "scales": {"head": 2.0}, "pooled_scale": 7.0}
    measured = {"cases": 5, "coverage": 0.9, "sensitivity": 0.9, "present": 9, "absent": 1, "false_alarms": 0.0}
    calibration = {
        "ellipsoids": {**ellipsoids, "level": 0.9, "measured": measured},
        "presence": {"features": ["heat", "inside"], "weights": [0.0, 1.0], "bias": 3.0, "measured": measured},
        "uses_shape": True,
        "plausibility": {"limits": {"shape_sd": 2.5}, "cases": 5, "above": 0, "false_alarms": 0.01},
    }
    rewrite_bundle(load_bundle(folder / family / "bundle"), inference=calibration)
    return load_bundle(folder / family / "bundle")


def person(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The landmarks (4, 3) of one more person, and the middle (3,) of the volume, LPS mm."""
    return draw_points(np.random.default_rng(100 + seed))


def write_image(folder: Path, seed: int) -> Path:
    """The volume of that person."""
    path = folder / f"person-{seed}.nrrd"
    sitk.WriteImage(sitk.Cast(blob_volume(*person(seed)), sitk.sitkInt16), str(path))
    return path


def correct_chin(seed: int) -> Callable[[Session], None]:
    """Drag it to where people want it."""
    return lambda session: session.move({"chin": person(seed)[0][CHIN] + OFF_MM})


def annotated(folder: Path, parent: Bundle, decide: Decide, count: int = 3) -> Library:
    """A library of so many people, each decided as ``decide`` says."""
    annotator = Annotator.begin(folder, parent.folder)
    for seed in range(count):
        annotator.work_on(write_image(folder, seed), decide(seed))
    return annotator.library


def task_of(library: Library, parent: Bundle, replay: Path | None = None, options: FinetuneRecipe = OPTIONS) -> Task:
    """What a run does with a library, before its first step."""
    recipe = finetuned(recipe_of(parent), options)
    assert isinstance(recipe, VolumeRecipe | HeatmapVolumeRecipe)
    decisions, lines = read_decisions(library)
    assert lines == ()
    return finetune_task(recipe, decisions, library, replay, parent, options, "cpu")


def trained(task: Task) -> Trainer:
    """All epochs of a task."""
    trainer = Trainer(task)
    for _ in range(task.optimiser.epochs):
        trainer.run_epoch()
    return trainer


@dataclass(frozen=True)
class Run:
    """A library and its task, the error before the first step, what it came to and the bundle of that."""

    library: Library
    task: Task
    before: dict[str, float]
    trainer: Trainer
    bundle: Bundle


def learn_chins(parent: Bundle, folder: Path) -> Run:
    """The chin of three people is corrected, and the bundle that comes out."""
    library = annotated(folder, parent, correct_chin)
    task = task_of(library, parent)
    before = task.validate(task.new_network())
    trainer = trained(task)
    task.export(folder / "bundle", trainer.best_network, parent)
    return Run(library, task, before, trainer, load_bundle(folder / "bundle"))


def predicted(bundle: Bundle, seed: int) -> Any:
    """Where a model finds the landmarks of that person."""
    predictor = open_predictor(str(bundle.folder), "cpu")
    return predictor.predict(MedicalImage(blob_volume(*person(seed)), SpacingSource.CALIBRATED)).landmarks
