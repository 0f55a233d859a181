"""What all runs on volumes have in common: cases in memory, altered anew in each step, and those that are held out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.joint_shape import JointShape, build_joint_shape
from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.networks.pyramid import Pyramid
from training.heatmap_volume_recipe import HeatmapVolumeRecipe
from training.replay import CaseMix
from training.sides import mirrored_rows, without_other_side
from training.volume_augmentation import SeenCase, draw_seen
from training.volume_cases import VolumeCases, load_packed_volumes
from training.volume_recipe import VolumeRecipe


@dataclass(frozen=True)
class VolumeBatch:
    """B volumes as they are seen in one step; ``generator`` draws what else is left to chance in it."""

    seen: tuple[SeenCase, ...]
    generator: torch.Generator

    @property
    def points_lps_mm(self) -> Tensor:
        """True positions (B, N, 3), NaN where unknown."""
        return torch.stack([case.points_lps_mm for case in self.seen])

    @property
    def present(self) -> Tensor:
        """(B, N) 1 present, 0 absent, NaN unknown."""
        return torch.stack([case.present for case in self.seen])

    @property
    def weights(self) -> Tensor | None:
        """(B, N) how much each landmark counts; ``None`` where all count 1."""
        weights = [case.weights for case in self.seen if case.weights is not None]
        return torch.stack(weights) if weights else None


class AlteredVolumesTask(ABC):
    """A run on volumes, see :class:`training.trainer.Task`, but for its network and what is wrong with an output."""

    validated: tuple[str, ...] = ("tre_mm", "over_10_mm_share")
    recipe: Any

    def __init__(
        self,
        recipe: VolumeRecipe | HeatmapVolumeRecipe,
        cases: VolumeCases,
        held: VolumeCases | None,
        device: str,
        mix: CaseMix | None = None,
    ) -> None:
        """``cases`` are those that are trained on, ``held`` those that are not; ``mix`` says which of the cases are replayed.

        Raises :class:`InputError` when volumes are to be mirrored and a landmark has no partner on the other side.
        """
        alone = without_other_side(cases.landmark_names) if recipe.augmentation.mirror > 0 else ()
        if alone:
            raise InputError(
                f"expected landmarks of both sides to mirror volumes, got {alone[0]} alone. Set augmentation.mirror to 0."
            )
        self.recipe, self.cases, self.held = recipe, cases, held
        self.optimiser, self.seed, self.device = recipe.optimiser, recipe.seed, device
        self.mix = mix or CaseMix(len(cases))
        self.steps_per_epoch = self.mix.steps(recipe.optimiser.batch)
        self.points_lps_mm = torch.from_numpy(cases.points_lps_mm).float()
        self.absent = torch.from_numpy(cases.absent)
        self.mirrored_rows = mirrored_rows(cases.landmark_names)
        self.weights = None if cases.weights is None else torch.from_numpy(cases.weights).float()
        self.joint_shape = self.new_joint_shape()

    def new_joint_shape(self) -> JointShape | None:
        """The joint shape of the training cases."""
        # Two landmarks have a distance, and no shape.
        return build_joint_shape(self.cases.points_lps_mm) if len(self.cases.landmark_names) >= 3 else None

    @abstractmethod
    def new_network(self) -> nn.Module:
        """A freshly initialised network."""

    @abstractmethod
    def loss(self, network: nn.Module, batch: VolumeBatch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch and its terms."""

    @abstractmethod
    def locate(self, network: nn.Module, pyramid: Pyramid) -> NDArray[np.float64]:
        """Where the landmarks (N, 3) of one volume are seen, in LPS mm."""

    @abstractmethod
    def export(self, folder: Path, network: nn.Module, parent: Bundle | None) -> None:
        """Write the bundle."""

    def batches(self, epoch: int) -> Iterator[VolumeBatch]:
        """Each volume about once, altered at random."""
        recipe = self.recipe
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
        for rows in self.mix.rows(recipe.optimiser.batch, generator):
            seen = tuple(
                draw_seen(
                    self.cases.pyramids[row],
                    self.points_lps_mm[row],
                    self.absent[row],
                    self.mirrored_rows,
                    recipe.augmentation,
                    generator,
                    None if self.weights is None else self.weights[row],
                )
                for row in rows.tolist()
            )
            yield VolumeBatch(seen, generator)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Mean error (mm) of the landmarks of the cases that are held out, and the share of errors over 10 mm."""
        if self.held is None:
            return {}
        network.eval()
        found = [self.locate(network, pyramid) for pyramid in self.held.pyramids]
        errors = np.linalg.norm(np.stack(found) - self.held.points_lps_mm, axis=2)
        errors = errors[np.isfinite(errors)]
        return {"tre_mm": float(errors.mean()), "over_10_mm_share": float((errors > 10).mean())}


def read_train_cases(
    recipe: VolumeRecipe | HeatmapVolumeRecipe, data: Path, between_cases: Callable[[], None] = lambda: None
) -> tuple[VolumeCases, VolumeCases | None]:
    """The ``train`` split of a data folder or packed file, without and with the fold that the recipe holds out.

    Levels that the recipe leaves open are planned. ``between_cases`` is called before each volume is read. Raises :class:`InputError` for a file that was packed otherwise.
    """
    wanted_mm = recipe.levels.spacings_mm
    if data.is_dir():
        # A machine without readers of images trains from a packed file.
        from training.read_volumes import read_volume_cases, spacings_of

        cases = read_volume_cases(data, spacings_of(recipe.levels, data), recipe.intensity, "train", between_cases)
    else:
        cases = load_packed_volumes(data).of_split("train")
        if wanted_mm and wanted_mm != cases.spacings_mm:
            raise InputError(f"expected volumes at {wanted_mm} mm, {data} holds {cases.spacings_mm}. Pack them again.")
        if cases.intensity not in (None, recipe.intensity):
            raise InputError(
                f"expected volumes in the recipe's window of values, {data} holds another. Pack them again."
            )
    if recipe.validation_fold < 0:
        return cases, None
    return cases.fold(recipe.validation_fold, recipe.folds)
