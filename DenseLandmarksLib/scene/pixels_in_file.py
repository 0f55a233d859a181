"""An image out of a scene as the library's own reader gives it from the file.

Slicer keeps padding that our reader takes out, and counts the slices of some volumes from the other end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.formats.padding import without_padding
from DenseLandmarksLib.geometry.medical_image import MedicalImage

# Of the voxels, how many a picture must have beside padding to be told from another.
_ENOUGH_SEEN = 0.1


def as_read(image: MedicalImage) -> Iterator[MedicalImage]:
    """The image as it is, then without padding where it has some: as of any file, and as of CT."""
    yield image
    for is_ct in (False, True):
        cleaned = without_padding(image.volume, is_ct=is_ct)
        if cleaned is not image.volume:
            yield replace(image, volume=cleaned)


def either_way_round(image: MedicalImage) -> Iterator[MedicalImage]:
    """The image as it is and, where it has slices, with these counted from the other end; each voxel stays in its place."""
    yield image
    slices = image.geometry.size[2]
    if slices == 1:
        return
    turned = sitk.GetImageFromArray(np.ascontiguousarray(sitk.GetArrayViewFromImage(image.volume)[::-1]))
    turned.SetSpacing(image.volume.GetSpacing())
    turned.SetOrigin(image.volume.TransformIndexToPhysicalPoint((0, 0, slices - 1)))
    axes = image.geometry.axes_lps * [1, 1, -1]
    turned.SetDirection(axes.ravel().tolist())
    yield replace(image, volume=turned)


def differ_in_padding_only(kept: NDArray[Any], read: NDArray[Any]) -> bool:
    """Whether ``read`` is ``kept`` with some of its voxels at the lowest value of the others, as our reader leaves padding.

    Only the file itself states which values are padding, so that :func:`as_read` cannot take all of it out.
    """
    if kept.shape != read.shape:
        return False
    differ = kept != read
    return bool((read[differ] == read.min()).all()) and float(differ.mean()) <= 1 - _ENOUGH_SEEN
