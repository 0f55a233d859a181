"""A heatmap model of radiographs of blobs, people who want the nose elsewhere, and what the model learns of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from DenseLandmarksLib.annotation.library.decisions import read_decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.registry import open_predictor
from Testing.training.blob_radiographs import MEAN_PX, SPACING_MM, blob_image
from Testing.training.finetuning.corrected_cases import Annotator
from training.finetuning.heatmap import FinetuneHeatmapTask, finetune_task
from training.finetuning.recipe import FinetuneRecipe, finetuned, recipe_of
from training.fit import fit
from training.heatmap_recipe import HeatmapNetworkRecipe, HeatmapRecipe, HeatmapTargetRecipe
from training.rewrite_bundle import rewrite_bundle
from training.run_recipe import AugmentationRecipe, OptimiserRecipe
from training.trainer import Trainer

PARENT = HeatmapRecipe(
    "blobs",
    "A few epochs on eight pictures of blobs.",
    seed=3,
    network=HeatmapNetworkRecipe("CompactHeatmapNet", {"channels": [8, 16], "residual_units": 1}),
    target=HeatmapTargetRecipe(grid=(64, 48)),
    augmentation=AugmentationRecipe(rotation_deg=4, shift=0.02, noise=0.05),
    optimiser=OptimiserRecipe(epochs=10, batch=2, learning_rate=2e-2, ema=0.8),
)
OPTIONS = FinetuneRecipe(steps=40, epochs=2, batch=4, learning_rate_share=0.5, ema=0.0, seed=5)
SPACING = (SPACING_MM, SPACING_MM)
# Where people want the nose: beside the blob that the model was taught.
NOSE_OFF_PX = np.array([5.0, 4.0])


def make_parent(data: Path, folder: Path) -> Bundle:
    """As a run leaves it, and calibrated."""
    output = folder / "parent"
    assert fit(PARENT, data, output)
    ellipses = {"weights": {"heat": 1.0, "passes": 1.0}, "floor_mm2": 0.5, "scales": {"head": 2.0}, "pooled_scale": 3.0}
    measured = {"cases": 8, "coverage": 0.9, "tre_mm": 1.0, "from_10_mm_share": 0.0}
    calibration = {
        "ellipses": {**ellipses, "level": 0.9, "measured": measured},
        "present_above": 0.02,
        "plausibility": {"limits": {"shape_residual_mm": 900.0}, "cases": 8, "above": 0},
    }
    rewrite_bundle(load_bundle(output / "bundle"), inference=calibration)
    return load_bundle(output / "bundle")


def points_px(seed: int) -> np.ndarray:
    """The landmarks (4, 2) of one more person, stored pixels."""
    rng = np.random.default_rng(100 + seed)
    return np.asarray(MEAN_PX + rng.uniform(-4, 4, 2) + rng.uniform(-2, 2, (4, 2)))


def write_image(folder: Path, seed: int) -> Path:
    """The picture of that person."""
    path = folder / f"person-{seed}.png"
    Image.fromarray(blob_image(points_px(seed), seed)).save(path)
    return path


def lps(session: Session, pixels: np.ndarray) -> np.ndarray:
    """Stored pixels as a point of the case, LPS mm."""
    return np.asarray(lps_mm_from_pixels(session.state.geometry, np.atleast_2d(pixels))[0])


def correct_nose(seed: int) -> Callable[[Session], None]:
    """Drag it to where people want it."""
    return lambda session: session.move({"nose": lps(session, points_px(seed)[2] + NOSE_OFF_PX)})


def annotated(
    folder: Path, parent: Bundle, decide: Callable[[int], Callable[[Session], None]], count: int = 3
) -> Library:
    """A library of so many people, each decided as ``decide`` says."""
    annotator = Annotator.begin(folder, parent.folder)
    for seed in range(count):
        annotator.work_on(write_image(folder, seed), decide(seed), SPACING)
    return annotator.library


def task_of(
    library: Library, parent: Bundle, replay: Path | None = None, options: FinetuneRecipe = OPTIONS
) -> FinetuneHeatmapTask:
    """What a run does with a library, before its first step."""
    recipe = finetuned(recipe_of(parent), options)
    assert isinstance(recipe, HeatmapRecipe)
    decisions, lines = read_decisions(library)
    assert lines == ()
    return finetune_task(recipe, decisions, library, replay, parent, options, "cpu")


def trained(task: FinetuneHeatmapTask) -> Trainer:
    """All epochs of a task."""
    trainer = Trainer(task)
    for _ in range(task.optimiser.epochs):
        trainer.run_epoch()
    return trainer


@dataclass(frozen=True)
class Run:
    """A task, its error before the first step, what it came to and the bundle of that."""

    task: FinetuneHeatmapTask
    before: dict[str, float]
    trainer: Trainer
    bundle: Bundle


def learn_noses(parent: Bundle, folder: Path) -> Run:
    """The nose of three people is corrected, and the bundle that comes out."""
    task = task_of(annotated(folder, parent, correct_nose), parent)
    before = task.validate(task.new_network())
    trainer = trained(task)
    task.export(folder / "bundle", trainer.best_network, parent)
    return Run(task, before, trainer, load_bundle(folder / "bundle"))


def nose_error_px(bundle: Bundle, image: Path, seed: int) -> float:
    """How far from where people want it a model finds it."""
    predictor = open_predictor(str(bundle.folder), "cpu")
    landmarks = predictor.predict(read_image(image, SPACING)).landmarks
    found = landmarks.points_lps_mm[landmarks.names.index("nose")]
    wanted = points_px(seed)[2] + NOSE_OFF_PX
    return float(np.linalg.norm(found[:2] / SPACING_MM - wanted))
