"""The anatomy of a neck CTA phantom, drawn at random, and the exact places of its landmarks.

Proportions are those of adults; they vary by the ranges that the functions state. Phantoms are for tests,
demonstrations and pre-training. They are no evidence about patients.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from training import neck_bones, neck_tissues, neck_vessels
from training.neck_parts import Floats, Part
from training.neck_pose import NeckPose, random_pose

LANDMARKS = ("left_bifurcation", "right_bifurcation")
SWAPPED = {"left_bifurcation": "right_bifurcation", "right_bifurcation": "left_bifurcation"}


@dataclass(frozen=True, eq=False)
class NeckAnatomy:
    """One neck: parts in the order in which they are painted (a later one hides an earlier), and how it lies.

    ``rest_landmarks_mm`` holds, by name, points (3,) of the rest anatomy: the end of the common carotid's centre
    line, where those of the internal and external carotid begin.
    """

    parts: tuple[Part, ...]
    pose: NeckPose
    rest_landmarks_mm: dict[str, Floats] = field(repr=False)

    @property
    def landmarks_lps_mm(self) -> dict[str, Floats]:
        """Every landmark's point (3,), LPS mm, whether or not an image will show it."""
        return {name: self.pose(point[None])[0] for name, point in self.rest_landmarks_mm.items()}

    def mirrored(self) -> NeckAnatomy:
        """The mirror image about x = 0, in which left is called left again."""
        swapped = {name: self.rest_landmarks_mm[SWAPPED[name]] for name in LANDMARKS}
        return replace(self, pose=self.pose.mirrored(), rest_landmarks_mm=swapped)


def draw_neck(rng: np.random.Generator) -> NeckAnatomy:
    """Draw one neck.

    The bifurcations lie at C3 to C5 (30 mm below to 34 mm above the middle of C4 in the rest anatomy), the two sides
    6 mm (SD) apart from their common height.
    """
    contrast = neck_vessels.random_contrast(rng)
    common_level = rng.normal(3, 10)
    trees = {
        side: neck_vessels.carotid_tree(side, float(np.clip(common_level + rng.normal(0, 6), -30, 34)), contrast, rng)
        for side in (1, -1)
    }
    parts: list[Part] = [
        *neck_tissues.body(rng),
        *neck_tissues.muscles(rng),
        *neck_tissues.glands(rng),
        *neck_tissues.lungs(rng),
        *neck_bones.collar_bones(rng),
        *neck_bones.skull(rng),
        *neck_bones.spine(rng),
        *neck_tissues.airway(rng),
        *neck_bones.jaw(rng),
        *neck_bones.hyoid(rng),
    ]
    for side, tree in trees.items():
        parts += neck_vessels.veins(side, tree, contrast, rng)
    parts += neck_vessels.subclavian_arteries(contrast)
    parts += neck_vessels.vertebral_arteries(contrast, rng)
    parts += [tree.walls for tree in trees.values()]
    parts += [tree.lumens for tree in trees.values()]
    parts += [plaque for tree in trees.values() for plaque in tree.calcifications]
    landmarks = {name: trees[side].bifurcation_mm for name, side in zip(LANDMARKS, (1, -1), strict=True)}
    return NeckAnatomy(tuple(parts), random_pose(rng), landmarks)
