"""How a command line ends: its status, and one line for a mistake."""

from __future__ import annotations

import sys
from collections.abc import Callable

from DenseLandmarksLib.errors import InputError


def exit_status(act: Callable[[], int]) -> int:
    """The status of a command; a person's mistake is told in one line on standard error and gives 2."""
    try:
        return act()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(
            f"error: expected to read and write files, but {error}. Check folder, permissions and space.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("stopped; what was written is whole, and --resume goes on from there", file=sys.stderr)
        return 130
