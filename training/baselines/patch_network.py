"""Noothout's patches: each says how far away a landmark is, and whether it is in it.

Noothout et al. 2018, "CNN-based landmark detection in cardiac CTA scans" (arXiv 1804.04963): one fully convolutional
network does both for all patches of a volume. There the patches that hold the landmark are averaged, in Noothout et al.
2020 (IEEE TMI 39, "global localization") all, weighed by how likely they do, as here: there is always an answer. Chosen
here are the layers, those of the Loc-Net's encoder that it is compared with, and the scale of the displacements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from DenseLandmarksLib.models.networks.loc_net import store_channels_last
from training.baselines.whole_volume import DIVISOR, WholeVolumeNetwork, WholeVolumeTask
from training.volume_recipe import VolumeRecipe

PATCH = DIVISOR
"""Voxels along each side of a patch."""
# In a volume of 64 voxels a side.
_PATCHES = 512
# Further away than any volume reaches, in octaves of voxels.
_FARTHEST = 12.0


class PatchNetwork(WholeVolumeNetwork):
    """Outputs (B, N, 4, z, y, x), one place per patch: scaled displacements along x, y, z, and a logit of presence."""

    def __init__(
        self, landmarks: int, channels: Sequence[int], convolutions: int, is_normalised: bool, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if 2 ** (len(channels) - 1) != PATCH:
            raise ValueError(f"expected the channels of four resolutions, got {len(channels)}")
        layers: list[nn.Module] = []
        before = 1
        for number, width in enumerate(channels):
            layers += [nn.MaxPool3d(2)] if number else []
            for _ in range(convolutions):
                layers.append(nn.Conv3d(before, width, 3, padding=1, bias=not is_normalised))
                layers += [nn.InstanceNorm3d(width, affine=True)] if is_normalised else []
                layers.append(nn.ReLU(inplace=True))
                before = width
            layers += [nn.Dropout(dropout)] if dropout else []
        self.features = nn.Sequential(*layers)
        self.head = nn.Conv3d(before, 4 * landmarks, 1)
        for module in self.features.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        # Almost no patch holds a landmark, so that is what it begins with, as the heatmap U-Net does.
        nn.init.normal_(self.head.weight, std=1e-3)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)
        self.head.bias.data[3::4] = -math.log(_PATCHES - 1)
        store_channels_last(self)

    def forward(self, volumes: Tensor) -> Tensor:
        """What the patches (B, N, 4, z / 8, y / 8, x / 8) of volumes (B, 1, z, y, x) say."""
        with torch.autocast(volumes.device.type, torch.bfloat16, enabled=self.is_mixed):
            features = self.features(volumes)
        return self.head(features.float()).unflatten(1, (-1, 4))

    def loss(self, output: Tensor, index: Tensor, present: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean absolute error of scaled displacements, and cross-entropy, summed over patches, of presence."""
        centres = patch_centres(output.shape[3:], output.device)
        away = torch.nan_to_num(index)[:, :, None] - centres  # (B, N, P, 3)
        located = torch.isfinite(index).all(dim=2)
        error = (output[:, :, :3].flatten(3).transpose(2, 3) - log_scaled(away)).abs().mean(dim=(2, 3))
        regression = (error * located).sum() / located.sum().clamp(min=1)
        # Each position is in one patch: the lower border belongs to it, the upper does not.
        inside = ((away >= -PATCH / 2) & (away < PATCH / 2)).all(dim=3) & located[..., None]
        entropy = nn.functional.binary_cross_entropy_with_logits(
            output[:, :, 3].flatten(2), inside.float(), reduction="none"
        ).sum(dim=2)
        known = torch.isfinite(present)
        classification = (entropy * known).sum() / known.sum().clamp(min=1)
        return regression + classification, {"displacement": regression, "patch": classification}

    def locate(self, output: Tensor) -> Tensor:
        """Means (B, N, 3) of where the patches say that the landmarks are, weighed by their probabilities."""
        centres = patch_centres(output.shape[3:], output.device)
        said = centres + log_unscaled(output[:, :, :3].flatten(3).transpose(2, 3))
        # A softmax of log-probabilities is probabilities divided by their sum.
        weights = nn.functional.logsigmoid(output[:, :, 3].flatten(2)).softmax(dim=2)
        return (weights[..., None] * said).sum(dim=2)


def patch_centres(patches: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Middles (P, 3), order x, y, z, in voxels, of so many ``patches`` along z, y, x, in the order of their values."""
    along = [torch.arange(count, device=device) * PATCH + (PATCH - 1) / 2 for count in patches]
    z, y, x = torch.meshgrid(*along, indexing="ij")
    return torch.stack([x, y, z], dim=-1).reshape(-1, 3)


def log_scaled(displacement: Tensor) -> Tensor:
    """Displacements so that near ones differ more than far ones: their sign, times log2 of 1 more than their length."""
    return displacement.sign() * displacement.abs().add(1).log2()


def log_unscaled(scaled: Tensor) -> Tensor:
    """The inverse of :func:`log_scaled`."""
    return scaled.sign() * (scaled.abs().clamp(max=_FARTHEST).exp2() - 1)


class PatchTask(WholeVolumeTask):
    """A run of :class:`PatchNetwork`."""

    def build(self, recipe: VolumeRecipe, landmarks: int) -> WholeVolumeNetwork:
        """The network of a recipe."""
        network = recipe.network
        layers = network.channels, network.convolutions, network.is_normalised
        return PatchNetwork(landmarks, *layers, network.dropout)
