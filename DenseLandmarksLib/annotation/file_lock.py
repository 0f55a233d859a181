"""Whether a file is in use, told by a lock that the system takes away when a process ends, however it ends.

Only for files of this user on this machine: on network shares such locks cannot be relied on.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt

    # Far behind the end: Windows forbids others to read what is locked.
    _BEYOND = 1 << 40

    def try_lock(file: BinaryIO) -> bool:
        """Lock an open file until it is closed; false where somebody else has it."""
        position = file.tell()
        try:
            file.seek(_BEYOND)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            file.seek(position)
        return True

else:
    import fcntl

    def try_lock(file: BinaryIO) -> bool:
        """Lock an open file until it is closed; false where somebody else has it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def is_locked(path: Path) -> bool:
    """Whether a process has the file of that path in use."""
    with path.open("r+b") as file:
        return not try_lock(file)
