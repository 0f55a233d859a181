"""Where an image lies in space, without its pixels: all that a point needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray


class SpacingSource(StrEnum):
    """Where the pixel spacing of an image came from. Under ``UNKNOWN`` one pixel counts as 1 and is never called mm."""

    CALIBRATED = "calibrated"
    DETECTOR = "detector"
    GIVEN = "given"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ImageGeometry:
    """Size and place of an image in physical LPS space.

    Attributes
    ----------
    size : voxels along i, j, k; a radiograph is one slice thick.
    spacing_mm : distance of voxel centres along i, j, k.
    origin_lps_mm : centre of voxel (0, 0, 0).
    direction : the 9 numbers of the direction matrix, row after row; its columns are the axes i, j, k in LPS.
    spacing_source : where the spacing came from.

    Raises
    ------
    ValueError : when a length is wrong, a size or spacing is not positive, or the axes are degenerate.
    """

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_lps_mm: tuple[float, float, float]
    direction: tuple[float, ...]
    spacing_source: SpacingSource

    def __post_init__(self) -> None:
        lengths = len(self.size), len(self.spacing_mm), len(self.origin_lps_mm), len(self.direction)
        if lengths != (3, 3, 3, 9):
            raise ValueError(f"expected 3 sizes, 3 spacings, 3 of the origin and 9 of the direction, got {lengths}")
        if min(self.size) < 1 or not min(self.spacing_mm) > 0 or not np.isfinite(self.spacing_mm).all():
            raise ValueError(f"expected positive size and spacing, got {self.size} and {self.spacing_mm}")
        if not np.isfinite([*self.origin_lps_mm, *self.direction]).all() or abs(np.linalg.det(self.axes_lps)) < 1e-6:
            raise ValueError(f"expected an origin and three axes, got {self.origin_lps_mm} and {self.direction}")

    @classmethod
    def of(cls, volume: sitk.Image, spacing_source: SpacingSource) -> ImageGeometry:
        """The geometry of a volume with three axes."""
        i, j, k = volume.GetSize()
        return cls((i, j, k), volume.GetSpacing(), volume.GetOrigin(), volume.GetDirection(), spacing_source)

    @property
    def is_radiograph(self) -> bool:
        """Whether the image is one slice thick."""
        return self.size[2] == 1

    @property
    def unit(self) -> str:
        """Unit of every length in this image: ``"mm"``, or ``"px"`` when the spacing is unknown."""
        return "px" if self.spacing_source is SpacingSource.UNKNOWN else "mm"

    @property
    def axes_lps(self) -> NDArray[np.float64]:
        """Directions (3, 3) of the axes i, j, k in LPS, one per column."""
        return np.array(self.direction, np.float64).reshape(3, 3)

    @property
    def index_to_lps_mm(self) -> NDArray[np.float64]:
        """The linear part (3, 3) of the way from continuous index (i, j, k) to LPS."""
        return self.axes_lps * np.array(self.spacing_mm)

    def with_spacing(self, spacing_mm: Sequence[float], source: SpacingSource) -> ImageGeometry:
        """The same voxels at another distance; the origin stays where it is."""
        i, j, k = map(float, spacing_mm)
        return replace(self, spacing_mm=(i, j, k), spacing_source=source)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {
            "size": list(self.size),
            "spacing_mm": list(self.spacing_mm),
            "origin_lps_mm": list(self.origin_lps_mm),
            "direction": list(self.direction),
            "spacing_source": str(self.spacing_source),
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> ImageGeometry:
        """Read what :meth:`to_dict` made; raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        i, j, k = (int(value) for value in raw["size"])
        x, y, z = (float(value) for value in raw["spacing_mm"])
        left, posterior, superior = (float(value) for value in raw["origin_lps_mm"])
        direction = tuple(float(value) for value in raw["direction"])
        source = SpacingSource(raw["spacing_source"])
        return cls((i, j, k), (x, y, z), (left, posterior, superior), direction, source)
