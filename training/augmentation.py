"""One sampled transform moves image, masks, uv (values resampled) and points (exactly)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from DenseLandmarksLib.geometry.view import VIEWS
from training.run_recipe import AugmentationRecipe

# Nodes per side of the elastic displacement grid, and coefficients per side of the one of Payer et al.
ELASTIC_NODES = 7
B_SPLINE_NODES = 5
# Fixed-point steps of the inverse; the error shrinks by the displacement's slope (about 0.2) each time.
INVERSE_STEPS = 12
# Half of the turned images are upright and mirrored: of all views the hardest to notice.
MIRROR_SHARE = 0.5


@dataclass(frozen=True)
class SpatialTransform:
    """Where each pixel of B transformed images comes from: ``source(q) = matrix q + shift + displacement(q)``.

    Positions are continuous pixels x, y. ``matrix`` (B, 2, 2), ``shift`` (B, 2), ``displacement`` (B, 2, H, W) or
    ``None``.
    """

    matrix: Tensor
    shift: Tensor
    displacement: Tensor | None
    size: tuple[int, int]

    def _displacement_at(self, points: Tensor) -> Tensor:
        if self.displacement is None:
            return torch.zeros_like(points)
        grid = normalised(points, self.size)[:, :, None]
        sampled = functional.grid_sample(self.displacement, grid, padding_mode="border", align_corners=True)
        return sampled[..., 0].transpose(1, 2)

    def source(self, points: Tensor) -> Tensor:
        """Positions (B, N, 2) in the original of positions (B, N, 2) in the transformed image."""
        return points @ self.matrix.transpose(1, 2) + self.shift[:, None] + self._displacement_at(points)

    def move_points(self, points: Tensor) -> Tensor:
        """Positions (B, N, 2) in the transformed image of positions in the original (NaN stays NaN)."""
        inverse = torch.linalg.inv(self.matrix).transpose(1, 2)
        moved = (points - self.shift[:, None]) @ inverse
        for _ in range(INVERSE_STEPS if self.displacement is not None else 0):
            moved = (points - self.shift[:, None] - self._displacement_at(moved.nan_to_num())) @ inverse
        return moved

    def resample(self, images: Tensor, stride: int = 1, padding: str = "zeros") -> Tensor:
        """Transformed images (B, C, H / stride, W / stride), bilinear, on a grid whose pixel centres align."""
        height, width = self.size
        y = torch.arange(height // stride, device=images.device) * stride + (stride - 1) / 2
        x = torch.arange(width // stride, device=images.device) * stride + (stride - 1) / 2
        points = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).to(self.matrix.dtype)
        source = self.source(points.reshape(1, -1, 2).expand(len(images), -1, -1))
        grid = normalised(source, self.size).reshape(len(images), *points.shape)
        return functional.grid_sample(images, grid.to(images.dtype), padding_mode=padding, align_corners=True)

    @property
    def is_mirrored(self) -> Tensor:
        """Which of the images (B,) are seen as in a mirror."""
        return torch.linalg.det(self.matrix) < 0


def normalised(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Pixel positions x, y as :func:`torch.nn.functional.grid_sample` wants them with ``align_corners=True``."""
    height, width = size
    return points * torch.tensor([2 / (width - 1), 2 / (height - 1)], dtype=points.dtype, device=points.device) - 1


def sample_transform(
    count: int, size: tuple[int, int], recipe: AugmentationRecipe, generator: torch.Generator, device: str = "cpu"
) -> SpatialTransform:
    """Draw transforms for ``count`` images of ``size`` (height, width): rotation, scale per axis, shift, elastic, mirror."""

    def uniform(*shape: int, low: float = -1.0, high: float = 1.0) -> Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    def deviation(*shape: int) -> Tensor:
        drawn = uniform(*shape)
        return drawn * drawn.abs() if recipe.peaked else drawn

    angle = deviation(count) * recipe.rotation_deg * torch.pi / 180
    smallest, largest = recipe.scale
    if recipe.peaked:
        drawn = deviation(count, 1)
        factor = 1 + torch.where(drawn > 0, drawn * (largest - 1), drawn * (1 - smallest))
    else:
        factor = uniform(count, 1, low=smallest, high=largest)
    scale = factor * (1 + uniform(count, 2) * recipe.anisotropy)
    extent = torch.tensor([size[1], size[0]], dtype=torch.float32)
    centre = (extent - 1) / 2
    moved = deviation(count, 2) * recipe.shift * extent
    cosine, sine = torch.cos(angle), torch.sin(angle)
    rotation = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    # The original is scaled, turned and shifted about the centre; what is kept is the way back.
    matrix = torch.linalg.inv(rotation * scale[:, None, :])
    shift = centre - torch.einsum("bij,bj->bi", matrix, centre + moved)
    displacement = None
    if recipe.elastic > 0 and recipe.bend == "b_spline":
        coefficients = uniform(count, 2, B_SPLINE_NODES, B_SPLINE_NODES) * recipe.elastic * extent[:, None, None]
        rows, columns = (b_spline_weights(length) for length in size)
        displacement = (rows @ coefficients @ columns.T).to(device)
    elif recipe.elastic > 0:
        nodes = torch.randn((count, 2, ELASTIC_NODES, ELASTIC_NODES), generator=generator) * recipe.elastic
        displacement = functional.interpolate(
            nodes * extent[:, None, None], size=size, mode="bicubic", align_corners=True
        )
        displacement = displacement.to(device)
    if recipe.mirror > 0:
        # The original is mirrored first: what it was turned and moved by stays as it is.
        flip = torch.where(torch.rand(count, generator=generator) < recipe.mirror, -1.0, 1.0)
        across = torch.stack([flip, torch.ones(count)], 1)
        matrix, shift = across[:, :, None] * matrix, across * (shift - centre) + centre
        if displacement is not None:
            displacement = across.to(device)[:, :, None, None] * displacement
    return SpatialTransform(matrix.to(device), shift.to(device), displacement, size)


def b_spline_weights(length: int) -> Tensor:
    """Weights (length, 5) of the coefficients of a cubic B-spline at each of so many pixels in a row.

    Five coefficients span two cells: as SimpleITK's transform of mesh size 2 and order 3, which Payer's group uses.
    """
    cells = B_SPLINE_NODES - 3
    at = (torch.arange(length) + 0.5) / length * cells
    # A coefficient lies at each corner of a cell, and one beyond on each side.
    distance = (at[:, None] - (torch.arange(B_SPLINE_NODES) - 1)).abs()
    near = 2 / 3 - distance.square() + distance**3 / 2
    far = (2 - distance).clamp_min(0) ** 3 / 6
    return torch.where(distance < 1, near, far)


def change_intensities(images: Tensor, recipe: AugmentationRecipe, generator: torch.Generator) -> Tensor:
    """Inversion, gamma, blur, contrast, brightness and noise on z-normalised images (B, 1, H, W), drawn per image."""
    count, device = len(images), images.device

    def uniform(low: float = -1.0, high: float = 1.0) -> Tensor:
        return (torch.rand((count, 1, 1, 1), generator=generator) * (high - low) + low).to(device)

    if recipe.invert > 0:
        images = torch.where(uniform(0.0, 1.0) < recipe.invert, -images, images)
    if recipe.gamma > 0:
        low = images.amin(dim=(2, 3), keepdim=True)
        span = (images.amax(dim=(2, 3), keepdim=True) - low).clamp_min(1e-6)
        drawn = uniform()
        exponent = torch.exp((drawn * drawn.abs() if recipe.peaked else drawn) * recipe.gamma)
        curved = ((images - low) / span).clamp_min(1e-6) ** exponent
        images = (curved - curved.mean(dim=(2, 3), keepdim=True)) / curved.std(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    if recipe.blur > 0:
        weight = uniform(0.0, recipe.blur)
        images = (1 - weight) * images + weight * functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    images = images * (1 + uniform() * recipe.contrast) + uniform() * recipe.brightness
    if recipe.noise > 0:
        images = images + uniform(0.0, recipe.noise) * torch.randn(images.shape, generator=generator).to(device)
    return images


def turn_some(images: Tensor, share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A ``share`` of images (B, 1, H, W) turned or mirrored, and for each its position (B,) in ``VIEWS``; 0 is upright.

    On a grid that is not square only the views that keep its shape are drawn.
    """
    views = torch.zeros(len(images), dtype=torch.long, device=images.device)
    if share == 0:
        return images, views
    size = (images.shape[2], images.shape[3])
    mirrored = next(k for k, view in enumerate(VIEWS) if view.flip and view.turn_deg == 0)
    others = [k for k, view in enumerate(VIEWS) if k not in (0, mirrored) and view.seen_size(size) == size]
    images = images.clone()
    for i, (chance, which) in enumerate(torch.rand((len(images), 2), generator=generator).tolist()):
        if chance < share:
            k = (
                mirrored
                if which < MIRROR_SHARE
                else others[int((which - MIRROR_SHARE) / (1 - MIRROR_SHARE) * len(others))]
            )
            views[i] = k
            turned = torch.rot90(images[i], -VIEWS[k].turn_deg // 90, (1, 2))
            images[i] = turned.flip(2) if VIEWS[k].flip else turned
    return images, views
