"""What a multi-scale model learns from: volumes at all levels, altered anew in each step, with their landmarks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.networks.multi_scale import NETWORK_MODULE, MultiScaleLocNet
from DenseLandmarksLib.models.networks.pyramid import Pyramid
from training.altered_volumes import AlteredVolumesTask, VolumeBatch, read_train_cases
from training.precision import computes_mixed
from training.volume_cases import plan_groups
from training.volume_losses import level_weights, volume_loss
from training.volume_recipe import VolumeRecipe


class VolumeTask(AlteredVolumesTask):
    """Everything of a multi-scale run but its loop, see :class:`training.trainer.Task`."""

    recipe: VolumeRecipe

    @classmethod
    def read(cls, recipe: VolumeRecipe, data: Path, device: str, parent: Bundle | None) -> VolumeTask:
        """The ``train`` split of a data folder or packed file; levels and groups that the recipe leaves open are planned."""
        cases, held = read_train_cases(recipe, data)
        groups = recipe.levels.groups
        if not groups:
            extent_mm = recipe.levels.shared_extent * recipe.levels.crop_size * cases.spacings_mm[-1]
            groups = plan_groups(cases.points_lps_mm, extent_mm, recipe.levels.sharing)
        count = len(cases.landmark_names)
        if len(groups) != count or set(groups) != set(range(max(groups) + 1)):
            raise InputError(
                f"expected levels.groups to be 0, 1, ... for each of {count} landmarks, got {list(groups)}. "
                "Change the recipe."
            )
        planned = replace(recipe, levels=replace(recipe.levels, spacings_mm=cases.spacings_mm, groups=groups))
        return cls(planned, cases, held, device)

    def network_definition(self) -> dict[str, object]:
        """The arguments of the network, for JSON."""
        levels, network = self.recipe.levels, self.recipe.network
        return {
            "landmarks": len(self.cases.landmark_names),
            "spacings_mm": list(levels.spacings_mm),
            "crop_size": levels.crop_size,
            "groups": list(levels.groups),
            "channels": list(network.channels),
            "convolutions": network.convolutions,
            "is_normalised": network.is_normalised,
            "dropout": network.dropout,
            "centre": network.centre,
            "cropping": network.cropping,
            "presence": network.presence,
            "shape_mm": (
                self.joint_shape.mean_mm.round(4).tolist()
                if network.is_posed and self.joint_shape is not None
                else None
            ),
        }

    def new_network(self) -> nn.Module:
        """A freshly initialised network."""
        network = MultiScaleLocNet(**self.network_definition())  # type: ignore[arg-type]
        network.is_mixed = computes_mixed(self.optimiser, self.device)
        return network

    def loss(self, network: nn.Module, batch: VolumeBatch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch and its terms, weighed as the schedule has it."""
        assert isinstance(network, MultiScaleLocNet)
        recipe, levels = self.recipe, len(self.recipe.levels.spacings_mm)
        guided = torch.rand(len(batch.seen), generator=batch.generator) < recipe.augmentation.guided
        truth = batch.points_lps_mm.to(self.device)
        weights = level_weights(recipe.loss.schedule, levels, progress)
        if recipe.one_level_at_a_time:
            now = min(int(progress * levels), levels - 1)
            for number in range(levels):
                network.net(number).requires_grad_(number == now)
            levels, weights = now + 1, (0.0,) * now + (1.0,)

        count, most = len(network.rows), recipe.levels.crops_per_step
        # The same at all levels: each looks where the one before has looked.
        crops = torch.randperm(count, generator=batch.generator)[:most] if 0 < most < count else None

        def before(level: int, points: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
            shift = self._noise(network, batch, level, count if crops is None else most)
            return self._look_at(network, batch, guided, truth, level, points), shift, crops

        outputs, logits = network([case.pyramid for case in batch.seen], before, levels)
        presence = logits if network.presence is not None else None
        of_landmarks = None if batch.weights is None else batch.weights.to(self.device)
        loss, terms = volume_loss(
            outputs, presence, truth, batch.present.to(self.device), weights, recipe.loss, of_landmarks
        )
        # The log of a run has the same columns in all epochs.
        untrained = range(levels, len(recipe.levels.spacings_mm))
        return loss, terms | {f"level_{number}": torch.tensor(torch.nan) for number in untrained}

    def _look_at(
        self, network: MultiScaleLocNet, batch: VolumeBatch, guided: Tensor, truth: Tensor, level: int, points: Tensor
    ) -> Tensor:
        """In guided volumes the truth, each landmark and all together moved at random, elsewhere ``points``."""
        if not guided.any():
            return points
        limit_mm = self.recipe.augmentation.guided_voxels * network.spacings_mm[level - 1]
        count = (len(points), points.shape[1], 3)
        alone = 2 * torch.rand(count, generator=batch.generator) - 1
        together = 2 * torch.rand((len(points), 1, 3), generator=batch.generator) - 1
        moved = truth + ((alone + together) / 2 * limit_mm).to(truth.device)
        use = guided.to(truth.device)[:, None, None] & torch.isfinite(truth)
        return torch.where(use, moved, points)

    def _noise(self, network: MultiScaleLocNet, batch: VolumeBatch, level: int, crops: int) -> Tensor | None:
        """How far the finest level's crops are moved, (B, C, 3)."""
        augmentation = self.recipe.augmentation
        if level != len(network.spacings_mm) - 1 or augmentation.noise_mm == 0:
            return None
        drawn = torch.rand((len(batch.seen), crops, 3), generator=batch.generator)
        if not augmentation.one_sided_noise:
            drawn = 2 * drawn - 1
        return (drawn * augmentation.noise_mm).to(self.device)

    def locate(self, network: nn.Module, pyramid: Pyramid) -> NDArray[np.float64]:
        """Where the finest level sees the landmarks (N, 3) of one volume, in LPS mm."""
        assert isinstance(network, MultiScaleLocNet)
        with torch.inference_mode():
            outputs, _ = network([pyramid], size=network.size_to_see(pyramid))
        return np.asarray(outputs[-1].points_lps_mm[0].cpu().numpy(), np.float64)

    def inference(self) -> dict[str, Any]:
        """The network and how it is to look, for JSON."""
        return {
            "network_def": {"_target_": f"{NETWORK_MODULE}.MultiScaleLocNet", **self.network_definition()},
            "passes": self.recipe.passes,
            "shift_mm": self.recipe.augmentation.noise_mm,
        }

    def export(self, folder: Path, network: nn.Module, parent: Bundle | None) -> None:
        """Write the bundle."""
        from training.export_volume import export_volume_bundle

        export_volume_bundle(folder, self, network, parent)
