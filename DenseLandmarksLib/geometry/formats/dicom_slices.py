"""Slices as one volume: their order and distance from their own positions, or one line that says what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.dicom_tags import tag_numbers, tag_values

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Cosines and positions are written as text, rounded to as little as 0.01 mm.
_SAME_DIRECTION = 1e-3
_ROUNDING_MM = 0.02
_SAME_GAP = 0.02


class SliceStack(NamedTuple):
    """Order of the slices along their normal, position of the first, axes as columns (3, 3), and distance, all LPS mm."""

    order: list[int]
    origin_lps_mm: NDArray[np.float64]
    direction: NDArray[np.float64]
    gap_mm: float


def stack_slices(path: Path, headers: Sequence[Dataset]) -> SliceStack:
    """Order two or more slices (DICOM PS3.3, C.7.6.2.1.1); raises :class:`InputError` where they are not one volume."""

    def refusal(got: str) -> InputError:
        return InputError(
            f"{path}: expected parallel slices at equal distances, got {len(headers)} {got}; export one complete series"
        )

    for keyword, name in (("Rows", "sizes"), ("Columns", "sizes"), ("PixelSpacing", "pixel spacings")):
        if len({tag_values(header, keyword) for header in headers}) > 1:
            raise refusal(f"of different {name}")
    positions = np.array(
        [p if len(p := tag_numbers(h, "ImagePositionPatient")) == 3 else [np.nan] * 3 for h in headers]
    )
    cosines = np.array(
        [c if len(c := tag_numbers(h, "ImageOrientationPatient")) == 6 else [np.nan] * 6 for h in headers]
    )
    if not (np.isfinite(positions).all() and np.isfinite(cosines).all()):
        raise refusal("images without a position")
    if np.abs(cosines - cosines[0]).max() > _SAME_DIRECTION:
        raise refusal("of mixed orientation")
    row, column = cosines[0].reshape(2, 3)
    if not np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=0.01):
        raise refusal("whose axes are not at right angles")
    row = row / np.linalg.norm(row)
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)
    column = np.cross(normal, row)

    heights = positions @ normal
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(heights[order])
    gap = float(np.median(gaps))
    tolerance = max(_SAME_GAP * gap, _ROUNDING_MM)
    if gaps.min() <= min(tolerance, gap / 2):
        raise refusal("of which some lie in one place")
    if np.abs(gaps - gap).max() > tolerance:
        missing = np.rint(gaps / gap) - 1
        whole = np.abs(gaps - (missing + 1) * gap).max() <= tolerance
        raise refusal(f"with {missing.sum():.0f} missing between them" if whole else "at unequal distances")
    gap = float((heights.max() - heights.min()) / len(gaps))
    straight = positions[order[0]] + np.arange(len(order))[:, None] * gap * normal
    if np.linalg.norm(positions[order] - straight, axis=1).max() > max(0.1 * gap, 2 * _ROUNDING_MM):
        raise refusal("of a tilted gantry")
    return SliceStack(order.tolist(), positions[order[0]], np.column_stack([row, column, normal]), gap)
