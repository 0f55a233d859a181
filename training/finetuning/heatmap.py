"""Heatmap models of radiographs learn from what people decided in a library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.family import TEMPLATE
from training.export_heatmap import heatmap_card, heatmap_configuration
from training.finetuning.bundle import FinetuneRun, save_finetuned
from training.finetuning.decided_radiographs import DecidedRadiographs, read_decided_radiographs
from training.finetuning.grow_template import read_with_new_landmarks
from training.finetuning.recipe import FinetuneRecipe
from training.finetuning.replayed_cases import joined, original_cases
from training.grid_cases import GridCases
from training.heatmap_data import HeatmapTrainingSet, contour_masks
from training.heatmap_recipe import HeatmapRecipe
from training.heatmap_task import HeatmapTask
from training.replay import CaseMix
from training.sides import without_other_side

Masks = tuple[NDArray[np.bool_], NDArray[np.float64]]


class FinetuneHeatmapTask(HeatmapTask):
    """A heatmap run that begins with its parent's network, and learns from a library; ``run`` says from what.

    The ``cases`` are those of the library, followed by the original ones that are replayed.
    """

    validated: tuple[str, ...] = ("error_mm",)

    def __init__(
        self, recipe: HeatmapRecipe, data: HeatmapTrainingSet, template: Template, cases: GridCases, run: FinetuneRun
    ) -> None:
        super().__init__(recipe, data, template, cases, None, run.mix)
        self.run = run

    def new_network(self) -> nn.Module:
        """The parent's network, with heads for landmarks that are new."""
        network = super().new_network()
        network.load_state_dict(self.run.first_weights(network.state_dict(), self.template.landmark_names))
        return network

    def validate(self, network: nn.Module, between_cases: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Mean error (mm) of the landmarks that people placed, verified or corrected in the library's cases."""
        network.eval()
        errors = []
        for row in range(len(self.run.case_ids)):
            between_cases()
            off = self.locate(network, self.cases.images[row]) - self.cases.points[row]
            errors.append(np.linalg.norm(off, axis=1) * self.cases.mm_per_pixel[row])
        known = np.concatenate(errors)
        known = known[np.isfinite(known)]
        return {"error_mm": float(known.mean()) if len(known) else float("nan")}

    def export(self, folder: Path, network: nn.Module, parent: Bundle | None) -> None:
        """Write the bundle, which keeps the calibration of the run's parent."""
        metadata, inference = heatmap_configuration(self, self.run.parent)
        files = {TEMPLATE: self.template.to_json()}
        save_finetuned(folder, self.run, metadata, inference, files, network, heatmap_card)


def finetune_task(
    recipe: HeatmapRecipe,
    decisions: Sequence[Decisions],
    library: Library,
    replay: Path | None,
    parent: Bundle,
    options: FinetuneRecipe,
    device: str,
    between_cases: Callable[[], None] = lambda: None,
) -> FinetuneHeatmapTask:
    """A run of ``recipe``, the parent's with its fine-tuning, on the ``decisions`` of a library.

    Landmarks that were defined in the library and placed in a case become trained ones. The ``train`` cases of ``replay``,
    a data folder or packed file, make ``options.replay_share`` of each batch. ``between_cases`` is called before each is read
    and may raise what ends it. Raises :class:`InputError` where there is nothing to learn from.
    """
    grid, teaches_absence = recipe.target.grid, recipe.loss.teaches_absence

    def read_on(template: Template) -> DecidedRadiographs:
        return read_decided_radiographs(
            decisions,
            library,
            template,
            grid,
            parent.expectation,
            options.weight,
            parent.knows_either_side,
            teaches_absence,
            between_cases,
        )

    (template, new, lines), decided = read_with_new_landmarks(parent, library.new_landmarks(), decisions, read_on)
    alone = without_other_side(template.landmark_names) if recipe.augmentation.mirror > 0 else ()
    if alone:
        recipe = replace(recipe, augmentation=replace(recipe.augmentation, mirror=0.0))
        lines += (f"{alone[0]!r} has no partner on the other side: images are not mirrored.",)
    structures = template.structure_names if recipe.loss.mask_weight > 0 else ()
    cases, masks = decided.cases, _decided_masks(decided.cases, template, structures, recipe.target.landmarks_share)
    original, name = 0, None
    if replay is not None and options.replay_share > 0:
        every = original_cases(recipe, replay, between_cases)
        name, original = every.data_name, len(every)
        masks = tuple(np.concatenate(both) for both in zip(masks, contour_masks(every, structures), strict=True))  # type: ignore[assignment]
        cases = joined(cases, every)
    mix = CaseMix(len(cases), original, options.replay_share if original else 0.0)
    run = FinetuneRun(
        parent, recipe.optimiser, mix, name, decided.case_ids, new, (*lines, *decided.lines), anew=options.anew
    )
    return FinetuneHeatmapTask(recipe, _tensors(cases, masks, device), template, cases, run)


def _decided_masks(cases: GridCases, template: Template, structures: tuple[str, ...], share: float) -> Masks:
    """Masks (M, K, H, W) that people painted or accepted, or whose whole contour they decided, and what each (M, K) teaches.

    Of a model that finds but a ``share`` of a contour nobody can draw the rest.
    """
    masks = np.zeros((len(cases), len(structures), *cases.images.shape[1:]), bool)
    known = np.zeros(masks.shape[:2])
    assert cases.weights is not None
    for k, name in enumerate(structures):
        contour = template.structure(name).contour_names
        rows = [cases.landmark_names.index(landmark) for landmark in contour]
        for m, decided in enumerate(cases.masks or ()):
            points = cases.points[m, rows]
            if name in decided:
                masks[m, k], known[m, k] = decided[name], (cases.mask_weights or ())[m][name]
            elif share == 1 and len(rows) and np.isfinite(points).all():
                masks[m, k] = polygon_mask(points, masks.shape[2:])
                # One that covers no pixel of the grid says nothing but where its points are.
                known[m, k] = masks[m, k].any() * cases.weights[m, rows].mean()
    return masks, known


def _tensors(cases: GridCases, masks: Masks, device: str) -> HeatmapTrainingSet:
    """All of it on the device; masks that nobody knows are no background."""
    assert cases.weights is not None
    assert cases.absent is not None
    drawn, known = masks
    share = drawn.sum(axis=(0, 2, 3)) / np.maximum((known > 0).sum(axis=0) * np.prod(drawn.shape[2:]), 1)
    balance = np.where(share > 0, (1 - share) / np.maximum(share, 1e-6), 1.0)
    return HeatmapTrainingSet(
        torch.from_numpy(cases.images)[:, None].to(device),
        torch.from_numpy(cases.points).float().to(device),
        torch.from_numpy(drawn).to(device),
        torch.from_numpy(known).float().to(device),
        torch.from_numpy(balance).float().to(device),
        torch.from_numpy(cases.weights).to(device),
        torch.from_numpy(cases.absent).to(device),
    )
