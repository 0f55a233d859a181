"""SpatialConfiguration-Net (Payer, Štern, Bischof and Urschler 2019): what is seen, times where it may be.

The details are those of the authors' code, ``network_scn_mia`` for images and ``network_scn`` for volumes.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from DenseLandmarksLib.models.networks.fixed_upsampling import upsample_cubic, upsample_linear
from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork, HeatmapOutput
from DenseLandmarksLib.models.networks.plain_convolution import (
    Convolution,
    Norm,
    Padding,
    average_pool,
    channels_last,
    stem,
)

LOCAL, SPATIAL = "local appearance", "spatial configuration"

# What the authors' code has in two dimensions and in three.
_FILTERS = {2: 128, 3: 64}
_SPATIAL_STRIDE = {2: 16, 3: 8}
_KERNEL = {2: 11, 3: 7}
_PADDING: dict[int, Padding] = {2: "zeros", 3: "reflect"}
_HEAD_STD = {2: 1e-4, 3: 1e-3}


class LocalAppearance(nn.Module):
    """Features (B, ``filters``, *size) of features: contracting blocks, a convolution from each level, their sum.

    Every level has convolution, element-wise dropout, convolution; average pooling leads down, linear up-sampling up.
    """

    def __init__(
        self, dimensions: int, filters: int, levels: int, dropout: float, norm: Norm, padding: Padding
    ) -> None:
        super().__init__()

        def convolution() -> Convolution:
            return Convolution(dimensions, filters, filters, norm=norm, padding=padding)

        self.contracting = nn.ModuleList(
            nn.Sequential(convolution(), nn.Dropout(dropout), convolution()) for _ in range(levels)
        )
        self.parallel = nn.ModuleList(convolution() for _ in range(levels))

    def forward(self, features: Tensor) -> Tensor:
        """From the finest level down, and up again."""
        from_levels = []
        for number, (contract, aside) in enumerate(zip(self.contracting, self.parallel, strict=True)):
            features = contract(features if number == 0 else average_pool(features, 2))
            from_levels.append(aside(features))
        total = from_levels.pop()
        while from_levels:
            total = from_levels.pop() + upsample_linear(total)
        return total


class SpatialConfigurationNet(HeatmapNetwork):
    """Local appearance times spatial configuration; every default is the paper's for the number of dimensions.

    Parameters
    ----------
    landmarks, dimensions : N; 2 or 3.
    filters : of the local appearance, 128 in two dimensions, 64 in three.
    levels : of the local appearance.
    spatial_filters : of the spatial configuration, by default as many as ``filters``.
    spatial_stride : heatmap pixels per pixel of the spatial configuration, 16 or 8.
    kernel : pixels along a side of the spatial configuration's convolutions, 11 or 7.
    tanh : which map it bounds; the authors' variant for whole hearts has it on the local one.
    dropout : share of features, element by element.
    norm : behind each convolution but the heads; the paper has none.
    stem_stride : 2 to work at half the image's resolution, not in the paper.
    sigma : what the learned standard deviations start with, in heatmap pixels; 2.5 in two dimensions, 4 in three.
    head_std : of the heads' truncated normal weights, 1e-4 or 1e-3, with which heatmaps start as nearly nothing.
    """

    def __init__(
        self,
        landmarks: int,
        dimensions: int = 2,
        filters: int | None = None,
        levels: int = 4,
        spatial_filters: int | None = None,
        spatial_stride: int | None = None,
        kernel: int | None = None,
        tanh: Literal["spatial", "local"] = "spatial",
        dropout: float = 0.5,
        norm: Norm = "none",
        stem_stride: int = 1,
        sigma: float | None = None,
        head_std: float | None = None,
    ) -> None:
        spatial_stride = spatial_stride or _SPATIAL_STRIDE.get(dimensions, 1)
        divisor = stem_stride * math.lcm(2 ** (levels - 1), spatial_stride)
        start = (2.5 if dimensions == 2 else 4.0) if sigma is None else sigma
        super().__init__(landmarks, dimensions, stem_stride, divisor, sigma=start)
        if tanh not in ("spatial", "local"):
            raise ValueError(f"expected tanh on the spatial or the local map, got {tanh!r}")
        filters = filters or _FILTERS[dimensions]
        between = spatial_filters or filters
        kernel = kernel or _KERNEL[dimensions]
        std = _HEAD_STD[dimensions] if head_std is None else head_std
        padding = _PADDING[dimensions]
        self.tanh, self.spatial_stride = tanh, spatial_stride
        # The authors' first convolution and local head pad with zeros also where all others reflect.
        self.stem = stem(dimensions, filters, stem_stride, norm)
        self.local = LocalAppearance(dimensions, filters, levels, dropout, norm, padding)
        self.local_head = Convolution(dimensions, filters, landmarks, std=std)
        self.spatial = nn.Sequential(
            *(
                Convolution(dimensions, before, between, kernel, norm=norm, padding=padding)
                for before in (landmarks, between, between)
            ),
            Convolution(dimensions, between, landmarks, kernel, padding=padding, std=std),
        )

    def draw(self, images: Tensor) -> HeatmapOutput:
        """The product, and its two factors as ``parts``."""
        local = self.local_head(self.local(channels_last(self.stem(images))))
        if self.tanh == "local":
            local = local.tanh()
        coarse = self.spatial(average_pool(local, self.spatial_stride))
        spatial = upsample_cubic(coarse.tanh() if self.tanh == "spatial" else coarse, self.spatial_stride)
        return HeatmapOutput(local * spatial, {LOCAL: local, SPATIAL: spatial})
