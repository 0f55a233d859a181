"""Whether a NIfTI, NRRD or MetaImage file is whole and stays in its folder, before ITK opens its pixels.

ITK fills a truncated NIfTI file with zeros, MetaIO prints to the terminal, and both text formats may name any file.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.image_limits import MAX_DEFLATE_RATIO, check_held

_LONGEST_HEADER = 1 << 20
_CHUNK = 1 << 20


def check_nifti(path: Path, pixel_bytes: int, float_bytes: int = 0) -> None:
    """Refuse a NIfTI file that ends before its pixels or their check sum do; inflates no further than that.

    ``float_bytes`` is the length of a floating-point value, 0 of others: nifti_clib puts 0 for NaN and infinity, so they
    are looked for here (:class:`InputError`).
    """
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        head = next(inflated(file, _LONGEST_HEADER, 2 * _LONGEST_HEADER))[:352] if compressed else file.read(352)
        order = next((order for order in "<>" if head[:4] in (struct.pack(f"{order}I", n) for n in (348, 540))), "")
        if head[344:348] == b"n+1\0" and order:
            (pixels_at,) = struct.unpack(f"{order}f", head[108:112])
        elif head[4:8] == b"n+2\0" and order:
            (pixels_at,) = struct.unpack(f"{order}q", head[168:176])
        else:  # a pair of files, or what ITK takes for Analyze 7.5
            raise ValueError("not a NIfTI file with its pixels inside")
        if not len(head) <= pixels_at <= _LONGEST_HEADER:
            raise ValueError("the pixels begin nowhere")
        needed = int(pixels_at) + pixel_bytes
        check_held(path.stat().st_size, needed, MAX_DEFLATE_RATIO if compressed else 1)
        file.seek(0)
        skipped = int(pixels_at)
        for piece in inflated(file, needed) if compressed else _pieces(file) if float_bytes else ():
@dataclass(frozen=True)
class TextHeader:
    """Fields by name in lower case of a NRRD or MetaImage header, and where the pixels lie."""

    fields: dict[str, str]
    data_path: Path
    data_at: int


def read_text_header(path: Path, kind: str) -> TextHeader:
    """Read the header of a ``"NRRD"`` or ``"MetaImage"``; ITK is not safe from all that may be in one.

    Raises :class:`InputError` where the pixels lie outside the folder, ``ValueError`` where there are no axes.
    """
    with path.open("rb") as file:
        if kind == "NRRD":
            fields = _fields(file, ":", lambda line: not line.strip())
            axes, data_file = fields["dimension"], fields.get("data file", fields.get("datafile", ""))
        else:
            fields = _fields(file, "=", lambda line: line.lower().startswith(b"elementdatafile"))
            axes, data_file = fields["ndims"], fields["elementdatafile"]
        data_at = file.tell()
    if not 2 <= int(axes) <= 5 or int(fields.get("elementnumberofchannels", 1)) < 1:
        raise ValueError("no image has so many axes or channels")
    beside = bool(data_file) and data_file.lower() != "local"
    if skipped := int(fields.get("headersize", 0)):  # -1: the pixels are the end of the file
        data_at = max(0, skipped)
    elif beside:
        data_at = 0
    return TextHeader(fields, _beside(path, data_file) if beside else path, data_at)


def check_text_volume(header: TextHeader, kind: str, pixel_bytes: int) -> None:
    """Refuse (``EOFError``) pixels that are truncated, as far as this is seen without decoding text or bzip2."""
    held = header.data_path.stat().st_size - header.data_at
    if kind == "NRRD":
        encoding = header.fields.get("encoding", "raw").lower()
        if encoding in ("raw", "gzip", "gz"):
            check_held(held, pixel_bytes, 1 if encoding == "raw" else MAX_DEFLATE_RATIO)
        if encoding in ("gzip", "gz"):
            with header.data_path.open("rb") as file:
                file.seek(header.data_at)
                with gzip.GzipFile(fileobj=file) as unpacked:
                    for _ in _chunks(unpacked.read, pixel_bytes):
                        pass
                    unpacked.read(1)  # compares the check sum, which NRRD's own reader does not
        return
    if header.fields.get("compresseddata", "").lower() not in ("true", "1"):
        if header.fields.get("binarydata", "true").lower() in ("true", "1"):
            check_held(held, pixel_bytes)
        return
    check_held(held, pixel_bytes, MAX_DEFLATE_RATIO)
    with header.data_path.open("rb") as file:
        file.seek(header.data_at)
        inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)  # with the header of zlib or of gzip

        def read(size: int) -> bytes:
            while not inflate.eof:
                packed = inflate.unconsumed_tail or file.read(_CHUNK)
                if unpacked := inflate.decompress(packed, size):
                    return unpacked
                if not packed:
                    break
            return b""

        for _ in _chunks(read, pixel_bytes):
            pass


def _fields(file: BinaryIO, separator: str, is_last: Callable[[bytes], bool]) -> dict[str, str]:
    """Values by name in lower case of a text header, up to and with its last line."""
    fields = {}
    while (line := file.readline(_LONGEST_HEADER)) and file.tell() < _LONGEST_HEADER:
        name, _, value = line.decode("latin-1").partition(separator)
        fields[name.strip().lower()] = value.lstrip("=").strip()
        if is_last(line):
            break
    return fields


def _beside(path: Path, name: str) -> Path:
    """The data file of a header, which must be one file in the same folder."""
    beside = path.parent / name
    if Path(name).name != name or "\\" in name or not beside.is_file() or beside.is_symlink():
        raise InputError(
            f"{path}: expected its pixels in one file beside it, got another place or none; "
            "put both into one folder, or save the image as one file"
        )
    return beside


def _chunks(read: Callable[[int], bytes], needed: int) -> Iterator[bytes]:
    """The next ``needed`` bytes in pieces; ``EOFError`` where there are fewer."""
    while needed > 0:
        chunk = read(min(needed, _CHUNK))
        if not chunk:
            raise EOFError(f"{needed} bytes are missing")
        needed -= len(chunk)
        yield chunk
