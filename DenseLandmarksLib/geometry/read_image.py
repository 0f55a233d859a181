"""Reading an image from a file or a folder, with the spacing that it can prove."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.image_limits import check_sides
from DenseLandmarksLib.geometry.formats.read_dicom import read_dicom, read_slices
from DenseLandmarksLib.geometry.formats.read_photograph import read_photograph
from DenseLandmarksLib.geometry.formats.read_volume import read_volume
from DenseLandmarksLib.geometry.formats.reading import reading
from DenseLandmarksLib.geometry.formats.signatures import HEAD_BYTES, format_of
from DenseLandmarksLib.geometry.image_files import image_files
from DenseLandmarksLib.geometry.medical_image import MedicalImage

SUPPORTED = "DICOM, PNG, JPEG, TIFF, NIfTI, NRRD or MetaImage"
_PHOTOGRAPHS = ("PNG", "JPEG", "TIFF")


def read_image(path: Path, spacing_mm: tuple[float, float] | None = None) -> MedicalImage:
    """Read a radiograph (one slice) or a volume of any supported format.

    Parameters
    ----------
    path : a DICOM, PNG, JPEG, TIFF, NIfTI, NRRD or MetaImage file, or a folder with one image or one DICOM series of
        slices (:func:`image_files`); the content decides, not the suffix.
    spacing_mm : pixel size (x, y) in mm, for a file that does not state one. A DICOM file that states its spacing
        keeps it; PNG, JPEG and TIFF resolutions are about printing and are never read; in a single slice of NIfTI, NRRD
        or MetaImage, where the spacing is a plain number without a source, ``spacing_mm`` replaces it. A volume of
        these formats keeps its own.

    Returns
    -------
    The image with its grey values: colours as luminance, MONOCHROME1 inverted, DICOM's rescale applied, padding at the
    lowest value of the other pixels, no window applied, pixels where they are stored.

    Raises
    ------
    InputError : one line that names the file, for anything that cannot be used.
    """
    path = Path(path)
    if spacing_mm is not None and not (len(spacing_mm) == 2 and all(np.isfinite(s) and s > 0 for s in spacing_mm)):
        raise InputError(f"the pixel spacing must be two positive numbers in mm (x, y); got {spacing_mm}")
    spacing = (float(spacing_mm[0]), float(spacing_mm[1])) if spacing_mm is not None else None
    if path.is_dir():
        return _read_folder(path, spacing)
    kind = _format_of(path)
    with reading(path, kind):
        if kind in _PHOTOGRAPHS:
            image = read_photograph(path, kind, spacing)
        elif kind == "DICOM":
            image = read_dicom(path, spacing)
        else:
            image = read_volume(path, kind, spacing)
        return _checked(path, image)


def _read_folder(folder: Path, spacing_mm: tuple[float, float] | None) -> MedicalImage:
    """The only image in a folder."""
    files = image_files(folder)
    if len(files) == 1:
        return read_image(files[0], spacing_mm)
    with reading(folder, "DICOM"):
        return _checked(folder, read_slices(folder, files, spacing_mm))


def _format_of(path: Path) -> str:
    """Name of the file's format, by its content."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise InputError(f"{path}: expected an image file, found nothing there; check the path") from None
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got '{error.strerror}'; check its permissions") from error
    if not head:
        raise InputError(f"{path}: expected an image, got an empty file; copy or export it again")
    kind = format_of(head)
    if kind is None:
        what = "a zip archive; unpack it first" if head.startswith(b"PK") else "something else; give an image file"
        raise InputError(f"{path}: expected an image ({SUPPORTED}), got {what}")
    return kind


def _checked(path: Path, image: MedicalImage) -> MedicalImage:
    """The image, without a window that shows nothing; raises :class:`InputError` where the pixels are unusable."""
    volume = image.volume
    check_sides(path, volume.GetSize())
    if not np.isfinite([*volume.GetSpacing(), *volume.GetOrigin(), *volume.GetDirection()]).all():
        raise InputError(f"{path}: expected a position in numbers, got NaN or infinite ones; export the image again")
    pixels = sitk.GetArrayViewFromImage(volume)
    if np.iscomplexobj(pixels):
        raise InputError(f"{path}: expected real grey values, got complex numbers; export the magnitude")
    low, high = pixels.min(), pixels.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{path}: expected finite grey values, got NaN or infinite pixels; export the image again")
    if low == high:
        what = "a radiograph" if image.is_radiograph else "a volume"
        raise InputError(f"{path}: expected {what}, got a constant image (all pixels {low}); check the export")
    shows_nothing = image.window is not None and (image.window[0] >= high or image.window[1] <= low)
    return replace(image, window=None) if shows_nothing else image
