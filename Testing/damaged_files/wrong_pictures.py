"""PNG, JPEG and TIFF files whose headers state what cannot be."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np

from Testing.damaged_files.damage import Damage
from Testing.damaged_files.good_pictures import (
    PNG_FORMATS,
    PNG_SIGNATURE,
    TIFF_FORMATS,
    good_picture,
    jpeg_size_at,
    png_chunk,
    png_header,
    tiff_entry_at,
    tiff_next_directory_at,
    tiff_with,
)

_END = png_chunk(b"IEND", b"")
# Length of the signature with a whole IHDR, and where IDAT begins.
_IDAT_AT = 33


def _png_with_header(*header: int) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        return PNG_SIGNATURE + png_header(*header) + good_picture(name, rng)[_IDAT_AT:]

    return make


def _png_without_data(rng: np.random.Generator, name: str) -> bytes:
    return good_picture(name, rng)[:_IDAT_AT] + _END


def _png_half_the_rows(rng: np.random.Generator, name: str) -> bytes:
    content = good_picture(name, rng)
    data = zlib.decompress(content[_IDAT_AT + 8 : -16])
    return content[:_IDAT_AT] + png_chunk(b"IDAT", zlib.compress(data[: len(data) // 2])) + _END


def _png_endless_chunk(rng: np.random.Generator, name: str) -> bytes:
    content = good_picture(name, rng)
    return content[:_IDAT_AT] + struct.pack(">I", 0x7FFFFFFF) + content[_IDAT_AT + 4 :]


def _jpeg_of_size(height: int, width: int) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        content = good_picture(name, rng)
        at = jpeg_size_at(content)
        return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]

    return make


def _jpeg_without(marker: bytes) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        content = good_picture(name, rng)
        at = content.index(marker)
        return content[:at] + content[at + 2 + struct.unpack_from(">H", content, at + 2)[0] :]

    return make


def _jpeg_of_nine_channels(rng: np.random.Generator, name: str) -> bytes:
    content = good_picture(name, rng)
    at = jpeg_size_at(content) + 4
    return content[:at] + b"\x09" + content[at + 1 :]


def _tiff_entry(tag: int, value: int, count: int = 1) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        return tiff_with(good_picture(name, rng), tag, value, count)

    return make


def _tiff_size(width: int, height: int) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        return tiff_with(tiff_with(good_picture(name, rng), 256, width), 257, height)

    return make


def _tiff_directory_at(offset: int) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        content = good_picture(name, rng)
        return content[:4] + struct.pack("<I", offset) + content[8:]

    return make


def _tiff_circle(rng: np.random.Generator, name: str) -> bytes:
    """The directory that follows the first one is the first one."""
    content = good_picture(name, rng)
    at = tiff_next_directory_at(content)
    return content[:at] + content[4:8] + content[at + 4 :]


def _tiff_many_entries(rng: np.random.Generator, name: str) -> bytes:
    content = good_picture(name, rng)
    at = struct.unpack_from("<I", content, 4)[0]
    return content[:at] + b"\xff\xff" + content[at + 2 :]


def _tiff_without_strips(rng: np.random.Generator, name: str) -> bytes:
    content = good_picture(name, rng)
    at = tiff_entry_at(content, 273)
    return content[:at] + struct.pack("<H", 65000) + content[at + 2 :]


# libtiff works out lengths of strips that are missing or absurd.
_REPAIRED = (279,)
_TIFF_ENTRIES: tuple[tuple[str, int, int, int], ...] = (
    ("a width of 0", 256, 0, 1),
    ("a height of 0", 257, 0, 1),
    ("77 bits a sample", 258, 77, 1),
    ("0 bits a sample", 258, 0, 1),
    ("compression 9999", 259, 9999, 1),
    ("JPEG compression for what is not", 259, 7, 1),
    ("photometric interpretation 77", 262, 77, 1),
    ("strips beyond the end", 273, 0x7FFFFFF0, 1),
    ("2 147 483 648 strips", 273, 8, 0x80000000),
    ("200 samples a pixel", 277, 200, 1),
    ("strips of 0 bytes", 279, 0, 1),
    ("2 147 483 648 strip lengths", 279, 8, 0x80000000),
    ("sample format 9", 339, 9, 1),
)

WRONG_PICTURES = (
    Damage("wrong tag", "3 bits a sample", PNG_FORMATS, _png_with_header(64, 64, 3)),
    Damage("wrong tag", "colour type 5", PNG_FORMATS, _png_with_header(64, 64, 8, 5)),
    Damage("wrong tag", "compression method 9", PNG_FORMATS, _png_with_header(64, 64, 8, 0, 9)),
    Damage("wrong tag", "filter method 9", PNG_FORMATS, _png_with_header(64, 64, 8, 0, 0, 9)),
    Damage("wrong tag", "interlace method 9", PNG_FORMATS, _png_with_header(64, 64, 8, 0, 0, 0, 9)),
    Damage("wrong tag", "a palette's colours without a palette", PNG_FORMATS, _png_with_header(48, 48, 8, 3)),
    Damage("wrong tag", "a width of 0", PNG_FORMATS[:1], _png_with_header(0, 64)),
    Damage("structure", "no IDAT", PNG_FORMATS, _png_without_data),
    Damage("structure", "half the rows", PNG_FORMATS, _png_half_the_rows),
    Damage("structure", "a chunk of 2 GiB", PNG_FORMATS, _png_endless_chunk),
    Damage("absurd size", "2 147 483 648 pixels wide", PNG_FORMATS, _png_with_header(1 << 31, 1 << 31)),
    Damage("absurd size", "60 000 x 60 000", PNG_FORMATS, _png_with_header(60_000, 60_000)),
    Damage("absurd size", "10 000 x 10 000 that are not there", PNG_FORMATS, _png_with_header(10_000, 10_000)),
    Damage("wrong tag", "a height of 0", ("JPEG",), _jpeg_of_size(0, 64)),
    Damage("wrong tag", "nine channels", ("JPEG",), _jpeg_of_nine_channels),
    Damage("structure", "no quantisation table", ("JPEG",), _jpeg_without(b"\xff\xdb")),
    Damage("structure", "no start of frame", ("JPEG",), _jpeg_without(b"\xff\xc0")),
    Damage("structure", "no start of scan", ("JPEG",), _jpeg_without(b"\xff\xda")),
    Damage("absurd size", "65 500 x 65 500", ("JPEG",), _jpeg_of_size(65_500, 65_500)),
    Damage("absurd size", "65 535 x 65 535", ("JPEG",), _jpeg_of_size(65_535, 65_535)),
    Damage("absurd size", "10 000 x 10 000 that are not there", ("JPEG",), _jpeg_of_size(10_000, 10_000)),
    *(
        Damage("wrong tag", what, TIFF_FORMATS[i % 2 :: 2], _tiff_entry(tag, value, count), tag not in _REPAIRED)
        for i, (what, tag, value, count) in enumerate(_TIFF_ENTRIES)
    ),
    Damage("structure", "a directory beyond the end", TIFF_FORMATS, _tiff_directory_at(0x7FFFFFFF)),
    Damage("structure", "a directory in the signature", TIFF_FORMATS, _tiff_directory_at(0)),
    # The one image is whole; a reader need not ask for the next.
    Damage("structure", "a circle of directories", TIFF_FORMATS[:1], _tiff_circle, must_fail=False),
    # What follows the real entries makes no sense as entries.
    Damage("structure", "65 535 entries", TIFF_FORMATS[:3], _tiff_many_entries, must_fail=False),
    Damage("structure", "no strips", TIFF_FORMATS, _tiff_without_strips),
    Damage("absurd size", "60 000 x 60 000", TIFF_FORMATS, _tiff_size(60_000, 60_000)),
    Damage("absurd size", "2 147 483 647 x 2 147 483 647", TIFF_FORMATS, _tiff_size(2**31 - 1, 2**31 - 1)),
    Damage("absurd size", "10 000 x 10 000 that are not there", TIFF_FORMATS, _tiff_size(10_000, 10_000)),
)
