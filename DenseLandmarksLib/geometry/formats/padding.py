"""Borders that no detector saw: their values are taken out before they can crush the contrast of what it did see."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

# What scanners and converters write outside the field of view, in Hounsfield units: air's lowest value in 12 bits, and
# the padding values -2000 and -2000 - 1024 (a rescaled -2000).
_KNOWN = (-3024, -2000, -1024)
_CT_LOWEST = -1024
# A constant is padding when no other value comes near; noise in air fills this gap.
_ISOLATED_BY = 256


def defined(volume: sitk.Image, undefined: NDArray[np.bool_] | None = None) -> sitk.Image:
    """The volume with its NaN at the lowest value of the other pixels: programs that resample put it where nothing was.

    ``undefined`` (z, y, x) says where NaN was, should it not be there any more. Nothing but NaN is left as it is.
    """
    pixels = sitk.GetArrayViewFromImage(volume)
    if pixels.dtype.kind != "f":
        return volume
    if undefined is None:
        # A sum is NaN where any pixel is, and takes no memory.
        if not np.isnan(pixels.sum()):
            return volume
        undefined = np.isnan(pixels)
    if undefined.all():
        return volume
    filled = sitk.GetImageFromArray(np.where(undefined, pixels.min(where=~undefined, initial=np.inf), pixels))
    filled.CopyInformation(volume)
    return filled


def without_padding(volume: sitk.Image, stated: tuple[float, float] | None = None, is_ct: bool = False) -> sitk.Image:
    """The volume with its padding at the lowest value of the other pixels, which are left as they are.

    Padding is what lies within ``stated`` (both ends inclusive), and a lowest value that is a known constant far below
    all others. In CT everything below -1024 HU becomes -1024 HU first.
    """
    pixels = sitk.GetArrayViewFromImage(volume)
    if pixels.dtype.kind not in "iuf":
        return volume
    changed = None
    if stated is not None:
        padding = (pixels >= stated[0]) & (pixels <= stated[1])
        if padding.any() and not padding.all():
            changed = np.where(padding, pixels[~padding].min(), pixels)
            pixels = changed
    lowest = pixels.min()
    if is_ct and lowest < _CT_LOWEST < pixels.max():
        changed = np.maximum(pixels, pixels.dtype.type(_CT_LOWEST))
    elif lowest in _KNOWN:
        others = pixels[pixels > lowest]
        if others.size and others.min() - float(lowest) >= _ISOLATED_BY:
            changed = np.maximum(pixels, others.min())
    if changed is None:
        return volume
    cleaned = sitk.GetImageFromArray(changed)
    cleaned.CopyInformation(volume)
    return cleaned
