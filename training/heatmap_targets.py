"""What a heatmap network is taught: Gaussians about landmarks, built axis by axis, in two dimensions or three."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def heat_pixels(points_px: Tensor, stride: int) -> Tensor:
    """Positions in heatmap pixels of positions in image pixels; heatmap pixel i is image pixel (i + 0.5) * stride - 0.5."""
    return (points_px + 0.5) / stride - 0.5


def axis_exponents(points_px: Tensor, sigma: Tensor, size: Sequence[int]) -> list[Tensor]:
    """Exponents (B, N, length) of Gaussians along each axis, in the order of ``points_px`` (B, N, d): x, y(, z).

    ``sigma`` (N,) in pixels, ``size`` of the map (height, width) or (depth, height, width).
    """
    along = []
    for axis, length in enumerate(reversed(size)):
        pixels = torch.arange(length, device=points_px.device, dtype=points_px.dtype)
        offsets = pixels - points_px[..., axis, None]
        along.append(-(offsets**2) / (2 * sigma[:, None] ** 2))
    return along


def gaussian_heat(points_px: Tensor, sigma: Tensor, size: Sequence[int], height: Tensor | float) -> Tensor:
    """Gaussians (B, N, *size) about known positions (B, N, d) in heatmap pixels, order x, y(, z).

    ``height`` of the peaks, (N,) or one for all. The gradient reaches ``sigma`` (N,) and ``height``.
    """
    heat, *others = (exponents.exp() for exponents in axis_exponents(points_px, sigma, size))
    heat = heat * torch.as_tensor(height, device=heat.device, dtype=heat.dtype).expand(len(sigma))[:, None]
    for along in others:
        heat = along.reshape(*along.shape, *(1,) * (heat.ndim - 2)) * heat.unsqueeze(2)
    return heat


def density_height(gamma: float, sigma: Tensor, dimensions: int) -> Tensor:
    """Heights (N,) of Gaussians whose integral is ``gamma`` (Payer et al. 2019, equation 2)."""
    return gamma / (math.sqrt(2 * math.pi) * sigma) ** dimensions
