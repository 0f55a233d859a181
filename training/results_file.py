"""What the runs of a study came to: a line of JSON for each, small enough to be published with the table that it makes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from DenseLandmarksLib.errors import InputError


@dataclass(frozen=True)
class ResultsFile:
    """A file of such lines, each with the ``name`` of its run; of two with one name the last counts."""

    path: Path

    def lines(self) -> dict[str, dict[str, Any]]:
        """All by their names; raises :class:`InputError` where the file is damaged."""
        if not self.path.is_file():
            return {}
        try:
            lines = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines() if line.strip()]
            return {line["name"]: line for line in lines}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"expected a line of JSON for each run in {self.path}, but it is damaged. Restore a copy, or give another --results."
            ) from error

    def add(self, name: str, values: Mapping[str, Any]) -> None:
        """Write down what one run came to."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"name": name, **values}, separators=(",", ":"), allow_nan=False)
        # In one piece, so that two processes can share the file.
        with self.path.open("ab", buffering=0) as file:
            file.write(line.encode() + b"\n")
