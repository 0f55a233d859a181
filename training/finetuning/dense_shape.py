"""What a dense-shape model learns from corrections: decided points as uv constraints, decided masks, new landmarks.

A decided point says where one template coordinate lies and nothing else. Where the whole contour of a structure is decided
it also gives the structure's mask and uv map; a mask that was decided itself stands before the one that the contour gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.locate import locate_landmarks
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.family import TEMPLATE
from DenseLandmarksLib.models.predictors.decode import decode_output
from training.dense_shape_recipe import DenseShapeRecipe
from training.dense_shape_task import DenseShapeTask, TrainingSet
from training.export_dense_shape import dense_shape_card, dense_shape_configuration
from training.finetuning.bundle import FinetuneRun, save_finetuned
from training.finetuning.decided_radiographs import DecidedRadiographs, read_decided_radiographs
from training.finetuning.grow_template import read_with_new_landmarks
from training.finetuning.recipe import FinetuneRecipe
from training.finetuning.replayed_cases import joined, original_cases
from training.grid_cases import GridCases
from training.replay import CaseMix
from training.targets import make_targets


class FinetuneDenseShape(DenseShapeTask):
    """A dense-shape run that begins with its parent's network, and learns from a library; ``run`` says from what.

    The ``cases`` are those of the library, followed by the original ones that are replayed.
    """

    validated: tuple[str, ...] = ("error_mm",)

    def __init__(
        self, recipe: DenseShapeRecipe, data: TrainingSet, template: Template, cases: GridCases, run: FinetuneRun
    ) -> None:
        super().__init__(recipe, data, template, cases, None, run.mix)
        self.run = run

    def new_network(self) -> nn.Module:
        """The parent's network; raises :class:`InputError` where its weights and its recipe do not fit."""
        network = super().new_network()
        network.load_state_dict(self.run.first_weights(network.state_dict(), self.template.landmark_names))
        return network

    def validate(self, network: nn.Module, between_cases: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Mean error (mm) over the decided, present landmarks of the cases that people decided."""
        network.eval()
        errors_mm = []
        for m in range(len(self.run.case_ids)):
            between_cases()
            with torch.inference_mode():
                output = network(self.data.images[m : m + 1].float())
            _, field = decode_output(output, self.template.structure_names, read_out=self.recipe.target.read_out)
            found = locate_landmarks(field, self.template, self.recipe.target.grid).points
            errors_mm.append(np.linalg.norm(found - self.cases.points[m], axis=1) * self.cases.mm_per_pixel[m])
        known = np.concatenate(errors_mm)
        known = known[np.isfinite(known)]
        return {"error_mm": float(known.mean())} if len(known) else {}

    def export(self, folder: Path, network: nn.Module, parent: Bundle | None) -> None:
        """Write the bundle, which keeps the calibration of the run's parent."""
        metadata, inference = dense_shape_configuration(self.recipe, self.template, self.cases, self.run.parent)
        files = {TEMPLATE: self.template.to_json()}
        save_finetuned(folder, self.run, metadata, inference, files, network, dense_shape_card)


def finetune_task(
    recipe: DenseShapeRecipe,
    decisions: Sequence[Decisions],
    library: Library,
    replay: Path | None,
    parent: Bundle,
    options: FinetuneRecipe,
    device: str,
    between_cases: Callable[[], None] = lambda: None,
) -> FinetuneDenseShape:
    """The cases of ``decisions``, and behind them the original ones that are replayed.

    ``between_cases`` is called before each is read and may raise what ends it. Raises
    :class:`~DenseLandmarksLib.errors.InputError` where nothing of them can be learned from.
    """
    grid = recipe.target.grid

    def read_on(template: Template) -> DecidedRadiographs:
        return read_decided_radiographs(
            decisions, library, template, grid, recipe.expects, options.weight, between_cases=between_cases
        )

    grown, read = read_with_new_landmarks(parent, library.new_landmarks(), decisions, read_on)
    template, new_landmarks, unknown = grown
    cases = read.cases
    original, name = 0, None
    if replay is not None and options.replay_share > 0:
        replayed = original_cases(recipe, replay, between_cases)
        original, name = len(replayed), replayed.data_name
        cases = joined(cases, replayed)
    targets = make_targets(cases, template, recipe.target, between_cases)
    mix = CaseMix(len(cases), original, options.replay_share if original else 0.0)
    lines = (*unknown, *read.lines, *_without_pixels(cases, template, targets.annotated))
    run = FinetuneRun(parent, recipe.optimiser, mix, name, read.case_ids, new_landmarks, lines, anew=options.anew)
    return FinetuneDenseShape(recipe, TrainingSet.build(cases, targets, len(cases), device), template, cases, run)


def _without_pixels(cases: GridCases, template: Template, annotated: NDArray[np.bool_]) -> list[str]:
    """A line for each contour that is decided and covers no pixel of the grid: only its points teach."""
    lines = []
    for s, structure in enumerate(template.structures):
        rows = [cases.landmark_names.index(name) for name in structure.contour_names]
        whole = np.isfinite(cases.points[:, rows]).all(axis=(1, 2))
        lines += [
            f"{cases.names[m]}: the contour of {structure.name} covers no pixel; only its points teach"
            for m in np.flatnonzero(whole & ~annotated[:, s])
        ]
    return lines
