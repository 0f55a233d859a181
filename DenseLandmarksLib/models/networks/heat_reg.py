"""HeatReg, the baseline of DenseSeg (Keuth et al. 2024, section 3), and the joint network of its repository."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.blocks import ResidualUnit
from monai.networks.layers import Conv
from monai.networks.nets import UNet
from torch import Tensor, nn

from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork, HeatmapOutput
from DenseLandmarksLib.models.networks.plain_convolution import in_float32


class HeatRegNet(HeatmapNetwork):
    """DenseSeg's U-Net at full resolution, and heatmaps out of its features.

    Parameters
    ----------
    landmarks, dimensions : N; 2 or 3.
    channels : of the U-Net's levels, (64, 128, 256, 512) in the paper; the first is also the heads' width.
    structures : 0: one convolution of 1 x 1 leads to the heatmaps; otherwise K masks are drawn too, and each head has two
        residual units, as in ``KeypointSegUNet`` of the authors' code.
    sigma : of the target Gaussians, 8 pixels in the paper and not learned.
    """

    def __init__(
        self,
        landmarks: int,
        dimensions: int = 2,
        channels: Sequence[int] = (64, 128, 256, 512),
        structures: int = 0,
        sigma: float = 8.0,
    ) -> None:
        super().__init__(landmarks, dimensions, 1, 2 ** (len(channels) - 1), structures, sigma)
        width = channels[0]
        norm, act = ("instance", {"affine": True}), "leakyrelu"
        self.unet = UNet(
            spatial_dims=dimensions,
            in_channels=1,
            out_channels=width,
            channels=channels,
            strides=(2,) * (len(channels) - 1),
            num_res_units=2,
            norm=norm,
            act=act,
            bias=False,
        )

        def unit() -> ResidualUnit:
            # As everywhere in the network; MONAI's defaults are others.
            return ResidualUnit(dimensions, width, width, norm=norm, act=act, bias=False)

        def head(outputs: int) -> nn.Sequential:
            units = [unit() for _ in range(2 if structures else 0)]
            return nn.Sequential(*units, Conv["conv", dimensions](width, outputs, 1))

        self.heat_head = head(landmarks)
        self.mask_head = head(structures) if structures else None

    def draw(self, images: Tensor) -> HeatmapOutput:
        """The heatmaps, and the mask logits of the joint network."""
        features = self.unet(images)
        masks = None if self.mask_head is None else self.mask_head(features)
        return HeatmapOutput(in_float32(self.heat_head[-1], self.heat_head[:-1](features)), mask_logits=masks)
