"""The files of a bundle: each is the one that was saved, and weights load without pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError

WEIGHTS = "models/model.safetensors"


def broken(folder: Path, what: str) -> InputError:
    """The one line said about a bundle that cannot be used."""
    return InputError(f"expected a model bundle in {folder}, but {what}. Restore the folder from where it came.")


def sha256(path: Path) -> str:
    """Checksum of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_weights(folder: Path, metadata: Mapping[str, Any]) -> None:
    """Raise :class:`InputError` unless the weights are there, are no pickle, and are those that were saved."""
    if (folder / WEIGHTS).is_file():
        with (folder / WEIGHTS).open("rb") as file:
            start = file.read(9)
        # Safetensors begin with the length of their header, which may look like a pickle's first bytes, and then "{".
        if start[8:] != b"{" and (start[:1] == b"\x80" or start[:4] == b"PK\x03\x04"):
            what = f"{WEIGHTS} is a pickle, which could run code and is refused; only safetensors are read"
            raise broken(folder, what)
    check_file(folder, WEIGHTS, metadata)


def read_weights(folder: Path, metadata: Mapping[str, Any]) -> dict[str, NDArray[np.float16]]:
    """The weights by name; raises :class:`InputError` as :func:`check_weights` does, and for what is no safetensors file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    check_weights(folder, metadata)
    try:
        weights: dict[str, NDArray[np.float16]] = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise broken(folder, f"{WEIGHTS} is not a safetensors file") from error
    return weights


def check_file(folder: Path, name: str, metadata: Mapping[str, Any]) -> None:
    """Raise :class:`InputError` unless the file is there and is the one that was saved."""
    if not (folder / name).is_file():
        raise broken(folder, f"{name} is missing")
    if sha256(folder / name) != metadata["checksums"].get(name):
        raise broken(folder, f"{name} is not the file that was saved (its checksum differs)")
