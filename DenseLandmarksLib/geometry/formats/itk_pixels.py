"""How large the pixels are that an ITK reader makes of a file."""

from __future__ import annotations

import SimpleITK as sitk

_BYTES = {
    sitk.sitkUInt8: 1,
    sitk.sitkInt8: 1,
    sitk.sitkUInt16: 2,
    sitk.sitkInt16: 2,
    sitk.sitkUInt32: 4,
    sitk.sitkInt32: 4,
    sitk.sitkFloat32: 4,
    sitk.sitkUInt64: 8,
    sitk.sitkInt64: 8,
    sitk.sitkFloat64: 8,
    sitk.sitkComplexFloat32: 8,
    sitk.sitkComplexFloat64: 16,
}


def decoded_bytes_per_pixel(reader: sitk.ImageFileReader) -> int:
    """Bytes of a pixel with all its channels, more than are stored where integers are scaled; known from the header."""
    scalar = reader.GetPixelID()
    if reader.GetNumberOfComponents() > 1:  # the vector types follow the scalar ones in the same order
        scalar = scalar - sitk.sitkVectorUInt8 + sitk.sitkUInt8
    return _BYTES[scalar] * reader.GetNumberOfComponents()
