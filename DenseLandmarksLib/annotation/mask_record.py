"""A painted mask in a store: the bits of the smallest box around it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DenseLandmarksLib.annotation.array_file import Store
from DenseLandmarksLib.errors import InputError


def put_mask(mask_zyx: ArrayLike, store: Store) -> str:
    """Keep a mask (Z, Y, X) bool; returns its key in the store."""
    mask = np.asarray(mask_zyx, bool)
    box = []
    for axis in range(mask.ndim):
        where = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append([int(where[0]), int(where[-1]) + 1] if len(where) else [0, 0])
    inside = mask[tuple(slice(start, stop) for start, stop in box)]
    return store.put({"kind": "mask", "shape": list(mask.shape), "box": box}, {"bits": np.packbits(inside)})


def get_mask(key: str, store: Store) -> NDArray[np.bool_]:
    """The mask (Z, Y, X) that :func:`put_mask` kept, read-only; raises :class:`InputError` where it is none."""
    header, arrays = store.get(key)
    try:
        mask = np.zeros([int(size) for size in header["shape"]], bool)
        box = [(int(start), int(stop)) for start, stop in header["box"]]
        shape = [stop - start for start, stop in box]
        bits = np.unpackbits(arrays["bits"], count=math.prod(shape))
        mask[tuple(slice(start, stop) for start, stop in box)] = bits.view(np.bool_).reshape(shape)
    except (KeyError, TypeError, ValueError, IndexError, MemoryError):
        raise InputError(
            f"expected a painted mask in {store.path(key)}, got something else. Open an earlier revision."
        ) from None
    mask.setflags(write=False)
    return mask
