"""Models of volumes, multi-scale ones and heatmaps, learn from what people decided in a library."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.joint_shape import JointShape, build_joint_shape
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.family import JOINT_SHAPE
from training.altered_volumes import AlteredVolumesTask, read_train_cases
from training.export_volume import volume_card, volume_configuration
from training.finetuning.bundle import FinetuneRun, save_finetuned
from training.finetuning.decided_volumes import read_decided_volumes, with_replayed
from training.finetuning.grow_groups import grown_groups
from training.finetuning.grow_network import landmark_rows
from training.finetuning.grow_shape import grown_shape
from training.finetuning.recipe import FinetuneRecipe
from training.heatmap_volume_recipe import HeatmapVolumeRecipe
from training.heatmap_volume_task import HeatmapVolumeTask
from training.replay import CaseMix
from training.sides import without_other_side
from training.volume_cases import VolumeCases
from training.volume_recipe import VolumeRecipe
from training.volume_task import VolumeTask


class FinetunedVolumes(AlteredVolumesTask):
    """What both families have in common: the run begins with its parent's network, and ``run`` says what it learns from.

    The ``cases`` are those of the library, followed by the original ones that are replayed.
    """

    validated: tuple[str, ...] = ("error_mm",)

    def __init__(
        self, recipe: VolumeRecipe | HeatmapVolumeRecipe, cases: VolumeCases, run: FinetuneRun, device: str
    ) -> None:
        self.run = run
        super().__init__(recipe, cases, None, device, run.mix)

    def new_joint_shape(self) -> JointShape | None:
        """The parent's, whose limits were calibrated with it, with the landmarks that are new."""
        return joint_shape_from(self.run.parent, self.cases)

    def new_network(self) -> nn.Module:
        """The parent's network, with outputs for landmarks that are new."""
        network = super().new_network()  # type: ignore[safe-super]
        network.load_state_dict(self.run.first_weights(network.state_dict(), self.cases.landmark_names))
        return network

    def validate(self, network: nn.Module, between_cases: Callable[[], None] = lambda: None) -> dict[str, float]:
        """Mean error (mm) of the landmarks that people placed, verified or corrected in the library's cases."""
        network.eval()
        count = len(self.run.case_ids)
        found = []
        for pyramid in self.cases.pyramids[:count]:
            between_cases()
            found.append(self.locate(network, pyramid))
        errors = np.linalg.norm(np.stack(found) - self.cases.points_lps_mm[:count], axis=2)
        known = errors[np.isfinite(errors)]
        return {"error_mm": float(known.mean()) if len(known) else float("nan")}

    def export(self, folder: Path, network: nn.Module, parent: Bundle | None) -> None:
        """Write the bundle, which keeps the calibration of the run's parent."""
        assert isinstance(self, FinetuneMultiScaleTask | FinetuneHeatmapVolumeTask)
        metadata, inference = volume_configuration(self, self.run.parent)
        shape = {} if self.joint_shape is None else self.joint_shape.to_dict()
        save_finetuned(folder, self.run, metadata, inference, {JOINT_SHAPE: json.dumps(shape)}, network, volume_card)


class FinetuneMultiScaleTask(FinetunedVolumes, VolumeTask):
    """A multi-scale run that begins with its parent's network."""


class FinetuneHeatmapVolumeTask(FinetunedVolumes, HeatmapVolumeTask):
    """A run of heatmaps on volumes that begins with its parent's network."""


def finetune_task(
    recipe: VolumeRecipe | HeatmapVolumeRecipe,
    decisions: Sequence[Decisions],
    library: Library,
    replay: Path | None,
    parent: Bundle,
    options: FinetuneRecipe,
    device: str,
    between_cases: Callable[[], None] = lambda: None,
) -> FinetuneMultiScaleTask | FinetuneHeatmapVolumeTask:
    """A run of ``recipe``, the parent's with its fine-tuning, on the ``decisions`` of a library.

    Landmarks that people placed under a name that the parent does not know become trained ones. The
    ``train`` cases of ``replay``, a data folder or packed file, make ``options.replay_share`` of each batch.
    ``between_cases`` is called before each is read and may raise what ends it. Raises :class:`InputError` where there is
    nothing to learn from.
    """
    if isinstance(recipe, VolumeRecipe):
        # What the recipe left open was planned on the data of the parent.
        planned = parent.inference["network_def"]
        spacings, groups = tuple(map(float, planned["spacings_mm"])), tuple(map(int, planned["groups"]))
        recipe = replace(recipe, levels=replace(recipe.levels, spacings_mm=spacings, groups=groups))
    decided = read_decided_volumes(
        decisions, library, parent, recipe.levels.spacings_mm, recipe.intensity, options.weight, between_cases
    )
    names = decided.cases.landmark_names
    cases, original, name, lines = decided.cases, 0, None, decided.lines
    if replay is not None and options.replay_share > 0:
        every, _ = read_train_cases(recipe, replay, between_cases)
        name, original, cases = every.data_name, len(every), with_replayed(cases, every)
    alone = without_other_side(names) if recipe.augmentation.mirror > 0 else ()
    if alone:
        recipe = _without_mirror(recipe)
        lines += (f"{alone[0]!r} has no partner on the other side: volumes are not mirrored.",)
    mix = CaseMix(len(cases), original, options.replay_share if original else 0.0)
    new = names[len(parent.landmark_names) :]
    run = FinetuneRun(parent, recipe.optimiser, mix, name, decided.case_ids, new, lines, anew=options.anew)
    if isinstance(recipe, HeatmapVolumeRecipe):
        return FinetuneHeatmapVolumeTask(recipe, cases, run, device)
    levels = recipe.levels
    extent_mm = levels.shared_extent * levels.crop_size * levels.spacings_mm[-1]
    groups = grown_groups(levels.groups, cases.points_lps_mm, extent_mm, levels.sharing)
    return FinetuneMultiScaleTask(replace(recipe, levels=replace(levels, groups=groups)), cases, run, device)


def _without_mirror(recipe: VolumeRecipe | HeatmapVolumeRecipe) -> VolumeRecipe | HeatmapVolumeRecipe:
    if isinstance(recipe, VolumeRecipe):
        return replace(recipe, augmentation=replace(recipe.augmentation, mirror=0.0))
    return replace(recipe, augmentation=replace(recipe.augmentation, mirror=0.0))


def joint_shape_from(parent: Bundle, cases: VolumeCases) -> JointShape | None:
    """The parent's joint shape with the landmarks that it lacks; made of the cases where it has none and they suffice.

    Raises :class:`InputError` where no case shows where a new landmark lies in it, see :func:`grown_names`.
    """
    rows = landmark_rows(parent.landmark_names, cases.landmark_names)
    if parent.joint_shape:
        known = JointShape.from_dict(parent.joint_shape)
        return known if len(rows) == len(cases.landmark_names) else grown_shape(known, cases.points_lps_mm, rows)
    if len(cases.landmark_names) < 3:
        return None
    try:
        return build_joint_shape(cases.points_lps_mm)
    except InputError:
        return None  # too few patients; the model does without, as its parent did
