"""The key of a case: the same for the same pixels, and of no use to anybody outside this installation."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import user_data_folder
from DenseLandmarksLib.geometry.medical_image import MedicalImage

# 64 bits, short enough to stand in a file name: among a million cases two share a key with a chance of 3 in 10^8.
_KEY_LENGTH = 16
_SALT_LENGTH = 32
_SALT_FILE = "case-key-salt"


def case_key(image: MedicalImage, salt: bytes) -> str:
    """The case's key, 16 hexadecimal digits: HMAC-SHA256 with ``salt`` over size, type and values of the pixels.

    Neither the spacing nor anything else that a file states goes in: a case stays the same case when its calibration
    is corrected. Without the salt nobody can compute the key, not even from the image itself.
    """
    pixels = np.ascontiguousarray(sitk.GetArrayViewFromImage(image.volume))
    little_endian = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
    what = f"case {image.volume.GetSize()} {little_endian.dtype.str} "
    digest = hmac.new(salt, what.encode(), hashlib.sha256)
    digest.update(little_endian.data)
    return digest.hexdigest()[:_KEY_LENGTH]


def file_key(path: Path, salt: bytes) -> str:
    """16 hexadecimal digits for a file that cannot be read as an image: HMAC-SHA256 with ``salt`` over where it is."""
    where = os.fsencode(os.path.abspath(path))
    return hmac.new(salt, b"file " + where, hashlib.sha256).hexdigest()[:_KEY_LENGTH]


def installation_salt(folder: Path | None = None) -> bytes:
    """The 32 secret bytes of this installation, drawn at the first call and kept in ``folder``.

    ``folder`` is :func:`~DenseLandmarksLib.files.user_data_folder` when not given. Only the user can read the file. Processes that start at
    the same time get the same bytes. Raises :class:`InputError` where they cannot be kept or are damaged.
    """
    try:
        path = (folder or user_data_folder()) / _SALT_FILE
        if not path.exists():
            _create(path)
        salt = path.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"expected to keep the secret of the case keys in {folder or 'the data folder of the user'}, got "
            f"'{reason}'{_of(error)}. Make the folder writable, or name another in XDG_DATA_HOME (Windows: LOCALAPPDATA)."
        ) from error
    if len(salt) != _SALT_LENGTH:
        raise InputError(
            f"expected {_SALT_LENGTH} bytes in {path}, got {len(salt)}. Restore it; or remove it, and cases get new keys."
        )
    return salt


def _of(error: Exception) -> str:
    filename = getattr(error, "filename", None)
    return f" for {filename}" if filename else ""


def _create(path: Path) -> None:
    """Write a new salt beside ``path`` and give it that name, unless another process was quicker."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f".{secrets.token_hex(8)}-{path.name}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_SALT_LENGTH))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)  # unlike a rename, never replaces
        except FileExistsError:
            pass
        except OSError:
            if not path.exists():  # a file system without links
                beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)
