"""Heatmap regression: a U-Net whose N outputs are to be Gaussians about the landmarks, read at their peaks.

The first row of table 1 of Ma, Gupta and Sabuncu 2020, which says no more of it than "U-Net"; here it has the layers of
the Loc-Net that it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from DenseLandmarksLib.landmarks.heat_read_out import read_heat
from DenseLandmarksLib.models.networks.loc_net import LocNet
from training.baselines.whole_volume import WholeVolumeNetwork, WholeVolumeTask
from training.heatmap_losses import height_loss
from training.volume_recipe import VolumeRecipe


class HeatmapUNet(WholeVolumeNetwork):
    """Outputs (B, N, z, y, x); ``sigma_voxels`` is that of the Gaussians, which are 1 at their peak."""

    def __init__(
        self,
        landmarks: int,
        channels: Sequence[int],
        convolutions: int,
        is_normalised: bool,
        sigma_voxels: float,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.net = LocNet(landmarks, channels, convolutions, is_normalised, dropout, dropout)
        # Almost everywhere the answer is zero, so it begins there, as the 3D networks of Payer et al. 2019 do.
        assert self.net.head.bias is not None
        torch.nn.init.normal_(self.net.head.weight, std=1e-3)
        torch.nn.init.zeros_(self.net.head.bias)
        self.sigma_voxels = sigma_voxels
        self.register_buffer("rows", torch.arange(landmarks)[None], persistent=False)

    def forward(self, volumes: Tensor) -> Tensor:
        """Heatmaps (B, N, z, y, x) of volumes (B, 1, z, y, x)."""
        with torch.autocast(volumes.device.type, torch.bfloat16, enabled=self.is_mixed):
            features, _ = self.net.features(volumes)
        rows = self.rows
        assert isinstance(rows, Tensor)
        return self.net.heat_of(features, rows.expand(len(volumes), -1))

    def loss(self, output: Tensor, index: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error, summed over voxels; 1 for a landmark whose heatmap is empty."""
        sigma = torch.full((output.shape[1],), self.sigma_voxels, device=output.device)
        whole = (math.sqrt(math.pi) * self.sigma_voxels) ** 3  # of the squares of one Gaussian
        error = height_loss(output, index, present, sigma, 1.0) * (output[0, 0].numel() / whole)
        return error, {"squared": error}

    def locate(self, output: Tensor) -> Tensor:
        """Peaks (B, N, 3)."""
        return peaks(output)


def peaks(heat: Tensor) -> Tensor:
    """Where heatmaps (B, N, z, y, x) are largest, (B, N, 3), order x, y, z, between voxels."""
    found = [read_heat(one, "regression").points for one in heat.float().cpu().numpy()]
    return torch.from_numpy(np.stack(found)).float().to(heat.device)


class HeatmapTask(WholeVolumeTask):
    """A run of :class:`HeatmapUNet`; ``loss.heat_sigma`` of the recipe is that of its Gaussians."""

    def build(self, recipe: VolumeRecipe, landmarks: int) -> WholeVolumeNetwork:
        """The network of a recipe."""
        network = recipe.network
        layers = network.channels, network.convolutions, network.is_normalised
        return HeatmapUNet(landmarks, *layers, recipe.loss.heat_sigma, network.dropout)
