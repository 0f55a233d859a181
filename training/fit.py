"""``python -m training fit``: train a dense-shape model from a recipe, with exact resume."""

from __future__ import annotations

import argparse
import csv
import json
import logging
import pickle
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_beside_and_rename, write_json, write_text
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.networks.dense_shape import NETWORKS, CompactDenseSegNet, DenseSegNet
from DenseLandmarksLib.models.registry import find_bundle
from training.augmentation import change_intensities, sample_transform, turn_some
from training.grid_cases import GridCases, load_grid_cases
from training.losses import total_loss
from training.obstructions import add_obstructions
from training.recipe import NetworkRecipe, OptimiserRecipe, Recipe, read_recipe, recipe_from_dict, recipe_to_dict
from training.targets import Targets, make_targets, make_template
from training.validate import validate

logger = logging.getLogger(__name__)

# Phantoms drawn before training; each is augmented anew whenever it is used.
PHANTOM_POOL = 240


@dataclass
class TrainingSet:
    """All training tensors, on the device. Shapes as in :class:`~training.targets.Targets`, images (M, 1, H, W)."""

    images: Tensor
    masks: Tensor
    uv: Tensor
    points: Tensor
    landmark_uv: Tensor
    annotated: Tensor
    positive_weight: Tensor
    real: int

    @classmethod
    def build(cls, cases: GridCases, targets: Targets, real: int, device: str) -> TrainingSet:
        """Tensors of ``cases``, of which the first ``real`` are radiographs and the rest phantoms."""
        share = targets.masks[:real].mean(axis=(0, 2, 3))
        return cls(
            torch.from_numpy(cases.images)[:, None].to(device),
            torch.from_numpy(targets.masks).to(device),
            torch.from_numpy(targets.uv).to(device),
            torch.from_numpy(targets.points).to(device),
            torch.from_numpy(targets.landmark_uv).to(device),
            torch.from_numpy(targets.annotated).float().to(device),
            torch.from_numpy((1 - share) / np.maximum(share, 1e-6)).float().to(device),
            real,
        )


def build_network(recipe: NetworkRecipe, structures: int) -> DenseSegNet | CompactDenseSegNet:
    """A freshly initialised network; raises :class:`InputError` for an unknown name."""
    if recipe.name not in NETWORKS:
        raise InputError(
            f"expected a network out of {', '.join(NETWORKS)}, got {recipe.name!r}. Change network.name in the recipe."
        )
    return NETWORKS[recipe.name](structures, recipe.channels, recipe.uncertainty, recipe.views)


def build_optimiser(parameters: Any, recipe: OptimiserRecipe, steps: int) -> tuple[torch.optim.Optimizer, LRScheduler]:
    """Optimiser and learning-rate schedule over ``steps`` steps."""
    optimiser: torch.optim.Optimizer
    if recipe.name == "adam":
        optimiser = Adam(parameters, lr=recipe.learning_rate)
    else:
        optimiser = AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    if recipe.schedule == "one_cycle":
        return optimiser, OneCycleLR(optimiser, recipe.learning_rate, total_steps=max(steps, 2), pct_start=0.2)
    return optimiser, CosineAnnealingLR(optimiser, T_max=steps, eta_min=1e-5)


@dataclass
class Trainer:
    """The state of one run; everything that changes is in :meth:`state`."""

    recipe: Recipe
    data: TrainingSet
    device: str

    def __post_init__(self) -> None:
        torch.manual_seed(self.recipe.seed)
        optimiser = self.recipe.optimiser
        self.network = build_network(self.recipe.network, self.data.masks.shape[1]).to(self.device)
        self.steps_per_epoch = max(self.data.real // optimiser.batch, 1)
        self.optimiser, self.schedule = build_optimiser(
            self.network.parameters(), optimiser, optimiser.epochs * self.steps_per_epoch
        )
        average = get_ema_multi_avg_fn(optimiser.ema) if optimiser.ema > 0 else None
        self.average = AveragedModel(self.network, multi_avg_fn=average, use_buffers=True) if average else None
        self.epoch = 0

    @property
    def best_network(self) -> nn.Module:
        """The network whose weights count: the running mean, or the last weights where there is none."""
        return self.average.module if self.average is not None else self.network

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs; random numbers are drawn from seed and epoch, so they need no saving."""
        return {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])

    def draw_batch(self, order: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Augmented images, masks, uv, points, annotated flags and views of the cases in ``order`` (B,)."""
        data, recipe = self.data, self.recipe
        size = (data.images.shape[2], data.images.shape[3])
        transform = sample_transform(len(order), size, recipe.augmentation, generator, self.device)
        padding = "border" if torch.rand((), generator=generator) < 0.5 else "zeros"
        order = order.to(self.device)
        images = transform.resample(data.images[order].float(), padding=padding)
        masks = transform.resample(data.masks[order].float())
        uv = transform.resample(data.uv[order].float().flatten(1, 2), self.network.stride, "border").unflatten(
            1, (-1, 2)
        )
        points = transform.move_points(data.points[order].flatten(1, 2)).unflatten(1, data.points.shape[1:3])
        images = change_intensities(images, recipe.augmentation, generator)
        images, views = turn_some(images, recipe.augmentation.turned, generator)
        # Written after turning: letters must not tell which images were mirrored.
        images = add_obstructions(images, recipe.augmentation, generator)
        # A turned image teaches what turned images look like, and nothing about where things are.
        upright = (views == 0).float()
        points = torch.where(upright[:, None, None, None] > 0, points, torch.nan)
        return images, (masks > 0.5).float(), uv, points, data.annotated[order] * upright[:, None], views

    def run_epoch(self) -> dict[str, float]:
        """Train one epoch; returns the mean of each loss term."""
        data, recipe = self.data, self.recipe
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + self.epoch)
        order = torch.randperm(data.real, generator=generator)
        phantoms = len(data.images) - data.real
        sums: dict[str, float] = {}
        self.network.train()
        for step in range(self.steps_per_epoch):
            batch = order[step * recipe.optimiser.batch : (step + 1) * recipe.optimiser.batch]
            if phantoms:
                swap = torch.rand(len(batch), generator=generator) < recipe.phantom_share
                drawn = data.real + torch.randint(phantoms, (len(batch),), generator=generator)
                batch = torch.where(swap, drawn, batch)
            images, masks, uv, points, annotated, views = self.draw_batch(batch, generator)
            mixed = recipe.optimiser.precision == "bfloat16"
            with torch.autocast(self.device, torch.bfloat16, enabled=mixed):
                output = self.network(images)
            loss, terms = total_loss(
                output, masks, uv, points, data.landmark_uv, annotated, views, data.positive_weight, recipe.loss
            )
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
            self.optimiser.step()
            self.schedule.step()
            if self.average is not None:
                self.average.update_parameters(self.network)
            for name, term in {"loss": loss, **terms}.items():
                sums[name] = sums.get(name, 0.0) + float(term.detach()) / self.steps_per_epoch
        self.epoch += 1
        return sums


def start_with(trainer: Trainer, parent: Bundle) -> None:
    """Begin with the weights of ``parent``; raises :class:`InputError` when they belong to another network."""
    own = trainer.network.state_dict()
    shapes = {name: value.shape for name, value in own.items()}
    wrong = [name for name, value in parent.weights.items() if shapes.get(name) != value.shape]
    if wrong:
        raise InputError(
            f"expected weights that fit network {trainer.recipe.network.name} with channels "
            f"{trainer.recipe.network.channels}, {parent.name} has another {wrong[0]}. Start from another model."
        )
    weights = {name: torch.from_numpy(value).float() for name, value in parent.weights.items()}
    trainer.network.load_state_dict(own | weights)
    if trainer.average is not None:
        trainer.average.module.load_state_dict(trainer.network.state_dict())


def with_phantoms(cases: GridCases, template: Template, recipe: Recipe) -> GridCases:
    """``cases`` followed by a pool of phantoms drawn from ``template``, when the recipe wants any."""
    if recipe.phantom_share == 0:
        return cases
    from training.phantoms import draw_phantom, training_seed

    rng = np.random.default_rng(recipe.seed)
    size = (cases.images.shape[1], cases.images.shape[2])
    images, points = [], []
    for _ in tqdm(range(PHANTOM_POOL), desc="drawing phantoms", leave=False):
        phantom = draw_phantom(template, training_seed(rng), size)
        images.append((phantom.pixels - phantom.pixels.mean()) / phantom.pixels.std())
        found = dict(zip(template.landmark_names, phantom.landmarks_px, strict=True))
        points.append([found.get(name, (np.nan, np.nan)) for name in cases.landmark_names])
    return GridCases(
        cases.data_name,
        cases.names + tuple(f"phantom-{i}" for i in range(PHANTOM_POOL)),
        cases.splits + ("phantom",) * PHANTOM_POOL,
        np.concatenate([cases.images, np.asarray(images, np.float16)]),
        np.concatenate([cases.points, np.asarray(points, np.float64)]),
        np.concatenate([cases.mm_per_pixel, np.full(PHANTOM_POOL, phantom.spacing_mm)]),
        cases.landmark_names,
        cases.landmark_structures,
    )


def save_checkpoint(path: Path, trainer: Trainer) -> None:
    """Write the run's state (tensors and plain values only)."""
    with write_beside_and_rename(path) as beside:
        torch.save(trainer.state(), beside)


def read_checkpoint(path: Path, device: str) -> dict[str, Any]:
    """Read :func:`save_checkpoint`'s file; raises :class:`InputError` for one that is damaged."""
    try:
        return dict(torch.load(path, map_location=device, weights_only=True))
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"expected a checkpoint in {path}, but it cannot be read. Delete it to begin anew, or restore a copy."
        ) from error


def append_row(path: Path, row: dict[str, float]) -> None:
    """One line of the run's log as CSV."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow({name: f"{value:.6g}" for name, value in row.items()})


def fit(
    recipe: Recipe,
    data: Path,
    output: Path,
    device: str = "cpu",
    resume: bool = False,
    max_minutes: float = float("inf"),
    stop_after_epoch: int | None = None,
    start_from: Path | None = None,
) -> bool:
    """Train ``recipe`` on the ``train`` split of ``data`` and write the run to ``output``.

    ``start_from`` is a bundle whose weights and template the run begins with, instead of random ones and a new template;
    heads that it lacks begin at random.

    Returns whether the last epoch is done; if so ``output/bundle`` holds the model. ``max_minutes`` and
    ``stop_after_epoch`` end the run early with a checkpoint, from which ``resume`` goes on exactly.
    """
    begun = time.monotonic()
    checkpoint = output / "checkpoint.pt"
    if resume and checkpoint.exists():
        begun_with = output / "recipe.json"
        if not begun_with.is_file() or recipe_from_dict(json.loads(begun_with.read_text())) != recipe:
            raise InputError(
                f"expected to resume the recipe that {output} was begun with, but it differs. Give another --output."
            )
    elif checkpoint.exists():
        raise InputError(
            f"expected an empty --output, {output} already holds a run. Add --resume or give another folder."
        )
    cases = load_grid_cases(data, recipe.target.grid).of_split("train")
    held: GridCases | None = None
    if recipe.validation_fold >= 0:
        cases, held = cases.fold(recipe.validation_fold, recipe.folds)
    parent = None if start_from is None else load_bundle(start_from)
    template = make_template(cases, recipe.target) if parent is None else parent.template
    pool = with_phantoms(cases, template, recipe)
    training_set = TrainingSet.build(pool, make_targets(pool, template, recipe.target), len(cases), device)
    trainer = Trainer(recipe, training_set, device)
    if parent is not None:
        start_with(trainer, parent)
    if resume and checkpoint.is_file():
        trainer.restore(read_checkpoint(checkpoint, device))
    write_json(output / "recipe.json", recipe_to_dict(recipe))
    write_text(output / "template.json", template.to_json())

    from torch.utils.tensorboard import SummaryWriter

    epochs = recipe.optimiser.epochs
    seconds_before_start = time.monotonic() - begun
    with (
        SummaryWriter(str(output / "tensorboard")) as curves,
        tqdm(total=epochs, initial=trainer.epoch, desc=recipe.name, unit="epoch") as bar,
    ):
        while trainer.epoch < epochs:
            started = time.monotonic()
            row = {"epoch": float(trainer.epoch), **trainer.run_epoch()}
            row["seconds"] = time.monotonic() - started
            last = trainer.epoch == epochs
            if held is not None and (last or trainer.epoch % 10 == 0):
                row.update(validate(trainer.best_network, template, held, recipe.target, device))
                append_row(output / "validation.csv", {k: row[k] for k in row if k in ("epoch", *VALIDATED)})
            append_row(output / "training.csv", {k: row[k] for k in row if k not in VALIDATED})
            for name, value in row.items():
                curves.add_scalar(name, value, trainer.epoch)
            bar.update()
            bar.set_postfix({k: f"{row[k]:.3f}" for k in ("loss", *VALIDATED) if k in row})
            out_of_time = (time.monotonic() - begun + row["seconds"]) / 60 > max_minutes
            stop = last or out_of_time or trainer.epoch == stop_after_epoch
            if stop or trainer.epoch % 5 == 0:
                save_checkpoint(checkpoint, trainer)
            if stop and not last:
                logger.info("stopped after epoch %d; --resume goes on", trainer.epoch)
                return False
    from training.export import export_bundle

    logger.info(
        "%.1f minutes, of which %.1f to read the data", (time.monotonic() - begun) / 60, seconds_before_start / 60
    )
    export_bundle(output / "bundle", recipe, template, trainer.best_network, cases, parent)
    return True


VALIDATED = ("dsc", "tre_mm", "missed_share")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``python -m training fit``."""
    parser.add_argument("recipe", type=Path, help="TOML recipe, see training/recipes")
    parser.add_argument("--data", type=Path, required=True, help="data folder, or a file of 'training pack'")
    parser.add_argument("--output", type=Path, required=True, help="folder of the run; the model is in OUTPUT/bundle")
    parser.add_argument("--fold", type=int, help="hold this fold of the training cases out and validate on it")
    parser.add_argument("--start-from", metavar="NAME|FOLDER", help="begin with the weights and template of a model")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint, exactly")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument(
        "--max-minutes", type=float, default=float("inf"), help="stop with a checkpoint after this time"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run ``python -m training fit``; 0 when done, 3 when time ran out first."""
    device = (
        "cuda" if arguments.device == "auto" and torch.cuda.is_available() else arguments.device.replace("auto", "cpu")
    )
    recipe = read_recipe(arguments.recipe)
    if arguments.fold is not None:
        recipe = replace(recipe, validation_fold=arguments.fold)
    done = fit(
        recipe,
        arguments.data,
        arguments.output,
        device,
        arguments.resume,
        arguments.max_minutes,
        start_from=None if arguments.start_from is None else find_bundle(arguments.start_from),
    )
    return 0 if done else 3
