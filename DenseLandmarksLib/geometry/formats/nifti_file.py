"""Whether a NIfTI file is whole, before ITK opens its pixels: it would fill a truncated one with zeros."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.image_limits import MAX_DEFLATE_RATIO, check_held
from DenseLandmarksLib.geometry.formats.inflating import inflated

_HEADER_BYTES = 352
_LONGEST_HEADER = 1 << 20
_CHUNK = 1 << 20


def check_nifti_name(path: Path) -> None:
    """Refuse (:class:`InputError`) a name that ITK does not take for a NIfTI file's, whatever is in it."""
    with path.open("rb") as file:
        suffixes = (".nii.gz",) if _is_compressed(file) else (".nii", ".nii.gz")
    if not path.name.lower().endswith(suffixes):
        raise InputError(
            f"{path}: expected a name that ends in {' or '.join(suffixes)}, as this is a NIfTI file, got another; "
            "rename it"
        )


def check_nifti(path: Path, pixel_bytes: int, float_bytes: int = 0) -> NDArray[np.bool_] | None:
    """Refuse a NIfTI file that ends before its pixels or their check sum do; inflates little more than that.

    ``float_bytes`` is the length of a floating-point value, 0 of others: nifti_clib puts 0 for NaN and infinity, so they
    are looked for here. Returns which values (n,), in the file's order, are NaN, ``None`` for none; infinite ones are
    refused, and pixels that are all zero as well (:class:`InputError`).
    """
    with path.open("rb") as file:
        compressed = _is_compressed(file)
        order, pixels_at = _layout(_head(file, compressed))
        end = pixels_at + pixel_bytes
        check_held(path.stat().st_size, end, MAX_DEFLATE_RATIO if compressed else 1)
        if not (compressed or float_bytes):
            return None
        file.seek(0)
        pieces = inflated(file, end) if compressed else iter(lambda: file.read(_CHUNK), b"")
        shows_something = False
        undefined: list[NDArray[np.bool_]] = []
        for values in _between(pieces, pixels_at, end, float_bytes or 1):
            if float_bytes:
                numbers = np.frombuffer(values, f"{order}f{float_bytes}")
                undefined.append(np.isnan(numbers))
                if np.isinf(numbers).any():
                    raise InputError(
                        f"{path}: expected finite grey values, got infinite pixels; export the image again"
                    )
            shows_something = shows_something or bool(values.strip(b"\0"))
        if not shows_something:  # ITK would hold a gigabyte of zeros twice
            raise InputError(f"{path}: expected a radiograph, got a constant image (all pixels 0); check the export")
    return np.concatenate(undefined) if any(part.any() for part in undefined) else None


def _is_compressed(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(2) == b"\x1f\x8b"


def _head(file: BinaryIO, compressed: bool) -> bytes:
    file.seek(0)
    if not compressed:
        return file.read(_HEADER_BYTES)
    return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(file.read(_CHUNK), _HEADER_BYTES)


def _layout(head: bytes) -> tuple[str, int]:
    """Byte order of a header, and where its pixels begin."""
    order = next((order for order in "<>" if head[:4] in (struct.pack(f"{order}I", n) for n in (348, 540))), "")
    if head[344:348] == b"n+1\0" and order:
        (pixels_at,) = struct.unpack(f"{order}f", head[108:112])
    elif head[4:8] == b"n+2\0" and order:
        (pixels_at,) = struct.unpack(f"{order}q", head[168:176])
    else:  # a pair of files
        raise ValueError("not a NIfTI file with its pixels inside")
    if not len(head) <= pixels_at <= _LONGEST_HEADER:
        raise ValueError("the pixels begin nowhere")
    return order, int(pixels_at)


def _between(pieces: Iterable[bytes], start: int, end: int, multiple: int) -> Iterator[bytes]:
    """The bytes ``start`` to ``end`` in pieces of whole values; what is behind them is gone through as well."""
    at, rest = 0, b""
    for piece in pieces:
        held = rest + piece[max(0, start - at) : max(0, end - at)]
        whole = len(held) - len(held) % multiple
        yield held[:whole]
        at, rest = at + len(piece), held[whole:]
