"""Whether the deflated strips or tiles of a TIFF are whole; libtiff stops before their check sums."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from DenseLandmarksLib.geometry.formats.image_limits import MAX_IMAGE_BYTES
from DenseLandmarksLib.geometry.formats.inflating import inflated

_COMPRESSION, _FILL_ORDER = 259, 266
_OFFSETS = (273, 324)  # of strips, of tiles
_DEFLATED = (8, 32946)


def check_tiff(path: Path, tags: Mapping[int, Any]) -> None:
    """Refuse (``EOFError``, ``zlib.error``) deflated data that are truncated, damaged or far too long."""
    if tags.get(_COMPRESSION) not in _DEFLATED or tags.get(_FILL_ORDER, 1) != 1:  # the bits of each byte mirrored
        return
    most = MAX_IMAGE_BYTES
    with path.open("rb") as file:
        for offset in np.atleast_1d([*(tags.get(_OFFSETS[0]) or tags.get(_OFFSETS[1]) or ())]):
            file.seek(int(offset))
            most -= sum(map(len, inflated(file, 1, most)))
