"""The vessels of a phantom's neck: the carotid trees with what disease does to them, vertebral arteries and veins.

The bifurcation is where the centre lines of internal and external carotid part: both begin at the very point where
that of the common carotid ends. The lumens part some millimetres higher, at the flow divider.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from training.neck_parts import Floats, Part, Tubes, joined, smooth_path, tube

WALL_HU = 45.0
WALL_MM = 0.9


@dataclass(frozen=True, eq=False)
class Contrast:
    """How dense blood is, in HU: well filled arteries, less filled veins."""

    artery_hu: float
    vein_hu: float


def random_contrast(rng: np.random.Generator) -> Contrast:
    """Arteries of 250 to 450 HU, veins with 25 to 85 percent of that."""
    artery = rng.uniform(250, 450)
    return Contrast(artery, max(70.0, artery * rng.uniform(0.25, 0.85)))


@dataclass(frozen=True, eq=False)
class Vessel:
    """A centre line (N, 3) mm with how far along it each point lies, its healthy and its narrowed radii, (N,) mm."""

    points_mm: Floats
    along_mm: Floats
    healthy_mm: Floats
    radii_mm: Floats

    def lumen(self, hu: float) -> Tubes:
        """What blood fills."""
        return tube(self.points_mm, self.radii_mm, hu)

    def wall(self) -> Tubes:
        """The outside of the wall: what disease takes from the lumen stays within it, as soft plaque."""
        return tube(self.points_mm, self.healthy_mm + WALL_MM, WALL_HU)

    def cut(self, along_mm: float) -> Vessel:
        """Only what lies before ``along_mm``."""
        n = max(2, int((self.along_mm <= along_mm).sum()))
        return Vessel(self.points_mm[:n], self.along_mm[:n], self.healthy_mm[:n], self.radii_mm[:n])


@dataclass(frozen=True, eq=False)
class CarotidTree:
    """One side's carotids: where they part (3,) mm in the rest anatomy, and what is painted, in order."""

    bifurcation_mm: Floats
    common: Vessel
    walls: Tubes
    lumens: Tubes
    calcifications: tuple[Tubes, ...]


def _vessel(controls: ArrayLike, knots_mm: ArrayLike, radii_mm: ArrayLike) -> Vessel:
    points, along = smooth_path(controls, 1.2)
    radii = np.interp(along, np.asarray(knots_mm, float), np.asarray(radii_mm, float))
    return Vessel(points, along, radii, radii)


def _narrowed(vessel: Vessel, at_mm: float, length_mm: float, share: float) -> Vessel:
    """A stenosis that takes ``share`` of the diameter at ``at_mm`` along the vessel."""
    loss = share * np.exp(-(((vessel.along_mm - at_mm) / length_mm) ** 2))
    return Vessel(vessel.points_mm, vessel.along_mm, vessel.healthy_mm, vessel.radii_mm * (1 - loss))


def _direction(tilt_deg: float, azimuth_deg: float, side: int) -> Floats:
    """Upwards, tilted towards an azimuth that is counted from outwards (0) to the back (90)."""
    tilt, azimuth = np.deg2rad([tilt_deg, azimuth_deg])
    return np.array([side * np.sin(tilt) * np.cos(azimuth), np.sin(tilt) * np.sin(azimuth), np.cos(tilt)])


def carotid_tree(side: int, level_mm: float, contrast: Contrast, rng: np.random.Generator) -> CarotidTree:
    """The carotids of the left (+1) or right (-1) side, parting at about the height ``level_mm``."""
    fork = np.array([side * np.clip(rng.normal(27, 2.5), 21, 33), np.clip(rng.normal(-18, 3), -25, -12), level_mm])
    calibre = rng.uniform(2.8, 3.7)
    common = _common(fork, side, calibre, rng)
    azimuth = rng.normal(55, 35)  # the internal carotid leaves outwards and backwards, now and then inwards
    inner = _internal(fork, side, azimuth, calibre, rng)
    outer, branches = _external(fork, side, azimuth, calibre * rng.uniform(0.52, 0.75), rng)
    disease = rng.choice([0.0, 1.0, 2.5], p=[0.3, 0.4, 0.3])
    filled = inner
    if rng.uniform() < 0.35 * disease:
        inner = _narrowed(inner, rng.uniform(2, 18), rng.uniform(3, 8), rng.uniform(0.3, 0.9))
        filled = inner
    if rng.uniform() < 0.2 * disease:
        common = _narrowed(common, common.along_mm[-1] - rng.uniform(0, 60), rng.uniform(3, 10), rng.uniform(0.2, 0.6))
    if rng.uniform() < 0.2 * disease:
        outer = _narrowed(outer, rng.uniform(1, 12), rng.uniform(2, 5), rng.uniform(0.2, 0.7))
    if rng.uniform() < 0.04 * disease:
        filled = inner.cut(rng.uniform(3, 9))  # occluded: a stump, then a vessel without contrast
    vessels = [common, inner, outer, *branches]
    plaques = []
    for _ in range(rng.poisson(3 * disease)):
        vessel = (common, inner, inner, outer)[rng.integers(4)]
        plaques.append(_plaque(vessel, _where(vessel, vessel is common, rng), rng))
    lumens = joined([v.lumen(contrast.artery_hu) for v in (common, filled, outer, *branches)])
    return CarotidTree(fork, common, joined([v.wall() for v in vessels]), lumens, tuple(plaques))


def _common(fork: Floats, side: int, calibre: float, rng: np.random.Generator) -> Vessel:
    below = fork - 14 * _direction(rng.uniform(0, 12), rng.uniform(0, 360), side)
    course = np.array([(14.0, -24, -260), (16, -22, -150), (18, -21, -110), (20, -22, -75), (22, -22, -48)])
    course[2:] += rng.normal(0, [2.0, 2.5, 0], (3, 3))
    course = course[course[:, 2] < below[2] - 14] * [side, 1, 1]
    vessel = _vessel([*course, below, fork], [0], [calibre])
    widening = 1 + rng.uniform(0.05, 0.18) * np.exp(-(((vessel.along_mm - vessel.along_mm[-1]) / 9) ** 2))
    return Vessel(vessel.points_mm, vessel.along_mm, calibre * widening, calibre * widening)


def _internal(fork: Floats, side: int, azimuth: float, calibre: float, rng: np.random.Generator) -> Vessel:
    """The bulb, then a steady vessel to the skull's base, through it, and to the siphon."""
    tilt = rng.uniform(8, 30)
    first = fork + 9 * _direction(tilt, azimuth, side)
    second = first + 9 * _direction(0.5 * tilt, azimuth, side)
    course = np.array([(29.0, -8, 30), (28, -7, 50), (27, -6, 64), (24, -8, 71), (14, -20, 75), (8, -28, 84)])
    course[:2] += rng.normal(0, [3.0, 3.0, 0], (2, 3))  # now and then a coiled vessel
    course = np.vstack([course, [(8, -38, 88), (9, -32, 95), (10, -26, 100), (24, -24, 106)]])
    course = course[course[:, 2] > second[2] + 10] * [side, 1, 1]
    bulb, beyond = calibre * rng.uniform(1.05, 1.35), calibre * rng.uniform(0.66, 0.84)
    ends = [0, 5, rng.uniform(9, 13), rng.uniform(17, 25), 75, 130]
    radii = [1.1 * calibre, bulb, bulb, beyond, 0.9 * beyond, 0.5 * beyond]
    return _vessel([fork, first, second, *course], ends, radii)


def _external(
    fork: Floats, side: int, azimuth: float, calibre: float, rng: np.random.Generator
) -> tuple[Vessel, list[Vessel]]:
    """The external carotid and its branches, which fork like bifurcations and are none."""
    away = azimuth + 180 + rng.normal(0, 25)
    tilt = rng.uniform(12, 40)
    first = fork + 8 * _direction(tilt, away, side)
    second = first + 9 * _direction(0.4 * tilt, away, side)
    top = max(58.0, second[2] + 14)
    course = np.array([(33.0, -20, 34), (40, -14, 46), (47, -8, top), (52, -5, top + 14), (57, -8, top + 40)])
    course = np.vstack([course, (56, -6, 160)])
    course = course[course[:, 2] > second[2] + 8] * [side, 1, 1] + rng.normal(0, 1.2, 3)
    knots, radii = [0, 6, 30, 55, 75, 130], calibre * np.array([1.2, 1.0, 0.85, 0.6, 0.42, 0.35])
    trunk = _vessel([fork, first, second, *course], knots, radii)
    z = fork[2]
    targets = [
        (rng.uniform(2, 8), [(22, -33, z - 1), (20, -38, z - 14), (18, -39, min(z - 25, -40))]),
        (rng.uniform(10, 15), [(24, -32, z + 10), (16, -42, max(z + 16, 12)), (10, -56, max(z + 22, 24))]),
        (rng.uniform(16, 24), [(31, -32, min(z + 20, 28)), (38, -42, 20), (39, -54, 17), (39, -64, 26), (30, -76, 46)]),
        (rng.uniform(12, 22), [(38, -6, z + 26), (44, 6, 50), (50, 28, 60), (48, 60, 78)]),
        (rng.uniform(8, 18), [(24, -20, z + 22), (18, -18, 48), (16, -18, 60)]),
        (trunk.along_mm[-1] * rng.uniform(0.4, 0.5), [(48, -22, top + 4), (36, -34, top + 4), (26, -46, top + 8)]),
    ]
    branches = []
    for at_mm, course_mm in targets:
        start = np.array([np.interp(at_mm, trunk.along_mm, axis) for axis in trunk.points_mm.T])
        path = np.array(course_mm, float) * [side, 1, 1] + rng.normal(0, 2, (len(course_mm), 3))
        size = calibre * rng.uniform(0.35, 0.65)
        branches.append(_vessel([start, *path], [0, 15, 60], [size, 0.8 * size, 0.5 * size]))
    kept = rng.uniform(size=len(branches)) > 0.1
    return trunk, [branch for branch, keep in zip(branches, kept, strict=True) if keep]


def _where(vessel: Vessel, common: bool, rng: np.random.Generator) -> float:
    """Where along a vessel a plaque lies: often at the bulb, as often far from it."""
    length = vessel.along_mm[-1]
    if rng.uniform() < 0.55:
        near = rng.uniform(0, 14)
        return float(length - near if common else near)
    return float(length - rng.uniform(14, 90) if common else rng.uniform(14, min(100, length)))


def _plaque(vessel: Vessel, at_mm: float, rng: np.random.Generator) -> Tubes:
    """A calcified plaque: a shell in the wall over a part of the round, some millimetres long."""
    hu, thick = rng.uniform(500, 1200), rng.uniform(0.45, 1.1)
    middle, half = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(10, 100))
    rows = []
    for at in np.arange(at_mm, at_mm + rng.uniform(0.5, 8), 1.0):
        i = int(np.clip(np.searchsorted(vessel.along_mm, at), 1, len(vessel.along_mm) - 1))
        axis = vessel.points_mm[i] - vessel.points_mm[i - 1]
        across = np.cross(axis, [0.3, 1.0, 0.2])
        across /= np.linalg.norm(across)
        upright = np.cross(axis, across) / np.linalg.norm(axis)
        angles = np.linspace(middle - half, middle + half, 9) + rng.normal(0, 0.1)
        radius = vessel.healthy_mm[i] + 0.3
        ring = np.cos(angles)[:, None] * across + np.sin(angles)[:, None] * upright
        rows.append(tube(vessel.points_mm[i] + radius * ring, thick * rng.uniform(0.6, 1.2), hu))
    return joined(rows)


def vertebral_arteries(contrast: Contrast, rng: np.random.Generator) -> list[Part]:
    """Vertebral arteries through their foramina, around the atlas, and joined before the brain stem."""
    parts = []
    for side in (1, -1):
        low = rng.choice([-44.0, -44.0, -26.0])
        course = [(21, -14, -112), (20, -10, -75), (18, -4, low - 8), (16.5, 1, low + 3), (16.5, 1, 0), (16.5, 1, 34)]
        course += [(25, 2, 47), (25, 5, 54), (18, 16, 57), (8, 14, 62), (4, 2, 72), (0.5, -4, 82), (0, -6, 100)]
        size = rng.uniform(1.0, 2.3)
        path, along = smooth_path(np.array(course, float) * [side, 1, 1], 1.5)
        parts.append(tube(path, np.interp(along, [0, 240], [size, 0.9 * size]), contrast.artery_hu))
    return [joined(parts)]


def subclavian_arteries(contrast: Contrast) -> list[Part]:
    """What the great vessels of the chest's opening show of themselves."""
    left = np.array(
        [(12, -20, -170), (16, -14, -130), (24, -10, -112), (50, -2, -104), (90, -8, -116), (130, -8, -130)]
    )
    return [joined([tube(smooth_path(left * [s, 1, 1], 2)[0], 4.6, contrast.artery_hu) for s in (1, -1)])]


def veins(side: int, tree: CarotidTree, contrast: Contrast, rng: np.random.Generator) -> list[Part]:
    """The jugular veins of one side and what flows into them; the internal one lies outside of the carotids."""
    common = tree.common.points_mm
    size = rng.uniform(2.5, 6.5)
    heights = np.array([-160.0, -110.0, -80.0, -55.0, -30.0, -10.0, 8.0])
    x = side * np.interp(heights, common[:, 2], side * common[:, 0])
    y = np.interp(heights, common[:, 2], common[:, 1])
    apart = size + 3.5 + rng.uniform(0, 3, len(heights))
    lean = np.deg2rad(rng.normal(20, 15))
    path = np.stack([side * x + side * apart * np.cos(lean), y + apart * np.sin(lean), heights], axis=1)
    path[:, 0] = side * np.abs(path[:, 0])
    path = np.vstack([path, np.array([(36, -4, 28), (35, 0, 48), (32, 2, 64), (36, 10, 74)]) * [side, 1, 1]])
    points, along = smooth_path(path, 2)
    swing = 1 + 0.25 * np.sin(along / rng.uniform(14, 30) + rng.uniform(0, 6))
    parts = [tube(points, size * swing * np.interp(points[:, 2], [-80, 0, 64], [1.15, 1.0, 0.75]), contrast.vein_hu)]
    z = rng.uniform(-10, 22)
    start = np.array([np.interp(z, points[:, 2], points[:, i]) for i in range(3)])
    facial = np.array(
        [start, (side * 38, -30, z + 4), (side * 36, -42, 12), (side * 40, -56, 22), (side * 40, -64, 36)], float
    )
    external = [(40, -28, -98), (46, -18, -60), (52, -10, -25), (55, -8, 15), (56, -10, 45), (54, -12, 60)]
    anterior = [(8, -50, -80), (9, -50, -40), (11, -51, -4)]
    for course, thickness in (
        (facial, rng.uniform(1.2, 2.8)),
        (np.array(external, float) * [side, 1, 1] + rng.normal(0, 1.5, (6, 3)), rng.uniform(0.8, 2.6)),
        (np.array(anterior, float) * [side, 1, 1] + rng.normal(0, 1, (3, 3)), rng.uniform(0.5, 1.6)),
    ):
        parts.append(tube(smooth_path(course, 2)[0], thickness, contrast.vein_hu))
    return [joined(parts)]
