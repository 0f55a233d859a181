"""The pyramid that a multi-scale model looks at: of an image, or of a ramp to try a network on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.level_grid import LevelGrid
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.read_level import level_grids, read_level
from DenseLandmarksLib.models.intensity import IntensityRecipe, normalised
from DenseLandmarksLib.models.networks.pyramid import Pyramid, middle_of, part_of


class ImagePyramid(Pyramid):
    """The levels of an image; only what a crop needs is read, so nothing but the volume itself stays in memory."""

    def __init__(self, image: MedicalImage, spacings_mm: Sequence[float], intensity: IntensityRecipe) -> None:
        super().__init__(level_grids(image.geometry, spacings_mm))
        self._volume = image.volume
        coarse = read_level(image.volume, self.grids[0], (0, 0, 0), self.grids[0].size, np.nan)
        self._limits = intensity.limits_of(coarse)
        self._coarse = normalised(coarse, self._limits)

    def region(self, level: int, start: tuple[int, int, int], size: tuple[int, int, int]) -> NDArray[np.float32]:
        """As :meth:`Pyramid.region` says."""
        if level == 0:
            return part_of(self._coarse, start, size)
        return normalised(read_level(self._volume, self.grids[level], start, size, np.nan), self._limits)

    @property
    def centre_lps_mm(self) -> NDArray[np.float64]:
        """Middle (3,) of the volume."""
        return middle_of(self.grids[0])


class Ramp(Pyramid):
    """A grey ramp at every level: something to run a network on."""

    def __init__(self, spacings_mm: Sequence[float], size: int) -> None:
        super().__init__([LevelGrid((0.0, 0.0, 0.0), spacing, (size, size, size)) for spacing in spacings_mm])

    def region(self, level: int, start: tuple[int, int, int], size: tuple[int, int, int]) -> NDArray[np.float32]:
        """Darker to brighter."""
        return np.broadcast_to(np.linspace(-1, 1, size[0], dtype=np.float32), size[::-1]).copy()

    @property
    def centre_lps_mm(self) -> NDArray[np.float64]:
        """Middle (3,) of the ramp."""
        return middle_of(self.grids[0])
