"""What the passes of a heatmap network over one grid gave, before anything is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.landmarks.heat_read_out import HeatReadOut
from DenseLandmarksLib.models.ellipsoids import isotropic
from DenseLandmarksLib.models.predictors.heat_passes import join_passes

FloatArray = NDArray[np.float64]

COMPONENTS = ("heat", "sigma", "passes")
"""Raw covariances of a landmark, in grid pixels^2: of its heatmap about the peak, of the Gaussian that was taught, and of what
the passes differ by."""


@dataclass(frozen=True)
class HeatSeen:
    """The passes over one grid, together.

    ``points`` (N, 2), grid pixels x, y; ``components`` raw covariances (N, 2, 2), grid pixels^2, by name; ``strength``
    (N,) of the peaks; ``masks`` (K, H, W) bool of the K structures of a joint network.
    """

    points: FloatArray
    components: dict[str, FloatArray]
    strength: FloatArray
    masks: NDArray[np.bool_]

    @classmethod
    def of_passes(cls, passes: Sequence[HeatReadOut], sigma: FloatArray, masks: NDArray[np.bool_]) -> HeatSeen:
        """Of passes whose moves are taken back; ``sigma`` (N,) of the Gaussians that were taught, grid pixels."""
        joined, apart = join_passes(passes)
        components = {"heat": joined.covariance, "sigma": isotropic(sigma**2, 2), "passes": apart}
        return cls(joined.points, components, joined.strength, masks)

    @property
    def as_pass(self) -> HeatReadOut:
        """What was read, as one pass has it."""
        return HeatReadOut(self.points, self.components["heat"], self.strength)
