"""Where the image of a case lies: outside of the library, or as a copy inside of the case's folder."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk

from DenseLandmarksLib.annotation.exports.result_name import IMAGE_SUFFIXES
from DenseLandmarksLib.annotation.library.json_file import read_json, to_bytes
from DenseLandmarksLib.annotation.library.once import appear, create_file, hidden_folder
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_files import image_files
from DenseLandmarksLib.geometry.medical_image import MedicalImage

_COPY = "image"
_MOVED = "image-*.json"
_REMEDY = "Restore the file from a backup."


@dataclass(frozen=True)
class ImageReference:
    """A file, or a folder with one series.

    Attributes
    ----------
    path : with slashes, relative to the library's folder (to the case's folder for a copy), so that both can move
        together; absolute on another drive.
    is_copy : whether it is a copy inside of the case's folder.
    """

    path: str
    is_copy: bool = False

    def resolve(self, library_folder: Path, case_folder: Path) -> Path:
        """Where that is now."""
        base = case_folder if self.is_copy else library_folder
        return Path(os.path.normpath(base / self.path))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types."""
        return {"path": self.path, "is_copy": self.is_copy}

    @classmethod
    def from_dict(cls, raw: Any) -> ImageReference:
        """Read what :meth:`to_dict` made; raises ``KeyError`` or ``TypeError`` for anything else."""
        if not isinstance(raw["path"], str) or not isinstance(raw["is_copy"], bool):
            raise TypeError("expected a path and whether it is a copy")
        return cls(raw["path"], raw["is_copy"])


def reference_to(path: Path, library_folder: Path) -> ImageReference:
    """The reference to a file or folder outside of the library."""
    absolute = os.path.abspath(path)
    try:
        found = os.path.relpath(absolute, os.path.abspath(library_folder))
    except ValueError:  # another drive of Windows
        found = absolute
    return ImageReference(Path(found).as_posix())


def copy_image(path: Path, case_folder: Path) -> ImageReference:
    """Copy a file, or the slices of a folder and nothing else of it, into the case; the copy's name tells nothing.

    Raises ``OSError``, and :class:`InputError` for a folder that is no image.
    """
    if path.is_dir():
        target = case_folder / _COPY
        target.mkdir()
        for number, file in enumerate(image_files(path), start=1):
            shutil.copyfile(file, target / f"{number:05}{_suffix(file)}")
    else:
        target = case_folder / f"{_COPY}{_suffix(path)}"
        shutil.copyfile(path, target)
    return ImageReference(target.name, is_copy=True)


def copy_again(path: Path, case_folder: Path) -> ImageReference:
    """As :func:`copy_image`, into a case that is there already, of which nothing is replaced. Raises ``OSError``."""
    with hidden_folder(case_folder) as hidden:
        copy = copy_image(path, hidden)
        number = 1
        while not appear(hidden, case_folder / f"{_COPY}-{number:04}"):
            number += 1
    return ImageReference(f"{_COPY}-{number:04}/{copy.path}", is_copy=True)


def write_pixels(image: MedicalImage, case_folder: Path) -> ImageReference:
    """Write an image into the case as a file that holds pixels, place and window, and nothing else. Raises ``OSError``."""
    # Made anew: an image that ITK read from DICOM carries the patient's tags along, and would write them.
    volume = sitk.GetImageFromArray(sitk.GetArrayViewFromImage(image.volume))
    volume.CopyInformation(image.volume)
    if image.window is not None:
        # The keys by which NIfTI states a window are read in all three formats of this kind.
        for key, value in zip(("cal_min", "cal_max"), image.window, strict=True):
            volume.SetMetaData(key, repr(float(value)))
    target = case_folder / f"{_COPY}.nrrd"
    try:
        sitk.WriteImage(volume, str(target))
    except RuntimeError as error:
        raise OSError(f"{type(error).__name__} while an image was written") from error
    return ImageReference(target.name, is_copy=True)


def newest_reference(case_folder: Path, first: ImageReference) -> ImageReference:
    """Where the image was found last; ``first`` is where it was when the case was made."""
    moved = sorted(case_folder.glob(_MOVED))
    if not moved:
        return first
    raw = read_json(moved[-1], "the place of an image", _REMEDY)
    try:
        return ImageReference.from_dict(raw)
    except (KeyError, TypeError) as error:
        raise InputError(
            f"expected the place of an image in {moved[-1]}, got a file that is damaged. {_REMEDY}"
        ) from error


def write_reference(case_folder: Path, reference: ImageReference, about: dict[str, Any]) -> None:
    """Note where the image is now, in a new file that counts from then on; raises ``OSError``."""
    number = 1 + sum(1 for _ in case_folder.glob(_MOVED))
    while not create_file(case_folder / f"image-{number:04}.json", to_bytes(reference.to_dict() | about)):
        number += 1


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in IMAGE_SUFFIXES if name.endswith(suffix)), "")
