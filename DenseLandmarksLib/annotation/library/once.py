"""Files and folders that appear whole, once, and are never replaced: without locks, which network shares do not keep.

A process that is killed leaves at most a hidden name behind, which nobody reads.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from DenseLandmarksLib.errors import InputError

_HIDDEN = ".writing-"
_DAY_S = 24 * 60 * 60


@contextmanager
def telling_disk_errors(folder: Path) -> Iterator[None]:
    """Turn what goes wrong on the disk into one line about ``folder``."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"expected to write to {folder}, got '{error.strerror or error}'. "
            "Nothing was changed; make room there, or make it writable."
        ) from error


def create_file(path: Path, content: bytes) -> bool:
    """Create ``path`` with ``content``, on the disk when this returns; false where there is a file of that name already.

    Raises ``OSError`` where nothing can be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f"{_HIDDEN}{secrets.token_hex(8)}")
    try:
        _write_new(hidden, content)
        try:
            os.link(hidden, path)  # unlike a rename, never replaces
        except FileExistsError:
            return False
        except OSError:  # a file system without links: never replacing matters more than being whole after a crash
            try:
                _write_new(path, content)
            except FileExistsError:
                return False
    finally:
        hidden.unlink(missing_ok=True)
    flush_folder(path.parent)
    return True


@contextmanager
def hidden_folder(parent: Path) -> Iterator[Path]:
    """A new folder in ``parent`` under a hidden name, for :func:`appear`; what is left of it in the end is removed.

    Folders that killed processes left there are removed when they are older than a day.
    """
    parent.mkdir(parents=True, exist_ok=True)
    hidden = parent / f"{_HIDDEN}{secrets.token_hex(8)}"
    hidden.mkdir()
    try:
        sweep(parent, f"{_HIDDEN}*", hidden.stat().st_mtime)
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def appear(hidden: Path, path: Path) -> bool:
    """Give a folder that is written completely its name; false where there is a folder of that name already."""
    flush_folder(hidden)
    try:
        # Onto a folder with something in it this fails everywhere, and all of ours have something in them.
        hidden.rename(path)
    except OSError:
        if path.exists():
            return False
        raise
    flush_folder(path.parent)
    return True


def flush_folder(folder: Path) -> None:
    """Have the names in ``folder`` on the disk, where the system can do that."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network shares cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path, pattern: str, now_s: float) -> None:
    """Remove what killed processes left in ``folder`` under hidden names, when it is older than a day.

    ``now_s`` is the age of something new there: the clock of the disk, which on a share is not ours.
    """
    for left in folder.glob(pattern):
        with suppress(OSError):  # somebody else was quicker
            if left.stat().st_mtime < now_s - _DAY_S:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _write_new(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
