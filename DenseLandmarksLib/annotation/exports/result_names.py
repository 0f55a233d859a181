"""What the results of the images of one run are called, so that no result replaces another's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import chain, count, takewhile
from pathlib import Path

from DenseLandmarksLib.annotation.case_key import file_key
from DenseLandmarksLib.annotation.exports.result_name import file_stem
from DenseLandmarksLib.annotation.exports.summary import Status, Summary, SummaryRow

_SHORT_KEY = 8


class ResultNames:
    """Which image gets which name: its stem; with its key where two share a stem; its key alone where that must be."""

    def __init__(self, paths: Sequence[Path], summary: Summary, salt: bytes) -> None:
        self.summary = summary
        self.salt = salt
        # Some file systems do not tell large letters from small ones.
        self.stems = Counter(file_stem(path).casefold() for path in paths)
        self.taken: set[str] = set()

    def of_image(self, stem: str | None, key: str) -> str:
        """The name for an image whose file may be called ``stem`` (``None``: must not be)."""
        long = f"case-{key}" if stem is None else f"{stem}-{key[:_SHORT_KEY]}"
        numbered = (f"{long}-{i}" for i in count(2))
        # What this image was called before, it is called again.
        for name in (stem or long, *takewhile(lambda name: name in self.summary.rows, chain([long], numbered))):
            row = self.summary.rows.get(name)
            if row and row.case_key == key and name.casefold() not in self.taken:
                return name
        if stem is not None and self.stems[stem.casefold()] == 1 and self._is_free(stem, key):
            return stem
        numbered = (f"{long}-{i}" for i in count(2))
        return next(name for name in chain([long], numbered) if self._is_free(name, key))

    def of_failure(self, path: Path, stem: str | None) -> str:
        """The name for a file that cannot be read: there is no case, and a row of results must not be replaced."""
        key = file_key(path, self.salt)
        if stem is None:
            return f"file-{key}"
        row = self.summary.rows.get(stem)
        free = self.stems[stem.casefold()] == 1 and stem.casefold() not in self.taken
        return stem if free and (row is None or row.status == Status.FAILED) else f"{stem}-{key[:_SHORT_KEY]}"

    def is_done(self, row: SummaryRow) -> bool:
        """Whether the summary has a result for the same pixels, model, spacing and options as ``row``."""
        before = self.summary.rows.get(row.name)
        if before is None or before.status == Status.FAILED:
            return False
        same = ("case_key", "model", "model_version", "options", "unit", "spacing_x", "spacing_y", "spacing_source")
        return all(getattr(before, column) == getattr(row, column) for column in same)

    def keep(self, row: SummaryRow) -> SummaryRow:
        """The row that is there already, whose name is now taken."""
        self.taken.add(row.name.casefold())
        return self.summary.rows[row.name]

    def write(self, row: SummaryRow, failed_name: str) -> None:
        """Put the row into the summary; an earlier failure of the same file goes."""
        failure = self.summary.rows.get(failed_name)
        self.taken.add(row.name.casefold())
        self.summary.write(row, failed_name if failure and failure.status == Status.FAILED else None)

    def _is_free(self, name: str, key: str) -> bool:
        row = self.summary.rows.get(name)
        return name.casefold() not in self.taken and (row is None or row.case_key in ("", key))
