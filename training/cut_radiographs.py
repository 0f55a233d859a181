"""Radiographs cut so that landmarks are truly absent: how strongly a heatmap model still sees them.

They are cut as volumes are, see :mod:`training.cut_volumes`, on the grid: along its other axis what is left still fills it, so it
keeps the size that the model was trained on, and lies in the middle as every image of its proportions does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.predictors.heatmap import HeatmapPredictor
from training.cut_volumes import ABSENT_MM, cut_volumes

CUTS = 2
"""How many a case is seen in: a look at each takes as long as one at the whole."""


@dataclass(frozen=True)
class CutSight:
    """Strengths (n,) of landmarks in cut images, and whether each is ``present`` (n,), 1 or 0."""

    strength: NDArray[np.float64]
    present: NDArray[np.float64]

    @property
    def there(self) -> NDArray[np.float64]:
        """Strengths of those that are there."""
        return self.strength[self.present == 1]

    @property
    def absent(self) -> NDArray[np.float64]:
        """Strengths of those that are not."""
        return self.strength[self.present == 0]


def look_at_cut_radiographs(
    predictor: HeatmapPredictor,
    grid_pixels: NDArray[np.float32],
    points: NDArray[np.float64],
    mm_per_pixel: float,
    seed: int,
) -> CutSight:
    """One case on the grid (H, W), cut; ``points`` (N, 2) are grid pixels, NaN where not annotated.

    What nobody knows, and what lies near the border, is left out.
    """
    volume = sitk.GetImageFromArray(np.ascontiguousarray(grid_pixels, np.float32)[None])
    volume.SetSpacing((mm_per_pixel, mm_per_pixel, 1.0))
    whole = MedicalImage(volume, SpacingSource.GIVEN)
    points_lps_mm = lps_mm_from_pixels(whole.geometry, points)
    strength, present = [np.zeros(0)], [np.zeros(0)]
    nowhere = np.zeros(len(points), bool)
    for image, truth in islice(cut_volumes(whole, points_lps_mm, nowhere, seed), CUTS):
        known = np.isfinite(truth)
        strength.append(predictor.look(image)[1].strength[known])
        present.append(truth[known])
    return CutSight(np.concatenate(strength), np.concatenate(present))


def joined_sights(sights: Sequence[CutSight]) -> CutSight:
    """Those of several cases, one after the other."""
    return CutSight(np.concatenate([one.strength for one in sights]), np.concatenate([one.present for one in sights]))


def called_in_cuts(cuts: CutSight, present_above: float) -> dict[str, float | int | None]:
    """Shares of the landmarks of cut images that are called wrongly, and of how many; no share of none."""
    return {
        "called_present_though_absent_share": _share(cuts.absent >= present_above),
        "absent_in_cuts": len(cuts.absent),
        "absent_beyond_mm": ABSENT_MM,
        "called_absent_in_cuts_share": _share(cuts.there < present_above),
        "present_in_cuts": len(cuts.there),
    }


def lowered_for_cuts(present_above: float, cuts: CutSight) -> float:
    """The strength, at most ``present_above``, with the least sum of both shares that are called wrongly in cut images.

    That is Youden's index (1950) at its largest. Whole images of an easy kind all have strong peaks: what only they set would
    call what is left of a cut one absent. It is never raised, since whole images are what a model mostly sees.
    """
    if not len(cuts.there) or not len(cuts.absent):
        return present_above
    lower = np.floor(cuts.there[cuts.there < present_above] * 1e4) / 1e4
    # The highest first, which among equals is taken.
    tried = np.concatenate([[present_above], np.sort(lower)[::-1]])
    wrong = [(cuts.there < one).mean() + (cuts.absent >= one).mean() for one in tried]
    return float(tried[int(np.argmin(wrong))])


def _share(wrong: NDArray[np.bool_]) -> float | None:
    return float(wrong.mean()) if len(wrong) else None
