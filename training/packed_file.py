"""Reading a file of ``training pack``: whatever is wrong with it is told in one line."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from DenseLandmarksLib.errors import InputError

# What numpy and zipfile raise for files that are cut off, garbled, empty, or something else altogether; numpy reads the
# headers of arrays as Python.
_UNREADABLE = (
    *(OSError, EOFError, zipfile.BadZipFile, zlib.error),
    *(ValueError, KeyError, TypeError, NotImplementedError, RuntimeError, tokenize.TokenError, SyntaxError),
)


@contextmanager
def telling_what_is_not_packed(path: Path) -> Iterator[None]:
    """Raise :class:`InputError` where what is read from ``path`` turns out to be no packed file, or a damaged one."""
    try:
        yield
    except _UNREADABLE as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"expected a data folder or a packed .npz, {path} is neither ({said}). See training pack --help."
        ) from error
