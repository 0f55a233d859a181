"""Heatmaps at half resolution, for CPUs: a stem of stride 2, a U-Net, two convolutions to a map per landmark."""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import UNet
from torch import Tensor, nn
from torch.nn import functional

from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork, HeatmapOutput
from DenseLandmarksLib.models.networks.plain_convolution import Convolution

_LINEAR = {4: "bilinear", 5: "trilinear"}
# Six pixels about the middle of a heatmap's pixel: what an odd kernel sees lies half an image pixel beside it.
_STEM_KERNEL = 6


class CompactHeatmapNet(HeatmapNetwork):
    """Normalised per instance and without dropout; meant for the cross-entropy of the spatial softmax.

    Parameters
    ----------
    landmarks, dimensions : N; 2 or 3.
    channels : of the U-Net's levels; the first is also the width of stem and head.
    residual_units : of each level.
    structures : K masks, drawn at half resolution and brought back linearly.
    sigma : of the target Gaussians in heatmap pixels.
    """

    def __init__(
        self,
        landmarks: int,
        dimensions: int = 2,
        channels: Sequence[int] = (32, 64, 128, 256, 256),
        residual_units: int = 2,
        structures: int = 0,
        sigma: float = 1.5,
    ) -> None:
        super().__init__(landmarks, dimensions, 2, 2 ** len(channels), structures, sigma)
        width = channels[0]
        self.stem = Convolution(dimensions, 1, width, _STEM_KERNEL, stride=2, norm="instance")
        self.unet = UNet(
            spatial_dims=dimensions,
            in_channels=width,
            out_channels=width,
            channels=channels,
            strides=(2,) * (len(channels) - 1),
            num_res_units=residual_units,
            norm=("instance", {"affine": True}),
            act=("leakyrelu", {"negative_slope": 0.1, "inplace": True}),
        )

        def head(outputs: int) -> nn.Sequential:
            return nn.Sequential(
                Convolution(dimensions, width, width, norm="instance"),
                # Weights that are small beside He's: every pixel is as likely at first.
                Convolution(dimensions, width, outputs, std=1e-3),
            )

        self.heat_head = head(landmarks)
        self.mask_head = head(structures) if structures else None

    def draw(self, images: Tensor) -> HeatmapOutput:
        """The heatmaps, and the mask logits of the joint network."""
        features = self.unet(self.stem(images))
        masks = None
        if self.mask_head is not None:
            masks = functional.interpolate(
                self.mask_head(features), size=images.shape[2:], mode=_LINEAR[images.ndim], align_corners=False
            )
        return HeatmapOutput(self.heat_head(features), mask_logits=masks)
