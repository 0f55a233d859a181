"""A header and arrays of numbers in one file, without pickle; and a folder of such files, each called by its content."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
            shown = repr(key) if len(repr(key)) <= 60 else f"{repr(key)[:57]}..."
            raise InputError(f"expected the key of arrays in {self.folder}, got {shown}. Open an earlier revision.")
        found, header, arrays = _read(self.path(key))
        if found != key:
            raise InputError(
                f"expected the content of {self.path(key)} to be what its name says, got another. "
                "Restore the file from a backup, or open an earlier revision."
            )
        return header, arrays


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
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            plain = dict(stored)
        text = plain.pop(_HEADER).tobytes()
        header = json.loads(text)
        if not isinstance(header, dict) or any(array.dtype.kind not in _NUMBERS for array in plain.values()):
            raise ValueError("no array file")
        return _key(text, plain), header, plain
    except FileNotFoundError:
        raise InputError(
            f"expected arrays in {path}, found nothing there. Restore the file from a backup, or open an earlier revision."
        ) from None
    except OSError as error:
        raise InputError(f"expected to read {path}, got '{error.strerror or error}'. Check its permissions.") from error
    # zipfile, zlib and numpy raise anything on damaged bytes.
    except Exception as error:
        raise InputError(
            f"expected a whole array file in {path}, got one that is damaged ({type(error).__name__}). "
            "Restore it from a backup, or open an earlier revision."
        ) from None
