"""How a DICOM file's stored values become the grey values that ITK returns, for what is stated about them in tags.

ITK returns ``slope * stored + intercept``, and under MONOCHROME1 the same of ``lowest + highest - stored``, the ends of
the range of *Bits Stored* (measured for signed and unsigned files; a slope of 0 counts as 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from DenseLandmarksLib.geometry.formats.dicom_tags import tag_code, tag_number, tag_numbers, tag_values

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True)
class GreyValues:
    """Stored range, rescale, and whether white is zero, of a DICOM image."""

    lowest: int
    highest: int
    slope: float
    intercept: float
    white_is_zero: bool

    def of_rescaled(self, value: float) -> float:
        """The grey value of a stored value after its rescale: itself, or mirrored where white is zero."""
        if not self.white_is_zero:
            return value
        return (self.lowest + self.highest) * self.slope + 2 * self.intercept - value

    def of_stored(self, value: float) -> float:
        """The grey value of a stored value."""
        return self.of_rescaled(self.slope * value + self.intercept)


def grey_values(dataset: Dataset) -> GreyValues | None:
    """The grey values of a DICOM data set; ``None`` for a colour image."""
    photometric = tag_code(dataset, "PhotometricInterpretation")
    bits = int(tag_number(dataset, "BitsStored", 0))
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or not 0 < bits <= 32:
        return None
    lowest = -(1 << bits - 1) if tag_number(dataset, "PixelRepresentation", 0) == 1 else 0
    return GreyValues(
        lowest,
        lowest + (1 << bits) - 1,
        tag_number(dataset, "RescaleSlope", 1) or 1.0,
        tag_number(dataset, "RescaleIntercept", 0),
        photometric == "MONOCHROME1",
    )


def padding_range(dataset: Dataset) -> tuple[float, float] | None:
    """Grey values, both inclusive, that stand for no tissue (DICOM PS3.3, C.7.5.1.1.2); ``None`` where none are stated.

    A padding value outside the range of *Bits Stored* is not in the pixels that ITK returns and counts as none.
    """
    greys = grey_values(dataset)
    first = tag_number(dataset, "PixelPaddingValue", float("nan"))
    if greys is None or first != first:
        return None
    ends = []
    for stored in (first, tag_number(dataset, "PixelPaddingRangeLimit", first)):
        # Writers mix up the signed and the unsigned form of these two tags.
        wrapped = stored if greys.lowest <= stored <= greys.highest else stored - (1 << 16) * (1 if stored > 0 else -1)
        if not greys.lowest <= wrapped <= greys.highest:
            return None
        ends.append(greys.of_stored(wrapped))
    half_step = abs(greys.slope) / 4  # rounding of a fractional slope, never a neighbouring value
    return min(ends) - half_step, max(ends) + half_step


def display_window(dataset: Dataset) -> tuple[float, float] | None:
    """Grey values shown black and white by the first VOI window, else by the range of the VOI LUT; else ``None``.

    DICOM PS3.3, C.11.2.1.2 (LINEAR), C.11.2.1.3.1 (SIGMOID, here its window) and C.11.2.1.3.2 (LINEAR_EXACT).
    """
    greys = grey_values(dataset)
    if greys is None or tag_values(dataset, "ModalityLUTSequence"):  # a modality LUT, which ITK does not apply
        return None
    centre = tag_number(dataset, "WindowCenter", float("nan"))
    width = tag_number(dataset, "WindowWidth", 0)
    lut = next(iter(tag_values(dataset, "VOILUTSequence")), None)
    if centre == centre and width > 0:
        if tag_code(dataset, "VOILUTFunction") in ("", "LINEAR"):
            centre, width = centre - 0.5, width - 1
        ends = (centre - width / 2, centre + width / 2)
    elif lut is not None and len(descriptor := tag_numbers(lut, "LUTDescriptor")) == 3:
        entries, first = descriptor[0] or 1 << 16, descriptor[1]
        if greys.lowest * greys.slope + greys.intercept < 0 and first >= 1 << 15:
            first -= 1 << 16
        ends = (first, first + entries - 1)
    else:
        return None
    black, white = sorted(greys.of_rescaled(end) for end in ends)
    return (black, white) if black < white and width >= 0 else None
