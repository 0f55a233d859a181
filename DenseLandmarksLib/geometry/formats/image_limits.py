"""How large an image may be and how much its file must hold, decided before a pixel is allocated, and how small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from DenseLandmarksLib.errors import InputError

MIN_SIDE = 32
MAX_PIXELS = 120_000_000
# Three bytes for each of them take 343 MiB; decoding needs about three times as much.
MAX_IMAGE_BYTES = 3 << 27
MAX_VOXELS = 512_000_000
MAX_VOLUME_BYTES = 1 << 30
# Deflate, the usual compression, cannot pack more than this into one byte (zlib's technical notes).
MAX_DEFLATE_RATIO = 1032
# JPEG spends a bit or more on each block of 8 x 8 pixels (ITU-T T.81, F.1.2.1: the code of its mean).
MAX_JPEG_PIXELS_PER_BYTE = 512
# JPEG 2000 and JPEG-LS have no such bound; what spends less than this on a pixel shows nothing.
MAX_JPEG_2000_PIXELS_PER_BYTE = 4000


def check_size(path: Path, size: Sequence[int], bytes_per_voxel: float = 1) -> None:
    """Refuse a header's ``size`` (x, y and further axes) that is empty, too large or has a fourth axis.

    ``bytes_per_voxel`` counts what the file stores, or what its reader makes of it. Raises :class:`InputError`.
    """
    axes = max((axis + 1 for axis, s in enumerate(size) if s != 1), default=2)
    text = " x ".join(str(s) for s in size[: max(axes, 2)])
    voxels = math.prod(size)
    if any(s > 1 for s in size[3:]):
        raise InputError(f"{path}: expected one image or one volume, got a series of {text}; export one of them")
    if voxels < 1:
        raise InputError(f"{path}: expected an image with pixels, got {text}; export it again")
    if voxels == size[0] * size[1]:
        if voxels > MAX_PIXELS or voxels * bytes_per_voxel > MAX_IMAGE_BYTES:
            raise InputError(
                f"{path}: expected at most {MAX_PIXELS // 10**6} megapixels in {MAX_IMAGE_BYTES >> 20} MiB, got {text} "
                f"({voxels * bytes_per_voxel / 2**20:.0f} MiB); reduce the image first"
            )
    elif voxels > MAX_VOXELS or voxels * bytes_per_voxel > MAX_VOLUME_BYTES:
        raise InputError(
            f"{path}: expected at most {MAX_VOXELS // 10**6} million voxels in 1 GiB, got {text} "
            f"({voxels * bytes_per_voxel / 2**30:.1f} GiB); cut out or reduce the volume first"
        )


def check_sides(path: Path, size: Sequence[int]) -> None:
    """Refuse one slice that is too small to be a radiograph; a volume may have any size. Raises :class:`InputError`."""
    columns, rows, slices = size
    if slices == 1 and min(columns, rows) < MIN_SIDE:
        raise InputError(
            f"{path}: expected at least {MIN_SIDE} x {MIN_SIDE} pixels, got {columns} x {rows}; give the full radiograph"
        )


def check_held(held_bytes: int, claimed_bytes: float, ratio: int = 1) -> None:
    """Refuse (``EOFError``) a header that claims more than its file can hold, packed ``ratio``:1 at best."""
    if claimed_bytes > held_bytes * ratio:
        raise EOFError(f"{held_bytes} bytes cannot hold {claimed_bytes:.0f}")
