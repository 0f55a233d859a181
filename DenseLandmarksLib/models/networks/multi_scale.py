"""The multi-scale shift-equivariant network (Ma, Gupta and Sabuncu 2020, section 2.2): a Loc-Net per scale, coarse to fine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from DenseLandmarksLib.models.networks.loc_net import Centre, LocNet, centre_of_mass
from DenseLandmarksLib.models.networks.pyramid import Pyramid

Cropping = Literal["differentiable", "integer", "detached"]
Before = Callable[[int, Tensor], tuple[Tensor, Tensor | None, Tensor | None]]
"""From a level and the positions (B, N, 3) of the level before to what :meth:`MultiScaleLocNet.finer` takes: the positions
to look at, the shift (B, C, 3) of crops, and which crops."""


@dataclass(frozen=True)
class LevelOutput:
    """What one level says of B volumes, C crops each, G landmarks per crop, N in all.

    Attributes
    ----------
    points_lps_mm : (B, N, 3), where the landmarks are seen; those in no crop are where the level before saw them.
    landmarks : (K,) those that are in a crop, in order.
    centres_lps_mm : (B, C, 3), middles of the crops.
    rows : (C, G) which landmark is in which place of a crop; where a crop has fewer, its last one again.
    heat : (B, C, G, z, y, x) logits of the heatmaps.
    spacing_mm : of their voxels.
    frames : (B, 3, 3), columns are the crops' axes in LPS.
    """

    points_lps_mm: Tensor
    landmarks: Tensor
    centres_lps_mm: Tensor
    rows: Tensor
    heat: Tensor
    spacing_mm: float
    frames: Tensor

    def index_of(self, points_lps_mm: Tensor) -> Tensor:
        """Voxel indices (B, C, G, 3), order x, y, z, in their crops, of positions (B, N, 3) of the landmarks."""
        last = torch.tensor(self.heat.shape[-3:], device=self.heat.device).flip(0) - 1
        offsets = points_lps_mm[:, self.rows] - self.centres_lps_mm[:, :, None]
        return torch.einsum("bcgi,bij->bcgj", offsets, self.frames) / self.spacing_mm + last / 2

    def by_landmark(self, values: Tensor) -> Tensor:
        """Values (B, K, ...) of the landmarks, from values (B, C, G, ...) of their places in the crops."""
        return values.flatten(1, 2)[:, places_of(self.rows, self.landmarks)]


def places_of(rows: Tensor, landmarks: Tensor) -> Tensor:
    """For each of K landmarks where it stands first in ``rows`` (C, G), flattened."""
    flat = rows.flatten().tolist()
    return torch.tensor([flat.index(row) for row in landmarks.tolist()], device=rows.device)


class MultiScaleLocNet(nn.Module):
    """Coarse to fine: each level looks at crops about what the level before said, all of one size in voxels.

    Parameters
    ----------
    landmarks : N.
    spacings_mm : of the levels, the coarsest first, which sees all of the volume.
    crop_size : voxels along each side of a crop, 56 in the paper.
    groups : per landmark the number of the crop that it shares with its neighbours, at all finer levels.
    channels, convolutions, is_normalised : of each level's :class:`LocNet`.
    dropout : 0.5 in the paper: everywhere in the coarsest level, in the encoder of the others.
    centre : how heatmaps become coordinates.
    cropping : ``"differentiable"``, in millimetres; ``"integer"``, as the paper's code has it, on voxels and without a
        gradient through what is seen; ``"detached"``, where no level learns from the next.
    presence : add an output that says which landmarks are in the volume (not in the paper).
    shape_mm : (N, 3), the landmarks' mean shape: the finer crops are turned into its pose, as the level before shows it
        (not in the paper), so that the finer networks need not know things from every side.

    Attributes
    ----------
    is_mixed : convolutions in bfloat16; coordinates are always computed in float32.
    """

    is_mixed = False
    rows: Tensor
    all_rows: Tensor
    shape_mm: Tensor | None

    def __init__(
        self,
        landmarks: int,
        spacings_mm: Sequence[float],
        crop_size: int = 56,
        groups: Sequence[int] | None = None,
        channels: Sequence[int] = (16, 32, 64, 128),
        convolutions: int = 1,
        is_normalised: bool = False,
        dropout: float = 0.0,
        centre: Centre = "softmax",
        cropping: Cropping = "differentiable",
        presence: bool = False,
        shape_mm: Sequence[Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        self.landmarks, self.spacings_mm, self.crop_size = landmarks, tuple(map(float, spacings_mm)), crop_size
        self.centre, self.cropping = centre, cropping
        self.levels = nn.ModuleList(
            LocNet(landmarks, channels, convolutions, is_normalised, dropout, dropout if level == 0 else 0.0)
            for level in range(len(self.spacings_mm))
        )
        divisor = self.net(0).divisor
        if crop_size % divisor:
            raise ValueError(f"expected a crop size that {divisor} divides, got {crop_size}")
        groups = list(range(landmarks)) if groups is None else list(groups)
        if len(groups) != landmarks or sorted(set(groups)) != list(range(max(groups) + 1)):
            raise ValueError(f"expected a group 0, 1, ... for each of {landmarks} landmarks, got {groups}")
        members = [[row for row in range(landmarks) if groups[row] == group] for group in range(max(groups) + 1)]
        longest = max(map(len, members))
        padded = [rows + rows[-1:] * (longest - len(rows)) for rows in members]
        # What the arguments say is not kept with the weights.
        self.register_buffer("rows", torch.tensor(padded), persistent=False)
        self.register_buffer("all_rows", torch.arange(landmarks)[None], persistent=False)
        if shape_mm is not None and (len(shape_mm) != landmarks or landmarks < 3):
            raise ValueError(f"expected a shape of {landmarks} >= 3 landmarks, got one of {len(shape_mm)}")
        shape = None if shape_mm is None else torch.tensor(shape_mm, dtype=torch.float32)
        self.register_buffer("shape_mm", shape, persistent=False)
        self.presence = None
        if presence:
            parts = 8 * self.net(0).channels[-1]
            self.presence = nn.Sequential(nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Linear(parts, landmarks))

    def net(self, level: int) -> LocNet:
        """The network of one level."""
        net = self.levels[level]
        assert isinstance(net, LocNet)
        return net

    def size_to_see(self, pyramid: Pyramid) -> tuple[int, int, int]:
        """Voxels (x, y, z) of the coarsest level that see all of a volume, however large, as the network takes them."""
        divisor = self.net(0).divisor
        x, y, z = (max(self.crop_size, -(-count // divisor) * divisor) for count in pyramid.grids[0].size)
        return x, y, z

    def coarse(
        self, pyramids: Sequence[Pyramid], size: tuple[int, int, int] | None = None
    ) -> tuple[LevelOutput, Tensor]:
        """The coarsest level of B volumes, which sees ``size`` (x, y, z) voxels about their middles.

        Also logits (B, N) of the landmarks' presence, zeros from a network that has no such output.
        """
        size = size or (self.crop_size,) * 3
        device = self.all_rows.device
        centres = torch.stack([torch.from_numpy(p.centre_lps_mm).float() for p in pyramids]).to(device)[:, None]
        crops = torch.cat([p.crop(0, centre, size) for p, centre in zip(pyramids, centres, strict=True)])
        features, deepest = self._features(0, crops)
        heat = self.net(0).heat_of(features, self.all_rows.expand(len(crops), -1))[:, None]
        axes = torch.eye(3, device=device).expand(len(crops), 3, 3)
        output = self._read(heat, centres, self.all_rows, 0, axes, centres.expand(-1, self.landmarks, -1))
        if self.presence is None:
            return output, torch.zeros(len(crops), self.landmarks, device=device)
        return output, self.presence(deepest.float())

    def finer(
        self,
        level: int,
        pyramids: Sequence[Pyramid],
        points_lps_mm: Tensor,
        shift_lps_mm: Tensor | None = None,
        crops: Tensor | None = None,
    ) -> LevelOutput:
        """One of the finer levels, in crops about what the level before said (B, N, 3).

        ``shift_lps_mm`` (B, C, 3) moves the crops: the noise of the paper's training and of its uncertainty. ``crops`` (C,)
        are the numbers of those that are looked at, by default all.
        """
        rows = self.rows if crops is None else self.rows[crops]
        frames = self._pose(points_lps_mm.detach())
        # The middle of a group's extreme points: all of them fit, if they fit at all.
        of_crops = torch.einsum("bcgi,bij->bcgj", points_lps_mm[:, rows], frames)
        middles = (of_crops.amax(dim=2) + of_crops.amin(dim=2)) / 2
        centres = torch.einsum("bcj,bij->bci", middles, frames)
        if shift_lps_mm is not None:
            centres = centres + shift_lps_mm
        looked_at = centres
        if self.cropping == "integer":
            # On the level's voxels; what is seen gives no gradient, where it is seen does.
            looked_at = torch.stack([_on_voxels(p, level, c) for p, c in zip(pyramids, centres.detach(), strict=True)])
            centres = looked_at + centres - centres.detach()
        elif self.cropping == "detached":
            centres = looked_at = centres.detach()
        size = (self.crop_size,) * 3
        seen = torch.cat([p.crop(level, c, size, f) for p, c, f in zip(pyramids, looked_at, frames, strict=True)])
        features, _ = self._features(level, seen)
        heat = self.net(level).heat_of(features, rows.repeat(len(pyramids), 1))
        return self._read(heat.unflatten(0, (len(pyramids), -1)), centres, rows, level, frames, points_lps_mm)

    def forward(
        self,
        pyramids: Sequence[Pyramid],
        before: Before | None = None,
        levels: int | None = None,
        size: tuple[int, int, int] | None = None,
    ) -> tuple[list[LevelOutput], Tensor]:
        """The first ``levels`` of B volumes, by default all, and the logits (B, N) of presence.

        ``before`` a finer level other positions may take the place of what the level before said, and crops be moved or left
        out; ``size`` (x, y, z) is what the coarsest level sees, by default a crop like all others.
        """
        output, presence = self.coarse(pyramids, size)
        outputs = [output]
        for level in range(1, len(self.levels) if levels is None else levels):
            points, shift, crops = outputs[-1].points_lps_mm, None, None
            if before is not None:
                points, shift, crops = before(level, points)
            outputs.append(self.finer(level, pyramids, points, shift, crops))
        return outputs, presence

    def _features(self, level: int, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Features of crops, as processors convolve fastest."""
        with torch.autocast(crops.device.type, torch.bfloat16, enabled=self.is_mixed):
            return self.net(level).features(crops.contiguous(memory_format=torch.channels_last_3d))

    def _pose(self, points_lps_mm: Tensor) -> Tensor:
        """Rotations (B, 3, 3) that bring the mean shape to positions (B, N, 3) (Kabsch 1976); the identity without one."""
        if self.shape_mm is None:
            return torch.eye(3, device=points_lps_mm.device).expand(len(points_lps_mm), 3, 3)
        shape, points = (of - of.mean(dim=-2, keepdim=True) for of in (self.shape_mm, points_lps_mm.float()))
        left, _, right = torch.linalg.svd(torch.einsum("bni,nj->bij", points, shape))
        sign = torch.ones_like(left[:, 0])
        sign[:, 2] = torch.linalg.det(left @ right)
        return (left * sign[:, None]) @ right

    def _read(
        self, heat: Tensor, centres_lps_mm: Tensor, rows: Tensor, level: int, frames: Tensor, before_lps_mm: Tensor
    ) -> LevelOutput:
        """Coordinates out of heatmaps (B, C, G, z, y, x); landmarks in none of them stay at ``before_lps_mm`` (B, N, 3)."""
        spacing_mm = self.spacings_mm[level]
        last = torch.tensor(heat.shape[-3:], device=heat.device).flip(0) - 1
        index = centre_of_mass(heat.flatten(0, 1), self.centre).unflatten(0, heat.shape[:2])
        offsets = torch.einsum("bcgj,bij->bcgi", (index - last / 2) * spacing_mm, frames)
        in_crops = (centres_lps_mm[:, :, None] + offsets).flatten(1, 2)
        landmarks = rows.unique()
        points = before_lps_mm.index_copy(1, landmarks, in_crops[:, places_of(rows, landmarks)])
        return LevelOutput(points, landmarks, centres_lps_mm, rows, heat, spacing_mm, frames)


def _on_voxels(pyramid: Pyramid, level: int, centres_lps_mm: Tensor) -> Tensor:
    """The nearest positions whose crop lies on the voxels of a level."""
    grid = pyramid.grids[level]
    corner = torch.tensor(grid.origin_lps_mm, device=centres_lps_mm.device, dtype=torch.float32)
    # A crop of an even number of voxels has its middle between two of them.
    return ((centres_lps_mm - corner) / grid.spacing_mm - 0.5).round().add(0.5) * grid.spacing_mm + corner


NETWORK_MODULE = "DenseLandmarksLib.models.networks.multi_scale"
NETWORKS: dict[str, type[MultiScaleLocNet]] = {"MultiScaleLocNet": MultiScaleLocNet}
