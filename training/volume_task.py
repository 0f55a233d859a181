"""What a multi-scale model learns from: volumes at all levels, altered anew in each step, with their landmarks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.joint_shape import build_joint_shape
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.networks.multi_scale import MultiScaleLocNet
from DenseLandmarksLib.models.networks.pyramid import Pyramid
from training.sides import mirrored_rows, without_other_side
from training.volume_augmentation import SeenCase, draw_seen
from training.volume_cases import VolumeCases, load_packed_volumes, plan_groups
from training.volume_losses import level_weights, volume_loss
from training.volume_recipe import VolumeRecipe


@dataclass(frozen=True)
class VolumeBatch:
    """B volumes as they are seen in one step, and how the finer crops of this step are moved.

    ``guided`` (B,) says in which volumes the crops lie about the truth; ``generator`` draws the movements.
    """

    seen: tuple[SeenCase, ...]
    guided: Tensor
    generator: torch.Generator

    @property
    def points_lps_mm(self) -> Tensor:
        """True positions (B, N, 3), NaN where unknown."""
        return torch.stack([case.points_lps_mm for case in self.seen])

    @property
    def present(self) -> Tensor:
        """(B, N) 1 present, 0 absent, NaN unknown."""
        return torch.stack([case.present for case in self.seen])


class VolumeTask:
    """Everything of a multi-scale run but its loop, see :class:`training.trainer.Task`."""

    validated: tuple[str, ...] = ("tre_mm", "over_10_mm_share")

    def __init__(self, recipe: VolumeRecipe, cases: VolumeCases, held: VolumeCases | None, device: str) -> None:
        """``cases`` are those that are trained on, ``held`` those that are not.

        Raises :class:`InputError` when volumes are to be mirrored and a landmark has no partner on the other side.
        """
        alone = without_other_side(cases.landmark_names) if recipe.augmentation.mirror > 0 else ()
        if alone:
            raise InputError(
                f"expected landmarks of both sides to mirror volumes, got {alone[0]} alone. Set augmentation.mirror to 0."
            )
        self.recipe, self.cases, self.held = recipe, cases, held
        self.optimiser, self.seed, self.device = recipe.optimiser, recipe.seed, device
        self.steps_per_epoch = max(len(cases) // recipe.optimiser.batch, 1)
        self.points_lps_mm = torch.from_numpy(cases.points_lps_mm).float()
        self.absent = torch.from_numpy(cases.absent)
        self.mirrored_rows = mirrored_rows(cases.landmark_names)
        # Two landmarks have a distance, and no shape.
        self.joint_shape = build_joint_shape(cases.points_lps_mm) if len(cases.landmark_names) >= 3 else None

    @classmethod
    def read(cls, recipe: VolumeRecipe, data: Path, device: str, parent: Bundle | None) -> VolumeTask:
        """The ``train`` split of a data folder or packed file; levels and groups that the recipe leaves open are planned."""
        if data.is_dir():
            # A machine without readers of images trains from a packed file.
            from training.read_volumes import read_volume_cases, spacings_of

            cases = read_volume_cases(data, spacings_of(recipe.levels, data), recipe.intensity, "train")
        else:
            cases = load_packed_volumes(data).of_split("train")
            if recipe.levels.spacings_mm and recipe.levels.spacings_mm != cases.spacings_mm:
                raise InputError(
                    f"expected volumes at {recipe.levels.spacings_mm} mm, {data} holds {cases.spacings_mm}. Pack them again."
                )
            if cases.intensity not in (None, recipe.intensity):
                raise InputError(
                    f"expected volumes in the recipe's window of values, {data} holds another. Pack them again."
                )
        held: VolumeCases | None = None
        if recipe.validation_fold >= 0:
            cases, held = cases.fold(recipe.validation_fold, recipe.folds)
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
        network.is_mixed = self.recipe.optimiser.precision == "bfloat16"
        return network

    def batches(self, epoch: int) -> Iterator[VolumeBatch]:
        """Each volume about once, altered at random."""
        recipe = self.recipe
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.cases), generator=generator)
        for step in range(self.steps_per_epoch):
            rows = order[step * recipe.optimiser.batch : (step + 1) * recipe.optimiser.batch].tolist()
            seen = tuple(
                draw_seen(
                    self.cases.pyramids[row],
                    self.points_lps_mm[row],
                    self.absent[row],
                    self.mirrored_rows,
                    recipe.augmentation,
                    generator,
                )
                for row in rows
            )
            yield VolumeBatch(seen, torch.rand(len(rows), generator=generator) < recipe.augmentation.guided, generator)

    def loss(self, network: nn.Module, batch: VolumeBatch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch and its terms, weighed as the schedule has it."""
        assert isinstance(network, MultiScaleLocNet)
        recipe, levels = self.recipe, len(self.recipe.levels.spacings_mm)
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
            return self._look_at(network, batch, truth, level, points), shift, crops

        outputs, logits = network([case.pyramid for case in batch.seen], before, levels)
        presence = logits if network.presence is not None else None
        loss, terms = volume_loss(outputs, presence, truth, batch.present.to(self.device), weights, recipe.loss)
        # The log of a run has the same columns in all epochs.
        untrained = range(levels, len(recipe.levels.spacings_mm))
        return loss, terms | {f"level_{number}": torch.tensor(torch.nan) for number in untrained}

    def _look_at(
        self, network: MultiScaleLocNet, batch: VolumeBatch, truth: Tensor, level: int, points: Tensor
    ) -> Tensor:
        """In guided volumes the truth, each landmark and all together moved at random, elsewhere ``points``."""
        if not batch.guided.any():
            return points
        limit_mm = self.recipe.augmentation.guided_voxels * network.spacings_mm[level - 1]
        count = (len(points), points.shape[1], 3)
        alone = 2 * torch.rand(count, generator=batch.generator) - 1
        together = 2 * torch.rand((len(points), 1, 3), generator=batch.generator) - 1
        guided = truth + ((alone + together) / 2 * limit_mm).to(truth.device)
        use = batch.guided.to(truth.device)[:, None, None] & torch.isfinite(truth)
        return torch.where(use, guided, points)

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

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Mean error (mm) of the finest level, and the share of errors over 10 mm, in the cases that are held out."""
        if self.held is None:
            return {}
        network.eval()
        found = [self.locate(network, pyramid) for pyramid in self.held.pyramids]
        errors = np.linalg.norm(np.stack(found) - self.held.points_lps_mm, axis=2)
        errors = errors[np.isfinite(errors)]
        return {"tre_mm": float(errors.mean()), "over_10_mm_share": float((errors > 10).mean())}

    def export(self, folder: Path, network: nn.Module, parent: Bundle | None) -> None:
        """Write the bundle."""
        from training.export_volume import export_volume_bundle

        export_volume_bundle(folder, self, network, parent)
