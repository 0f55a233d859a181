"""What a dense-shape model learns from: radiographs and phantoms on the model's grid, with masks, uv maps and landmarks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.networks.dense_shape import NETWORKS, CompactDenseSegNet, DenseSegNet
from training.augmentation import change_intensities, sample_transform, turn_some
from training.dense_shape_recipe import DenseShapeRecipe, NetworkRecipe
from training.grid_cases import GridCases, load_grid_cases
from training.losses import total_loss
from training.obstructions import add_obstructions
from training.precision import computes_mixed
from training.replay import CaseMix
from training.targets import Targets, make_targets, make_template
from training.validate import validate

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
    point_weights: Tensor
    uv_weights: Tensor
    mask_weights: Tensor
    positive_weight: Tensor
    real: int

    @classmethod
    def build(cls, cases: GridCases, targets: Targets, real: int, device: str) -> TrainingSet:
        """Tensors of ``cases``, of which the first ``real`` are radiographs and the rest phantoms."""
        share = targets.masks[:real].mean(axis=(0, 2, 3))
        if cases.weights is not None:  # most masks are not known, and they are no background
            known = (targets.mask_weights[:real] > 0).mean(axis=0)
            share = np.where(known > 0, share / np.maximum(known, 1e-6), 0.5)
        return cls(
            torch.from_numpy(cases.images)[:, None].to(device),
            torch.from_numpy(targets.masks).to(device),
            torch.from_numpy(targets.uv).to(device),
            torch.from_numpy(targets.points).to(device),
            torch.from_numpy(targets.landmark_uv).to(device),
            torch.from_numpy(targets.point_weights).to(device),
            torch.from_numpy(targets.uv_weights).to(device),
            torch.from_numpy(targets.mask_weights).to(device),
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


class DenseShapeTask:
    """Everything of a dense-shape run but its loop, see :class:`training.trainer.Task`."""

    validated: tuple[str, ...] = ("dsc", "tre_mm", "missed_share")

    def __init__(
        self,
        recipe: DenseShapeRecipe,
        data: TrainingSet,
        template: Template,
        cases: GridCases,
        held: GridCases | None,
        mix: CaseMix | None = None,
    ) -> None:
        """``cases`` are those that are trained on, ``held`` those that are not; ``mix`` says which are replayed, by default none."""
        self.recipe, self.data, self.template, self.cases, self.held = recipe, data, template, cases, held
        self.optimiser, self.seed, self.device = recipe.optimiser, recipe.seed, data.images.device.type
        self.mix = mix or CaseMix(data.real)
        self.steps_per_epoch = self.mix.steps(recipe.optimiser.batch)

    @classmethod
    def read(cls, recipe: DenseShapeRecipe, data: Path, device: str, parent: Bundle | None) -> DenseShapeTask:
        """The ``train`` split of a data folder or packed file; the template is the ``parent``'s where there is one."""
        cases = load_grid_cases(data, recipe.target.grid).of_split("train")
        held: GridCases | None = None
        if recipe.validation_fold >= 0:
            cases, held = cases.fold(recipe.validation_fold, recipe.folds)
        template = make_template(cases, recipe.target) if parent is None else parent.need_template()
        pool = with_phantoms(cases, template, recipe)
        targets = make_targets(pool, template, recipe.target)
        return cls(recipe, TrainingSet.build(pool, targets, len(cases), device), template, cases, held)

    def new_network(self) -> nn.Module:
        """A freshly initialised network."""
        return build_network(self.recipe.network, self.data.masks.shape[1])

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, ...]]:
        """Augmented batches, some of their cases replaced by phantoms."""
        data, recipe = self.data, self.recipe
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
        phantoms = len(data.images) - data.real
        for batch in self.mix.rows(recipe.optimiser.batch, generator):
            if phantoms:
                swap = torch.rand(len(batch), generator=generator) < recipe.phantom_share
                drawn = data.real + torch.randint(phantoms, (len(batch),), generator=generator)
                batch = torch.where(swap, drawn, batch)
            yield self.draw_batch(batch, generator)

    def draw_batch(self, order: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The cases in ``order`` (B,), augmented: images, masks, uv, points, what each of the last three teaches, and views."""
        data, recipe = self.data, self.recipe
        size = (data.images.shape[2], data.images.shape[3])
        transform = sample_transform(len(order), size, recipe.augmentation, generator, self.device)
        padding = "border" if torch.rand((), generator=generator) < 0.5 else "zeros"
        order = order.to(self.device)
        images = transform.resample(data.images[order].float(), padding=padding)
        masks = transform.resample(data.masks[order].float())
        uv = transform.resample(
            data.uv[order].float().flatten(1, 2), NETWORKS[recipe.network.name].stride, "border"
        ).unflatten(1, (-1, 2))
        points = transform.move_points(data.points[order].flatten(1, 2)).unflatten(1, data.points.shape[1:3])
        images = change_intensities(images, recipe.augmentation, generator)
        images, views = turn_some(images, recipe.augmentation.turned, generator)
        # Written after turning: letters must not tell which images were mirrored.
        images = add_obstructions(images, recipe.augmentation, generator)
        # A turned image teaches what turned images look like, and nothing about where things are.
        upright = (views == 0).float()
        points = torch.where(upright[:, None, None, None] > 0, points, torch.nan)
        taught = (data.mask_weights[order] * upright[:, None], data.uv_weights[order] * upright[:, None])
        return images, (masks > 0.5).float(), uv, points, *taught, data.point_weights[order], views

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of all terms, and each; the weights stay the same all along."""
        images, masks, uv, points, mask_weights, uv_weights, point_weights, views = batch
        data, recipe = self.data, self.recipe
        with torch.autocast(self.device, torch.bfloat16, enabled=computes_mixed(recipe.optimiser, self.device)):
            output = network(images)
        return total_loss(
            output,
            masks,
            uv,
            points,
            data.landmark_uv,
            uv_weights,
            views,
            data.positive_weight,
            recipe.loss,
            mask_weights,
            point_weights,
        )

    def validate(self, network: nn.Module) -> dict[str, float]:
        """A quick look at the cases that are held out."""
        if self.held is None:
            return {}
        return validate(network, self.template, self.held, self.recipe.target, self.device)

    def export(self, folder: Path, network: nn.Module, parent: Bundle | None) -> None:
        """Write the bundle."""
        from training.export_dense_shape import export_bundle

        export_bundle(folder, self.recipe, self.template, network, self.cases, parent)


def with_phantoms(cases: GridCases, template: Template, recipe: DenseShapeRecipe) -> GridCases:
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
