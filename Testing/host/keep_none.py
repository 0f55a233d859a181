"""PySide6 6.12 gives a reference to None away with every call that returns nothing: after enough of them Python ends.

Measured on Python 3.11; from 3.12 on None is immortal and has no references to lose.
"""

from __future__ import annotations

import ctypes
import sys

# More than any run of tests gives away.
_PLENTY = 1 << 40


def keep_none() -> None:
    """Have references to None to spare."""
    if sys.version_info < (3, 12) and sys.getrefcount(None) < _PLENTY // 2:
        ctypes.c_ssize_t.from_address(id(None)).value += _PLENTY
