"""What a file says about the landmarks of one image, in the image's own frame, whatever format it came in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import (
    index_from_lps_mm,
    lps_mm_from_index,
    lps_mm_from_pixels,
    lps_mm_from_ras_mm,
)
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review

# A radiograph is one slice thick: what a person places in Slicer's slice view lies within half a slice of its plane.
_HALF_A_SLICE = 0.501


@dataclass(frozen=True)
class ImportedLandmarks:
    """The landmarks of a file.

    Attributes
    ----------
    names, structures : N strings each; a name is unique, a structure is empty where the file names none.
    points_lps_mm : (N, 3) float64, physical LPS in the image's own frame; NaN for what is absent or unplaced.
    presence : N :class:`Presence`.
    review : N :class:`Review`, ``None`` where the file does not say what a person decided.
    """

    names: tuple[str, ...]
    structures: tuple[str, ...]
    points_lps_mm: NDArray[np.float64]
    presence: tuple[Presence, ...]
    review: tuple[Review | None, ...]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class ImportedPoint:
    """One landmark of a file; ``point_lps_mm`` (3,) is ``None`` unless it is present."""

    name: str
    structure: str
    presence: Presence
    point_lps_mm: NDArray[np.float64] | None = None
    review: Review | None = None


def gather(points: Sequence[ImportedPoint], geometry: ImageGeometry) -> ImportedLandmarks:
    """All points of a file as one value; on a radiograph, points within half a slice are put on its plane.

    Raises :class:`InputError` for a name that is empty or occurs twice, and for points off the plane of a radiograph.
    """
    seen: set[str] = set()
    positions = np.full((len(points), 3), np.nan)
    for row, point in enumerate(points):
        if not point.name.strip():
            raise InputError(f"expected a name for every landmark, got none for number {row + 1}. Name it.")
        if point.name in seen:
            raise InputError(f"expected every name once, got {point.name!r} twice. Rename or delete one of them.")
        seen.add(point.name)
        if point.point_lps_mm is not None:
            positions[row] = point.point_lps_mm
    if geometry.is_radiograph:
        positions = _on_the_plane(positions, points, geometry)
    return ImportedLandmarks(
        tuple(point.name for point in points),
        tuple(point.structure for point in points),
        positions,
        tuple(point.presence for point in points),
        tuple(point.review for point in points),
    )


def _on_the_plane(
    points_lps_mm: NDArray[np.float64], points: Sequence[ImportedPoint], geometry: ImageGeometry
) -> NDArray[np.float64]:
    index = index_from_lps_mm(geometry, points_lps_mm)
    off = np.flatnonzero(np.abs(index[:, 2]) > _HALF_A_SLICE)
    if len(off):
        slices = abs(index[off[0], 2])
        raise InputError(
            f"expected landmarks on the plane of the radiograph, got {points[off[0]].name!r} {slices:.1f} slices off it. "
            "Give the file that belongs to this image."
        )
    return lps_mm_from_pixels(geometry, index[:, :2])


def point_lps_mm(
    position: Sequence[float], frame: str, pixel_units: bool, geometry: ImageGeometry
) -> NDArray[np.float64]:
    """LPS millimetres (3,) in the image's frame of a position that a file states in ``frame``, ``LPS`` or ``RAS``.

    ``pixel_units``: the file was written while the spacing was unknown, one pixel counting as 1; the point stays on its
    pixel under the spacing that the image has now. Raises :class:`InputError` for millimetres on an image without spacing.
    """
    points = np.asarray(position, np.float64)[None]
    if frame == "RAS":
        points = lps_mm_from_ras_mm(points)
    known = geometry.unit == "mm"
    if pixel_units and known:
        as_written = geometry.with_spacing((1, 1, 1), SpacingSource.UNKNOWN)
        points = lps_mm_from_index(geometry, index_from_lps_mm(as_written, points))
    elif not pixel_units and not known:
        raise InputError(
            "expected positions in pixels, as the image's spacing is unknown, got millimetres. Give the image's "
            "spacing; it is 1, 1 where the file was made in Slicer on this image without one."
        )
    point: NDArray[np.float64] = points[0]
    return point


def numbers(values: Any, count: int, what: str) -> list[float]:
    """``count`` finite numbers out of a file, as JSON values or as text; ``what`` names them in the error."""
    if isinstance(values, (list, tuple)) and len(values) == count:
        try:
            found = [
                float(value) for value in values if isinstance(value, (int, float, str)) and not isinstance(value, bool)
            ]
        except (ValueError, OverflowError):
            found = []
        if len(found) == count and all(map(math.isfinite, found)):
            return found
    raise InputError(f"expected {count} finite numbers for {what}, got {shown(values)}. Correct the file.")


def shown(value: Any) -> str:
    """A value of a file in an error: one line, not endless."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def stated_presence(text: Any) -> Presence:
    """The :class:`Presence` that a file states in our words."""
    try:
        return Presence(text)
    except ValueError:
        words = ", ".join(Presence)
        raise InputError(f"expected a presence of {words}, got {shown(text)}. Correct the file.") from None


def stated_review(text: Any) -> Review | None:
    """The :class:`Review` that a file states in our words, ``None`` for nothing."""
    if text in ("", None):
        return None
    try:
        return Review(text)
    except ValueError:
        words = ", ".join(Review)
        raise InputError(f"expected a review of {words}, got {shown(text)}. Correct the file.") from None
