"""Where the libraries are that this user has worked in, so that a saved scene finds its own again without being told.

A scene names its library by an id, never by a path: scenes are passed on.
"""

from __future__ import annotations

from pathlib import Path

from DenseLandmarksLib.annotation.library.json_file import read_json, to_bytes
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.once import telling_disk_errors
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.files import write_beside_and_rename

_FOLDER = "libraries"


def remember(library: Library, data_folder: Path) -> None:
    """Note where a library is; raises :class:`InputError` where that cannot be written."""
    path = _path(library.id, data_folder)
    with telling_disk_errors(path.parent), write_beside_and_rename(path) as temporary:
        temporary.write_bytes(to_bytes({"folder": str(library.folder.resolve())}))


def find_library(library_id: str, data_folder: Path) -> Library | None:
    """The library of that id where this user worked in it last; ``None`` where it is not, or is another one by now."""
    try:
        noted = read_json(_path(library_id, data_folder), "the place of a library", "Open the library once.")
        library = Library.open(Path(noted["folder"]))
    except (InputError, KeyError, TypeError, ValueError):
        return None
    return library if library.id == library_id else None


def _path(library_id: str, data_folder: Path) -> Path:
    if not library_id.isalnum():  # it came out of a file
        raise ValueError("expected the id of a library")
    return data_folder / _FOLDER / f"{library_id}.json"
