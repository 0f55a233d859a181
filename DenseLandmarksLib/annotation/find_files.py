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
    """A file, or a folder with a volume's slices: ``path``, and for what was found in a folder that a person gave, that folder."""

    path: Path
    folder: Path | None = None


class Slices:
    """The volumes that lie about as files of one slice each: two or more of a DICOM series in one folder, all of them meant.

    Each folder is looked at once, when the first of its slices comes.
    """

    def __init__(self, files: Sequence[GivenFile]) -> None:
        self._meant = {os.path.abspath(file.path) for file in files}
        self._of_folder: dict[Path, list[Path]] = {}

    def image_of(self, file: GivenFile) -> GivenFile | None:
        """The image that a file is, or is the first slice of, which then is the folder; ``None`` for the other slices."""
        folder = file.path.parent
        if _series_of_slice(file.path) is None:
            return file
        if folder not in self._of_folder:
            slices = _slices_in(folder)
            are_meant = all(os.path.abspath(path) in self._meant for path in slices)
            self._of_folder[folder] = slices if are_meant else []
        slices = self._of_folder[folder]
        if file.path not in slices:
            return file
        if file.path != slices[0]:
            return None
        return GivenFile(folder, None if folder == file.folder else file.folder)


def find_files(given: Sequence[Path]) -> tuple[list[GivenFile], int]:
    """The images to predict, each once, in the order given, folders searched in the order of names; and the others.

    The second value counts what lies in the folders and is no image. Hidden files and our own results are passed over.
    """
    listed = list_files(given)
    slices = Slices(listed)
    images = [image for image in map(slices.image_of, listed) if image is not None]
    meant = [image for image in images if is_meant(image)]
    return meant, len(images) - len(meant)


def list_files(given: Sequence[Path]) -> list[GivenFile]:
    """As :func:`find_files`, images or not, slices each for itself: no file is opened."""
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
    return file.folder is None or file.path.is_dir() or _is_image(file.path)


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


def _slices_in(folder: Path) -> list[Path]:
    """The slices of a folder of which another is of the same series, in the order of their names."""
    of_series: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        uid = None if path.name.startswith(".") or not path.is_file() else _series_of_slice(path)
        if uid is not None:
            of_series.setdefault(uid, []).append(path)
    return sorted(path for paths in of_series.values() if len(paths) > 1 for path in paths)


def _series_of_slice(path: Path) -> str | None:
    """The series of a file that is a slice of a body, ``None`` for all others."""
    try:
        with path.open("rb") as file:
            kind = format_of(file.read(HEAD_BYTES))
        if kind != "DICOM":
            return None
        with reading(path, kind):
            member = series_of(path)
    except (OSError, InputError):  # to be told when it is its turn
        return None
    return member.uid if member is not None and member.is_slice else None
