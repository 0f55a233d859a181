"""DICOM: a radiograph, a slice, an enhanced volume, or a series of slices; pixels by ITK (GDCM), tags by pydicom."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.dicom_acquisition import dicom_acquisition
from DenseLandmarksLib.geometry.formats.dicom_grey_values import display_window, grey_values, padding_range
from DenseLandmarksLib.geometry.formats.dicom_header import (
    IMPLICIT_LITTLE_ENDIAN,
    PIXEL_TAGS,
    frame_count,
    image_size,
    read_header,
    stated_modality,
    stored_bytes,
)
from DenseLandmarksLib.geometry.formats.dicom_slices import stack_slices
from DenseLandmarksLib.geometry.formats.dicom_spacing import dicom_spacing, is_projection
from DenseLandmarksLib.geometry.formats.dicom_tags import tag_values
from DenseLandmarksLib.geometry.formats.image_limits import check_size
from DenseLandmarksLib.geometry.formats.itk_pixels import decoded_bytes_per_pixel
from DenseLandmarksLib.geometry.formats.luminance import luminance
from DenseLandmarksLib.geometry.formats.padding import without_padding
from DenseLandmarksLib.geometry.formats.reading import reading
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_DICOM_IMAGE = "1.2.840.10008.5.1.4.1.1."
_CT_CLASSES = (_DICOM_IMAGE + "2", _DICOM_IMAGE + "2.1", _DICOM_IMAGE + "2.2")
# Enhanced and legacy converted CT and MR: frames are slices (DICOM PS3.3, A.38, A.36, A.70, A.71).
_VOLUME_CLASSES = (*_CT_CLASSES[1:], _DICOM_IMAGE + "4.1", _DICOM_IMAGE + "4.4")
_FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def read_dicom(path: Path, spacing_mm: tuple[float, float] | None) -> MedicalImage:
    """Read one DICOM file: a radiograph, a slice, or an enhanced CT or MR whose frames are the slices of a volume.

    White-is-zero images are inverted and the rescale applied, both once and by ITK; padding and VOI window are those
    of the result. ``spacing_mm`` counts where :func:`dicom_spacing` proves none.
    """
    header = read_header(path)
    frames = frame_count(header)
    if frames > 1 and str(header.get("SOPClassUID", "")) not in _VOLUME_CLASSES:
        raise InputError(
            f"{path}: expected one image, got {frames} frames (modality {stated_modality(header)}); "
            "export the frame that you need as a single image"
        )
    headers = _frame_headers(header)
    volume = _decode(path, header)
    if frames > 1:
        if len({(tag_values(h, "RescaleSlope"), tag_values(h, "RescaleIntercept")) for h in headers}) > 1:
            raise InputError(f"{path}: expected one rescale, got frames that differ; export it as single slices")
        stack = stack_slices(path, headers)
        volume = sitk.GetImageFromArray(sitk.GetArrayFromImage(volume)[stack.order])
        _place(volume, stack.origin_lps_mm, stack.direction, stack.gap_mm)
    return _finished(path, volume, headers[0], spacing_mm)


def read_slices(folder: Path, files: Sequence[Path], spacing_mm: tuple[float, float] | None) -> MedicalImage:
    """Read the single-frame files of one series as a volume, in the order of their positions.

    Raises :class:`InputError` for radiographs, and for slices that are missing, unequal in distance or orientation.
    """
    headers = []
    for file in files:
        with reading(file, "DICOM"):
            headers.append(read_header(file))
    if any(is_projection(header) or frame_count(header) > 1 for header in headers):
        raise InputError(f"{folder}: expected one image or one series of slices, got {len(files)} images; name one")
    stack = stack_slices(folder, headers)
    columns, rows = image_size(headers[0])[:2]
    check_size(folder, (columns, rows, len(files)), sum(map(stored_bytes, headers)) / (columns * rows * len(files)))
    slices = []
    for at in stack.order:
        with reading(files[at], "DICOM"):
            slices.append(sitk.GetArrayFromImage(_decode(files[at], headers[at])))
    volume = sitk.GetImageFromArray(np.concatenate(slices))
    _place(volume, stack.origin_lps_mm, stack.direction, stack.gap_mm)
    return _finished(folder, volume, headers[stack.order[0]], spacing_mm)


def _frame_headers(header: Dataset) -> list[Dataset]:
    """Tags of each frame, with those that an enhanced image keeps in functional groups (DICOM PS3.3, C.7.6.16)."""
    shared, per_frame = (tag_values(header, keyword) for keyword in _FUNCTIONAL_GROUPS)
    if len(per_frame) != frame_count(header) > 1:
        raise ValueError("frames without groups")
    for keyword in _FUNCTIONAL_GROUPS:
        header.pop(keyword, None)
    headers = [deepcopy(header) for _ in range(frame_count(header))]
    for frame, flat in enumerate(headers):
        for group in (*shared[:1], *per_frame[frame : frame + 1]):
            for element in group:
                if element.VR == "SQ" and element.value:
                    flat.update(element.value[0])
    return headers


def _decode(path: Path, dataset: Dataset) -> sitk.Image:
    """Grey values (as a volume) by ITK, which inverts MONOCHROME1 and applies the rescale slope and intercept."""
    greys = grey_values(dataset)
    if greys and greys.white_is_zero and (greys.lowest, greys.highest) == (-2048, 2047):
        return _decode_signed_12_bits(path, dataset)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("GDCMImageIO")  # not asked for, ITK overlooks files without a preamble
    reader.ReadImageInformation()
    if reader.GetSize()[:2] != image_size(dataset)[:2]:
        raise ValueError("two readers find two sizes")
    check_size(path, image_size(dataset), decoded_bytes_per_pixel(reader))  # a rescale may make eight bytes of two
    volume = reader.Execute()
    if volume.GetNumberOfComponentsPerPixel() == 1:
        return volume
    grey = sitk.GetImageFromArray(luminance(sitk.GetArrayViewFromImage(volume)))
    grey.CopyInformation(volume)
    return grey


def _decode_signed_12_bits(path: Path, dataset: Dataset) -> sitk.Image:
    """As :func:`_decode` for MONOCHROME1 of 12 signed bits, which GDCM refuses to invert: by a copy in MONOCHROME2."""
    import pydicom

    greys = grey_values(dataset)
    assert greys is not None
    whole = pydicom.dcmread(path, force=True)
    copy = pydicom.Dataset()
    copy.file_meta = pydicom.dataset.FileMetaDataset()
    copy.file_meta.TransferSyntaxUID = getattr(whole.file_meta, "TransferSyntaxUID", IMPLICIT_LITTLE_ENDIAN)
    for keyword in (*PIXEL_TAGS, "SOPClassUID", "SOPInstanceUID", "ImageOrientationPatient", "ImagePositionPatient"):
        if keyword in whole:
            copy[keyword] = whole[keyword]
    copy["PixelData"] = whole["PixelData"]
    copy.PhotometricInterpretation = "MONOCHROME2"
    with tempfile.TemporaryDirectory() as folder:
        pydicom.dcmwrite(Path(folder) / "copy.dcm", copy, enforce_file_format=True)
        volume = _decode(Path(folder) / "copy.dcm", copy)
    pixels = sitk.GetArrayViewFromImage(volume)
    inverted = sitk.GetImageFromArray((greys.of_rescaled(0) - pixels).astype(pixels.dtype))
    inverted.CopyInformation(volume)
    return inverted


def _place(volume: sitk.Image, origin_lps_mm: np.ndarray, direction: np.ndarray, gap_mm: float) -> None:
    volume.SetOrigin(origin_lps_mm.tolist())
    volume.SetDirection(direction.ravel().tolist())
    volume.SetSpacing((1.0, 1.0, gap_mm))


def _finished(path: Path, volume: sitk.Image, header: Dataset, spacing_mm: tuple[float, float] | None) -> MedicalImage:
    spacing, source = dicom_spacing(header) or (spacing_mm, SpacingSource.GIVEN)
    if spacing is None:
        spacing, source = (1.0, 1.0), SpacingSource.UNKNOWN
    is_ct = str(header.get("SOPClassUID", "")) in _CT_CLASSES
    volume = without_padding(volume, padding_range(header), is_ct)
    volume.SetSpacing((*spacing, volume.GetSpacing()[2]))
    return MedicalImage(volume, source, path.name, dicom_acquisition(header), display_window(header))
