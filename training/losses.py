"""DenseSeg's equation 4 and its better successors, term by term."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from DenseLandmarksLib.models.networks.dense_shape import DenseShapeOutput
from training.augmentation import normalised
from training.dense_shape_recipe import LossRecipe


def mask_loss(logits: Tensor, masks: Tensor, annotated: Tensor, positive_weight: Tensor, kind: str) -> Tensor:
    """BCE with class weights (DenseSeg), or soft Dice plus plain BCE, of logits and masks (B, S, H, W).

    ``annotated`` (B, S) says which structures count, and how much; ``positive_weight`` (S,) is negatives per positive. The mean
    is taken over those that count, whatever their weights: what weighs half teaches half.
    """
    weight = positive_weight[:, None, None] if kind == "bce" else None
    bce = functional.binary_cross_entropy_with_logits(logits, masks, pos_weight=weight, reduction="none").mean((2, 3))
    if kind == "dice_bce":
        probability = logits.sigmoid()
        overlap = 2 * (probability * masks).sum((2, 3)) + 1
        bce = bce + 1 - overlap / (probability.sum((2, 3)) + masks.sum((2, 3)) + 1)
    return (bce * annotated).sum() / (annotated > 0).sum().clamp_min(1)


def coordinate_error(uv: Tensor, log_scale: Tensor | None, target: Tensor, beta: float) -> Tensor:
    """L1 of uv, or with a log-scale the Laplace negative log-likelihood, each entry weighted by ``scale ** beta``."""
    error = (uv - target).abs()
    if log_scale is None:
        return error
    likelihood = error * torch.exp(-log_scale) + log_scale
    return likelihood * torch.exp(beta * log_scale.detach())


def dense_loss(
    output: DenseShapeOutput, uv: Tensor, masks: Tensor, beta: float, weights: Tensor | None = None
) -> Tensor:
    """Coordinate error of uv (B, S, 2, h, w) over the pixels of masks (B, S, h, w), averaged as DenseSeg does:
    per image and structure by the number of entries + 1, then over both, each times its ``weights`` (B, S).
    """
    inside = masks[:, :, None]
    error = coordinate_error(output.uv, output.log_scale, uv, beta)
    error = torch.where(inside > 0, error, torch.zeros_like(error))
    of_structures = error.sum((2, 3, 4)) / (2 * inside.sum((2, 3, 4)) + 1)
    return (of_structures if weights is None else of_structures * weights).mean()


def landmark_loss(
    output: DenseShapeOutput,
    points: Tensor,
    landmark_uv: Tensor,
    stride: int,
    beta: float,
    weights: Tensor | None = None,
) -> Tensor:
    """Coordinate error of the uv sampled at the true landmarks (B, S, P, 2), against ``landmark_uv`` (S, P, 2).

    Landmarks that are NaN or outside the image do not count. The errors, times their ``weights`` (B, S, P), are averaged over
    those that count, whatever their weights: what weighs half teaches half.
    """
    batch, structures, _, height, width = output.uv.shape
    at = (points - (stride - 1) / 2) / stride
    edge = torch.tensor([width - 1, height - 1], device=points.device)
    # Half a pixel of border is still the image's: the outermost pixels reach to their own edge.
    counts = ((at >= -0.5) & (at <= edge + 0.5)).all(-1)
    grid = normalised(at.nan_to_num(), (height, width)).flatten(0, 1)[:, :, None]

    def sample(channels: Tensor) -> Tensor:
        sampled = functional.grid_sample(channels.flatten(0, 1), grid, padding_mode="border", align_corners=True)
        return sampled[..., 0].transpose(1, 2).unflatten(0, (batch, structures))

    log_scale = None if output.log_scale is None else sample(output.log_scale)
    error = coordinate_error(sample(output.uv), log_scale, landmark_uv, beta).mean(-1)
    error = error * counts if weights is None else error * counts * weights
    return (error.sum(2) / counts.sum(2).clamp_min(1)).mean()


def smoothness_loss(uv: Tensor, masks: Tensor) -> Tensor:
    """DenseSeg's "TV": the squared magnitude of the uv gradient (central differences) inside the masks."""
    dy, dx = torch.gradient(uv, dim=(3, 4))
    magnitude = torch.sqrt(dx**2 + dy**2 + 1e-12).mean(2) ** 2
    return ((magnitude * masks).sum((2, 3)) / (masks.sum((2, 3)) + 1)).mean()


def total_loss(
    output: DenseShapeOutput,
    masks: Tensor,
    uv: Tensor,
    points: Tensor,
    landmark_uv: Tensor,
    annotated: Tensor,
    views: Tensor,
    positive_weight: Tensor,
    recipe: LossRecipe,
    mask_weights: Tensor | None = None,
    point_weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum and its terms.

    ``masks`` (B, S, H, W) on the grid, ``uv`` (B, S, 2, h, w) on the network's; ``views`` (B,) positions in ``VIEWS``;
    ``annotated`` (B, S) what the uv map of a structure teaches, 0 where it is not known, ``mask_weights`` (B, S) its mask, by
    default the same, ``point_weights`` (B, S, P) each of its landmarks, by default 1.
    """
    stride = masks.shape[2] // uv.shape[3]
    output = DenseShapeOutput(
        output.mask_logits.float(),
        output.uv.float(),
        None if output.log_scale is None else output.log_scale.float(),
        None if output.view_logits is None else output.view_logits.float(),
    )
    if recipe.likelihood == "l1":
        output = output._replace(log_scale=None)
    coarse = functional.avg_pool2d(masks, stride) if stride > 1 else masks
    inside = (coarse > 0.5).float() * (annotated > 0).float()[:, :, None, None]
    of_masks = annotated if mask_weights is None else mask_weights
    terms = {"mask": mask_loss(output.mask_logits, masks, of_masks, positive_weight, recipe.mask)}
    if recipe.dense_weight > 0:
        terms["dense"] = dense_loss(output, uv, inside, recipe.beta, annotated)
    if recipe.landmark_weight > 0:
        terms["landmark"] = landmark_loss(output, points, landmark_uv, stride, recipe.beta, point_weights)
    if recipe.smoothness_weight > 0:
        terms["smoothness"] = smoothness_loss(output.uv, inside)
    if output.view_logits is not None:
        terms["view"] = functional.cross_entropy(output.view_logits, views)
    weights = {
        "mask": recipe.mask_weight,
        "dense": recipe.dense_weight,
        "landmark": recipe.landmark_weight,
        "smoothness": recipe.smoothness_weight,
        "view": recipe.view_weight,
    }
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum(), terms
