"""How a command line ends: its status, and one line for a mistake."""

from __future__ import annotations

import sys
from collections.abc import Callable

from DenseLandmarksLib.errors import InputError


def exit_status(act: Callable[[], int], resumes: bool = True) -> int:
    """The status of a command; a person's mistake is told in one line on standard error and gives 2.

    ``resumes`` says whether the command has ``--resume``, for the advice to a person who stopped it.
    """
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
        advice = ", and --resume goes on from there" if resumes else ""
        print(f"stopped; what was written is whole{advice}", file=sys.stderr)
        return 130
