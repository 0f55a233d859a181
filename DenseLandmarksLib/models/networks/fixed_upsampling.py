"""Up-sampling by fixed kernels, zero outside the map, as SpatialConfiguration-Net has it; in two dimensions or three.

Centres are aligned: pixel i of a map that is ``factor`` times as fine lies at ``(i + 0.5) / factor - 0.5`` of the map.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

KEYS_A = -0.5  # Keys 1981, equation 15, where the interpolation is exact for parabolas; torch's bicubic has -0.75.

_LINEAR = {4: "bilinear", 5: "trilinear"}


def keys_kernel(offsets: Tensor) -> Tensor:
    """The cubic convolution kernel (Keys 1981) at offsets in pixels of the coarse map; zero from two pixels on."""
    distance = offsets.abs()
    near = (KEYS_A + 2) * distance**3 - (KEYS_A + 3) * distance**2 + 1
    far = KEYS_A * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))


def upsample_cubic(maps: Tensor, factor: int) -> Tensor:
    """Maps (B, C, *size) ``factor`` times as fine, in float32, one axis after the other."""
    with torch.autocast(maps.device.type, enabled=False):
        fine = maps.float()
        for axis in range(2, maps.ndim):
            coarse = torch.arange(maps.shape[axis], device=maps.device)
            at = (torch.arange(maps.shape[axis] * factor, device=maps.device) + 0.5) / factor - 0.5
            weights = keys_kernel(at[:, None] - coarse)
            fine = torch.movedim(torch.movedim(fine, axis, -1) @ weights.T, -1, axis)
        return fine.contiguous()


def upsample_linear(maps: Tensor, factor: int = 2) -> Tensor:
    """Maps (B, C, *size) ``factor`` times as fine, linear between pixels."""
    axes = maps.ndim - 2
    padded = functional.pad(maps, (1, 1) * axes)
    fine = functional.interpolate(padded, scale_factor=float(factor), mode=_LINEAR[maps.ndim], align_corners=False)
    inner = slice(factor, -factor)
    return fine[(slice(None), slice(None), *(inner,) * axes)]
