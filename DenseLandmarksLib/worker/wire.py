"""What a worker and its client say to each other: a JSON header and raw little-endian arrays, never pickle.

A message is ``b"DLW1"``, the length of the JSON text (uint32), the JSON text, and the arrays' bytes one after the other::

    {"header": {"kind": "predict", ...}, "arrays": [["pixels", "<u2", [1, 1024, 1024]], ...]}

Nothing here touches a socket: :func:`pack` gives the pieces to send, :class:`Unpacker` says where received bytes belong.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"DLW1"
PREFIX = struct.Struct("<4sI")
HEADER_LIMIT_BYTES = 4 << 20
# A whole body at half a millimetre in 32 bits is 6 GiB.
ARRAYS_LIMIT_BYTES = 8 << 30
ARRAYS_LIMIT = 64
AXES_LIMIT = 8
DTYPES = frozenset(("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8"))
SKIPPED_BYTES = 1 << 16


class WireError(Exception):
    """What came is no message of this protocol; nothing after it can be understood either."""


@dataclass(frozen=True)
class Message:
    """One message: its header, which says its ``kind``, and its arrays.

    ``arrays`` is ``None`` when there was not enough memory for them: the message was received, its arrays are lost.
    """

    header: dict[str, Any]
    arrays: dict[str, NDArray[Any]] | None

    @property
    def kind(self) -> str:
        """What the message is."""
        return str(self.header.get("kind", ""))


def pack(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None) -> list[memoryview]:
    """The pieces of a message, in order; those of contiguous little-endian arrays are the arrays' own memory.

    Raises ``ValueError`` for arrays of other elements than whole and floating numbers, NaN in the header, and sizes
    beyond the limits.
    """
    entries, pieces, total = [], [], 0
    for name, array in (arrays or {}).items():
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
        if little.dtype.str not in DTYPES:
            raise ValueError(f"expected {name} to be an array of numbers, got {array.dtype}; convert it")
        entries.append([name, little.dtype.str, list(little.shape)])
        pieces.append(_bytes_of(little))
        total += little.nbytes
    # Escaped to ASCII, so that a file name that is no UTF-8 survives.
    text = json.dumps({"header": dict(header), "arrays": entries}, allow_nan=False).encode("ascii")
    if len(text) > HEADER_LIMIT_BYTES or total > ARRAYS_LIMIT_BYTES or len(entries) > ARRAYS_LIMIT:
        raise ValueError(
            f"expected at most {ARRAYS_LIMIT} arrays of {ARRAYS_LIMIT_BYTES >> 30} GiB, got {len(entries)} of "
            f"{total / (1 << 30):.1f} GiB with {len(text)} bytes said about them; give a smaller image"
        )
    return [memoryview(PREFIX.pack(MAGIC, len(text)) + text), *(piece for piece in pieces if len(piece))]


class Unpacker:
    """Makes messages of the bytes that arrive, however they are cut: fill :attr:`space`, then say how much came.

    ``header_limit_bytes`` and ``arrays_limit_bytes`` are for a side that is not trusted yet.
    """

    def __init__(
        self, header_limit_bytes: int = HEADER_LIMIT_BYTES, arrays_limit_bytes: int = ARRAYS_LIMIT_BYTES
    ) -> None:
        self._limits = header_limit_bytes, arrays_limit_bytes
        self._begin()

    def _begin(self) -> None:
        self._reading = _read_message(*self._limits)
        self.space = next(self._reading)
        """Where the next bytes belong: never empty, never more than the message still needs."""

    def advance(self, count: int) -> Message | None:
        """Take note that ``count`` bytes of :attr:`space` are filled; the message that they complete, if they do.

        Raises :class:`WireError` as soon as it is clear that this is no message.
        """
        self.space = self.space[count:]
        if len(self.space):
            return None
        try:
            self.space = next(self._reading)
        except StopIteration as finished:
            message: Message = finished.value
            self._begin()
            return message
        return None


def _read_message(header_limit_bytes: int, arrays_limit_bytes: int) -> Generator[memoryview, None, Message]:
    """Yields the places to be filled, one after the other, and returns the message."""
    prefix = bytearray(PREFIX.size)
    yield memoryview(prefix)
    magic, length = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise WireError(f"expected a message that begins with {MAGIC!r}, got {magic!r}")
    if not 0 < length <= header_limit_bytes:
        raise WireError(f"expected a header of at most {header_limit_bytes} bytes, got {length}")
    text = bytearray(length)
    yield memoryview(text)
    header, entries = _read_header(bytes(text), arrays_limit_bytes)
    arrays: dict[str, NDArray[Any]] = {}
    lost = False
    for name, dtype, shape in entries:
        try:
            array = np.empty(shape, dtype)
        except MemoryError:
            lost = True
            # The other side cannot take back what it sends: its bytes are read and forgotten.
            yield from _skip(int(np.prod(shape, dtype=object)) * dtype.itemsize)
            continue
        if array.nbytes:
            yield _bytes_of(array)
        arrays[name] = array
    return Message(header, None if lost else arrays)


def _read_header(
    text: bytes, arrays_limit_bytes: int
) -> tuple[dict[str, Any], list[tuple[str, np.dtype[Any], tuple[int, ...]]]]:
    try:
        envelope = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"expected a JSON header, got {text[:40]!r}") from error
    header, entries = (envelope.get(part) if isinstance(envelope, dict) else None for part in ("header", "arrays"))
    if not isinstance(header, dict) or not isinstance(entries, list) or len(entries) > ARRAYS_LIMIT:
        raise WireError(f"expected a header and at most {ARRAYS_LIMIT} arrays, got {text[:40]!r}")
    checked = [_read_entry(entry) for entry in entries]
    total = sum(int(np.prod(shape, dtype=object)) * dtype.itemsize for _, dtype, shape in checked)
    if total > arrays_limit_bytes:
        raise WireError(f"expected arrays of at most {arrays_limit_bytes} bytes, got {total}")
    if len({name for name, _, _ in checked}) != len(checked):
        raise WireError("expected arrays of different names, got one twice")
    return header, checked


def _read_entry(entry: object) -> tuple[str, np.dtype[Any], tuple[int, ...]]:
    if isinstance(entry, list) and len(entry) == 3:
        name, dtype, shape = entry
        # The list of dtypes has no objects in it: no byte that comes is ever a reference or a program.
        known = isinstance(name, str) and isinstance(dtype, str) and dtype in DTYPES and isinstance(shape, list)
        if known and len(shape) <= AXES_LIMIT and all(type(length) is int and length >= 0 for length in shape):
            return name, np.dtype(dtype), tuple(shape)
    raise WireError(f"expected name, element type and shape of an array of numbers, got {str(entry)[:60]}")


def _skip(count: int) -> Generator[memoryview, None, None]:
    nowhere = memoryview(bytearray(SKIPPED_BYTES))
    while count:
        piece = nowhere[: min(count, SKIPPED_BYTES)]
        yield piece
        count -= len(piece)


def _bytes_of(array: NDArray[Any]) -> memoryview:
    """The bytes of a contiguous array, not copied."""
    return array.reshape(-1).view(np.uint8).data
