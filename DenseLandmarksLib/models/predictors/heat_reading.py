"""How the heatmaps of a model are to be read, as its bundle states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.landmarks.heat_read_out import HeatKind, HeatReadOut, read_heat, taught_peak

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class HeatReading:
    """What turns heatmaps into landmarks, and when a landmark is called present.

    Attributes
    ----------
    kind, sub_pixel : as :func:`~DenseLandmarksLib.landmarks.heat_read_out.read_heat` takes them.
    height, is_normalised : the target of a regression, see :func:`~DenseLandmarksLib.landmarks.heat_read_out.taught_peak`.
    passes : how often the network looks, each time at a grid that is moved a little.
    present_above : the strength below which a landmark is not in the image.
    either_side : whether the mirror image of what the model knows is as good, such as a right hand.

    Raises
    ------
    ValueError : for an unknown kind, no pass, and a target without height.
    """

    kind: HeatKind
    sub_pixel: bool = True
    height: float = 1.0
    is_normalised: bool = False
    passes: int = 1
    present_above: float = 0.0
    either_side: bool = False

    def __post_init__(self) -> None:
        if self.kind not in get_args(HeatKind):
            raise ValueError(f"heat is {self.kind!r}, not one of {', '.join(get_args(HeatKind))}")
        if self.passes < 1 or not self.height > 0:
            raise ValueError(f"expected at least one pass and a positive height, got {self.passes} and {self.height}")

    @classmethod
    def from_inference(cls, inference: Mapping[str, Any]) -> HeatReading:
        """Of a bundle's ``inference.json``; raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        kind: HeatKind = inference["heat"]
        # A distribution has no height.
        target = inference["target"] if kind == "regression" else {"height": 1.0, "is_normalised": False}
        return cls(
            kind,
            bool(inference["sub_pixel"]),
            float(target["height"]),
            bool(target["is_normalised"]),
            int(inference["passes"]),
            float(inference["present_above"]),
            bool(inference["either_side"]),
        )

    def peaks(self, sigma: FloatArray, dimensions: int) -> FloatArray | None:
        """How high the peaks (N,) of a regression were taught to be; ``None`` of a distribution."""
        if self.kind == "distribution":
            return None
        return taught_peak(self.height, self.is_normalised, sigma, dimensions)

    def shown_highest(self, heat: NDArray[np.floating]) -> float:
        """How bright, 0 to 1, the likeliest pixel of a distribution (*S) of logits is shown.

        1 of a landmark that is there, of another its strength as a share of what that would need.
        """
        if self.kind != "distribution" or not self.present_above > 0:
            return 1.0
        strength = read_heat(np.asarray(heat, np.float32)[None], self.kind).strength[0]
        return min(1.0, float(strength) / self.present_above)

    def read(self, heat: NDArray[np.floating], sigma: FloatArray, stride: int) -> HeatReadOut:
        """Landmarks (N, D) in pixels of the image that the network saw, of heatmaps (N, *S) ``stride`` times coarser.

        ``sigma`` (N,) is that of the target Gaussians in heatmap pixels.
        """
        found = read_heat(heat, self.kind, self.sub_pixel, self.peaks(sigma, heat.ndim - 1))
        return HeatReadOut((found.points + 0.5) * stride - 0.5, found.covariance * stride**2, found.strength)
