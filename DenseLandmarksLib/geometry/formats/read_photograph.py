"""PNG, JPEG and TIFF: grey values as stored, no spacing, nothing stated about the patient."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.image_limits import (
    MAX_DEFLATE_RATIO,
    MAX_JPEG_PIXELS_PER_BYTE,
    MAX_PIXELS,
    check_held,
    check_size,
)
from DenseLandmarksLib.geometry.formats.jpeg_scans import check_jpeg
from DenseLandmarksLib.geometry.formats.luminance import luminance
from DenseLandmarksLib.geometry.formats.png_rows import check_png
from DenseLandmarksLib.geometry.formats.tiff_strips import check_tiff
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage

_TIFF_BITS, _TIFF_COMPRESSION, _TIFF_PHOTOMETRIC, _TIFF_STRIP_BYTES, _TIFF_TILE_BYTES = 258, 259, 262, 279, 325
_UNCOMPRESSED = 1
# Bytes of a value in Pillow's modes of more than eight bits.
_BYTES = {"I": 4, "F": 4, "I;16": 2, "I;16B": 2, "I;16L": 2}


def read_photograph(path: Path, kind: str, spacing_mm: tuple[float, float] | None) -> MedicalImage:
    """Read a ``"PNG"``, ``"JPEG"`` or ``"TIFF"``; colours become their luminance in the stored bit depth.

    Pixels stay where they are stored, as in ITK and Slicer, so that landmarks lie on the image there: an EXIF turn,
    which viewers of photographs apply, is not. Resolutions are about printing and are never read.
    """
    pixels = _grey_pixels(path, kind)
    if kind == "JPEG":
        check_jpeg(path, pixels)
    # SimpleITK takes the machine's own byte order only.
    volume = sitk.GetImageFromArray(pixels.astype(pixels.dtype.newbyteorder("="), copy=False)[None])
    source = SpacingSource.GIVEN if spacing_mm else SpacingSource.UNKNOWN
    volume.SetSpacing((*(spacing_mm or (1.0, 1.0)), 1.0))
    return MedicalImage(volume, source, path.name)


def _grey_pixels(path: Path, kind: str) -> NDArray[Any]:
    """Grey values (rows, columns); Pillow's own copy, which is the larger one in colour, is gone with the return."""
    from PIL import Image

    try:
        opened = Image.open(path, formats=[kind])
    except Image.DecompressionBombError:
        raise InputError(
            f"{path}: expected at most {MAX_PIXELS // 10**6} megapixels, got far more; reduce the image first"
        ) from None
    with opened as image:
        pages = getattr(image, "n_frames", 1)
        if kind == "TIFF" and pages > 1:
            raise InputError(f"{path}: expected one image, got a TIFF of {pages} pages; save one page as its own file")
        tags = image.tag_v2 if kind == "TIFF" else {}  # type: ignore[attr-defined]
        bits = tags.get(_TIFF_BITS, (8,))
        raw_mode = str(image.tile[0].args) if image.tile else ""
        deep_colours = image.mode in ("RGB", "RGBA", "LA") and (";16" in raw_mode or max(bits) > 8)
        check_size(path, image.size, len(image.getbands()) * (2 if deep_colours else _BYTES.get(image.mode, 1)))
        if kind == "PNG":
            # Palettes and masks may pack up to eight pixels into a byte.
            pixel_bits = 8 * len(image.getbands()) if image.mode in ("L", "LA", "RGB", "RGBA") else 1
            pixel_bytes = math.prod(image.size) * (16 if ";16" in raw_mode else pixel_bits) // 8
            check_held(path.stat().st_size, pixel_bytes, MAX_DEFLATE_RATIO)
            check_png(path, pixel_bytes)
        elif kind == "JPEG":
            check_held(path.stat().st_size, math.prod(image.size), MAX_JPEG_PIXELS_PER_BYTE)
        else:
            lengths = np.atleast_1d(tags.get(_TIFF_STRIP_BYTES) or tags.get(_TIFF_TILE_BYTES) or 0)
            check_held(path.stat().st_size, float(lengths.sum()) if lengths.min() > 0 else math.inf)
            if tags.get(_TIFF_COMPRESSION) == _UNCOMPRESSED:
                check_held(int(lengths.sum()), math.prod(image.size) * sum(bits) / 8)
            check_tiff(path, tags)
        if deep_colours:
            return _sixteen_bit_colours(path, kind, raw_mode)
        grey = image if image.mode in ("L", "I", "F") or image.mode.startswith("I;16") else image.convert("L")
        pixels = np.asarray(grey)
        # Pillow inverts white-is-zero TIFF images of 8 bits, but hands over those of 16 bits as they are stored.
        if image.mode.startswith("I;16") and tags.get(_TIFF_PHOTOMETRIC) == 0:
            pixels = np.iinfo(pixels.dtype).max - pixels
        return pixels


def _sixteen_bit_colours(path: Path, kind: str, raw_mode: str) -> NDArray[np.generic]:
    """Luminance (rows, columns) by ITK, as Pillow drops the low byte of 16-bit colours."""
    if raw_mode.startswith("LA"):  # ITK does not read it
        raise InputError(f"{path}: expected grey or colour, got 16-bit grey with transparency; export it without")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(f"{kind}ImageIO")
    colours = reader.Execute()
    return luminance(sitk.GetArrayViewFromImage(colours))
