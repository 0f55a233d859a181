"""What is wrong with heatmaps: as heights (Payer et al. 2019; HeatReg of Keuth et al. 2024), or as a distribution.

Throughout ``points_px`` (B, N, d) are positions in heatmap pixels, order x, y(, z), and ``present`` (B, N) says 1 where a
landmark is in the image, 0 where it is truly absent, NaN where nobody knows. What is not known costs nothing. ``weights``
(B, N) say how much each counts, ``None`` that all count 1; means are taken over their number, not over their weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.heatmap_recipe import HeatmapLossRecipe
from training.heatmap_targets import axis_exponents, density_height, gaussian_heat
from training.losses import mask_loss


def heat_loss(
    heat: Tensor,
    points_px: Tensor,
    present: Tensor,
    sigma: Tensor,
    recipe: HeatmapLossRecipe,
    weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of heatmaps (B, N, *S) that a recipe asks for, and its terms where it has more than one."""
    if recipe.kind == "sum":
        alpha = recipe.alpha if recipe.learned_sigma else 0.0
        return regression_loss(heat, points_px, present, sigma, recipe.gamma, alpha, weights)
    if recipe.kind == "heat_reg":
        return height_loss(heat, points_px, present, sigma, recipe.height, weights), {}
    return entropy_loss(heat, points_px, present, sigma, recipe.absent_weight, weights), {}


def regression_loss(
    heat: Tensor,
    points_px: Tensor,
    present: Tensor,
    sigma: Tensor,
    gamma: float,
    alpha: float,
    weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Payer's sums over pixels and landmarks, per image: half the squared error, and alpha times half of sigma squared.

    ``heat`` (B, N, *S); ``sigma`` (N,) in heatmap pixels is learned: the targets follow it. An absent landmark has a zero
    target. The terms are ``heat`` and ``sigma``, which is weighted already. Decay of the kernels is the optimiser's.
    """
    is_there = _is_there(points_px, present)
    height = density_height(gamma, sigma, points_px.shape[-1])
    squared = _weighed(_squared_errors(heat, points_px, present, sigma, height), weights)
    terms = {
        "heat": 0.5 * squared.sum() / len(heat),
        "sigma": alpha * 0.5 * _weighed((sigma * is_there).square(), weights).sum() / len(heat),
    }
    return terms["heat"] + terms["sigma"], terms


def height_loss(
    heat: Tensor, points_px: Tensor, present: Tensor, sigma: Tensor, height: float, weights: Tensor | None = None
) -> Tensor:
    """HeatReg's mean squared error to Gaussians of one height (44) and width (8 pixels), over what is known."""
    squared = _weighed(_squared_errors(heat, points_px, present, sigma, height), weights)
    known = _is_there(points_px, present) | (present == 0)
    return squared.sum() / (known.sum().clamp(min=1) * heat[0, 0].numel())


def entropy_loss(
    heat: Tensor,
    points_px: Tensor,
    present: Tensor,
    sigma: Tensor,
    absent_weight: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy of spatial softmaxes of ``heat`` (B, N, *S) with Gaussians of ``sigma`` (N,) about the landmarks.

    Landmarks outside of the map do not count. With ``absent_weight`` truly absent ones are taught that every pixel is as
    likely. No target is built: the logits are averaged axis by axis.
    """
    heat = heat.float()
    size = heat.shape[2:]
    inside = _is_there(points_px, present) & _is_inside(points_px, size)
    expected = heat
    for exponents in axis_exponents(_finite(points_px), sigma, size):
        expected = torch.einsum("bn...x,bnx->bn...", expected, exponents.softmax(dim=-1))
    level = heat.flatten(2).logsumexp(dim=2)
    loss = _weighed((level - expected) * inside, weights).sum() / inside.sum().clamp(min=1)
    if absent_weight:
        absent = present == 0
        even = level - heat.flatten(2).mean(dim=2)
        loss = loss + absent_weight * _weighed(even * absent, weights).sum() / absent.sum().clamp(min=1)
    return loss


def joint_mask_loss(logits: Tensor, masks: Tensor, annotated: Tensor, positive_weight: Tensor, kind: str) -> Tensor:
    """:func:`training.losses.mask_loss` of a joint network's logits and masks (B, K, *size), two- or three-dimensional."""
    return mask_loss(logits.flatten(2, -2), masks.flatten(2, -2), annotated, positive_weight, kind)


def _squared_errors(heat: Tensor, points_px: Tensor, present: Tensor, sigma: Tensor, height: Tensor | float) -> Tensor:
    """Squared errors (B, N) summed over pixels; zero where nothing is known."""
    is_there = _is_there(points_px, present)
    target = gaussian_heat(_finite(points_px), sigma, heat.shape[2:], height)
    axes = (1,) * (heat.ndim - 2)
    target = torch.where(is_there.reshape(*is_there.shape, *axes), target, torch.zeros_like(target))
    known = is_there | (present == 0)
    return (heat.float() - target).square().flatten(2).sum(dim=2) * known


def _weighed(losses: Tensor, weights: Tensor | None) -> Tensor:
    """Losses (B, N), each times its weight."""
    return losses if weights is None else losses * weights


def _is_there(points_px: Tensor, present: Tensor) -> Tensor:
    """Which landmarks (B, N) are in the image, at a known position."""
    return (present == 1) & torch.isfinite(points_px).all(dim=-1)


def _is_inside(points_px: Tensor, size: torch.Size) -> Tensor:
    """Which positions (B, N, d) lie on a map, whose outermost pixels reach to their own edge."""
    last = torch.tensor(size, device=points_px.device).flip(0) - 1
    return ((points_px >= -0.5) & (points_px <= last + 0.5)).all(dim=-1)


def _finite(points_px: Tensor) -> Tensor:
    return torch.nan_to_num(points_px, nan=0.0, posinf=0.0, neginf=0.0).float()
