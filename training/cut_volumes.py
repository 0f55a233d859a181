"""Volumes cut so that landmarks are truly absent: what shows whether a model notices.

A volume is cut across one of its axes so that one landmark lies outside. The others count as present where the cut volume
still shows them, as absent more than 10 mm outside, and not at all between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.frames import index_from_lps_mm
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from training.volume_augmentation import LEAST_LEFT

ABSENT_MM = 10.0
BEYOND_MM = (11.0, 40.0)
"""How far outside the landmark lies that a cut is made for."""
MOST_CUTS = 6


@dataclass(frozen=True)
class Cut:
    """Across ``axis`` of the stored volume, at the voxel border ``edge``; what lies below is kept, or what lies above."""

    axis: int
    edge: int
    keeps_below: bool

    def apply(self, image: MedicalImage) -> MedicalImage:
        """What is left of a volume."""
        size = list(image.volume.GetSize())
        start = [0, 0, 0]
        if not self.keeps_below:
            start[self.axis] = self.edge
        size[self.axis] = self.edge if self.keeps_below else size[self.axis] - self.edge
        return replace(image, volume=sitk.RegionOfInterest(image.volume, size, start))

    def outside_mm(self, image: MedicalImage, points_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far (N,) positions (N, 3) of the whole volume lie outside of what is left; negative within."""
        along = index_from_lps_mm(image.geometry, points_lps_mm)[:, self.axis] - (self.edge - 0.5)
        return np.asarray((along if self.keeps_below else -along) * image.geometry.spacing_mm[self.axis])


def draw_cut(image: MedicalImage, point_lps_mm: NDArray[np.float64], rng: np.random.Generator) -> Cut | None:
    """A cut that leaves a position (3,) out; ``None`` where each would leave less than a quarter of the volume's extent."""
    geometry = image.geometry
    index = index_from_lps_mm(geometry, point_lps_mm[None])[0]
    ways = []
    for axis, (count, spacing_mm) in enumerate(zip(geometry.size, geometry.spacing_mm, strict=True)):
        beyond = rng.uniform(*BEYOND_MM) / spacing_mm
        below = int(np.floor(index[axis] - beyond + 0.5))
        above = int(np.ceil(index[axis] + beyond + 0.5))
        ways += [Cut(axis, below, True)] if below >= LEAST_LEFT * count else []
        ways += [Cut(axis, above, False)] if count - above >= LEAST_LEFT * count else []
    return ways[rng.integers(len(ways))] if ways else None


def cut_volumes(
    image: MedicalImage, points_lps_mm: NDArray[np.float64], absent: NDArray[np.bool_], seed: int
) -> Iterator[tuple[MedicalImage, NDArray[np.float64]]]:
    """A volume cut for each of its landmarks, of many for six drawn at random; with what is true of each landmark (N,).

    ``points_lps_mm`` (N, 3) are NaN where not annotated, ``absent`` (N,) says which are known not to be in the whole volume. True is
    1 for what is still there, 0 for what is truly absent, NaN for what nobody knows or lies near the border.
    """
    rng = np.random.default_rng(seed)
    known = np.flatnonzero(np.isfinite(points_lps_mm).all(axis=1))
    for row in rng.permutation(known)[:MOST_CUTS].tolist():
        cut = draw_cut(image, points_lps_mm[row], rng)
        if cut is None:
            continue
        outside_mm = cut.outside_mm(image, points_lps_mm)
        there = np.where(outside_mm <= 0, 1.0, np.where(outside_mm > ABSENT_MM, 0.0, np.nan))
        there = np.where(np.isfinite(outside_mm), there, np.nan)
        yield cut.apply(image), np.where(absent, 0.0, there)
