"""What the runs of a study came to: a line of JSON for each, small enough to be published with the table that it makes."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from DenseLandmarksLib.errors import InputError

# Bytes that no line is longer than.
_LONGEST = 1 << 20


@dataclass(frozen=True)
class ResultsFile:
    """A file of such lines, each with the ``name`` of its run; of two with one name the last counts."""

    path: Path

    def lines(self) -> dict[str, dict[str, Any]]:
        """All by their names, but for a last one that was torn when its writer died: that run is done again.

        Raises :class:`InputError` where the file is damaged otherwise.
        """
        if not self.path.is_file():
            return {}
        texts = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        try:
            lines = [json.loads(text) for text in texts[:-1] if text.strip()]
            return {line["name"]: line for line in lines}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"expected a line of JSON for each run in {self.path}, but it is damaged. Restore a copy, or give another --results."
            ) from error

    def add(self, name: str, values: Mapping[str, Any]) -> None:
        """Write down what one run came to; raises ``OSError`` where there is no room."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"name": name, **values}, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        # In one piece, so that two processes can share the file.
        with self.path.open("a+b", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            whole = file.seek(max(end - _LONGEST, 0)) + 1 + file.read().rfind(b"\n")
            if whole < end:
                file.truncate(whole)
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, f"{self.path.name} could not be written")
