"""Files of a few megabytes that unpack to gigabytes, or to the largest image that is still allowed."""

from __future__ import annotations

import struct

import numpy as np
from pydicom.encaps import encapsulate

from Testing.damaged_files.damage import Damage
from Testing.damaged_files.good_dicom import dicom_bytes, good_dataset, split_dicom
from Testing.damaged_files.good_pictures import (
    PNG_FORMATS,
    PNG_SIGNATURE,
    good_picture,
    png_chunk,
    png_header,
)
from Testing.damaged_files.good_volumes import gzipped, meta_header, nifti_header, nrrd_header
from Testing.damaged_files.smooth_pixels import smooth_pixels
from Testing.damaged_files.wrong_dicom import element_head
from Testing.damaged_files.zeros import MIB, deflated_zeros, gzip_zeros, zlib_zeros

BOMB_MIB = 3072
# 120 megapixels, the most that the library reads.
_COLUMNS, _ROWS = 12_000, 10_000
_END = png_chunk(b"IEND", b"")


# The most of three times 16 bits, and of 32 bits; the most slices of 512 x 512 with 16 bits.
_COLOUR_SIDE, _FLOAT_SIDE, _SLICES = 8_000, 10_000, 1_950


def _mebibytes(bytes_per_pixel: int, pixels: int = _COLUMNS * _ROWS) -> int:
    return -(-pixels * bytes_per_pixel // MIB)


# ---- DICOM ----------------------------------------------------------------------------------------------------------


def _deflated(rng: np.random.Generator, name: str) -> bytes:
    """A data set that begins with an unknown element of 3 GiB, after which it ends."""
    head, _ = split_dicom(dicom_bytes(good_dataset(name, rng)))
    return head + deflated_zeros(BOMB_MIB, element_head(name, 8, 6, b"OB", BOMB_MIB * MIB))


def _deflated_pixels(rng: np.random.Generator, name: str) -> bytes:
    """A small image with 3 GiB of pixels."""
    head, body = split_dicom(dicom_bytes(good_dataset(name, rng)))
    at = body.index(b"\xe0\x7f\x10\x00OW")
    return head + deflated_zeros(BOMB_MIB, body[:at] + element_head(name, 0x7FE0, 0x0010, b"OW", BOMB_MIB * MIB))


def _deflated_allowed(rng: np.random.Generator, name: str) -> bytes:
    """120 megapixels of 16 bits, all zero."""
    dataset = good_dataset(name, rng)
    dataset.Rows, dataset.Columns = _ROWS, _COLUMNS
    head, body = split_dicom(dicom_bytes(dataset))
    at = body.index(b"\xe0\x7f\x10\x00OW")
    size = _mebibytes(2) * MIB
    return head + deflated_zeros(_mebibytes(2), body[:at] + element_head(name, 0x7FE0, 0x0010, b"OW", size))


def rle_frame(segments: list[bytes]) -> bytes:
    """A header of sixteen numbers, then the segments (DICOM PS3.5, annex G)."""
    offsets = [64 + sum(map(len, segments[:i])) for i in range(len(segments))]
    return struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments))) + b"".join(segments)


def _run_lengths(rng: np.random.Generator, name: str) -> bytes:
    """Runs of 128 zeros for two bytes: 1 MiB says 64 MiB, twice, for an image of some kilobytes."""
    dataset = good_dataset(name, rng)
    dataset.PixelData = encapsulate([rle_frame([b"\x81\0" * (MIB // 2)] * 2)])
    return dicom_bytes(dataset)


def _run_lengths_allowed(rng: np.random.Generator, name: str) -> bytes:
    """120 megapixels of 16 bits, all zero: every row as runs of 128 and one of 96."""
    dataset = good_dataset(name, rng)
    dataset.Rows, dataset.Columns = _ROWS, _COLUMNS
    row = b"\x81\0" * (_COLUMNS // 128) + bytes([257 - _COLUMNS % 128, 0])
    dataset.PixelData = encapsulate([rle_frame([row * _ROWS] * 2)])
    return dicom_bytes(dataset)


def _run_lengths_nowhere(rng: np.random.Generator, name: str) -> bytes:
    dataset = good_dataset(name, rng)
    dataset.PixelData = encapsulate(
        [struct.pack("<16I", int(rng.integers(16, 2**32)), *[0xFFFFFFF0] * 15) + bytes(200)]
    )
    return dicom_bytes(dataset)


# ---- PNG and TIFF ---------------------------------------------------------------------------------------------------


def _png_data(rng: np.random.Generator, name: str) -> bytes:
    header = png_header(96, 96, *{"PNG 8": (8, 0), "PNG 16": (16, 0), "PNG RGB": (8, 2)}[name])
    return PNG_SIGNATURE + header + png_chunk(b"IDAT", zlib_zeros(BOMB_MIB)) + _END


def _png_allowed(rng: np.random.Generator, name: str) -> bytes:
    columns, rows = (_COLOUR_SIDE, _COLOUR_SIDE) if name == "PNG RGB" else (_COLUMNS, _ROWS)
    depth, colour, width = {"PNG 8": (8, 0, 1), "PNG 16": (16, 0, 2), "PNG RGB": (16, 2, 6)}[name]
    header = png_header(columns, rows, depth, colour)
    return PNG_SIGNATURE + header + png_chunk(b"IDAT", zlib_zeros(_mebibytes(width, columns * rows) + 1)) + _END


def _png_text(rng: np.random.Generator, name: str) -> bytes:
    """Behind a text of 3 GiB the image is cut off, so that it is none even for who reads past the text."""
    content = good_picture(name, rng)
    return content[:33] + png_chunk(b"zTXt", b"bomb\0\0" + zlib_zeros(BOMB_MIB)) + content[33:-60]


def _png_profile(rng: np.random.Generator, name: str) -> bytes:
    content = good_picture(name, rng)
    return content[:33] + png_chunk(b"iCCP", b"bomb\0\0" + zlib_zeros(BOMB_MIB)) + content[33:-60]


def _tiff(width: int, height: int, samples: int, strip: bytes) -> bytes:
    """A little-endian TIFF of one deflated strip with 8 bits a sample; the directory lies behind it."""
    bits_at = 8
    entries = (
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, samples, 8 if samples == 1 else bits_at),
        (259, 3, 1, 8),
        (262, 3, 1, 2 if samples == 3 else 1),
        (273, 4, 1, 16),
        (277, 3, 1, samples),
        (278, 4, 1, height),
        (279, 4, 1, len(strip)),
    )
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = b"II*\0" + struct.pack("<I", 16 + len(strip)) + struct.pack("<4H", 8, 8, 8, 0)
    return head + strip + struct.pack("<H", len(entries)) + packed + bytes(4)


def _tiff_strip(rng: np.random.Generator, name: str) -> bytes:
    return _tiff(96, 96, 1, zlib_zeros(BOMB_MIB))


def _tiff_allowed(rng: np.random.Generator, name: str) -> bytes:
    return _tiff(_COLUMNS, _ROWS, 3, zlib_zeros(_mebibytes(3)))


# ---- volumes --------------------------------------------------------------------------------------------------------


def _small_volume(rng: np.random.Generator, name: str) -> bytes:
    """A whole small image with 3 GiB of zeros behind it, in the same stream; who stops in time may well use it."""
    pixels = smooth_pixels(rng)
    size, raw = pixels.shape[::-1], pixels.tobytes()
    if name == "NIfTI gz":
        return gzip_zeros(BOMB_MIB, nifti_header(size, "u2") + raw)
    if name == "NRRD gzip":
        return nrrd_header(name, size, "u2") + gzip_zeros(BOMB_MIB, raw)
    stored = zlib_zeros(BOMB_MIB, raw)[:-4] + bytes(4)
    return meta_header(name, size, "u2", len(stored)) + stored


def _zeros(name: str, size: tuple[int, ...], code: str, mebibytes: int, **fields: str | None) -> bytes:
    """A whole volume of a format of ``_PACKED``."""
    if name == "NIfTI gz":
        return gzip_zeros(mebibytes, nifti_header(size, code), right=True)
    if name == "NRRD gzip":
        return nrrd_header(name, size, code, **fields) + gzip_zeros(mebibytes, right=True)
    stored = zlib_zeros(mebibytes)
    return meta_header(name, size, code, len(stored), **fields) + stored


def _doubles(rng: np.random.Generator, name: str) -> bytes:
    return _zeros(name, (_COLUMNS, _ROWS), "f8", _mebibytes(8))


def _allowed_floats(rng: np.random.Generator, name: str) -> bytes:
    return _zeros(name, (_FLOAT_SIDE, _FLOAT_SIDE), "f4", _mebibytes(4, _FLOAT_SIDE**2))


def _allowed_colours(rng: np.random.Generator, name: str) -> bytes:
    fields: dict[str, str | None] = {"ElementNumberOfChannels": "3"}
    if name == "NRRD gzip":
        sizes = f"3 {_COLOUR_SIDE} {_COLOUR_SIDE}"
        fields = {"dimension": "3", "sizes": sizes, "kinds": "RGB-color domain domain", "spacings": None}
    return _zeros(name, (_COLOUR_SIDE, _COLOUR_SIDE), "u2", _mebibytes(6, _COLOUR_SIDE**2), **fields)


def _allowed_slices(rng: np.random.Generator, name: str) -> bytes:
    return _zeros(name, (512, 512, _SLICES), "u2", _mebibytes(2, 512 * 512 * _SLICES))


def _gzip_of_gzip(rng: np.random.Generator, name: str) -> bytes:
    """Three gigabytes in three kilobytes."""
    return gzipped(gzip_zeros(BOMB_MIB))


_PACKED = ("NIfTI gz", "NRRD gzip", "MetaImage zlib")

BOMBS = (
    Damage("zip bomb", "an element of 3 GiB", ("DICOM deflated",), _deflated, slow=True),
    Damage("zip bomb", "a small image with pixels of 3 GiB", ("DICOM deflated",), _deflated_pixels, slow=True),
    Damage("zip bomb", "120 megapixels of zeros", ("DICOM deflated",), _deflated_allowed, slow=True),
    Damage("zip bomb", "runs far beyond the image", ("DICOM RLE",), _run_lengths),
    Damage("zip bomb", "runs from nowhere", ("DICOM RLE",), _run_lengths_nowhere),
    Damage("zip bomb", "IDAT of 3 GiB", PNG_FORMATS, _png_data, slow=True),
    Damage("zip bomb", "as many zeros as are allowed", PNG_FORMATS, _png_allowed, slow=True),
    Damage("zip bomb", "a text of 3 GiB", PNG_FORMATS, _png_text),
    Damage("zip bomb", "a colour profile of 3 GiB", PNG_FORMATS, _png_profile),
    Damage("zip bomb", "a strip of 3 GiB", ("TIFF deflate",), _tiff_strip, slow=True),
    Damage("zip bomb", "120 megapixels of zeros in colour", ("TIFF deflate",), _tiff_allowed, slow=True),
    Damage("zip bomb", "a small image, then 3 GiB", _PACKED, _small_volume, must_fail=False, slow=True),
    Damage("zip bomb", "120 megapixels of zeros in 64 bits", _PACKED, _doubles, slow=True),
    Damage("zip bomb", "as many zeros in colour as are allowed", _PACKED[1:], _allowed_colours, slow=True),
    Damage("zip bomb", "gzip in gzip", ("NIfTI gz", "NRRD gzip"), _gzip_of_gzip),
    Damage("zip bomb", "as many zeros in 32 bits as are allowed", _PACKED, _allowed_floats, slow=True),
    Damage("zip bomb", "as many slices of zeros as are allowed", _PACKED, _allowed_slices, slow=True),
    Damage("zip bomb", "120 megapixels of zeros", ("DICOM RLE",), _run_lengths_allowed, slow=True),
)
