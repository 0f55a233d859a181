"""One flipped bit, where a file says what it is or where a check sum covers it; raw pixels cannot notice theirs."""

from __future__ import annotations

import struct

import numpy as np

from Testing.damaged_files.damage import Damage
from Testing.damaged_files.good_dicom import dicom_bytes, good_dataset, join_dicom, split_dicom
from Testing.damaged_files.good_file import DICOM_FORMATS, VOLUME_FORMATS, good_file
from Testing.damaged_files.good_pictures import (
    PNG_FORMATS,
    PNG_SIGNATURE,
    TIFF_FORMATS,
    jpeg_data_at,
    jpeg_size_at,
    tiff_entry_at,
    tiff_values,
)
from Testing.damaged_files.good_volumes import META_FORMATS, NRRD_FORMATS

_CHECKED = ("NIfTI gz", "NRRD gzip", "MetaImage zlib")
_UNCHECKED = ("DICOM deflated", "DICOM RLE", "DICOM JPEG", "DICOM JPEG lossless", "DICOM JPEG-LS", "DICOM JPEG 2000")


def _flipped(content: bytes, rng: np.random.Generator, start: int, end: int) -> bytes:
    """``content`` with one bit of the bytes ``start`` to ``end`` (not included) turned over."""
    at = int(rng.integers(start, end))
    return content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :]


def _grown(content: bytes, rng: np.random.Generator, at: int, layout: str, lowest: int = 0) -> bytes:
    """``content`` with one 0 of the number at ``at`` made 1: pixels that do not exist, never fewer than there are."""
    number = struct.unpack_from(layout, content, at)[0]
    bits = [bit for bit in range(lowest, struct.calcsize(layout) * 8) if not number >> bit & 1]
    if layout in ("<h", "<i"):
        bits.pop()  # the sign
    new = struct.pack(layout, number | 1 << int(rng.choice(bits)))
    return content[:at] + new + content[at + len(new) :]


# ---- signatures -----------------------------------------------------------------------------------------------------


def _picture_signature(rng: np.random.Generator, name: str) -> bytes:
    end = {"PNG": 8, "JPEG": 3, "TIFF": 4}[name.split()[0]]
    return _flipped(good_file(name, rng), rng, 0, end)


def _volume_signature(rng: np.random.Generator, name: str) -> bytes:
    content = good_file(name, rng)
    if name == "NIfTI gz":
        return _flipped(content, rng, 0, 2)
    # "NRRD0005" would be a signature too, so that its digits are left alone.
    start = {"NIfTI": 344, "NRRD": 0, "NRRD gzip": 0}.get(name, content.find(b"NDims"))
    # Text readers take a capital letter for a small one, and "n+1" has neighbours such as "n+3".
    at = int(rng.integers(start, start + (2 if name == "NIfTI" else 4)))
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def _dicom_signature(rng: np.random.Generator, name: str) -> bytes:
    return _flipped(good_file(name, rng), rng, 128, 132)


# ---- sizes ----------------------------------------------------------------------------------------------------------


def _png_header(rng: np.random.Generator, name: str) -> bytes:
    return _flipped(good_file(name, rng), rng, 16, 33)  # width to check sum of IHDR


def _jpeg_size(rng: np.random.Generator, name: str) -> bytes:
    content = good_file(name, rng)
    # Blocks have 8 x 8 pixels: a few more in the last one are there (ITU-T T.81, A.2.4).
    return _grown(content, rng, jpeg_size_at(content) + 2 * int(rng.integers(2)), ">H", lowest=3)


def _tiff_size(rng: np.random.Generator, name: str) -> bytes:
    content = good_file(name, rng)
    at = tiff_entry_at(content, int(rng.choice([256, 257])))
    return _grown(content, rng, at + 8, "<H" if content[at + 2] == 3 else "<I")


def _dicom_size(rng: np.random.Generator, name: str) -> bytes:
    dataset = good_dataset(name, rng)
    keyword = "Rows" if rng.integers(2) else "Columns"
    grown = _grown(struct.pack("<H", dataset[keyword].value), rng, 0, "<H")
    dataset[keyword].value = struct.unpack("<H", grown)[0]
    return dicom_bytes(dataset)


def _nifti_size(rng: np.random.Generator, name: str) -> bytes:
    return _grown(good_file(name, rng), rng, 42 + 2 * int(rng.integers(2)), "<h")


def _text_size(rng: np.random.Generator, name: str) -> bytes:
    content = good_file(name, rng)
    start = content.index(b"sizes: " if name in NRRD_FORMATS else b"DimSize = ") + (7 if name in NRRD_FORMATS else 10)
    end = content.index(b"\n", start)
    numbers = [int(number) for number in content[start:end].split()]
    numbers[int(rng.integers(2))] |= 1 << int(rng.integers(8, 31))
    return content[:start] + " ".join(map(str, numbers)).encode() + content[end:]


# ---- compressed data ------------------------------------------------------------------------------------------------


def _png_data(rng: np.random.Generator, name: str) -> bytes:
    content = good_file(name, rng)
    start = content.index(b"IDAT", len(PNG_SIGNATURE))
    return _flipped(content, rng, start + 4, len(content) - 12)


def _checked_data(rng: np.random.Generator, name: str) -> bytes:
    """Beyond the ten bytes of a gzip header, whose time and system nobody checks."""
    content = good_file(name, rng)
    start = {"NIfTI gz": 10, "NRRD gzip": content.find(b"\n\n") + 12}.get(name, content.find(b"LOCAL\n") + 8)
    return _flipped(content, rng, start, len(content))


def _tiff_data(rng: np.random.Generator, name: str) -> bytes:
    content = good_file(name, rng)
    i = int(rng.integers(len(tiff_values(content, 273))))
    start, length = tiff_values(content, 273)[i], tiff_values(content, 279)[i]
    return _flipped(content, rng, start + 2, start + length)


def _unchecked_data(rng: np.random.Generator, name: str) -> bytes:
    head, body = split_dicom(good_file(name, rng))
    if name == "DICOM deflated":
        whole = join_dicom(head, body)
        return _flipped(whole, rng, len(head), len(whole))
    return head + _flipped(body, rng, len(body) - 500, len(body) - 8)


def _jpeg_data(rng: np.random.Generator, name: str) -> bytes:
    content = good_file(name, rng)
    return _flipped(content, rng, jpeg_data_at(content), len(content) - 2)


BIT_FLIPS = (
    Damage("bit flip", "in the signature", (*PNG_FORMATS, "JPEG", *TIFF_FORMATS), _picture_signature),
    Damage("bit flip", "in the signature", VOLUME_FORMATS, _volume_signature),
    # A file without DICM may still be one, of before 1996.
    Damage("bit flip", "in the signature", DICOM_FORMATS[:4], _dicom_signature, must_fail=False),
    Damage("bit flip", "in the header under a check sum", PNG_FORMATS, _png_header),
    Damage("bit flip", "in the size", ("JPEG",), _jpeg_size),
    Damage("bit flip", "in the size", TIFF_FORMATS, _tiff_size),
    Damage("bit flip", "in the size", DICOM_FORMATS, _dicom_size),
    Damage("bit flip", "in the size", ("NIfTI",), _nifti_size),
    Damage("bit flip", "in the size", (*NRRD_FORMATS, *META_FORMATS), _text_size),
    Damage("bit flip", "in data under a check sum", PNG_FORMATS, _png_data),
    Damage("bit flip", "in data under a check sum", _CHECKED, _checked_data),
    Damage("bit flip", "in data under a check sum", ("TIFF deflate",), _tiff_data),
    Damage("bit flip", "in compressed data", _UNCHECKED, _unchecked_data, must_fail=False),
    Damage("bit flip", "in compressed data", ("JPEG",), _jpeg_data, must_fail=False),
    Damage("bit flip", "in compressed data", ("TIFF LZW",), _tiff_data, must_fail=False),
)
