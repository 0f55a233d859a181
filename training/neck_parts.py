"""What a phantom of a neck is made of: round tubes along paths, and upright columns of elliptic cross-section.

Everything is given in the frame of the rest anatomy: millimetres, x to the patient's left, y to the back, z up, the
origin in the middle of the fourth cervical vertebra, the spine straight. A :class:`~training.neck_pose.NeckPose`
brings it into the image's frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline, PchipInterpolator

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tubes:
    """The union of round, tapered tubes: M segments (M, 2, 3) mm with the radii (M, 2) mm of their two ends."""

    segments_mm: Floats
    radii_mm: Floats
    hu: float

    def thinner(self, by_mm: float, hu: float) -> Tubes:
        """The same tubes, thinner by ``by_mm`` all around, of another density; vanished ones are left out."""
        radii_mm = self.radii_mm - by_mm
        kept = radii_mm.min(axis=1) > 0
        return Tubes(self.segments_mm[kept], radii_mm[kept], hu)


@dataclass(frozen=True, eq=False)
class Column:
    """An upright body whose horizontal section is an ellipse, or a rounded box where ``boxy``.

    Attributes
    ----------
    z_mm : (K,) rising heights at which the section is given; between them it is interpolated without overshoot.
    centres_mm : (K, 2) x, y of the section's middle.
    radii_mm : (K, 2) half axes along x and y, before turning.
    turn_deg : how far the section is turned about z, from x towards y.
    hu : density.
    boxy : (u/a)^4 + (v/b)^4 = 1 instead of squares.
    inset_mm : how far inside of that surface the column ends; negative is outside.
    open_ended : below and above the last heights the body goes on with its last section.
    """

    z_mm: Floats
    centres_mm: Floats
    radii_mm: Floats
    hu: float
    turn_deg: float = 0.0
    boxy: bool = False
    inset_mm: float = 0.0
    open_ended: bool = False

    def thinner(self, by_mm: float, hu: float) -> Column:
        """The same body, smaller by ``by_mm`` on all sides, of another density."""
        return replace(self, inset_mm=self.inset_mm + by_mm, hu=hu)

    def sections(self, z_mm: ArrayLike) -> Floats:
        """Middle x, y and half axes (4, N) of the sections at heights (N,) mm."""
        knots = np.hstack([self.centres_mm, self.radii_mm])
        at = np.clip(np.asarray(z_mm, np.float64), self.z_mm[0], self.z_mm[-1])
        if len(self.z_mm) == 1:
            return np.repeat(knots.T, at.size, axis=1)
        return np.asarray(PchipInterpolator(self.z_mm, knots)(at).T)


Part = Tubes | Column


def column(rows: Sequence[Sequence[float]], hu: float, **others: float | bool) -> Column:
    """A column from rows (z, x, y, half width along x, half width along y) in mm, from below to above."""
    knots = np.array(sorted(rows, key=lambda row: row[0]), np.float64)
    return Column(knots[:, 0], knots[:, 1:3], knots[:, 3:], hu, **others)  # type: ignore[arg-type]


def on_side(part: Column, side: int) -> Column:
    """A column drawn for the left side (x > 0), on the left (+1) or the right (-1)."""
    return replace(part, centres_mm=part.centres_mm * [side, 1], turn_deg=side * part.turn_deg)


def smooth_path(controls_mm: ArrayLike, step_mm: float = 1.5) -> tuple[Floats, Floats]:
    """A smooth path (N, 3) through control points (C, 3), and how far along it each point lies, (N,) mm."""
    controls = np.asarray(controls_mm, np.float64)
    along = np.r_[0, np.linalg.norm(np.diff(controls, axis=0), axis=1).cumsum()]
    at = np.linspace(0, along[-1], max(2, int(np.ceil(along[-1] / step_mm)) + 1))
    points = CubicSpline(along, controls, bc_type="natural")(at) if len(controls) > 2 else np.array(controls)
    return points, np.r_[0, np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()]


def tube(points_mm: ArrayLike, radii_mm: ArrayLike, hu: float) -> Tubes:
    """One tube along points (N, 3) mm; the radii broadcast to (N,)."""
    points = np.asarray(points_mm, np.float64)
    radii = np.broadcast_to(np.asarray(radii_mm, np.float64), len(points))
    return Tubes(np.stack([points[:-1], points[1:]], axis=1), np.stack([radii[:-1], radii[1:]], axis=1), hu)


def joined(tubes: Sequence[Tubes]) -> Tubes:
    """Tubes of one density as one union, so that their borders do not add up where they meet."""
    return Tubes(
        np.concatenate([t.segments_mm for t in tubes]), np.concatenate([t.radii_mm for t in tubes]), tubes[0].hu
    )
