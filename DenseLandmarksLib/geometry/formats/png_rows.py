"""Whether a PNG holds all its rows; Pillow fills up what is missing when the rows end early but in good order."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

_CHUNK = 1 << 20


def check_png(path: Path, pixel_bytes: int) -> None:
    """Refuse (``EOFError``) a PNG whose image data inflate to less than ``pixel_bytes``, or that lost its end."""
    inflate = zlib.decompressobj()
    name = b""
    with path.open("rb") as file:
        file.seek(8)
        while name != b"IEND":
            head = file.read(8)
            if len(head) < 8:
                raise EOFError("no end")
            length, name = struct.unpack(">I4s", head)
            after = file.tell() + length + 4  # the check sum, which Pillow verifies
            packed = file.read(length) if name == b"IDAT" else b""
            while packed and pixel_bytes > 0 and not inflate.eof:
                pixel_bytes -= len(inflate.decompress(packed, _CHUNK))
                packed = inflate.unconsumed_tail
            file.seek(after)
    if pixel_bytes > 0:
        raise EOFError(f"{pixel_bytes} bytes are missing")
