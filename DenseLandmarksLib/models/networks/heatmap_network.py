"""What all networks have in common that draw one heatmap per landmark, in two dimensions or three."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class HeatmapOutput:
    """What a heatmap network says of B images, N landmarks and K structures.

    Attributes
    ----------
    heat : (B, N, *S) float32, where S is the image's size divided by the network's stride: heights, or logits where the
        network was taught a distribution.
    parts : what the heatmap is made of, by name, (B, N, *S) each; of most networks nothing.
    mask_logits : (B, K, *image size) of joint networks.
    """

    heat: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    mask_logits: Tensor | None = None


class HeatmapNetwork(nn.Module, ABC):
    """From images (B, 1, *image size) to one heatmap per landmark.

    Parameters
    ----------
    landmarks : N.
    dimensions : 2 (y, x) or 3 (z, y, x).
    stride : image pixels per heatmap pixel; heatmap pixel i lies at ``(i + 0.5) * stride - 0.5`` of the image.
    divisor : the image's sizes must be multiples of it.
    structures : K, 0 where no masks are predicted.
    sigma : what :attr:`sigma` starts with.

    Attributes
    ----------
    sigma : (N,) standard deviations of the target Gaussians in heatmap pixels; learned where the loss wants it.
    is_mixed : convolutions in bfloat16; the heatmaps are always float32.
    """

    is_mixed = False

    def __init__(
        self, landmarks: int, dimensions: int, stride: int, divisor: int, structures: int = 0, sigma: float = 2.5
    ) -> None:
        super().__init__()
        if dimensions not in (2, 3):
            raise ValueError(f"expected 2 or 3 dimensions, got {dimensions}")
        self.landmarks, self.dimensions, self.structures = landmarks, dimensions, structures
        self.stride, self.divisor = stride, divisor
        self.sigma = nn.Parameter(torch.full((landmarks,), float(sigma)))

    def forward(self, images: Tensor) -> HeatmapOutput:
        """Heatmaps of images (B, 1, *image size); raises ``ValueError`` where ``divisor`` does not divide a size."""
        size = images.shape[2:]
        if len(size) != self.dimensions or images.shape[1] != 1 or any(length % self.divisor for length in size):
            wanted = f"(B, 1) and {self.dimensions} sizes that are multiples of {self.divisor}"
            raise ValueError(f"expected images of {wanted}, got {tuple(images.shape)}. Pad them.")
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.is_mixed):
            output = self.draw(images)
        masks = None if output.mask_logits is None else output.mask_logits.float()
        return HeatmapOutput(output.heat.float(), {name: of.float() for name, of in output.parts.items()}, masks)

    @abstractmethod
    def draw(self, images: Tensor) -> HeatmapOutput:
        """The heatmaps of images whose sizes are right, in whatever precision they come."""
