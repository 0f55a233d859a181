"""Grey values as a network for volumes gets them: a window of the stored values, from -1 to 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError


@dataclass(frozen=True)
class IntensityRecipe:
    """Which stored values become -1 and 1; what is darker or brighter is cut off, whatever padding a volume has.

    ``"window"``: ``low`` and ``high`` themselves, as in CT. ``"percentiles"``: those of each volume's own values above its
    darkest, as where the unit of the values is a scanner's own.

    Raises :class:`InputError` for another kind, and when ``low`` is not below ``high``.
    """

    kind: Literal["window", "percentiles"] = "window"
    low: float = -1000.0
    high: float = 1000.0

    def __post_init__(self) -> None:
        widest = {"window": (-np.inf, np.inf), "percentiles": (0.0, 100.0)}.get(self.kind)
        if widest is None or not widest[0] <= self.low < self.high <= widest[1]:
            raise InputError(
                "expected intensity as a window of values or percentiles from 0 to 100, low below high, got "
                f"{self.kind} {self.low:g} to {self.high:g}. Change the recipe."
            )

    def limits_of(self, values: NDArray[np.floating]) -> tuple[float, float]:
        """The two stored values for a volume of which ``values`` are a sample, such as its coarsest level."""
        if self.kind == "window":
            return self.low, self.high
        finite = values[np.isfinite(values)]
        inside = finite[finite > finite.min()] if finite.size else finite
        if not inside.size:
            return 0.0, 1.0
        low, high = np.percentile(inside, (self.low, self.high))
        return float(low), float(max(high, low + 1e-6))


def normalised(values: NDArray[np.floating], limits: tuple[float, float]) -> NDArray[np.float32]:
    """Values from -1 to 1; what is no number is as dark as what is outside."""
    low, high = limits
    scaled = (np.asarray(values, np.float32) - np.float32(low)) * np.float32(2 / (high - low)) - np.float32(1)
    return np.clip(np.nan_to_num(scaled, nan=-1.0, posinf=1.0, neginf=-1.0), -1, 1).astype(np.float32, copy=False)
