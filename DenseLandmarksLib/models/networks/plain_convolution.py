"""The convolution of the SpatialConfiguration-Net family: as many pixels out as in, LeakyReLU 0.1, He's weights."""

from __future__ import annotations

import math
from typing import Literal

import torch
from monai.networks import layers
from torch import Tensor, nn
from torch.nn import functional

Norm = Literal["none", "instance", "batch"]
Padding = Literal["zeros", "reflect"]

SLOPE = 0.1
# The share of a normal's standard deviation that is left when it is cut at two of them; TensorFlow's He initialiser,
# which the papers' code uses, divides by it.
TRUNCATED_STD = 0.87962566103423978

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


class Convolution(nn.Module):
    """A convolution that keeps the size, or divides it by ``stride``, and what follows it.

    Parameters
    ----------
    dimensions, before, after : 2 or 3, channels in and out.
    kernel : pixels along each side, 3 by default; odd, or with stride 2 even, so that centres stay aligned.
    norm : between convolution and activation.
    padding : ``"reflect"`` falls back to repeating the border where a map is smaller than what is to be reflected.
    std : of truncated normal weights, for a head: such a convolution has neither norm nor activation, and float32
        throughout. By default the weights are He's.
    """

    def __init__(
        self,
        dimensions: int,
        before: int,
        after: int,
        kernel: int = 3,
        stride: int = 1,
        norm: Norm = "none",
        padding: Padding = "zeros",
        std: float | None = None,
    ) -> None:
        super().__init__()
        if (kernel - stride) % 2:
            raise ValueError(f"expected a kernel that is as odd as its stride {stride}, got {kernel}")
        self.dimensions, self.pad, self.padding = dimensions, (kernel - stride) // 2, padding
        inside = self.pad if padding == "zeros" else 0
        self.convolution = layers.Conv["conv", dimensions](before, after, kernel, stride, inside)
        fan_in = before * kernel**dimensions
        spread = math.sqrt(2 / fan_in) / TRUNCATED_STD if std is None else std
        nn.init.trunc_normal_(self.convolution.weight, std=spread, a=-2 * spread, b=2 * spread)
        nn.init.zeros_(self.convolution.bias)
        self.is_head = std is not None
        has_norm = norm != "none" and not self.is_head
        self.norm = layers.Norm[norm, dimensions](after, affine=True) if has_norm else nn.Identity()
        self.activation = nn.Identity() if self.is_head else nn.LeakyReLU(SLOPE)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, ``before``, *size) to (B, ``after``, *size / ``stride``)."""
        if self.padding == "reflect" and self.pad:
            mode = "reflect" if min(maps.shape[2:]) > self.pad else "replicate"
            maps = functional.pad(maps, (self.pad,) * (2 * self.dimensions), mode=mode)
        if self.is_head:
            return in_float32(self.convolution, maps)
        mapped: Tensor = self.activation(self.norm(self.convolution(maps)))
        return mapped


def in_float32(layer: nn.Module, maps: Tensor) -> Tensor:
    """What a layer makes of maps; in bfloat16 a heatmap would have steps about its peak, of half a percent of its height."""
    with torch.autocast(maps.device.type, enabled=False):
        mapped: Tensor = layer(maps.float())
    return mapped


def channels_last(maps: Tensor) -> Tensor:
    """Maps stored as processors convolve them fastest; what is made of them is stored alike."""
    return maps.contiguous(memory_format=_CHANNELS_LAST[maps.ndim])


def average_pool(maps: Tensor, factor: int) -> Tensor:
    """Means of maps (B, C, *size) over blocks of ``factor`` pixels along each side."""
    pooled: Tensor = layers.Pool["avg", maps.ndim - 2](factor)(maps)
    return pooled


def stem(dimensions: int, filters: int, stride: int, norm: Norm) -> Convolution:
    """The first convolution: 3 x 3, or with stride 2 four by four, whose centres are those of the heatmap's pixels."""
    kernels = {1: 3, 2: 4}
    if stride not in kernels:
        raise ValueError(f"expected a stem of stride 1 or 2, got {stride}")
    return Convolution(dimensions, 1, filters, kernels[stride], stride, norm)
