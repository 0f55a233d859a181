"""Heatmap regression: a U-Net whose N outputs are to be Gaussians about the landmarks, read at their peaks.

The first row of table 1 of Ma, Gupta and Sabuncu 2020, which says no more of it than "U-Net"; here it has the layers of
the Loc-Net that it is compared with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from DenseLandmarksLib.models.networks.loc_net import LocNet
from training.baselines.whole_volume import WholeVolumeNetwork, WholeVolumeTask
from training.volume_recipe import VolumeRecipe

# Next to a peak no less than this share of it counts: a logarithm of nothing would move the peak by half a voxel.
_LEAST = 1e-3


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
            features, _ = self.net.features(volumes.contiguous(memory_format=torch.channels_last_3d))
        rows = self.rows
        assert isinstance(rows, Tensor)
        return self.net.heat_of(features, rows.expand(len(volumes), -1))

    def loss(self, output: Tensor, index: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared error, summed over voxels; 1 for a landmark whose heatmap is empty."""
        target = gaussians(index, output.shape[2:], self.sigma_voxels)
        known = torch.isfinite(present)
        whole = (math.sqrt(math.pi) * self.sigma_voxels) ** 3  # of the squares of one Gaussian
        squared = (output - target).square().sum(dim=(2, 3, 4)) / whole
        error = (squared * known).sum() / known.sum().clamp(min=1)
        return error, {"squared": error}

    def locate(self, output: Tensor) -> Tensor:
        """Peaks (B, N, 3)."""
        return peaks(output)


def gaussians(index: Tensor, size: tuple[int, ...] | torch.Size, sigma_voxels: float) -> Tensor:
    """Gaussians (B, N, z, y, x) of height 1 about positions (B, N, 3), order x, y, z; zero where one is NaN."""
    along = []
    for axis, count in zip((2, 1, 0), size, strict=True):  # z, y, x
        voxels = torch.arange(count, device=index.device)
        along.append(torch.exp(-((voxels - index[..., axis, None]) ** 2) / (2 * sigma_voxels**2)))
    z, y, x = (torch.nan_to_num(one) for one in along)
    return z[..., :, None, None] * y[..., None, :, None] * x[..., None, None, :]


def peaks(heat: Tensor) -> Tensor:
    """Where heatmaps (B, N, z, y, x) are largest, (B, N, 3), order x, y, z, between voxels where their neighbours say so.

    A parabola through the logarithms of three voxels along each axis: exact for Gaussians. At borders, and where that is no
    peak, the voxel itself.
    """
    sizes = heat.shape[2:]
    flat = heat.flatten(2)
    top, at = flat.max(dim=2)
    voxel = torch.stack(torch.unravel_index(at, sizes), dim=2)  # z, y, x
    strides = (sizes[1] * sizes[2], sizes[2], 1)
    found = []
    for axis in (2, 1, 0):
        place = voxel[..., axis]
        inside = (place > 0) & (place < sizes[axis] - 1) & (top > 0)
        step = torch.where(inside, strides[axis], 0)
        low, here, high = (
            flat.gather(2, (at + side * step)[..., None])[..., 0].clamp(min=1e-12).maximum(_LEAST * top).log()
            for side in (-1, 0, 1)
        )
        bend = low - 2 * here + high
        offset = 0.5 * (low - high) / torch.where(bend < 0, bend, 1)
        found.append(place + torch.where(inside & (bend < 0), offset.clamp(-0.5, 0.5), 0))
    return torch.stack(found, dim=2)


class HeatmapTask(WholeVolumeTask):
    """A run of :class:`HeatmapUNet`; ``loss.heat_sigma`` of the recipe is that of its Gaussians."""

    def build(self, recipe: VolumeRecipe, landmarks: int) -> WholeVolumeNetwork:
        """The network of a recipe."""
        network = recipe.network
        layers = network.channels, network.convolutions, network.is_normalised
        return HeatmapUNet(landmarks, *layers, recipe.loss.heat_sigma, network.dropout)
