"""Which files a person means who names files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from DenseLandmarksLib.annotation.exports.result_name import IMAGE_SUFFIXES
from DenseLandmarksLib.annotation.exports.results import RESULT_ENDINGS
from DenseLandmarksLib.annotation.exports.summary import SUMMARY_FILE
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.dicom_header import series_of
from DenseLandmarksLib.geometry.formats.reading import reading
from DenseLandmarksLib.geometry.formats.signatures import HEAD_BYTES, format_of


@dataclass(frozen=True)
class GivenFile:
    """A file to predict: ``path``, and for one that was found in a folder that a person gave, that folder."""

    path: Path
    folder: Path | None = None


def find_files(given: Sequence[Path]) -> tuple[list[GivenFile], int]:
    """The files to predict, each once, in the order given, folders searched in the order of names; and the others.

    The second value counts what lies in the folders and is no image. Hidden files and our own results are passed over.
    """
    listed = list_files(given)
    files = [file for file in listed if is_meant(file)]
    return files, len(listed) - len(files)


def list_files(given: Sequence[Path]) -> list[GivenFile]:
    """As :func:`find_files`, images or not: no file is opened."""
    files: dict[str, GivenFile] = {}
    for path in given:
        if not path.is_dir():
            files[os.path.abspath(path)] = GivenFile(path)  # whatever it is, also where its folder is given
            continue
        for found in _walk(path):
            if not _is_result(found):
                files.setdefault(os.path.abspath(found), GivenFile(found, path))
    return list(files.values())


def is_meant(file: GivenFile) -> bool:
    """Whether a file is meant to be an image: whatever was given by name, and the images in a folder."""
    return file.folder is None or _is_image(file.path)


def _walk(folder: Path) -> Iterator[Path]:
    """All files of a folder and its folders that are not hidden, in the order of their names."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _is_result(path: Path) -> bool:
    return path.name.endswith(RESULT_ENDINGS) or path.name == SUMMARY_FILE


def _is_image(path: Path) -> bool:
    """Whether a file in a folder is meant to be an image: damaged ones are, DICOM reports and indexes are not."""
    try:
        with path.open("rb") as file:
            kind = format_of(file.read(HEAD_BYTES))
        if kind == "DICOM":
            with reading(path, kind):
                return series_of(path) is not None
    except (OSError, InputError):  # to be told when it is its turn
        return True
    return kind is not None or path.name.lower().endswith(IMAGE_SUFFIXES)
