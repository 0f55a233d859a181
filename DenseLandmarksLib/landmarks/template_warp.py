"""A structure of the template brought into an image by landmarks alone: what is left where there is no uv map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DenseLandmarksLib.landmarks.template import StructureTemplate, umeyama
from DenseLandmarksLib.landmarks.warp import Warp, leave_one_out

FloatArray = NDArray[np.float64]

# Fewer say nothing about the shape.
FEWEST = 3


@dataclass(frozen=True)
class TemplateWarp:
    """The similarity that brings the mean shape nearest to the landmarks, and the warp that then meets them.

    ``scale``, ``rotation`` and ``shift`` as :func:`~DenseLandmarksLib.landmarks.template.umeyama` gives them; ``error``
    is by how much it misses landmarks that it was not given (root mean square over leaving each out), in image pixels.
    """

    structure: StructureTemplate
    scale: float
    rotation: FloatArray
    shift: FloatArray
    warp: Warp
    error: float

    @classmethod
    def through(cls, structure: StructureTemplate, uv: ArrayLike, points: ArrayLike) -> TemplateWarp | None:
        """Through landmarks of template coordinates ``uv`` (M, 2) at image positions (M, 2), seen as the template is.

        ``None`` for fewer than :data:`FEWEST`, or when they lie in one place.
        """
        known, seen = structure.position_at(uv), np.asarray(points, np.float64)
        if len(seen) < FEWEST or min(np.ptp(known, axis=0).max(), np.ptp(seen, axis=0).max()) < 1e-6:
            return None
        scale, rotation, shift = umeyama(known, seen)
        if scale <= 0:
            return None
        posed = scale * known @ rotation.T + shift
        missed = leave_one_out(posed, seen)
        if not len(missed):
            return None
        error = float(np.sqrt((missed**2).mean()))
        return cls(structure, scale, rotation, shift, Warp.between(posed, seen), error)

    def positions(self, uv: ArrayLike) -> FloatArray:
        """Image positions (N, 2) of template coordinates (N, 2)."""
        return self.warp.forward(self.scale * self.structure.position_at(uv) @ self.rotation.T + self.shift)

    def uv(self, points: ArrayLike) -> FloatArray:
        """Template coordinates (N, 2) of image positions (N, 2)."""
        mean_shape_mm = (self.warp.backward(points) - self.shift) @ self.rotation / self.scale
        return self.structure.uv_at(self.structure.points_mm, mean_shape_mm)
