"""A header and arrays of numbers in one file, without pickle; and stores of them, each called by its content."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_beside_and_rename

Header = dict[str, Any]
Arrays = dict[str, NDArray[Any]]

_HEADER = "header.json"
_NUMBERS = "biuf"  # bool, signed, unsigned, float: numpy's kinds that are bytes and nothing else
# 128 bits: two contents that share them are not met by chance, and the path stays short where only 260 characters fit.
_KEY_LENGTH = 32


def array_bytes(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> tuple[str, bytes]:
    """The key, 32 hexadecimal digits of the content's SHA-256, and the compressed bytes of an array file.

    Raises ``ValueError`` for arrays of objects or texts, and for a header that is not JSON (NaN is not).
    """
    text, plain = _plain(header, arrays)
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **{_HEADER: np.frombuffer(text, np.uint8)}, **plain)
    return _key(text, plain), file.getvalue()


class Store(Protocol):
    """Where headers and arrays are kept. The same content has the same key, in every store."""

    def put(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
        """Keep a header (JSON types) and arrays of numbers; returns the key."""
        ...

    def get(self, key: str) -> tuple[Header, Arrays]:
        """What was put; raises :class:`InputError`, in one line, where it is missing or damaged."""
        ...

    def path(self, key: str) -> Path | str:
        """Where the content of ``key`` lies, for messages."""
        ...


class ArrayStore:
    """A folder of array files. The same content has the same key and is kept once, whoever puts it how often.

    Files are written beside and renamed, and never change: many may put and get at the same time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def path(self, key: str) -> Path:
        """Where the content of ``key`` lies."""
        return self.folder / f"{key}.npz"

    def put(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
        """Keep a header (JSON types) and arrays of numbers; on the disk when this returns. Returns the key.

        Raises :class:`InputError` where the folder cannot be written, ``ValueError`` as :func:`array_bytes`.
        """
        key = _key(*_plain(header, arrays))
        path = self.path(key)
        try:
            if not path.exists():
                # In one piece: zipfile, stopped by a full disk, raises another error when it is closed.
                content = array_bytes(header, arrays)[1]
                with write_beside_and_rename(path) as temporary:
                    temporary.write_bytes(content)
        except OSError as error:
            raise InputError(
                f"expected to write arrays to {self.folder}, got '{error.strerror or error}'. "
                "Make room there, or make the folder writable."
            ) from error
        return key

    def get(self, key: str) -> tuple[Header, Arrays]:
        """What :meth:`put` kept under ``key``; raises :class:`InputError`, in one line, where it is missing or damaged."""
        if not isinstance(key, str) or len(key) != _KEY_LENGTH or not set(key) <= set("0123456789abcdef"):
            raise _no_key(key, self.folder)
        found, header, arrays = _read(self.path(key))
        if found != key:
            raise InputError(
                f"expected the content of {self.path(key)} to be what its name says, got another. "
                "Restore the file from a backup, or open an earlier revision."
            )
        return header, arrays


class MemoryStore:
    """Arrays in memory: what a case would put, without a disk. ``where`` is what messages call it.

    Arrays are kept as they are given, not copied: who puts them does not change them any more.
    """

    def __init__(self, where: str = "memory") -> None:
        self._where = where
        self._contents: dict[str, tuple[bytes, Arrays]] = {}

    @property
    def keys(self) -> tuple[str, ...]:
        """Of all that is kept."""
        return tuple(self._contents)

    def path(self, key: str) -> str:
        """What messages call the place of ``key``."""
        return self._where

    def put(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
        """Keep a header and arrays under the key of :meth:`ArrayStore.put`, at the cost of computing it."""
        return self._keep(*_plain(header, arrays))

    def put_bytes(self, content: bytes) -> str:
        """Keep the content of an array file, as :func:`array_bytes` made it; returns its key.

        Raises :class:`InputError`, in one line, for anything else.
        """
        try:
            text, plain = _unpack(io.BytesIO(content))
        # zipfile, zlib and numpy raise anything on damaged bytes.
        except Exception as error:
            raise _damaged(self._where, error) from None
        return self._keep(text, plain)

    def get(self, key: str) -> tuple[Header, Arrays]:
        """What was put, arrays read-only; raises :class:`InputError`, in one line, where it is missing."""
        if not isinstance(key, str) or key not in self._contents:
            raise _no_key(key, self._where)
        text, plain = self._contents[key]
        return json.loads(text), dict(plain)

    def _keep(self, text: bytes, plain: Arrays) -> str:
        key = _key(text, plain)
        for array in plain.values():
            array.setflags(write=False)  # views of those that were given, which stay as they were
        self._contents.setdefault(key, (text, plain))
        return key


def _plain(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> tuple[bytes, Arrays]:
    """The header as text and the arrays as they lie in the file: little-endian, row after row."""
    text = json.dumps(header, allow_nan=False, separators=(",", ":")).encode()
    plain: Arrays = {}
    for name, given in arrays.items():
        array = np.asarray(given)
        if array.dtype.kind not in _NUMBERS or name == _HEADER:
            raise ValueError(f"expected an array of numbers, got {name!r} of {array.dtype}")
        plain[name] = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    return text, plain


def _key(text: bytes, plain: Arrays) -> str:
    digest = hashlib.sha256(text)
    for name in sorted(plain):
        array = plain[name]
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:_KEY_LENGTH]


def _read(path: Path) -> tuple[str, Header, Arrays]:
    try:
        with path.open("rb") as file:
            text, plain = _unpack(file)
        return _key(text, plain), json.loads(text), plain
    except FileNotFoundError:
        raise InputError(
            f"expected arrays in {path}, found nothing there. Restore the file from a backup, or open an earlier revision."
        ) from None
    except OSError as error:
        raise InputError(f"expected to read {path}, got '{error.strerror or error}'. Check its permissions.") from error
    # zipfile, zlib and numpy raise anything on damaged bytes.
    except Exception as error:
        raise _damaged(path, error) from None


def _unpack(file: IO[bytes]) -> tuple[bytes, Arrays]:
    """The header's text and the arrays of an array file; raises anything for what is none."""
    with np.load(file, allow_pickle=False) as stored:
        plain: Arrays = dict(stored)
    text = plain.pop(_HEADER).tobytes()
    if not isinstance(json.loads(text), dict) or any(array.dtype.kind not in _NUMBERS for array in plain.values()):
        raise ValueError("no array file")
    return text, plain


def _damaged(where: Path | str, error: Exception) -> InputError:
    return InputError(
        f"expected a whole array file in {where}, got one that is damaged ({type(error).__name__}). "
        "Restore it from a backup, or open an earlier revision."
    )


def _no_key(key: object, where: Path | str) -> InputError:
    shown = repr(key) if len(repr(key)) <= 60 else f"{repr(key)[:57]}..."
    return InputError(f"expected the key of arrays in {where}, got {shown}. Open an earlier revision.")
