"""What a heatmap model of volumes does in training: tiles of altered volumes, and what is wrong with its heatmaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from DenseLandmarksLib.models.bundle import Bundle
from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork
from DenseLandmarksLib.models.networks.pyramid import Pyramid
from DenseLandmarksLib.models.predictors.heat_reading import HeatReading
from DenseLandmarksLib.models.predictors.heat_tiles import Tiles, find_in_tiles, rigid_moves
from training.altered_volumes import AlteredVolumesTask, VolumeBatch, read_train_cases
from training.export_heatmap import taught
from training.heatmap_losses import heat_loss
from training.heatmap_targets import heat_pixels
from training.heatmap_volume_recipe import HeatmapVolumeRecipe
from training.new_heatmap_network import heatmap_network_definition, new_heatmap_network
from training.precision import computes_mixed
from training.sight import middles_of, see

# A Gaussian ends so many standard deviations from its middle.
_REACH_SD = 4.0


class HeatmapVolumeTask(AlteredVolumesTask):
    """Everything of a run of heatmaps on volumes but its loop, see :class:`training.trainer.Task`."""

    recipe: HeatmapVolumeRecipe

    @classmethod
    def read(cls, recipe: HeatmapVolumeRecipe, data: Path, device: str, parent: Bundle | None) -> HeatmapVolumeTask:
        """The ``train`` split of a data folder or packed file."""
        return cls(recipe, *read_train_cases(recipe, data), device)

    def network_definition(self) -> dict[str, Any]:
        """The class of the network and its arguments, for JSON."""
        recipe = self.recipe
        return heatmap_network_definition(recipe.network, recipe.loss, len(self.cases.landmark_names), dimensions=3)

    def new_network(self) -> nn.Module:
        """A freshly initialised network; raises :class:`InputError` for an unknown name, argument or size."""
        recipe = self.recipe
        network = new_heatmap_network(self.network_definition(), recipe.tiles.size, "tiles.size")
        network.sigma.requires_grad_(recipe.loss.learned_sigma)
        network.is_mixed = computes_mixed(self.optimiser, self.device)
        return network

    def inference(self) -> dict[str, Any]:
        """How the heatmaps are to be drawn and read, for JSON."""
        recipe = self.recipe
        return {
            "network_def": self.network_definition(),
            "spacing_mm": recipe.tiles.spacing_mm,
            "tile": list(recipe.tiles.size),
            "step": recipe.tiles.step,
            "heat": "distribution" if recipe.loss.kind == "distribution" else "regression",
            **taught(recipe.loss),
            "sub_pixel": recipe.sub_pixel,
            "passes": recipe.passes,
            "present_above": recipe.present_above,
            "either_side": False,
        }

    def tile_centres(self, batch: VolumeBatch) -> Tensor:
        """The middles (B, 3), LPS mm, of one tile in each volume: inside of it, and in a share of them about a landmark."""
        recipe, generator = self.recipe.tiles, batch.generator
        half_mm = torch.tensor(recipe.size) * recipe.spacing_mm / 2
        centres = middles_of([case.pyramid for case in batch.seen])
        for row, case in enumerate(batch.seen):
            grid = case.pyramid.grids[0]
            left_mm = (torch.tensor(grid.size) * grid.spacing_mm / 2 - half_mm).clamp(min=0)
            place, within, chosen, chance = (torch.rand(count, generator=generator) for count in (3, 3, 1, 1))
            drawn = centres[row] + (2 * place - 1) * left_mm
            known = case.points_lps_mm[case.present == 1]
            if len(known) and chance < recipe.about_landmarks:
                landmark = known[min(int(chosen * len(known)), len(known) - 1)]
                about = landmark + (2 * within - 1) * half_mm
                drawn = torch.maximum(torch.minimum(about, centres[row] + left_mm), centres[row] - left_mm)
            centres[row] = drawn
        return centres

    def loss(self, network: nn.Module, batch: VolumeBatch, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch and its terms; their weights stay the same all along."""
        assert isinstance(network, HeatmapNetwork)
        recipe = self.recipe
        sight = see([case.pyramid for case in batch.seen], self.tile_centres(batch), recipe.tiles.size, self.device)
        index, present = sight.index_of(batch.points_lps_mm.to(self.device)), batch.present.to(self.device)
        # Gaussians reach into a tile from beside it; what is farther away is not there for it.
        reach = _REACH_SD * recipe.loss.sigma * network.stride
        if recipe.loss.kind == "distribution":
            reach = recipe.augmentation.absent_mm / recipe.tiles.spacing_mm
        present = torch.where((present == 1) & ~sight.holds(index, reach), torch.zeros_like(present), present)
        points = heat_pixels(index, network.stride)
        weights = None if batch.weights is None else batch.weights.to(self.device)
        return heat_loss(network(sight.values).heat, points, present, network.sigma, recipe.loss, weights)

    def locate(self, network: nn.Module, pyramid: Pyramid) -> NDArray[np.float64]:
        """Where the landmarks (N, 3) of one volume are seen, in LPS mm."""
        assert isinstance(network, HeatmapNetwork)
        recipe = self.recipe
        (still,) = rigid_moves(1, pyramid.grids[0])
        tiles = Tiles(recipe.tiles.size, recipe.tiles.step)
        return find_in_tiles(network, pyramid, tiles, HeatReading.from_inference(self.inference()), still).points

    def export(self, folder: Path, network: nn.Module, parent: Bundle | None) -> None:
        """Write the bundle."""
        from training.export_volume import export_volume_bundle

        export_volume_bundle(folder, self, network, parent)
