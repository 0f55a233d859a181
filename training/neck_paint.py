"""Painting the parts of a neck into a slab of a volume, with soft borders, each only within the boxes that it touches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.neck_grid import FineGrid, Grey
from training.neck_parts import Column, Floats, Part
from training.neck_pose import NeckPose

TABLE_MM = 0.1
RING_MM = 4.0
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class _Boxes:
    """Boxes of fine voxels, first and past-the-last (M, 3): every piece of a part, and what of the volume it touches."""

    low: Indices
    high: Indices

    def within(self, first: int, last: int) -> tuple[Indices, Indices, Indices]:
        """The pieces in the slices from ``first`` to before ``last``, and the box around them, cut off there."""
        rows = np.flatnonzero((self.low[:, 2] < last) & (self.high[:, 2] > first))
        if not len(rows):
            return rows, np.zeros(3, np.intp), np.zeros(3, np.intp)
        low, high = self.low[rows].min(axis=0), self.high[rows].max(axis=0)
        low[2], high[2] = max(low[2], first), min(high[2], last)
        return rows, low, high


def _cut(low: Indices, high: Indices, first: int) -> tuple[slice, slice, slice]:
    """Where a box (x, y, z) lies in an array (K, J, I) whose first slice is ``first``."""
    return slice(low[2] - first, high[2] - first), slice(low[1], high[1]), slice(low[0], high[0])


@dataclass(frozen=True, eq=False)
class PlacedTubes:
    """Tubes in millimetres along the volume's axes: starts and steps (M, 3), radii (M, 2), boxes of M segments."""

    start_mm: Floats
    step_mm: Floats
    radii_mm: Floats
    boxes: _Boxes
    hu: float

    def paint(self, slab: Grey, rest: list[Grey], fine: FineGrid, first: int) -> None:
        """Paint the union of the segments into a slab (K, J, I) that begins at the fine slice ``first``."""
        rows, low, high = self.boxes.within(first, first + len(slab))
        if not len(rows):
            return
        covered = np.zeros((high - low)[::-1], np.float32)
        for m in rows:
            a, b = np.maximum(self.boxes.low[m], low), np.minimum(self.boxes.high[m], high)
            x, y, z = (fine.positions_mm[c][a[c] : b[c]] - self.start_mm[m, c] for c in range(3))
            box = covered[_cut(a - low, b - low, 0)]
            depth_mm = self._depth_mm(m, x.astype(np.float32), y.astype(np.float32), z.astype(np.float32))
            np.maximum(box, np.clip(depth_mm / np.float32(fine.edge_mm) + np.float32(0.5), 0, 1), out=box)
        target = slab[_cut(low, high, first)]
        target += covered * (np.float32(self.hu) - target)

    def _depth_mm(self, m: int, x: Grey, y: Grey, z: Grey) -> Grey:
        """How deep (K, J, I) voxels lie inside segment ``m``; their positions x, y, z count from its start."""
        step = self.step_mm[m].astype(np.float32)
        length2 = np.float32(max(float(step @ step), 1e-9))
        inner = (z * step[2])[:, None, None] + (y * step[1])[:, None] + x * step[0]
        along = np.clip(inner / length2, 0, 1)
        distance2 = (z**2)[:, None, None] + (y**2)[:, None] + x**2 + along * (along * length2 - 2 * inner)
        r0, r1 = self.radii_mm[m].astype(np.float32)
        return np.asarray(r0 + along * (r1 - r0) - np.sqrt(np.maximum(distance2, 0)))


@dataclass(frozen=True, eq=False)
class PlacedColumn:
    """A column with its sections every ``TABLE_MM``: x, y, 1/a, 1/b and how upright its surface is, (5, N)."""

    column: Column
    table: Grey
    boxes: _Boxes

    def paint(self, slab: Grey, rest: list[Grey], fine: FineGrid, first: int) -> None:
        """Paint the column into a slab (K, J, I) whose voxels have the rest coordinates ``rest`` (x, y, z)."""
        rows, low, high = self.boxes.within(first, first + len(slab))
        if not len(rows):
            return
        here = _cut(low, high, first)
        depth_mm = self._depth_mm(*(axis[here] for axis in rest))
        covered = np.clip(depth_mm * np.float32(1 / fine.edge_mm) + np.float32(0.5), 0, 1)
        target = slab[here]
        target += covered * (np.float32(self.column.hu) - target)

    def _depth_mm(self, x: Grey, y: Grey, z: Grey) -> Grey:
        """How deep voxels of the rest anatomy lie inside: to first order (1 - rho) / |grad rho|."""
        part, table = self.column, self.table
        bottom, top = np.float32(part.z_mm[0]), np.float32(part.z_mm[-1])
        row = np.clip((z - bottom) * np.float32(1 / TABLE_MM) + np.float32(0.5), 0, table.shape[1] - 1).astype(np.int32)
        u, v = x - table[0].take(row), y - table[1].take(row)
        if part.turn_deg:
            cos, sin = np.float32(np.cos(np.deg2rad(part.turn_deg))), np.float32(np.sin(np.deg2rad(part.turn_deg)))
            u, v = u * cos + v * sin, v * cos - u * sin
        per_a, per_b = table[2].take(row), table[3].take(row)
        u *= per_a
        v *= per_b
        if part.boxy:
            u2, v2 = u * u, v * v
            rho = np.sqrt(np.sqrt(u2 * u2 + v2 * v2)) + np.float32(1e-3)
            slope = np.sqrt((u2 * u * per_a) ** 2 + (v2 * v * per_b) ** 2) / (rho * rho * rho)
        else:
            rho = np.sqrt(u * u + v * v) + np.float32(1e-3)
            slope = np.sqrt((u * per_a) ** 2 + (v * per_b) ** 2) / rho
        depth = (1 - rho) / np.maximum(slope, np.float32(1e-2))
        if table[4].min() < 0.9:
            depth *= table[4].take(row)
        if not part.open_ended:
            depth = np.minimum(depth, np.minimum(z - bottom, top - z))
        return np.asarray(depth - np.float32(part.inset_mm))


def placed(part: Part, pose: NeckPose, fine: FineGrid) -> PlacedTubes | PlacedColumn | None:
    """A part in the image's frame, ready to be painted; None when the volume shows nothing of it."""
    if isinstance(part, Column):
        boxes = _boxes_of(part, pose, fine)
        return PlacedColumn(part, _table(part), boxes) if len(boxes.low) else None
    ends = fine.grid.along_axes(pose(part.segments_mm.reshape(-1, 3))).reshape(-1, 2, 3)
    radii = part.radii_mm * pose.scale
    reach = radii.max(axis=1, keepdims=True) + fine.edge_mm
    low, high = fine.box(ends.min(axis=1) - reach, ends.max(axis=1) + reach)
    seen = (high > low).all(axis=1)
    boxes = _Boxes(low[seen], high[seen])
    return (
        PlacedTubes(ends[seen, 0], (ends[:, 1] - ends[:, 0])[seen], radii[seen], boxes, part.hu) if seen.any() else None
    )


def _table(part: Column) -> Grey:
    """Sections of a column for :class:`PlacedColumn`, (5, N)."""
    sections = part.sections(np.arange(part.z_mm[0], part.z_mm[-1] + TABLE_MM, TABLE_MM))
    # Where the section changes quickly with height the surface is nearer than it is within the section.
    change = np.abs(np.gradient(sections, TABLE_MM, axis=1))
    upright = 1 / np.hypot(1, np.maximum(np.hypot(change[0], change[1]), change[2:].max(axis=0)))
    return np.vstack([sections[:2], 1 / np.maximum(sections[2:], 0.1), upright]).astype(np.float32)


def _boxes_of(part: Column, pose: NeckPose, fine: FineGrid) -> _Boxes:
    """The boxes around a column's slices of ``RING_MM``."""
    rings = _rings(part)
    at = fine.grid.along_axes(pose(rings.reshape(-1, 3))).reshape(rings.shape)
    pairs = np.concatenate([at[:-1], at[1:]], axis=1)
    margin = 2.0 + fine.edge_mm + 1.3 * max(0.0, -part.inset_mm)
    low, high = fine.box(pairs.min(axis=1) - margin, pairs.max(axis=1) + margin)
    seen = (high > low).all(axis=1)
    return _Boxes(low[seen], high[seen])


def _rings(part: Column) -> Floats:
    """Corners (R, 4, 3) of the rectangles around the sections at R heights of the rest anatomy."""
    heights = np.linspace(part.z_mm[0], part.z_mm[-1], max(2, int(np.ceil(np.ptp(part.z_mm) / RING_MM)) + 1))
    sections, turn = part.sections(heights), np.deg2rad(part.turn_deg)
    wide, deep = np.maximum(sections[2:] - part.inset_mm, 0) * (1.2 if part.boxy else 1.0)
    reach_x = np.hypot(wide * np.cos(turn), deep * np.sin(turn))
    reach_y = np.hypot(wide * np.sin(turn), deep * np.cos(turn))
    corners = np.array([(x, y) for x in (-1, 1) for y in (-1, 1)])
    rim = sections[:2].T[:, None] + corners * (np.stack([reach_x, reach_y], axis=1)[:, None] + 1)
    rings = np.concatenate([rim, np.broadcast_to(heights[:, None, None], (*rim.shape[:2], 1))], axis=2)
    far = np.array([0, 0, 400])
    return np.concatenate([rings[:1] - far, rings, rings[-1:] + far]) if part.open_ended else rings
