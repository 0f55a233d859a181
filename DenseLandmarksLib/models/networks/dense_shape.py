"""DenseSeg's network (Keuth et al. 2024, section 2.2): one U-Net, one head for masks, one for dense uv maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from monai.networks.blocks import ResidualUnit
from monai.networks.nets import UNet
from torch import Tensor, nn

from DenseLandmarksLib.geometry.view import VIEWS

# The Laplace scale of a uv coordinate is kept between 1/1000 of the template's box and the whole of it.
LOG_SCALE_RANGE = (-7.0, 0.7)


class DenseShapeOutput(NamedTuple):
    """What a dense-shape network returns for B images and S structures.

    ``mask_logits`` (B, S, H, W) on the grid; ``uv`` (B, S, 2, h, w), order u, v, on the grid divided by the network's
    ``stride``; ``log_scale`` like ``uv``, the logarithm of the Laplace scale of each coordinate, or ``None``;
    ``view_logits`` (B, 8) how the image seems to be turned or mirrored, in the order of ``VIEWS``, or ``None``.
    """

    mask_logits: Tensor
    uv: Tensor
    log_scale: Tensor | None
    view_logits: Tensor | None = None


def view_head(width: int) -> nn.Sequential:
    """From features (B, ``width``, h, w) to logits (B, 8): a linear map of their means over 8 x 8 parts of the image."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(64 * width, len(VIEWS)))


def _split_uv(channels: Tensor, structures: int, uncertainty: bool) -> tuple[Tensor, Tensor | None]:
    split = channels.unflatten(1, (-1, structures, 2))
    return split[:, 0], split[:, 1].clamp(*LOG_SCALE_RANGE) if uncertainty else None


class DenseSegNet(nn.Module):
    """The paper's network: 6.5 M parameters in the U-Net, 0.15 M in each head, everything at full resolution.

    Parameters
    ----------
    structures : S.
    channels : of the four levels of the U-Net, (64, 128, 256, 512) in the paper; the first is also the heads' width.
    uncertainty : add a log-scale per uv channel (not in the paper).
    views : add a head that notices turned and mirrored images (not in the paper).
    """

    stride = 1

    def __init__(
        self,
        structures: int,
        channels: Sequence[int] = (64, 128, 256, 512),
        uncertainty: bool = False,
        views: bool = False,
    ) -> None:
        super().__init__()
        self.structures, self.uncertainty = structures, uncertainty
        width = channels[0]
        norm, act = ("instance", {"affine": True}), "leakyrelu"
        self.unet = UNet(
            spatial_dims=2,
            in_channels=1,
            out_channels=width,
            channels=channels,
            strides=(2,) * (len(channels) - 1),
            num_res_units=2,
            norm=norm,
            act=act,
            bias=False,
        )

        def head(outputs: int) -> nn.Sequential:
            # As everywhere in the network (``cat_residual_units`` of the authors' code); MONAI's defaults are others.
            units = [ResidualUnit(2, width, width, norm=norm, act=act, bias=False) for _ in range(2)]
            return nn.Sequential(*units, nn.Conv2d(width, outputs, 1))

        self.mask_head = head(structures)
        self.uv_head = head(structures * (4 if uncertainty else 2))
        self.view_head = view_head(width) if views else None

    def forward(self, images: Tensor) -> DenseShapeOutput:
        """Predict from z-normalised images (B, 1, H, W)."""
        features = self.unet(images)
        uv, log_scale = _split_uv(self.uv_head(features), self.structures, self.uncertainty)
        view_logits = None if self.view_head is None else self.view_head(features)
        return DenseShapeOutput(self.mask_head(features), uv, log_scale, view_logits)


class CompactDenseSegNet(nn.Module):
    """DenseSeg's two heads behind a stem of stride 2: for CPUs, about 15 times less work than :class:`DenseSegNet`.

    A 5 x 5 convolution halves the resolution, a U-Net sees the context, one residual unit joins both, and the heads
    work at half resolution; the mask logits are brought back to the grid bilinearly.

    Parameters
    ----------
    structures : S.
    channels : of the U-Net's levels; ``channels[0]`` is also the width of stem and heads.
    uncertainty : add a log-scale per uv channel.
    views : add a head that notices turned and mirrored images.
    """

    stride = 2

    def __init__(
        self,
        structures: int,
        channels: Sequence[int] = (32, 64, 128, 256),
        uncertainty: bool = True,
        views: bool = False,
    ) -> None:
        super().__init__()
        self.structures, self.uncertainty = structures, uncertainty
        width = channels[0]
        norm, act = ("instance", {"affine": True}), ("leakyrelu", {"negative_slope": 0.1, "inplace": True})
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 5, stride=2, padding=2), nn.InstanceNorm2d(width, affine=True), nn.LeakyReLU(0.1, True)
        )
        self.unet = UNet(
            spatial_dims=2,
            in_channels=width,
            out_channels=width,
            channels=channels,
            strides=(2,) * (len(channels) - 1),
            num_res_units=2,
            norm=norm,
            act=act,
        )
        self.join = ResidualUnit(2, 2 * width, width, norm=norm, act=act)

        def head(outputs: int) -> nn.Sequential:
            return nn.Sequential(ResidualUnit(2, width, width, norm=norm, act=act), nn.Conv2d(width, outputs, 1))

        self.mask_head = head(structures)
        self.uv_head = head(structures * (4 if uncertainty else 2))
        self.view_head = view_head(width) if views else None

    def forward(self, images: Tensor) -> DenseShapeOutput:
        """Predict from z-normalised images (B, 1, H, W)."""
        stem = self.stem(images)
        features = self.join(torch.cat([stem, self.unet(stem)], dim=1))
        logits = nn.functional.interpolate(self.mask_head(features), size=images.shape[-2:], mode="bilinear")
        uv, log_scale = _split_uv(self.uv_head(features), self.structures, self.uncertainty)
        view_logits = None if self.view_head is None else self.view_head(features)
        return DenseShapeOutput(logits, uv, log_scale, view_logits)


NETWORKS: dict[str, type[DenseSegNet] | type[CompactDenseSegNet]] = {
    "DenseSegNet": DenseSegNet,
    "CompactDenseSegNet": CompactDenseSegNet,
}
