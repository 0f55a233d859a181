"""Whether a JPEG holds all its pixels; libjpeg fills with grey what is missing where the data end in good order.

A marker stands behind the entropy-coded data of each scan (ITU-T T.81, B.1.1.5). What is put before it is read by
nobody, unless the data have run out by then: so the pixels must stay the same with noise in these places.
"""

from __future__ import annotations

import io
import random
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Not the escaped 0xFF of the data (00), not a fill byte (FF), not a restart within a scan (D0 to D7).
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_END, _START_OF_SCAN = 0xD9, 0xDA
# Arithmetic coding may leave out zeros at the end, so that there is no telling (ITU-T T.81, D.1.8).
_ARITHMETIC = (0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)


def check_jpeg(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Refuse (``EOFError``) a JPEG without data for some of its ``pixels`` (rows, columns), the grey that Pillow reads."""
    from PIL import Image

    content = path.read_bytes()
    parts, at = [], 0
    for end, restart in _ends_of_scans(content):
        parts += [content[at:end], _noise(restart)]
        at = end
    with Image.open(io.BytesIO(b"".join([*parts, content[at:]])), formats=["JPEG"]) as image:
        if not np.array_equal(np.asarray(image.convert("L")), pixels):
            raise EOFError("the data end before the pixels do")


def _ends_of_scans(content: bytes) -> Iterator[tuple[int, int]]:
    """Where the data of each scan end, and the number of the restart that would follow."""
    at, marker = 2, 0
    while (found := _MARKER.search(content, at)) and marker not in _ARITHMETIC:
        if marker == _START_OF_SCAN:
            yield found.start(), len(_RESTART.findall(content, at, found.start())) % 8
        marker = found[1][0]
        if marker == _END:
            return
        at = found.end() + struct.unpack_from(">H", content, found.end())[0]


def _noise(restart: int) -> bytes:
    """Bytes for a scan that is not over, and for every restart that it may wait for."""
    generator = random.Random(0)
    pieces = [bytes(generator.choices(range(255), k=64)) for _ in range(9)]
    return b"".join([pieces[0], *(bytes((0xFF, 0xD0 + (restart + i) % 8)) + pieces[i + 1] for i in range(8))])
