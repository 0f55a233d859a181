"""Reading a radiograph from a file, with the spacing that its file can prove."""

from __future__ import annotations

import gzip
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.medical_image import MedicalImage, SpacingSource

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

logger = logging.getLogger(__name__)

MAX_PIXELS = 120_000_000
MIN_SIDE = 32

SUPPORTED = "DICOM, PNG, JPEG, TIFF, NIfTI, NRRD or MetaImage"
_PILLOW_FORMATS = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
}
_ITK_FORMATS = {"NiftiImageIO": "NIfTI", "NrrdImageIO": "NRRD", "MetaImageIO": "MetaImage", "GDCMImageIO": "DICOM"}
_DICOM_IMAGE = "1.2.840.10008.5.1.4.1.1."
# CR, then everything beneath it (DX, mammography, intra-oral), then XA and RF: DICOM PS3.4, table B.5-1.
_PROJECTION_CLASSES = (_DICOM_IMAGE + "1", _DICOM_IMAGE + "1.", _DICOM_IMAGE + "12.")
_TIFF_PHOTOMETRIC = 262
# ITU-R BT.601 luma, which Pillow uses as well.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def read_image(path: Path, spacing_mm: tuple[float, float] | None = None) -> MedicalImage:
    """Read a radiograph (one slice) of any supported format.

    Parameters
    ----------
    path : a DICOM, PNG, JPEG, TIFF, NIfTI, NRRD or MetaImage file; the content decides, not the suffix.
    spacing_mm : pixel size (x, y) in mm, for a file that does not state one. A DICOM file that states its spacing
        keeps it; PNG, JPEG and TIFF resolutions are about printing and are never read; in NIfTI, NRRD and MetaImage
        files, where the spacing is a plain number without a source, ``spacing_mm`` replaces it.

    Raises
    ------
    InputError : one line that names the file, for anything that cannot be used.
    """
    path = Path(path)
    if spacing_mm is not None and not (len(spacing_mm) == 2 and all(np.isfinite(s) and s > 0 for s in spacing_mm)):
        raise InputError(f"the pixel spacing must be two positive numbers in mm (x, y); got {spacing_mm}")
    kind = _format_of(path)
    # Third-party parsers raise anything on damaged data, so everything but our own message is caught, once, here.
    try:
        with _quiet_readers():
            if kind in _PILLOW_FORMATS.values():
                volume, spacing, source = _read_with_pillow(path, kind), spacing_mm, SpacingSource.GIVEN
            elif kind == "DICOM":
                volume, (spacing, source) = _read_dicom(path, spacing_mm)
            else:
                volume = _read_with_itk(path, kind)
                spacing, source = spacing_mm or volume.GetSpacing()[:2], SpacingSource.GIVEN
    except InputError:
        raise
    except Exception as error:
        logger.debug("%s could not be decoded", path, exc_info=True)
        raise InputError(
            f"{path}: expected a complete {kind} image, got one that is truncated or damaged; copy or export it again"
        ) from error
    if spacing is None:
        spacing, source = (1.0, 1.0), SpacingSource.UNKNOWN
    volume.SetSpacing((float(spacing[0]), float(spacing[1]), volume.GetSpacing()[2]))
    _check_pixels(path, volume)
    return MedicalImage(volume, source, path.name)


def dicom_spacing(dataset: Dataset) -> tuple[tuple[float, float], SpacingSource] | None:
    """Pixel size (x, y) in mm that a DICOM data set proves, and how; ``None`` when it proves none.

    ``PixelSpacing`` counts as calibrated when the file says how it was calibrated, when it differs from the spacing at
    the detector, and in every class that is not a projection (DICOM PS3.3, 10.7). Otherwise the spacing is that at
    the detector (a digitised film's at the film), divided by the estimated magnification where there is one. ITK and
    Slicer read only one of the tags per class and so lose or ignore the calibrated one.
    """
    pixel = _positive_pair(dataset, "PixelSpacing")
    detector = _positive_pair(dataset, "ImagerPixelSpacing") or _positive_pair(dataset, "NominalScannedPixelSpacing")
    sop_class = str(dataset.get("SOPClassUID", ""))
    projection = sop_class == _PROJECTION_CLASSES[0] or sop_class.startswith(_PROJECTION_CLASSES[1:])
    if pixel:
        differs = detector is not None and not np.allclose(pixel, detector, rtol=1e-3)
        if dataset.get("PixelSpacingCalibrationType") or differs or (detector is None and not projection):
            return pixel, SpacingSource.CALIBRATED
    # Older CR files have PixelSpacing alone and mean the detector by it.
    at_detector = detector or pixel
    if at_detector is None:
        return None
    magnification = float(dataset.get("EstimatedRadiographicMagnificationFactor") or 1.0)
    if not (np.isfinite(magnification) and magnification > 0):
        magnification = 1.0
    return (at_detector[0] / magnification, at_detector[1] / magnification), SpacingSource.DETECTOR


def _positive_pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    """A DICOM spacing, stored as (between rows, between columns), as (x, y)."""
    values = np.atleast_1d(dataset.get(keyword) or [])
    if values.size != 2:
        return None
    y, x = (float(v) for v in values)
    return (x, y) if np.isfinite(x) and np.isfinite(y) and x > 0 and y > 0 else None


@contextmanager
def _quiet_readers() -> Iterator[None]:
    """Keep the readers' own warnings off the terminal; what matters comes back as one :class:`InputError`."""
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _format_of(path: Path) -> str:
    """Name of the file's format, by its content."""
    if path.is_dir():
        raise InputError(f"{path}: expected an image file, got a folder; name a file in it")
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
    if head[128:132] == b"DICM":
        return "DICOM"
    for signature, kind in _PILLOW_FORMATS.items():
        if head.startswith(signature):
            return kind
    with _quiet_readers():
        itk_io = sitk.ImageFileReader.GetImageIOFromFileName(str(path))
    if itk_io not in _ITK_FORMATS:
        what = "a zip archive; unpack it first" if head.startswith(b"PK") else "something else; give an image file"
        raise InputError(f"{path}: expected an image ({SUPPORTED}), got {what}")
    return _ITK_FORMATS[itk_io]


def _check_size(path: Path, size: tuple[int, ...]) -> None:
    """Refuse, from the header alone, what is not one slice of a usable size; ``size`` in order x, y, then the rest."""
    text = " x ".join(str(s) for s in size)
    if any(s > 1 for s in size[2:]):
        raise InputError(
            f"{path}: this model reads radiographs of one slice, got a volume or series of {text}; export one image"
        )
    if min(size[:2]) < MIN_SIDE:
        raise InputError(
            f"{path}: expected at least {MIN_SIDE} x {MIN_SIDE} pixels, got {text}; give the full radiograph"
        )
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(
            f"{path}: expected at most {MAX_PIXELS // 10**6} megapixels, got {text}; reduce the image first"
        )


def _check_pixels(path: Path, volume: sitk.Image) -> None:
    pixels = sitk.GetArrayViewFromImage(volume)
    if np.iscomplexobj(pixels):
        raise InputError(f"{path}: expected real grey values, got complex numbers; export the magnitude")
    low, high = pixels.min(), pixels.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{path}: expected finite grey values, got NaN or infinite pixels; export the image again")
    if low == high:
        raise InputError(f"{path}: expected a radiograph, got a constant image (all pixels {low}); check the export")


def _read_with_pillow(path: Path, kind: str) -> sitk.Image:
    from PIL import Image

    try:
        opened = Image.open(path, formats=[kind])
    except Image.DecompressionBombError:
        raise InputError(
            f"{path}: expected at most {MAX_PIXELS // 10**6} megapixels, got far more; reduce the image first"
        ) from None
    with opened as image:
        pages = getattr(image, "n_frames", 1) if kind == "TIFF" else 1
        _check_size(path, (*image.size, pages) if pages > 1 else image.size)
        grey = image if image.mode in ("L", "I", "F") or image.mode.startswith("I;16") else image.convert("L")
        pixels = np.asarray(grey)
        # Pillow inverts white-is-zero TIFF images of 8 bits, but hands over those of 16 bits as they are stored.
        if kind == "TIFF" and image.mode.startswith("I;16") and image.tag_v2.get(_TIFF_PHOTOMETRIC) == 0:  # type: ignore[attr-defined]
            pixels = np.iinfo(pixels.dtype).max - pixels
    # SimpleITK takes the machine's own byte order only.
    return sitk.GetImageFromArray(pixels.astype(pixels.dtype.newbyteorder("="), copy=False)[None])


def _read_dicom(
    path: Path, spacing_mm: tuple[float, float] | None
) -> tuple[sitk.Image, tuple[tuple[float, float] | None, SpacingSource]]:
    import pydicom

    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    if "Rows" not in dataset or "Columns" not in dataset:
        raise InputError(
            f"{path}: expected a DICOM image, got a DICOM object without one "
            f"(modality {dataset.get('Modality', 'not stated')}); give the image file"
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    size = (int(dataset.Columns), int(dataset.Rows))
    _check_size(path, (*size, frames) if frames > 1 else size)
    # ITK inverts MONOCHROME1 and applies the rescale slope and intercept.
    volume = _read_with_itk(path, "DICOM")
    return volume, dicom_spacing(dataset) or (spacing_mm, SpacingSource.GIVEN)


def _read_with_itk(path: Path, kind: str) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    size = reader.GetSize()
    _check_size(path, size)
    if kind == "NIfTI":
        _check_nifti_is_whole(path, reader)
    volume = reader.Execute()
    if len(size) == 2:
        volume = sitk.JoinSeries(volume)
    elif len(size) > 3:
        volume = sitk.Extract(volume, [*size[:3], *[0] * (len(size) - 3)])
    channels = volume.GetNumberOfComponentsPerPixel()
    if channels == 1:
        return volume
    if channels not in (3, 4):
        raise InputError(f"{path}: expected a grey or colour image, got {channels} values per pixel; export it as grey")
    grey = sitk.GetImageFromArray(_luminance(sitk.GetArrayViewFromImage(volume)))
    grey.CopyInformation(volume)
    return grey


def _luminance(colours: NDArray[np.generic]) -> NDArray[np.float32]:
    """Grey values (...) of colours (..., 3 or 4); an alpha channel is left out."""
    return colours[..., :3].astype(np.float32) @ _LUMA


def _check_nifti_is_whole(path: Path, reader: sitk.ImageFileReader) -> None:
    """ITK fills a truncated NIfTI file with zeros and says nothing, so its length is checked (EOFError)."""
    offset = float(reader.GetMetaData("vox_offset"))
    if offset == 0:  # a pair of .hdr and .img: the pixels lie in the other file
        return
    needed = offset + np.prod(reader.GetSize()) * int(reader.GetMetaData("bitpix")) / 8
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    stored = 0
    with gzip.open(path) if compressed else path.open("rb") as file:
        while chunk := file.read(1 << 24):
            stored += len(chunk)
    if stored < needed:
        raise EOFError(f"{stored} bytes instead of {needed:.0f}")
