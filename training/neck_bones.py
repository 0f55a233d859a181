"""The bones of a phantom's neck: vertebrae with their discs and canal, the jaw with its teeth, hyoid, skull, collar bones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.neck_parts import Column, Floats, Part, Tubes, column, joined, smooth_path, tube

SIDES = (1, -1)
# Middles of C3 to T4; C2 lies at 34 and C1 at 51 mm.
BODIES_MM = (17.0, 0.0, -17.0, -34.0, -51.0, -69.0, -88.0, -108.0, -129.0)
FORAMEN_MM = (16.5, 1.0)


def _both(points: Sequence[Sequence[float]]) -> list[Floats]:
    """Control points of the left side, and mirrored those of the right."""
    return [np.array(points, np.float64) * [side, 1, 1] for side in SIDES]


def spine(rng: np.random.Generator) -> list[Part]:
    """Vertebrae C1 to T4: cortex, then marrow, then the canal with the cord, so that canal and foramina stay open."""
    cortex, marrow = rng.uniform(600, 1000), rng.uniform(220, 380)
    size = rng.uniform(0.92, 1.08)
    bodies: list[Column] = []
    discs: list[Part] = []
    arches: list[Tubes] = []
    for i, z in enumerate(BODIES_MM):
        thoracic = i > 4
        wide, high = size * (13.0 + 0.5 * i + rng.normal(0, 0.4)), 6.4 + 0.35 * max(0, i - 4)
        rows = [(z + h, 0.0, 0.0, wide * w, size * 8.3 * w) for h, w in ((-high, 1.05), (0, 0.94), (high, 1.05))]
        bodies.append(column(rows, cortex, boxy=True))
        discs.append(column([(z + high - 1, 0, 0, wide, 8.3), (z + high + 5, 0, 0, wide, 8.3)], 95))
        arches += _arch(z, 10.0 if thoracic or i == 4 else rng.uniform(0, 3), thoracic, cortex)
        arches += _osteophytes(z + high, wide, cortex, rng)
    discs.append(column([(24, 0, 0, 12, 8), (29, 0, 0, 12, 8)], 95))
    axis = [(27.0, 0, 0, 13, 8), (36, 0, 0, 11, 8), (40, 0, -1, 6, 6), (44, 0, -1.5, 5, 5.2), (54, 0, -2, 4.6, 5)]
    bodies.append(column([*axis, (57, 0, -2, 2, 2)], cortex, boxy=True))
    arches += _arch(34.0, 8.0, False, cortex)
    arches += _atlas(cortex)
    processes = joined(arches)
    canal = column([(-150, 0, 17.5, 9, 7), (30, 0, 17, 11, 7.5), (55, 0, 16, 12, 9), (80, 0, 12, 14, 12)], 8)
    cord = column([(-150, 0, 17.5, 5, 4), (30, 0, 17, 6.3, 4), (80, 0, 11, 8, 7)], rng.uniform(30, 45))
    holes = joined([tube([(s * 16.5, 1.0, -40.0), (s * 16.5, 1.0, 40.0)], 3.1, 10) for s in SIDES])
    cores = [body.thinner(1.3, marrow) for body in bodies]
    return [*discs, *bodies, processes, *cores, processes.thinner(1.4, marrow), holes, canal, cord]


def _arch(z: float, longer: float, thoracic: bool, hu: float) -> list[Tubes]:
    """Pedicles, facets, the bars around the foramen, laminae and the spinous process of the vertebra at ``z``."""
    parts = [tube([(0, 25, z - 2), (0, 34, z - 6), (0, 40 + longer, z - 9 - longer / 3)], [3.2, 2.6, 3.4], hu)]
    for s in SIDES:
        facet = [(s * 20, 9.5, z - 6), (s * 20.5, 8.5, z + 6)]
        lamina = [(s * 18, 13, z), (s * 9, 22, z - 2), (0, 26, z - 3)]
        parts += [tube(facet, 5.4, hu), tube([(s * 9, 5.5, z + 2), (s * 17, 8, z)], 3.2, hu), tube(lamina, 3.2, hu)]
        if thoracic:
            parts.append(tube([(s * 19, 10, z), (s * 32, 15, z + 1)], 4.0, hu))
        else:
            bars = [(s * 11, -3.5, z), (s * 18, -5, z - 1), (s * 23, -2.5, z - 2), (s * 24, 4, z - 2), (s * 20, 8, z)]
            parts.append(tube(bars, 2.0, hu))
    return parts


def _atlas(hu: float) -> list[Tubes]:
    """The ring of C1, and the occipital condyles above it."""
    parts = []
    for left in _both([(0, -9, 49), (8, -8, 50), (17, 0, 51), (19, 8, 51), (13, 22, 51), (0, 29, 50)]):
        parts.append(tube(left, [3.5, 3.2, 6.5, 6, 3, 3], hu))
        side = np.sign(left[1, 0])
        parts.append(tube([(side * 20, 3, 46), (side * 17, 2, 53)], 6.5, hu))
        bar = [(side * 19, -3, 51), (side * 27, -2, 51), (side * 34, 2, 51), (side * 27, 7, 51), (side * 20, 8, 51)]
        parts.append(tube(bar, 2.2, hu))
        parts.append(tube([(side * 16, 0, 61), (side * 13, -6, 64)], 5.0, hu))
    return parts


def _osteophytes(z: float, wide: float, hu: float, rng: np.random.Generator) -> list[Tubes]:
    """Sometimes a bony spur at the front rim of a vertebra."""
    if rng.uniform() < 0.75:
        return []
    x = rng.uniform(-0.7, 0.7) * wide
    return [tube([(x, -7, z), (x + rng.normal(0, 1), rng.uniform(-12, -9), z + 2)], [2.5, 1.5], hu)]


def jaw(rng: np.random.Generator) -> list[Part]:
    """Mandible, upper jaw with the palate, and the teeth, of which some are missing and some are filled."""
    cortex, marrow = rng.uniform(1000, 1400), rng.uniform(300, 550)
    wide, long = rng.uniform(0.94, 1.06, 2)
    rows = []
    for lift, inward in ((0.0, 0.0), (5.0, 0.5), (10.0, 1.5), (15.0, 2.5)):
        arch = [(46, -20, 24 + lift / 2), (40, -44, 15 + lift), (28, -65, 9 + lift), (12, -76, 6 + lift)]
        half = np.array([(x - inward, y + inward, z) for x, y, z in arch])
        whole = np.vstack([half, [(0, -79 + inward, 6 + lift)], (half * [-1, 1, 1])[::-1]])
        rows.append(tube(smooth_path(whole, 4)[0], 5.2 if lift < 15 else 4.0, cortex))
    for back in (0.0, 3.5, 7.0, 10.5, 14.0, 17.5):
        for ramus in _both([(46, -18 - back, 22 if back else 26), (48, -16 - back, 44), (50, -13 - 1.3 * back, 62)]):
            rows.append(tube(ramus, [4.8, 4.2, 3.8], cortex))
    rows += [tube(condyle, 5.0, cortex) for condyle in _both([(47, -12, 68), (54, -11, 68)])]
    palate = column([(51.8, 0, -50, 20, 24), (54.2, 0, -50, 20, 24)], 350)
    x = np.linspace(-27, 27, 30)
    upper = tube(np.stack([x, -74 + (x / 25) ** 2 * 32, np.full(30, 51.0)], axis=1), 5.5, cortex)
    stretch = np.array([wide, long, 1.0])
    bones = [Tubes(part.segments_mm * stretch, part.radii_mm, part.hu) for part in (*rows, upper)]
    whole_jaw = joined(bones)
    return [palate, whole_jaw, whole_jaw.thinner(2.0, marrow), *_teeth(stretch, rng)]


def _teeth(stretch: Floats, rng: np.random.Generator) -> list[Part]:
    """Two rows of teeth, bright; each is absent with the same chance, which differs from mouth to mouth."""
    gaps, enamel, metal = rng.choice([0.05, 0.25, 0.95]), rng.uniform(1300, 1900), rng.choice([0.0, 0.0, 0.12])
    found: dict[float, list[Tubes]] = {}
    for low, high in ((24.0, 35.0), (38.0, 49.0)):
        for angle in np.linspace(-1.32, 1.32, 14):
            x, y = 25 * np.sin(angle), -73 + 33 * (1 - np.cos(angle))
            lost, filled = rng.uniform(size=2) < [gaps, metal]
            if not lost:
                ends = np.array([(x, y, low), (x, y, high)]) * stretch
                found.setdefault(2800.0 if filled else enamel, []).append(
                    tube(ends, [2.2, 3.6] if low < 30 else [3.6, 2.2], 2800.0 if filled else enamel)
                )
    return [joined(tubes) for tubes in found.values()]


def hyoid(rng: np.random.Generator) -> list[Part]:
    """The hyoid bone, a horseshoe in front of the airway at C3 to C4."""
    z = rng.uniform(0, 10)
    horns = [(-21, -20, z + 5), (-20, -32, z + 2), (-12, -44, z), (0, -48, z), (12, -44, z), (20, -32, z + 2)]
    path, _ = smooth_path([*horns, (21, -20, z + 5)], 3)
    bone = tube(path, 2.2 + 2.0 * np.exp(-((path[:, 0] / 12) ** 2)), rng.uniform(500, 800))
    return [bone, bone.thinner(1.5, 250)]


def skull(rng: np.random.Generator) -> list[Part]:
    """What of the skull lies above the neck: vault with brain, temporal bones with air cells, clivus, cheek bones."""
    hu = rng.uniform(900, 1300)
    rows = [
        (56, 0, 40, 8, 8),
        (62, 0, 36, 40, 32),
        (72, 0, 27, 62, 50),
        (86, 0, 16, 69, 68),
        (100, 0, 0, 74, 90),
        (125, 0, -2, 75, 93),
    ]
    vault = column([*rows, (170, 0, 0, 62, 78), (200, 0, 0, 20, 24)], hu)
    base = [tube([(0, -10, 64), (0, -16, 76), (0, -22, 90)], [5, 7, 8], 600)]
    for s in SIDES:
        base.append(tube([(s * 58, 8, 72), (s * 42, 2, 73), (s * 18, -14, 76)], [9, 8, 5], 800))
        base.append(tube([(s * 54, 10, 70), (s * 55, 8, 54)], [9, 5], 500))
        base.append(tube([(s * 35, -10, 72), (s * 26, -36, 80), (s * 18, -46, 82)], [4, 5, 4], 600))
        base.append(tube([(s * 58, -14, 76), (s * 64, -34, 78), (s * 52, -62, 78), (s * 34, -72, 74)], 3.5, hu))
        base.append(tube([(s * 17, -34, 56), (s * 16, -36, 78)], 2.6, 600))
    cells: list[Part] = []
    for s in SIDES:
        for _ in range(12):
            cell = np.array([s * 55, 9, 66]) + rng.normal(0, [3.5, 3.5, 5])
            cells.append(tube([cell, cell + 0.5], rng.uniform(1, 2.4), rng.uniform(-900, -300)))
    brain = vault.thinner(5.0, 38)
    bases = joined([Tubes(b.segments_mm, b.radii_mm, hu * 0.8) for b in base])
    return [vault, brain, bases, bases.thinner(2.2, 420), *cells]


def collar_bones(rng: np.random.Generator) -> list[Part]:
    """Collar bones and first ribs, for volumes that reach down to the chest."""
    cortex = rng.uniform(900, 1200)
    parts = []
    for left in _both([(14, -42, -112), (45, -38, -108), (95, -14, -100), (150, 8, -100)]):
        parts.append(tube(smooth_path(left, 5)[0], 6.0, cortex))
    for left in _both([(20, 6, -72), (42, 10, -80), (54, -6, -96), (42, -28, -112), (18, -40, -122)]):
        parts.append(tube(smooth_path(left, 4)[0], 4.5, cortex))
    bones = joined(parts)
    return [bones, bones.thinner(1.8, 350)]
