"""The size that a compressed DICOM image states inside its codestream, which must be the one its tags state.

The decoder writes as many pixels as the codestream says into memory sized by the tags.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_JPEG, _JPEG_2000, _JP2 = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "
# Start of frame: 0xC0 to 0xCF but for tables and arithmetic conditioning (ITU-T T.81, table B.1); 0xF7 of JPEG-LS.
_START_OF_FRAME = ({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}) | {0xF7}
_ENOUGH = 1 << 16


class CodestreamSize(NamedTuple):
    """What the header of a JPEG, JPEG-LS or JPEG 2000 codestream states."""

    columns: int
    rows: int
    samples: int
    bits: int


def codestream_sizes(file: BinaryIO) -> Iterator[CodestreamSize]:
    """Sizes of the codestreams in encapsulated pixel data (DICOM PS3.5, A.4), ``file`` being at its element.

    Raises ``ValueError`` where a fragment has no header and ``EOFError`` where it ends behind the file.
    """
    file.seek(12, os.SEEK_CUR)  # tag, VR and undefined length of the pixel data
    first = True
    length_of_file = os.fstat(file.fileno()).st_size
    while (head := file.read(8)) and head[:4] != _END:
        if len(head) < 8 or head[:4] != _ITEM:
            raise ValueError("not an item of encapsulated pixel data")
        (length,) = struct.unpack("<I", head[4:])
        start = file.tell()
        if start + length > length_of_file:
            raise EOFError("a fragment ends behind the file")
        beginning = b"" if first else file.read(min(length, _ENOUGH))  # the first item is a table of offsets
        if beginning.startswith((_JPEG, _JPEG_2000, _JP2)):
            yield _size_of(beginning)
        first = False
        file.seek(start + length)


def _size_of(codestream: bytes) -> CodestreamSize:
    if not codestream.startswith(_JPEG):
        start = codestream.index(_JPEG_2000) + len(_JPEG_2000)
        # ITU-T T.800, A.5.1: Lsiz, Rsiz, Xsiz, Ysiz, XOsiz, YOsiz, four of tiles, Csiz, then Ssiz of each component.
        _, _, right, lower, left, upper, _, _, _, _, samples, bits = struct.unpack_from(">HH8IHB", codestream, start)
        return CodestreamSize(right - left, lower - upper, samples, (bits & 0x7F) + 1)
    at = 2
    while True:
        if codestream[at] != 0xFF:
            raise ValueError("no marker where a JPEG segment should begin")
        marker = codestream[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _START_OF_FRAME:
            bits, rows, columns, samples = struct.unpack_from(">BHHB", codestream, at + 4)
            return CodestreamSize(columns, rows, samples, bits)
        else:
            at += 2 + struct.unpack_from(">H", codestream, at + 2)[0]
