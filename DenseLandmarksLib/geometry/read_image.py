"""Reading an image from a file or a folder, with the spacing that it can prove."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.dicom_header import series_of
from DenseLandmarksLib.geometry.formats.read_dicom import read_dicom, read_slices
from DenseLandmarksLib.geometry.formats.read_photograph import read_photograph
from DenseLandmarksLib.geometry.formats.read_volume import read_volume
from DenseLandmarksLib.geometry.formats.reading import quiet_readers, reading
from DenseLandmarksLib.geometry.medical_image import MedicalImage

SUPPORTED = "DICOM, PNG, JPEG, TIFF, NIfTI, NRRD or MetaImage"
_PHOTOGRAPHS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
}
_ITK_FORMATS = {"NiftiImageIO": "NIfTI", "NrrdImageIO": "NRRD", "MetaImageIO": "MetaImage", "GDCMImageIO": "DICOM"}


def read_image(path: Path, spacing_mm: tuple[float, float] | None = None) -> MedicalImage:
    """Read a radiograph (one slice) or a volume of any supported format.

    Parameters
    ----------
    path : a DICOM, PNG, JPEG, TIFF, NIfTI, NRRD or MetaImage file, or a folder with one image or one DICOM series of
        slices; the content decides, not the suffix.
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
        if kind in _PHOTOGRAPHS.values():
            image = read_photograph(path, kind, spacing)
        elif kind == "DICOM":
            image = read_dicom(path, spacing)
        else:
            image = read_volume(path, kind, spacing)
        return _checked(path, image)


def _read_folder(folder: Path, spacing_mm: tuple[float, float] | None) -> MedicalImage:
    """The only image in a folder; folders in it, hidden files and DICOM objects without pixels do not count."""
    images = []
    series: set[str | None] = set()
    for file in sorted(folder.iterdir()):
        try:
            kind = "" if file.name.startswith(".") or not file.is_file() else _format_of(file)
        except InputError:
            continue
        if kind == "DICOM":
            with reading(file, kind):
                uid = series_of(file)
            if uid is None:
                continue
            series.add(uid)
        elif kind:
            series.add(None)
        if kind:
            images.append(file)
    if not images:
        raise InputError(f"{folder}: expected a folder with an image, got one without; name the image file")
    if len(images) == 1:
        return read_image(images[0], spacing_mm)
    if len(series) > 1 or None in series:
        several = f" in {len(series)} DICOM series" if None not in series else ""
        raise InputError(
            f"{folder}: expected one image or one series of slices, got {len(images)} images{several}; name one"
        )
    with reading(folder, "DICOM"):
        return _checked(folder, read_slices(folder, images, spacing_mm))


def _format_of(path: Path) -> str:
    """Name of the file's format, by its content."""
    try:
        with path.open("rb") as file:
            head = file.read(256)
    except FileNotFoundError:
        raise InputError(f"{path}: expected an image file, found nothing there; check the path") from None
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got '{error.strerror}'; check its permissions") from error
    if not head:
        raise InputError(f"{path}: expected an image, got an empty file; copy or export it again")
    # DICOM first: a DICOM file may carry any other signature in its preamble.
    if head[128:132] == b"DICM" or _begins_with_dicom_tag(head):
        return "DICOM"
    for signature, kind in _PHOTOGRAPHS.items():
        if head.startswith(signature):
            return kind
    with quiet_readers():
        itk_io = sitk.ImageFileReader.GetImageIOFromFileName(str(path))
    if itk_io not in _ITK_FORMATS:
        what = "a zip archive; unpack it first" if head.startswith(b"PK") else "something else; give an image file"
        raise InputError(f"{path}: expected an image ({SUPPORTED}), got {what}")
    return _ITK_FORMATS[itk_io]


def _begins_with_dicom_tag(head: bytes) -> bool:
    """Whether a file starts as DICOM does behind its preamble: with the length of group 2, or a short tag of group 8."""
    if head.startswith(b"\x02\x00\x00\x00UL\x04\x00"):
        return True
    explicit = head[4:6] in (b"UL", b"UI", b"CS", b"DA", b"TM", b"DT", b"SH", b"LO")
    implicit = head[5:8] == b"\x00\x00\x00" and 0 < head[4] <= 64 and head[4] % 2 == 0
    return len(head) >= 8 and head[:2] == b"\x08\x00" and head[3] == 0 and (explicit or implicit)


def _checked(path: Path, image: MedicalImage) -> MedicalImage:
    """The image, without a window that shows nothing; raises :class:`InputError` where the pixels are unusable."""
    volume = image.volume
    if not np.isfinite([*volume.GetSpacing(), *volume.GetOrigin(), *volume.GetDirection()]).all():
        raise InputError(f"{path}: expected a position in numbers, got NaN or infinite ones; export the image again")
    pixels = sitk.GetArrayViewFromImage(volume)
    if np.iscomplexobj(pixels):
        raise InputError(f"{path}: expected real grey values, got complex numbers; export the magnitude")
    low, high = pixels.min(), pixels.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{path}: expected finite grey values, got NaN or infinite pixels; export the image again")
    if low == high:
        raise InputError(f"{path}: expected a radiograph, got a constant image (all pixels {low}); check the export")
    shows_nothing = image.window is not None and (image.window[0] >= high or image.window[1] <= low)
    return replace(image, window=None) if shows_nothing else image
