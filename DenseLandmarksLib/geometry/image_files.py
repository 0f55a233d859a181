"""Which files of a folder are its image: a file, or the slices of a series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.dicom_header import SeriesMember, series_of
from DenseLandmarksLib.geometry.formats.reading import reading
from DenseLandmarksLib.geometry.formats.signatures import HEAD_BYTES, format_of


def image_files(folder: Path) -> list[Path]:
    """The slices of the only volume in a folder, whatever lies beside them, or its only image, in the order of names.

    Folders in it, hidden files and DICOM objects without pixels do not count. Raises :class:`InputError` where there is no
    image, where there are several, and for a DICOM file that is damaged.
    """
    images: dict[Path, SeriesMember | None] = {}
    for file in files_in(folder):
        kind = _kind_of(file)
        if kind == "DICOM":
            with reading(file, kind):
                member = series_of(file)
            if member is not None:
                images[file] = member
        elif kind is not None:
            images[file] = None
    members = [member for member in images.values() if member is not None]
    volumes = series_of_volumes(members)
    if len(volumes) == 1:
        return [file for file, member in images.items() if member and member.uid in volumes and not member.is_localiser]
    if len(images) == 1:
        return list(images)
    if not images:
        raise InputError(f"{folder}: expected a folder with an image, got one without; name the image file")
    count = len({member.uid for member in members})
    several = f" in {count} DICOM series" if count > 1 and len(members) == len(images) else ""
    remedy = "move each series into a folder of its own" if volumes else "name one"
    raise InputError(
        f"{folder}: expected one image or one series of slices, got {len(images)} images{several}; {remedy}"
    )


def files_in(folder: Path) -> list[Path]:
    """The files of a folder that are not hidden, in the order of their names."""
    return sorted(file for file in folder.iterdir() if not file.name.startswith(".") and file.is_file())


def series_of_volumes(members: Iterable[SeriesMember]) -> set[str]:
    """The series that have two or more slices in parallel: those of a scout along three axes are no volume."""
    parallel = Counter((member.uid, member.orientation) for member in members if member.is_slice)
    return {uid for (uid, _), count in parallel.items() if count > 1}


def member_of(path: Path) -> SeriesMember | None:
    """As :func:`~DenseLandmarksLib.geometry.formats.dicom_header.series_of` of any file; ``None`` also for one that cannot be read."""
    try:
        kind = _kind_of(path)
        if kind != "DICOM":
            return None
        with reading(path, kind):
            return series_of(path)
    except (OSError, InputError):  # to be told when it is its turn
        return None


def _kind_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return format_of(file.read(HEAD_BYTES))
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got '{error.strerror}'; check its permissions") from error
