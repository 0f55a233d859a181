"""NRRD files, as far as a segmentation needs them: a header of text, an empty line, and the voxels in gzip.

Written here because SimpleITK calls the axis of the layers a vector, where Slicer has a list, and writes keys that are
not ours. Format: http://teem.sourceforge.net/nrrd/format.html
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.files import write_beside_and_rename
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry

_TYPES = {"u1": "unsigned char", "u2": "unsigned short"}
# The most effort, 9, makes files a quarter smaller in twice the time; the least, 1, twice as large in half of it.
_EFFORT = 6


def write_nrrd_layers(
    path: Path,
    layers_zyx: NDArray[np.unsignedinteger],
    geometry: ImageGeometry,
    entries: Mapping[str, str],
) -> None:
    """Write layers (L, Z, Y, X) of unsigned integers on the voxels of an image, whole or not at all.

    One layer is an ordinary volume, several are a list along the first axis of the file. ``entries`` are its key/value
    pairs, in order. The same content gives the same bytes. Raises ``KeyError`` for other types of voxels.
    """
    voxels = layers_zyx[0] if len(layers_zyx) == 1 else np.moveaxis(layers_zyx, 0, -1)
    little_endian = np.ascontiguousarray(voxels.astype(voxels.dtype.newbyteorder("<"), copy=False))
    several = len(layers_zyx) > 1
    sizes = [*([len(layers_zyx)] if several else []), *geometry.size]
    directions = [*(["none"] if several else []), *map(_vector, geometry.index_to_lps_mm.T)]
    header = [
        "NRRD0004",
        f"type: {_TYPES[little_endian.dtype.str[1:]]}",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {' '.join(directions)}",
        f"kinds: {'list ' if several else ''}domain domain domain",
        "endian: little",
        "encoding: gzip",
        f"space origin: {_vector(geometry.origin_lps_mm)}",
        *(f"{key}:={_escaped(value)}" for key, value in entries.items()),
    ]
    with write_beside_and_rename(path) as temporary, temporary.open("wb") as file:
        file.write(("\n".join(header) + "\n\n").encode())
        file.write(gzip.compress(little_endian.data, _EFFORT, mtime=0))


def _vector(numbers: NDArray[np.float64] | tuple[float, ...]) -> str:
    return f"({','.join(repr(float(number)) for number in numbers)})"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")
