"""Networks that see the whole of a volume at one scale, trained as the multi-scale ones are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.networks.pyramid import Pyramid
from training.altered_volumes import AlteredVolumesTask, VolumeBatch
from training.precision import computes_mixed
from training.sight import middles_of, see
from training.volume_recipe import VolumeRecipe

if TYPE_CHECKING:
    from DenseLandmarksLib.models.bundle import Bundle

DIVISOR = 8
"""Three times halved: what a volume's sides are made a multiple of."""


class WholeVolumeNetwork(nn.Module, ABC):
    """A network of whole volumes. Positions are continuous voxel indices (B, N, 3), order x, y, z.

    Attributes
    ----------
    is_mixed : convolutions in bfloat16; coordinates are always computed in float32.
    """

    is_mixed = False

    @abstractmethod
    def forward(self, volumes: Tensor) -> Tensor:
        """What the network says of volumes (B, 1, z, y, x)."""

    @abstractmethod
    def loss(self, output: Tensor, index: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What is wrong with an output, and its terms.

        ``index`` (B, N, 3) are true positions, NaN where unknown; ``present`` (B, N) is 1, 0 where a landmark truly is not
        there, NaN where nobody knows.
        """

    @abstractmethod
    def locate(self, output: Tensor) -> Tensor:
        """Positions (B, N, 3) of the landmarks, the best guess in any case."""


def size_to_see(pyramid: Pyramid, least: int) -> tuple[int, int, int]:
    """Voxels (x, y, z) that see all of a volume's first level, at least so many."""
    x, y, z = (max(least, -(-count // DIVISOR) * DIVISOR) for count in pyramid.grids[0].size)
    return x, y, z


class WholeVolumeTask(AlteredVolumesTask):
    """A run of one such network, see :class:`training.trainer.Task`: volumes are drawn as for the multi-scale ones."""

    recipe: VolumeRecipe

    @abstractmethod
    def build(self, recipe: VolumeRecipe, landmarks: int) -> WholeVolumeNetwork:
        """The network of a recipe."""

    def new_network(self) -> nn.Module:
        """A freshly initialised network."""
        network = self.build(self.recipe, len(self.cases.landmark_names))
        network.is_mixed = computes_mixed(self.optimiser, self.device)
        return network

    def loss(self, network: nn.Module, batch: VolumeBatch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch and its terms, the same throughout the run."""
        assert isinstance(network, WholeVolumeNetwork)
        pyramids = [case.pyramid for case in batch.seen]
        sight = see(pyramids, middles_of(pyramids), (self.recipe.levels.crop_size,) * 3, self.device)
        index, present = sight.index_of(batch.points_lps_mm.to(self.device)), batch.present.to(self.device)
        # What was turned or moved out of sight cannot be learned: neither where it is nor whether.
        unseen = ~sight.holds(index)[..., None] & torch.isfinite(index)
        index = torch.where(unseen, torch.nan, index)
        present = torch.where(unseen.any(dim=2), torch.nan, present)
        return network.loss(network(sight.values), index, present)

    def locate(self, network: nn.Module, pyramid: Pyramid) -> NDArray[np.float64]:
        """Where the landmarks (N, 3) of one volume are, in LPS mm."""
        assert isinstance(network, WholeVolumeNetwork)
        with torch.inference_mode():
            size = size_to_see(pyramid, self.recipe.levels.crop_size)
            sight = see([pyramid], middles_of([pyramid]), size, self.device)
            found = sight.lps_mm_of(network.locate(network(sight.values)))
        return np.asarray(found[0].cpu().numpy(), np.float64)

    def export(self, folder: Path, network: nn.Module, parent: Bundle | None) -> None:
        """Baselines are no bundles."""
        raise InputError(
            "expected a model that can be shipped, got a baseline. Measure it with Testing.studies.ladder."
        )
