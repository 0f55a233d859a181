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
from DenseLandmarksLib.geometry.formats.dicom_header import SeriesMember, series_of
from DenseLandmarksLib.geometry.formats.reading import reading
from DenseLandmarksLib.geometry.formats.signatures import HEAD_BYTES, format_of
from DenseLandmarksLib.geometry.image_files import files_in, member_of, series_of_volumes


@dataclass(frozen=True)
class GivenFile:
    """A file, or a folder with a volume's slices: ``path``, and for what was found in a folder that a person gave, that folder."""

    path: Path
    folder: Path | None = None


class Slices:
    """The volumes that lie about as files of one slice each: the slices of a series in one folder, all of them meant."""

    def __init__(self, files: Sequence[GivenFile]) -> None:
        self._meant = {os.path.abspath(file.path) for file in files}
        self._members: dict[Path, SeriesMember | None] = {}
        self._volumes: dict[tuple[Path, str], frozenset[Path]] = {}
        self._given: set[Path] = set()

    def image_of(self, file: GivenFile) -> GivenFile | None:
        """The image that a file is, or is the first slice of, which then is the folder; ``None`` for the other slices."""
        member = self._member_of(file.path)
        if member is None or not member.is_slice:
            return file
        folder = file.path.parent
        key = (folder, member.uid)
        if key not in self._volumes:
            self._volumes[key] = self._slices_of(member.uid, folder)
        if file.path not in self._volumes[key]:
            return file
        if folder in self._given:
            return None
        self._given.add(folder)
        has_name = folder.name not in ("", "..")
        return GivenFile(
            folder if has_name else Path(os.path.abspath(folder)), None if folder == file.folder else file.folder
        )

    def _slices_of(self, uid: str, folder: Path) -> frozenset[Path]:
        """The slices of a series in a folder; none where they are no volume, or not all of them are meant."""
        try:
            files = files_in(folder)
        except OSError:  # a folder that may be entered, not listed
            return frozenset()
        # Of a person who names one slice of a thousand, not all the others are opened.
        files.sort(key=lambda path: os.path.abspath(path) in self._meant)
        slices = []
        for path in files:
            member = self._member_of(path)
            if member is not None and member.uid == uid and member.is_slice:
                if os.path.abspath(path) not in self._meant:
                    return frozenset()
                slices.append(path)
        is_volume = series_of_volumes(member for path in slices if (member := self._members[path]) is not None)
        return frozenset(slices) if is_volume else frozenset()

    def _member_of(self, path: Path) -> SeriesMember | None:
        if path not in self._members:
            self._members[path] = member_of(path)
        return self._members[path]


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
