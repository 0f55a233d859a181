"""Loc-Net (Ma, Gupta and Sabuncu 2020, section 2.1): a 3D U-Net whose heatmaps' centres of mass are the landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Centre = Literal["relu", "softmax"]

_SMALL = 1e-5


class _Block(nn.Sequential):
    """Convolutions of 3 x 3 x 3 with their activations; normalised per instance where asked for, as the paper is not."""

    def __init__(self, before: int, width: int, convolutions: int, is_normalised: bool, dropout: float) -> None:
        layers: list[nn.Module] = []
        for number in range(convolutions):
            layers.append(nn.Conv3d(before if number == 0 else width, width, 3, padding=1, bias=not is_normalised))
            if is_normalised:
                layers.append(nn.InstanceNorm3d(width, affine=True))
            layers.append(nn.ReLU(inplace=True))
        if dropout:
            layers.append(nn.Dropout(dropout))
        super().__init__(*layers)


class LocNet(nn.Module):
    """Four resolutions, 16-32-64-128 down and 64-32-16 up in the paper, max-pooling and nearest up-sampling.

    Parameters
    ----------
    landmarks : N heatmaps.
    channels : of the resolutions, the finest first.
    convolutions : in each block, 1 in the paper.
    is_normalised : instance normalisation behind each convolution; the paper has none.
    encoder_dropout, decoder_dropout : shares; in the paper 0.5 and 0.5 at the coarsest scale, 0.5 and 0 at the others.
    """

    def __init__(
        self,
        landmarks: int,
        channels: Sequence[int] = (16, 32, 64, 128),
        convolutions: int = 1,
        is_normalised: bool = False,
        encoder_dropout: float = 0.0,
        decoder_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.down = nn.ModuleList()
        before = 1
        for width in channels:
            self.down.append(_Block(before, width, convolutions, is_normalised, encoder_dropout))
            before = width
        self.up = nn.ModuleList()
        for width in reversed(channels[:-1]):
            self.up.append(_Block(before + width, width, convolutions, is_normalised, decoder_dropout))
            before = width
        self.head = nn.Conv3d(before, landmarks, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # Above zero at first: a heatmap that a ReLU has emptied never comes back.
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias, 0.1)
        store_channels_last(self)

    @property
    def divisor(self) -> int:
        """A crop's sides are multiples of this."""
        return int(2 ** (len(self.channels) - 1))

    def features(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, C, z, y, x) of crops (B, 1, z, y, x), and those (B, D, ...) of the coarsest resolution."""
        passed = []
        now = crops
        for number, block in enumerate(self.down):
            now = block(now if number == 0 else nn.functional.max_pool3d(now, 2))
            passed.append(now)
        deepest = passed.pop()
        for block in self.up:
            wide = nn.functional.interpolate(now, scale_factor=2.0, mode="nearest")
            now = block(torch.cat([wide, passed.pop()], dim=1))
        return now, deepest

    def heat_of(self, features: Tensor, rows: Tensor) -> Tensor:
        """Logits (M, G, z, y, x) of features (M, C, z, y, x), in each for its own landmarks ``rows`` (M, G) alone."""
        weight, bias = self.head.weight.flatten(1), self.head.bias
        assert bias is not None
        # In float32: half precision would round a peak's logits by more than neighbours differ.
        heat = torch.bmm(weight[rows], features.float().flatten(2)) + bias[rows][..., None]
        return heat.unflatten(2, features.shape[2:])


def store_channels_last(network: nn.Module) -> None:
    """Store the weights of 3D convolutions, and so all that comes of them, as CPUs train 1.3 times as fast with."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)


def centre_of_mass(heat: Tensor, centre: Centre) -> Tensor:
    """Continuous voxel index (M, G, 3), order x, y, z, of heatmaps' logits (M, G, z, y, x), in float32.

    ``"relu"`` is the paper's: what is above zero, divided by its sum; ``"softmax"`` has no dead start and no background.
    """
    flat = heat.float().flatten(2)
    if centre == "relu":
        mass = flat.relu()
        total = mass.sum(dim=2) + _SMALL
    else:
        mass = flat.softmax(dim=2)
        total = torch.ones((), device=flat.device)
    mass = mass.unflatten(2, heat.shape[2:])
    along = []
    for axis in (4, 3, 2):  # x, y, z
        marginal = mass.sum(dim=tuple(other for other in (2, 3, 4) if other != axis))
        index = torch.arange(heat.shape[axis], device=heat.device, dtype=torch.float32)
        moment = (marginal * index).sum(dim=2)
        along.append((moment + _SMALL) / total if centre == "relu" else moment)
    return torch.stack(along, dim=2)


def heat_covariance(heat: Tensor, centre: Centre) -> Tensor:
    """Second moments (M, G, 3, 3), in voxels squared, of heatmaps' logits (M, G, z, y, x) about their centre of mass."""
    flat = heat.float().flatten(2)
    mass = flat.softmax(dim=2) if centre == "softmax" else flat.relu()
    mass = mass.unflatten(2, heat.shape[2:])
    # Few numbers, which half the digits would not do for: a peak far from voxel 0 is narrow beside its distance.
    planes = [mass.sum(dim=axis).double() for axis in (2, 3, 4)]  # over z, y, x
    total = planes[0].sum(dim=(2, 3)) + _SMALL * (centre == "relu")
    planes = [plane / total[..., None, None] for plane in planes]
    marginals = (planes[0].sum(dim=2), planes[0].sum(dim=3), planes[1].sum(dim=3))  # of x, y, z
    away = []
    for marginal in marginals:
        index = torch.arange(marginal.shape[2], device=heat.device, dtype=torch.float64)
        mean = (marginal * index).sum(dim=2) / marginal.sum(dim=2).clamp(min=1e-300)
        away.append(index - mean[..., None])
    x, y, z = away
    out = torch.zeros(*heat.shape[:2], 3, 3, device=heat.device, dtype=torch.float64)
    for axis in range(3):
        out[..., axis, axis] = (marginals[axis] * away[axis] ** 2).sum(dim=2)
    for one, other, plane, along, across in ((0, 1, planes[0], y, x), (0, 2, planes[1], z, x), (1, 2, planes[2], z, y)):
        out[..., one, other] = out[..., other, one] = torch.einsum("mgab,mga,mgb->mg", plane, along, across)
    return out.float()


def entropy_of(heat: Tensor, centre: Centre) -> Tensor:
    """Entropy (M, G), in nats, of heatmaps' logits (M, G, z, y, x) taken as distributions."""
    flat = heat.float().flatten(2)
    if centre == "softmax":
        log = flat.log_softmax(dim=2)
        return -(log.exp() * log).sum(dim=2)
    mass = flat.relu() / (flat.relu().sum(dim=2, keepdim=True) + _SMALL)
    return -(mass * (mass + 1e-12).log()).sum(dim=2)
