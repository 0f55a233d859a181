"""The localisation U-Net that SpatialConfiguration-Net is compared with (Payer et al. 2019, section 4)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from DenseLandmarksLib.models.networks.fixed_upsampling import upsample_linear
from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork, HeatmapOutput
from DenseLandmarksLib.models.networks.plain_convolution import Convolution, Norm, average_pool, channels_last, stem

TOLERANCE = 0.02


class LocalisationUNet(HeatmapNetwork):
    """A U-Net with as many filters at every level, average pooling and linear up-sampling; skipped features are joined.

    Its blocks, convolution, element-wise dropout, convolution, are those of SpatialConfiguration-Net's local appearance,
    so that only the design differs (``UnetClassicAvgLinear2d`` of the authors' code behind the same first convolution;
    their ``network_unet`` has max pooling, ReLU and no dropout).

    Parameters
    ----------
    landmarks, dimensions : N; 2 or 3.
    filters : of all convolutions; :func:`equal_filters` says how many make it as large as another network.
    levels : 5 in the authors' code.
    dropout, norm, stem_stride, sigma, head_std : as in ``SpatialConfigurationNet``.
    """

    def __init__(
        self,
        landmarks: int,
        dimensions: int = 2,
        filters: int = 128,
        levels: int = 5,
        dropout: float = 0.5,
        norm: Norm = "none",
        stem_stride: int = 1,
        sigma: float = 2.5,
        head_std: float = 1e-4,
    ) -> None:
        super().__init__(landmarks, dimensions, stem_stride, stem_stride * 2 ** (levels - 1), sigma=sigma)

        def block(before: int) -> nn.Sequential:
            first = Convolution(dimensions, before, filters, norm=norm)
            return nn.Sequential(first, nn.Dropout(dropout), Convolution(dimensions, filters, filters, norm=norm))

        self.stem = stem(dimensions, filters, stem_stride, norm)
        self.contracting = nn.ModuleList(block(filters) for _ in range(levels))
        self.expanding = nn.ModuleList(block(2 * filters) for _ in range(levels - 1))
        self.head = Convolution(dimensions, filters, landmarks, kernel=1, std=head_std)

    def draw(self, images: Tensor) -> HeatmapOutput:
        """The heatmaps; they have no parts."""
        features = channels_last(self.stem(images))
        passed = []
        for number, contract in enumerate(self.contracting):
            features = contract(features if number == 0 else average_pool(features, 2))
            passed.append(features)
        passed.pop()
        for expand in self.expanding:
            features = expand(torch.cat([passed.pop(), upsample_linear(features)], dim=1))
        return HeatmapOutput(self.head(features))


def weights_of(network: nn.Module) -> int:
    """How many parameters a network has."""
    return sum(parameter.numel() for parameter in network.parameters())


def equal_filters(like: HeatmapNetwork, **arguments: Any) -> int:
    """The ``filters`` with which a :class:`LocalisationUNet` has as many parameters as another network, within 2 %.

    ``arguments`` are the others of the U-Net; landmarks and dimensions are those of ``like``. Raises ``ValueError`` where
    no number comes that near, as happens to networks with few filters.
    """
    wanted = weights_of(like)

    def size(filters: int) -> int:
        with torch.device("meta"):
            return weights_of(LocalisationUNet(like.landmarks, like.dimensions, filters, **arguments))

    low, high = 1, 2
    while size(high) < wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) < wanted else (low, middle)
    nearest = min((low, high), key=lambda filters: abs(size(filters) - wanted))
    if abs(size(nearest) / wanted - 1) > TOLERANCE:
        raise ValueError(
            f"expected a number of filters that gives {wanted} weights within 2 %, got {size(nearest)} with {nearest}. "
            "Take a wider network, or other levels."
        )
    return nearest
