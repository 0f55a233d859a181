"""The soft parts of a phantom's neck: skin and fat, muscles, glands, nodes, and the airway with its cartilages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.neck_parts import Column, Part, column, joined, on_side, tube

SIDES = (1, -1)
FAT_HU = -95.0


def body(rng: np.random.Generator) -> list[Part]:
    """Skin, and below it fat; everything else is painted over it. Stoutness shows as thicker fat."""
    stout = rng.uniform(0, 8)
    neck = [(-110, 0, 8, 74, 64), (-70, 0, 5, 64, 62), (-40, 0, 3, 61, 60), (0, 0, 3, 60, 60), (30, 0, 3, 64, 66)]
    head = [(60, 0, -2, 72, 84), (90, 0, -2, 80, 96), (130, 0, -4, 82, 100), (175, 0, -2, 68, 84), (205, 0, 0, 22, 26)]
    face = [
        (-8, 0, -46, 12, 10),
        (-3, 0, -48, 26, 26),
        (4, 0, -50, 38, 35),
        (14, 0, -52, 50, 40),
        (28, 0, -44, 58, 50),
        (60, 0, -40, 70, 58),
    ]
    face += [(95, 0, -45, 68, 56), (140, 0, -35, 60, 60)]
    nose = [(52, 0, -88, 8, 10), (60, 0, -92, 14, 18), (85, 0, -88, 8, 12)]
    shoulders = [(-56, 0, 22, 50, 36), (-70, 0, 18, 88, 48), (-86, 0, 14, 150, 60), (-110, 0, 8, 205, 76)]
    shapes = [column(rows, 20.0, boxy=boxy) for rows, boxy in ((face, False), (nose, False))]
    shapes += [column([*neck, *head], 20.0), column([*shoulders, (-260, 0, 5, 210, 110)], 20.0, open_ended=True)]
    outer = [replace(shape, radii_mm=shape.radii_mm + stout) for shape in shapes]
    return [*outer, *(shape.thinner(1.8, FAT_HU) for shape in outer)]


def _pair(rows: Sequence[Sequence[float]], hu: float, turn_deg: float = 0.0) -> list[Column]:
    left = column(rows, hu, turn_deg=turn_deg)
    return [on_side(left, side) for side in SIDES]


def muscles(rng: np.random.Generator) -> list[Part]:
    """Muscles of the neck, the tongue and the chewing, each with a thin rim of fat, as fasciae show."""
    hu, bulk = rng.uniform(45, 75), rng.uniform(0.95, 1.45)
    low, top = -150.0, 66.0
    pairs = [
        # Behind the spine, from deep to superficial.
        _pair([(low, 13, 34, 12, 13), (-20, 12, 36, 11, 12), (50, 13, 34, 12, 9), (60, 13, 33, 8, 6)], hu),
        _pair([(low, 28, 30, 12, 12), (-20, 26, 27, 10, 10), (50, 30, 24, 12, 9), (60, 32, 24, 8, 6)], hu),
        _pair([(low, 16, 52, 15, 6), (-20, 16, 50, 14, 6), (60, 18, 46, 16, 7)], hu, -18),
        _pair([(low, 34, 44, 17, 6), (-20, 30, 43, 15, 5), (40, 38, 32, 16, 5), (top, 48, 20, 10, 5)], hu, -45),
        _pair([(low, 60, 40, 60, 14), (-90, 50, 44, 48, 10), (-60, 32, 52, 26, 5), (0, 22, 57, 20, 3.6)], hu, -28),
        _pair([(-6, 22, 57, 20, 3.6), (60, 16, 56, 14, 3), (64, 16, 56, 4, 1)], hu, -26),
        _pair([(-80, 56, 30, 10, 14), (-30, 46, 22, 8, 13), (20, 36, 12, 7, 9), (48, 32, 6, 4, 5)], hu),
        # Beside and in front of it.
        _pair([(-85, 40, 0, 10, 12), (-40, 32, 5, 8, 10), (10, 27, 3, 5, 7), (25, 25, 2, 3, 4)], hu),
        _pair([(-85, 34, -16, 7, 7), (-50, 28, -8, 6, 6), (-10, 23, -7, 4, 4)], hu),
        _pair([(-80, 8, -12, 6, 3), (-10, 9, -12, 7, 3.8), (40, 9, -12, 7, 5), (62, 8, -12, 5, 4)], hu),
        # Sternocleidomastoid, from breast bone and collar bone to behind the ear.
        _pair([(-100, 18, -46, 9, 4), (-60, 32, -34, 14, 5), (-20, 44, -18, 16, 6), (20, 51, -2, 15, 7)], hu + 4, 56),
        _pair([(14, 50, -4, 15, 7), (20, 51, -2, 15, 7), (45, 56, 6, 12, 8), (60, 57, 10, 8, 6)], hu + 4, 56),
        # Strap muscles, floor of the mouth, chewing muscles.
        _pair([(-105, 13, -50, 13, 3), (-50, 13, -48, 12, 2.6), (-6, 10, -49, 8, 2.4)], hu, 14),
        _pair([(4, 15, -54, 5, 18), (12, 18, -52, 7, 18), (24, 18, -50, 4, 14), (28, 18, -50, 1, 4)], hu, 14),
        _pair([(18, 53, -28, 5, 11), (40, 57, -28, 7, 15), (68, 58, -30, 5, 12)], hu, -12),
        _pair([(24, 38, -22, 5, 9), (40, 36, -24, 7, 12), (62, 30, -28, 7, 11)], hu, 12),
        _pair([(-12, 16, -26, 5, 3.5), (20, 14, -22, 4.5, 4), (50, 15, -20, 4, 5)], hu),
    ]
    tongue = [(8, 0, -52, 10, 16), (18, 0, -50, 17, 24), (34, 0, -52, 21, 26), (47, 0, -50, 17, 21), (50, 0, -48, 9, 9)]
    shapes = [shape for pair in pairs for shape in pair] + [column(tongue, hu + 8)]
    grown: list[Part] = []
    for shape in shapes:
        inset = rng.uniform(0.3, 1.0) + (1 - bulk) * 4
        grown += [shape.thinner(inset - 0.9, FAT_HU + 20), shape.thinner(inset, shape.hu + rng.normal(0, 4))]
    return grown


def glands(rng: np.random.Generator) -> list[Part]:
    """Thyroid (bright, iodine of its own), salivary glands, tonsils, and lymph nodes along the vessels."""
    thyroid, parotid, submandibular = rng.uniform(130, 220), rng.uniform(-30, 30), rng.uniform(60, 110)
    size = rng.uniform(0.8, 1.3)
    lobes = [(-72, 14, -34, 5, 6), (-58, 17, -33, 8 * size, 10 * size), (-40, 17, -32, 7 * size, 9 * size)]
    parts: list[Part] = [*_pair([*lobes, (-24, 17, -30, 2, 3)], thyroid)]
    parts.append(
        column([(-65, 0, -47, 8, 1), (-62, 0, -47, 14, 3), (-53, 0, -47, 15, 3.5), (-48, 0, -47, 8, 1)], thyroid)
    )
    parts += _pair([(10, 52, -4, 6, 7), (30, 54, -4, 11, 15), (52, 57, -8, 12, 15), (64, 58, -10, 6, 8)], parotid)
    parts += _pair([(0, 30, -42, 6, 7), (10, 34, -42, 9, 13), (20, 33, -40, 8, 11), (26, 32, -38, 4, 5)], submandibular)
    parts += _pair([(16, 15, -28, 3, 4), (25, 16, -28, 5, 7), (34, 15, -28, 3, 4)], 85)
    for _ in range(int(rng.integers(6, 16))):
        side = rng.choice(SIDES)
        at = np.array([side * rng.uniform(28, 46), rng.uniform(-26, 12), rng.uniform(-60, 40)])
        end = at + rng.normal(0, [1.5, 1.5, 4])
        parts.append(tube([at, end], rng.uniform(1.5, 4.0), rng.uniform(60, 115)))
    return parts


def airway(rng: np.random.Generator) -> list[Part]:
    """Pharynx, larynx and trachea with their walls and cartilages, the mouth's and the nose's air, the gullet."""
    calibre, back = rng.uniform(0.75, 1.25), rng.normal(0, 1.0)
    trachea = [(-160, 0, -22, 8.5, 8), (-90, 0, -28, 8.5, 8), (-50, 0, -35, 8.5, 8), (-34, 0, -36, 7.5, 8.5)]
    larynx = [(-24, 0, -37, 4, 10), (-18, 0, -38, 2.2, 9), (-12, 0, -37, 5, 8), (-2, 0, -33, 8, 7)]
    pharynx = [(8, 0, -29, 11, 6), (22, 0, -25, 10, 5), (36, 0, -24, 9, 4), (50, 0, -23, 10, 6), (62, 0, -24, 8, 8)]
    lumen = column(
        [(z, x, y + back, a * calibre, b * calibre) for z, x, y, a, b in trachea + larynx + pharynx], -1000.0
    )
    wall = lumen.thinner(-2.4, 60.0)
    valleculae = [(-4, 9, -35, 3, 2), (4, 8, -38, 4, 2.5), (10, 7, -38, 3, 2)]
    piriform = [(-20, 13, -31, 1.5, 2.5), (-8, 12, -29, 3, 4), (2, 10, -28, 3, 3)]
    air = [lumen, *_pair(piriform, -1000.0), *_pair(valleculae, -1000.0)]
    air.append(column([(55, 0, -55, 5, 20), (66, 0, -52, 13, 30), (80, 0, -54, 10, 26), (95, 0, -60, 5, 12)], -1000.0))
    air += _pair([(58, 24, -54, 6, 8), (70, 27, -54, 12, 14), (84, 26, -54, 11, 13), (90, 25, -54, 5, 6)], -1000.0)
    if rng.uniform() < 0.6:
        gap = rng.uniform(3, 16)
        air.append(column([(48, 0, -50, gap, 14), (51, 0, -50, gap, 18)], -1000.0))
    gullet = column([(-160, 3, -8, 8, 5), (-60, 4, -16, 8, 5), (-38, 1, -18, 9, 4), (-20, 0, -20, 9, 3)], 55.0)
    bubble = column([(-75, 4, -14, 1.5, 1), (-70, 4, -14, 2.5, 1.5), (-60, 4, -15, 1, 1)], -600.0)
    return [wall, gullet, bubble, *_cartilages(back, rng), *air]


def _cartilages(back: float, rng: np.random.Generator) -> list[Part]:
    """The shield of the thyroid cartilage and the ring of the cricoid, ossified more or less."""
    hu, parts = rng.uniform(110, 450), []
    for z in np.arange(-26.0, -5.0, 1.5):
        tilt = 0.12 * (z + 15)
        for side in SIDES:
            blade = [(0, -51 - tilt, z), (side * 9, -45 - tilt, z), (side * 16, -33, z), (side * 18, -25, z)]
            parts.append(tube(np.array(blade) + [0, back, 0], 1.5, hu))
    for side in SIDES:
        parts.append(tube(np.array([(side * 18, -25, -28), (side * 19, -24, 2)]) + [0, back, 0], 1.6, hu))
        ring = [(0, -46, -33), (side * 8, -43, -33), (side * 11, -36, -32), (side * 8, -27, -29), (0, -25, -28)]
        parts.append(tube(np.array(ring) + [0, back, 0], [1.6, 1.7, 2.0, 3.0, 3.4], hu))
    for z in np.arange(-160.0, -40.0, 4.2):
        turns = np.linspace(-2.4, 2.4, 9)
        middle = np.interp(z, [-160, -90, -50, -34], [-22, -28, -35, -36]) + back
        arch = np.stack([11 * np.sin(turns), middle - 10.5 * np.cos(turns), np.full(9, z)], axis=1)
        parts.append(tube(arch, 1.1, hu))
    return [joined(parts)]


def lungs(rng: np.random.Generator) -> list[Part]:
    """The tips of the lungs."""
    return [*_pair([(-260, 62, 0, 55, 70), (-120, 42, 2, 30, 36), (-98, 36, 4, 8, 10)], rng.uniform(-900, -780))]
