"""Inflating no more than an image needs, and down to the check sum, which most readers never reach."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

_PACKED, _UNPACKED = 1 << 16, 1 << 20
# Writers may pad; what goes on for longer than this is no image any more.
_PADDING = 1 << 20


def inflated(file: BinaryIO, needed: int, most: int | None = None) -> Iterator[bytes]:
    """Pieces of the zlib or gzip members that hold the next ``needed`` bytes, to the end of the last one.

    The pieces may be longer than ``needed``, though not than ``most`` (a mebibyte more where it is ``None``). Raises
    ``EOFError`` where there is less or more, and ``zlib.error`` for wrong data and wrong check sums.
    """
    left = (needed + _PADDING if most is None else most) + 1
    member = zlib.decompressobj(zlib.MAX_WBITS | 32)
    packed = b""
    while not member.eof or needed > 0:
        if member.eof:  # gzip files may have several members
            packed = member.unused_data
            member = zlib.decompressobj(zlib.MAX_WBITS | 32)
        packed = packed or file.read(_PACKED)
        if not packed:
            raise EOFError(f"{needed} bytes or a check sum are missing")
        piece = member.decompress(packed, min(_UNPACKED, left))
        packed = member.unconsumed_tail
        needed -= len(piece)
        left -= len(piece)
        if left <= 0:
            raise EOFError("the data go on behind the pixels")
        yield piece
