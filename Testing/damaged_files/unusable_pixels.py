"""Whole files whose pixels are no picture: constant, no numbers, or complex."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from Testing.damaged_files.damage import Damage
from Testing.damaged_files.good_dicom import dicom_bytes, good_dataset
from Testing.damaged_files.good_pictures import png_bytes
from Testing.damaged_files.good_volumes import gzipped, nifti_header, nrrd_header, volume_of
from Testing.damaged_files.smooth_pixels import smooth_pixels

_REAL = ("TIFF 16", "NIfTI", "NIfTI gz", "NRRD", "NRRD gzip", "MetaImage", "MetaImage zlib")


def _encoded(name: str, pixels: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    if name.startswith("PNG"):
        return png_bytes(pixels)
    if name in ("JPEG", "TIFF 16"):
        Image.fromarray(pixels).save(stream, name.split()[0])
        return stream.getvalue()
    return volume_of(name, pixels)


def _constant(rng: np.random.Generator, name: str) -> bytes:
    grey = int(rng.integers(256))
    if name.startswith("DICOM"):
        dataset = good_dataset(name, rng)
        dataset.PixelData = bytes([grey]) * len(dataset.PixelData)
        return dicom_bytes(dataset)
    kind = np.uint8 if name in ("JPEG", "PNG 8") else np.uint16
    return _encoded(name, np.full((64, 80), grey, kind))


def _all(value: float) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        return _encoded(name, np.full((64, 80), value, np.float32))

    return make


def _one(value: float) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        pixels = smooth_pixels(rng).astype(np.float32)
        pixels[tuple(rng.integers(0, 48, 2))] = value
        return _encoded(name, pixels)

    return make


def _complex(rng: np.random.Generator, name: str) -> bytes:
    pixels = smooth_pixels(rng).astype(np.complex64) * np.complex64(1 + 0.5j)
    rows, columns = pixels.shape
    if name.startswith("NRRD"):
        raw = pixels.tobytes()
        sizes = {
            "dimension": "3",
            "sizes": f"2 {columns} {rows}",
            "kinds": "complex domain domain",
            "spacings": "nan 1 1",
        }
        return nrrd_header(name, (columns, rows), "f4", **sizes) + (gzipped(raw) if name == "NRRD gzip" else raw)
    content = nifti_header((columns, rows), "c8") + pixels.tobytes()
    return gzipped(content) if name == "NIfTI gz" else content


UNUSABLE_PIXELS = (
    Damage("unusable pixels", "constant", ("DICOM explicit", "DICOM deflated", "PNG 8", "JPEG", *_REAL), _constant),
    Damage("unusable pixels", "all NaN", _REAL, _all(float("nan"))),
    Damage("unusable pixels", "one NaN", _REAL, _one(float("nan"))),
    Damage("unusable pixels", "one infinity", _REAL, _one(float("-inf"))),
    Damage("unusable pixels", "complex", ("NIfTI", "NIfTI gz", "NRRD", "NRRD gzip"), _complex),
)
