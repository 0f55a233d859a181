"""Landmarks that people added to what the model was trained on: one file each, so that nobody overwrites anybody's."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from DenseLandmarksLib.annotation.library.json_file import read_json, to_bytes
from DenseLandmarksLib.annotation.library.once import create_file
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark

FORMAT = 1
_LONGEST_SLUG = 40


@dataclass(frozen=True)
class DefinedLandmark:
    """A landmark of the template extension, the person who defined it, and the time (ISO 8601, UTC)."""

    landmark: NewLandmark
    who: str
    when: str


def read_extension(folder: Path) -> tuple[DefinedLandmark, ...]:
    """All entries, the oldest first; raises :class:`InputError`, in one line, for one that is damaged."""
    found = [_read(path) for path in folder.glob("*.json") if not path.name.startswith(".")]
    return tuple(sorted(found, key=lambda entry: (entry.when, entry.landmark.name)))


def add_to_extension(folder: Path, entry: DefinedLandmark) -> bool:
    """Add an entry; false where it is there already.

    Raises :class:`InputError` where the name, in whatever letter case, has another definition; ``OSError`` where nothing
    can be written.
    """
    path = folder / _file_name(entry.landmark.name)
    raw = {"format": FORMAT, **entry.landmark.to_dict(), "who": entry.who, "when": entry.when}
    if create_file(path, to_bytes(raw)):
        return True
    there = _read(path)
    if there.landmark == entry.landmark:
        return False
    raise InputError(
        f"expected a name that is new in the library, got {entry.landmark.name!r}, which {there.who or 'somebody'} defined "
        f"as {there.landmark} ({there.when}). Choose another name, or use that landmark."
    )


def _read(path: Path) -> DefinedLandmark:
    remedy = "Restore the file from a backup, or remove it and define the landmark again."
    raw = read_json(path, "a landmark of the library", remedy)
    if raw.get("format") != FORMAT:
        raise InputError(
            f"expected a landmark in format {FORMAT} in {path}, got {str(raw.get('format'))[:40]!r}. "
            "Open the library with the version of this program that wrote it."
        )
    try:
        return DefinedLandmark(NewLandmark.from_dict(raw), str(raw["who"]), str(raw["when"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"expected a landmark of the library in {path}, got a file that is damaged ({type(error).__name__}). {remedy}"
        ) from error


def _file_name(name: str) -> str:
    """The same for names that people would not tell apart; two people who define the same name want the same file."""
    folded = unicodedata.normalize("NFC", name.strip()).casefold()
    slug = re.sub(r"[^a-z0-9]+", "-", folded).strip("-")[:_LONGEST_SLUG] or "landmark"
    return f"{slug}-{hashlib.sha256(folded.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}.json"
