"""How a training volume is seen in one step: drawn at random, in millimetres, with its landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.stored_pyramid import Bend, Greys, Seen, SeenPyramid, StoredPyramid
from training.volume_recipe import VolumeAlterationRecipe

LEAST_LEFT = 0.25
"""A cut leaves at least this share of a volume's extent: nobody scans less."""


@dataclass(frozen=True)
class SeenCase:
    """A volume as it is seen in one step.

    Attributes
    ----------
    pyramid : its levels.
    points_lps_mm : (L, 3) where landmarks are seen, NaN where none is, or nobody knows.
    present : (L,) 1 where a landmark is in the volume, 0 where it truly is not, NaN where nobody knows or it is close to
        the border of what was cut.
    weights : (L,) how much each landmark counts, ``None`` where all count 1.
    """

    pyramid: SeenPyramid
    points_lps_mm: Tensor
    present: Tensor
    weights: Tensor | None = None


def draw_seen(
    stored: StoredPyramid,
    points_lps_mm: Tensor,
    absent: Tensor,
    mirrored_rows: Tensor,
    recipe: VolumeAlterationRecipe,
    generator: torch.Generator,
    weights: Tensor | None = None,
) -> SeenCase:
    """One volume, altered at random.

    ``points_lps_mm`` (L, 3) are stored positions, NaN where unknown; ``absent`` (L,) says which are truly not there;
    ``mirrored_rows`` (L,) is the landmark that takes each one's place in a mirrored volume; ``weights`` (L,) how much
    each counts.
    """

    def uniform(limit: float) -> float:
        return float((2 * torch.rand((), generator=generator) - 1) * limit)

    matrix = _rotation(recipe, generator)
    low, high = recipe.scale
    matrix = matrix / (low + (high - low) * float(torch.rand((), generator=generator)))
    is_mirrored = bool(torch.rand((), generator=generator) < recipe.mirror)
    if is_mirrored:
        matrix = matrix @ torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    shift = torch.tensor([uniform(recipe.shift_mm) for _ in range(3)])
    box, outside = _cut(stored, points_lps_mm, recipe, generator)
    whole = _extent(stored)
    # A predictor that is given a cut volume looks about the middle of what is left.
    left = whole if box is None else torch.stack([torch.maximum(whole[0], box[0]), torch.minimum(whole[1], box[1])])
    middle = left.mean(dim=0)
    greys = Greys(
        1 + uniform(recipe.contrast),
        uniform(recipe.brightness) / 2,
        float(torch.exp(torch.tensor(uniform(recipe.gamma)))),
        float(torch.rand((), generator=generator)) * recipe.noise,
    )
    bend = _bend(stored, recipe, generator)
    seen = Seen(middle, matrix, shift, bend, box, greys)
    points = seen.to_seen(points_lps_mm)
    present = torch.where(torch.isfinite(points_lps_mm).all(dim=1), 1.0, torch.nan)
    present = torch.where(absent, 0.0, present)
    # Just outside of the cut nothing is asked: neither where it is nor whether.
    present = torch.where(outside > 0, torch.where(outside > recipe.absent_mm, 0.0, torch.nan), present)
    points = torch.where((present == 1)[:, None], points, torch.nan)
    if is_mirrored:
        points, present = points[mirrored_rows], present[mirrored_rows]
        weights = None if weights is None else weights[mirrored_rows]
    return SeenCase(SeenPyramid(stored, seen, generator), points, present, weights)


def _rotation(recipe: VolumeAlterationRecipe, generator: torch.Generator) -> Tensor:
    """A rotation (3, 3): every one alike, or by up to so many degrees about a random axis."""
    if recipe.any_pose:
        x, y, z, w = torch.nn.functional.normalize(torch.randn(4, generator=generator), dim=0).tolist()
    else:
        axis = torch.nn.functional.normalize(torch.randn(3, generator=generator), dim=0)
        half = torch.deg2rad((2 * torch.rand((), generator=generator) - 1) * recipe.rotation_deg) / 2
        x, y, z = (axis * torch.sin(half)).tolist()
        w = float(torch.cos(half))
    return rotation_of(x, y, z, w)


def rotation_of(x: float, y: float, z: float, w: float) -> Tensor:
    """The rotation (3, 3) of a unit quaternion."""
    return torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _extent(stored: StoredPyramid) -> Tensor:
    """Where a volume begins and ends (2, 3), in LPS mm."""
    grid = stored.grids[0]
    low = torch.tensor(grid.origin_lps_mm, dtype=torch.float32) - grid.spacing_mm / 2
    return torch.stack([low, low + torch.tensor(grid.size) * grid.spacing_mm])


def _cut(
    stored: StoredPyramid, points_lps_mm: Tensor, recipe: VolumeAlterationRecipe, generator: torch.Generator
) -> tuple[Tensor | None, Tensor]:
    """A box (2, 3) that leaves one landmark out, or none; and how far outside of it each one lies, NaN as -inf."""
    nowhere = torch.full((len(points_lps_mm),), -torch.inf)
    if torch.rand((), generator=generator) >= recipe.crop:
        return None, nowhere
    margin = recipe.absent_mm * (1 + 2 * float(torch.rand((), generator=generator)))
    low, high = _extent(stored)
    # What is left below each landmark, and above it (L, 2, 3); of an unknown one never enough.
    left = torch.stack([points_lps_mm - low, high - points_lps_mm], dim=1) - margin
    ways = (left >= LEAST_LEFT * (high - low)).nonzero()
    if not len(ways):
        return None, nowhere
    row, side, axis = ways[int(torch.randint(len(ways), (), generator=generator))].tolist()
    box = torch.tensor([[-torch.inf] * 3, [torch.inf] * 3])
    if side == 0:
        box[1, axis] = points_lps_mm[row, axis] - margin
        outside = points_lps_mm[:, axis] - box[1, axis]
    else:
        box[0, axis] = points_lps_mm[row, axis] + margin
        outside = box[0, axis] - points_lps_mm[:, axis]
    return box, torch.where(torch.isfinite(outside), outside, nowhere)


def _bend(stored: StoredPyramid, recipe: VolumeAlterationRecipe, generator: torch.Generator) -> Bend | None:
    if recipe.elastic_mm == 0:
        return None
    grid, every = stored.grids[0], recipe.elastic_every_mm
    extent = torch.tensor(grid.size) * grid.spacing_mm
    counts = [int(count) for count in (extent / every).ceil().int() + 3]
    origin = torch.tensor(grid.origin_lps_mm, dtype=torch.float32) - every
    knots = (2 * torch.rand((3, *counts[::-1]), generator=generator) - 1) * recipe.elastic_mm
    return Bend(origin, every, knots)
