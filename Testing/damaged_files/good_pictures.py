"""Good PNG, JPEG and TIFF files, and the places in them where they say what they are."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from Testing.damaged_files.smooth_pixels import smooth_pixels

PNG_FORMATS = ("PNG 8", "PNG 16", "PNG RGB")
TIFF_FORMATS = ("TIFF 8", "TIFF 16", "TIFF deflate", "TIFF LZW", "TIFF strips")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TIFF_FIELDS = {1: "B", 3: "H", 4: "I"}


def good_picture(name: str, rng: np.random.Generator) -> bytes:
    """A file of a format of ``PNG_FORMATS``, ``TIFF_FORMATS``, or ``"JPEG"``."""
    stream = io.BytesIO()
    pixels: NDArray[np.generic] = smooth_pixels(rng, 12 if name in ("PNG 16", *TIFF_FORMATS[1:]) else 8)
    if name.startswith("PNG"):
        return png_bytes(np.stack([pixels, pixels // 2, pixels // 3], axis=2) if name == "PNG RGB" else pixels)
    if name == "JPEG":
        Image.fromarray(pixels).save(stream, "JPEG", quality=90)
        return stream.getvalue()
    compression = {"TIFF deflate": "tiff_adobe_deflate", "TIFF LZW": "tiff_lzw"}.get(name, "raw")
    # Pillow writes one strip unless libtiff does the writing; 16 rows a strip make several of them.
    rows = {278: 16} if name == "TIFF strips" else {}
    Image.fromarray(pixels).save(stream, "TIFF", compression=compression, tiffinfo=rows)
    return stream.getvalue()


# ---- PNG: a signature, then chunks of length, name, data and check sum (PNG specification, 5.3) ---------------------


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A whole chunk with its check sum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(
    width: int, height: int, depth: int = 8, colour: int = 0, compression: int = 0, filters: int = 0, interlace: int = 0
) -> bytes:
    """The chunk IHDR, right or wrong."""
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, compression, filters, interlace))


def png_data(pixels: NDArray[np.generic]) -> bytes:
    """The inflated content of IDAT: every row after its filter type 0."""
    big = pixels.astype(pixels.dtype.newbyteorder(">"))
    return b"".join(b"\0" + row.tobytes() for row in big)


def png_bytes(pixels: NDArray[np.generic]) -> bytes:
    """A PNG file of grey (rows, columns) or colour pixels (rows, columns, 3)."""
    rows, columns = pixels.shape[:2]
    header = png_header(columns, rows, pixels.itemsize * 8, 2 if pixels.ndim == 3 else 0)
    return PNG_SIGNATURE + header + png_chunk(b"IDAT", zlib.compress(png_data(pixels))) + png_chunk(b"IEND", b"")


# ---- JPEG: markers, of which the start of frame states the size (ITU-T T.81, B.2.2) ---------------------------------


def jpeg_size_at(content: bytes) -> int:
    """Offset of height and width (two bytes each) in a JPEG or JPEG-LS codestream."""
    at = 2
    while content[at + 1] not in (0xC0, 0xC1, 0xC2, 0xC3, 0xF7):
        at += 2 + struct.unpack_from(">H", content, at + 2)[0]
    return at + 5


def jpeg_data_at(content: bytes) -> int:
    """Offset of the first entropy-coded byte."""
    at = content.index(b"\xff\xda")
    return at + 2 + struct.unpack_from(">H", content, at + 2)[0]


# ---- TIFF: a directory of twelve-byte entries (TIFF 6.0, section 2) -------------------------------------------------


def tiff_entry_at(content: bytes, tag: int) -> int:
    """Offset of the directory entry of ``tag`` in a little-endian file."""
    directory = struct.unpack_from("<I", content, 4)[0]
    for i in range(struct.unpack_from("<H", content, directory)[0]):
        if struct.unpack_from("<H", content, directory + 2 + 12 * i)[0] == tag:
            return int(directory + 2 + 12 * i)
    raise KeyError(tag)


def tiff_values(content: bytes, tag: int) -> list[int]:
    """The numbers of an entry."""
    kind, count = struct.unpack_from("<HI", content, tiff_entry_at(content, tag) + 2)
    layout = f"<{count}{_TIFF_FIELDS[kind]}"
    at = tiff_entry_at(content, tag) + 8
    return list(struct.unpack_from(layout, content, at if struct.calcsize(layout) <= 4 else _pointer(content, at)))


def tiff_with(content: bytes, tag: int, value: int, count: int = 1) -> bytes:
    """The file with ``tag`` set to ``count`` numbers, ``value`` or at the offset ``value``; a new directory ends it."""
    directory = _pointer(content, 4)
    end = tiff_next_directory_at(content)
    entries = {content[at : at + 2]: content[at : at + 12] for at in range(directory + 2, end, 12)}
    entries[struct.pack("<H", tag)] = struct.pack("<HHII", tag, 4, count, value)
    ordered = sorted(entries.values(), key=lambda entry: struct.unpack_from("<H", entry)[0])
    content += b"\0" * (len(content) % 2)
    head = content[:4] + struct.pack("<I", len(content)) + content[8:]
    return head + struct.pack("<H", len(ordered)) + b"".join(ordered) + bytes(4)


def tiff_next_directory_at(content: bytes) -> int:
    """Offset of the pointer to the next directory."""
    directory = _pointer(content, 4)
    return int(directory + 2 + 12 * struct.unpack_from("<H", content, directory)[0])


def _pointer(content: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", content, at)[0])
