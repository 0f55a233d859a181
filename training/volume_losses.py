"""What is wrong with a multi-scale network's outputs: squared errors in mm^2 per level, heatmaps, presence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from DenseLandmarksLib.models.networks.multi_scale import LevelOutput
from training.volume_recipe import ScaleLossRecipe


def level_weights(schedule: str, levels: int, progress: float) -> tuple[float, ...]:
    """Weight of each level's error when the share ``progress`` of the run is done.

    ``"ramps"`` is figure 3 of the paper: the coarsest falls from 1 to 0, the finest rises from 0 to 1, those between rise to
    1 in the middle of the run and fall again. ``"staircase"`` is what its code has for four levels, for any number.
    """
    if levels == 1 or schedule == "equal":
        return (1.0,) * levels
    if schedule == "final":
        return (0.0,) * (levels - 1) + (1.0,)
    if schedule == "ramps":
        between = 1 - abs(2 * progress - 1)
        return (1 - progress, *(between,) * (levels - 2), progress)
    step = min(int(progress * (levels + 1)), levels)
    weights = [0.0] * levels
    if step == levels:
        weights[-1] = 1.0
    else:
        before, here, after = (0.0, 0.8, 0.2) if step == 0 else (0.1, 0.7, 0.2)
        if step == levels - 1:
            before, here, after = 0.2, 0.8, 0.0
        weights[step] = here
        if step > 0:
            weights[step - 1] = before
        if step < levels - 1:
            weights[step + 1] = after
    return tuple(weights)


def in_crops(output: LevelOutput, points_lps_mm: Tensor) -> Tensor:
    """Which positions (B, N, 3) of the level's K landmarks lie in their crops, (B, K); unknown ones do not."""
    index = output.by_landmark(output.index_of(points_lps_mm))
    return _is_inside(output, index)


def _is_inside(output: LevelOutput, index: Tensor) -> Tensor:
    """Which voxel indices (..., 3), order x, y, z, are those of a crop."""
    last = torch.tensor(output.heat.shape[-3:], device=index.device).flip(0) - 1
    return (torch.isfinite(index) & (index >= 0) & (index <= last)).all(dim=-1)


def distance_mm2(
    output: LevelOutput, points_lps_mm: Tensor, recipe: ScaleLossRecipe, weights: Tensor | None = None
) -> Tensor:
    """Mean over known landmarks of the squared distances, in mm^2, of predicted and true positions (B, N, 3).

    Each counts by its weight (B, N), by default 1.
    """
    truth = points_lps_mm[:, output.landmarks]
    known = torch.isfinite(truth).all(dim=2)
    offsets = output.points_lps_mm[:, output.landmarks] - torch.nan_to_num(truth)
    squared = offsets.square().sum(dim=2)
    if recipe.distance == "huber":
        limit = recipe.huber_voxels * output.spacing_mm
        length = (squared + 1e-8).sqrt()
        squared = torch.where(length < limit, squared, 2 * limit * length - limit**2)
    if weights is not None:
        squared = squared * weights[:, output.landmarks]
    return (squared * known).sum() / known.sum().clamp(min=1)


def heat_entropy(
    output: LevelOutput, points_lps_mm: Tensor, sigma_voxels: float, weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy of heatmaps with Gaussians about the landmarks that lie in their crops.

    ``points_lps_mm`` (B, N, 3); what lies outside, or is unknown, does not count, and others by their weight (B, N).
    """
    index = output.index_of(points_lps_mm)
    counts = _is_inside(output, index)
    # A landmark that a crop repeats, to be as long as others, counts once.
    flat = output.rows.flatten().tolist()
    first = torch.tensor([flat.index(row) == place for place, row in enumerate(flat)], device=index.device)
    counts = counts & first.reshape(output.rows.shape)
    index = torch.nan_to_num(index)
    expected = output.heat.float()
    for axis, letters in ((0, "bcgzyx,bcgx->bcgzy"), (1, "bcgzy,bcgy->bcgz"), (2, "bcgz,bcgz->bcg")):
        voxels = torch.arange(output.heat.shape[5 - axis], device=index.device)
        along = torch.softmax(-((voxels - index[..., axis, None]) ** 2) / (2 * sigma_voxels**2), dim=-1)
        expected = torch.einsum(letters, expected, along)
    entropy = output.heat.float().flatten(3).logsumexp(dim=3) - expected
    if weights is not None:
        entropy = entropy * weights[:, output.rows]
    return (entropy * counts).sum() / counts.sum().clamp(min=1)


def presence_loss(logits: Tensor, present: Tensor, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of logits (B, N) where ``present`` (B, N) is 0 or 1, nothing where it is NaN.

    Each counts by its weight (B, N), by default 1.
    """
    known = torch.isfinite(present)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.nan_to_num(present), reduction="none")
    if weights is not None:
        loss = loss * weights
    return (loss * known).sum() / known.sum().clamp(min=1)


def volume_loss(
    outputs: Sequence[LevelOutput],
    presence_logits: Tensor | None,
    points_lps_mm: Tensor,
    present: Tensor,
    weights: Sequence[float],
    recipe: ScaleLossRecipe,
    landmark_weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of B volumes, and its terms: ``level_0`` and so on in mm^2, ``heat``, ``presence``.

    ``weights`` are those of the levels, ``landmark_weights`` (B, N) those of the landmarks, by default 1.
    What was turned or moved out of the coarsest crop cannot be learned there: neither where it is nor whether.
    """
    in_view = in_crops(outputs[0], points_lps_mm)
    visible = torch.where(in_view[..., None], points_lps_mm, torch.nan)
    present = torch.where((present == 1) & ~in_view, torch.nan, present)
    truths = [visible] + [points_lps_mm] * (len(outputs) - 1)
    distances = [
        distance_mm2(output, truth, recipe, landmark_weights) for output, truth in zip(outputs, truths, strict=True)
    ]
    terms = {f"level_{number}": distance for number, distance in enumerate(distances)}
    loss = torch.stack([weight * distance for weight, distance in zip(weights, distances, strict=True)]).sum()
    loss = recipe.point_weight * loss
    if recipe.heat_weight:
        heat = [heat_entropy(output, points_lps_mm, recipe.heat_sigma, landmark_weights) for output in outputs]
        terms["heat"] = torch.stack(heat).mean()
        loss = loss + recipe.heat_weight * terms["heat"]
    if presence_logits is not None:
        terms["presence"] = presence_loss(presence_logits, present, landmark_weights)
        loss = loss + recipe.presence_weight * terms["presence"]
    return loss, terms
