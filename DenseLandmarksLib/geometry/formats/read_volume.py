"""NIfTI, NRRD and MetaImage, of one slice or many, by ITK."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.geometry.formats.dicom_acquisition import orientation_of_cosines
from DenseLandmarksLib.geometry.formats.image_limits import check_size
from DenseLandmarksLib.geometry.formats.itk_pixels import decoded_bytes_per_pixel
from DenseLandmarksLib.geometry.formats.luminance import luminance
from DenseLandmarksLib.geometry.formats.nifti_file import check_nifti, check_nifti_name
from DenseLandmarksLib.geometry.formats.padding import defined, without_padding
from DenseLandmarksLib.geometry.formats.text_volume_header import check_text_volume, read_text_header
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage

# NIFTI_TYPE_*: bytes per voxel by data type (nifti1.h). ITK's own type is another where the values are scaled.
_NIFTI_BYTES = {
    2: 1,
    4: 2,
    8: 4,
    16: 4,
    32: 8,
    64: 8,
    128: 3,
    256: 1,
    512: 2,
    768: 4,
    1024: 8,
    1280: 8,
    1792: 16,
    2304: 4,
}

_NIFTI_FLOATS = {16: 4, 64: 8, 32: 4, 1792: 8}


def read_volume(path: Path, kind: str, spacing_mm: tuple[float, float] | None) -> MedicalImage:
    """Read a ``"NIfTI"``, ``"NRRD"`` or ``"MetaImage"``.

    The spacing of these formats is a plain number without a source. ``spacing_mm`` replaces that of a single slice;
    1 x 1 there is the formats' default and proves nothing. The direction of a single slice names its orientation only
    where the plane holds the head-foot axis: an axial one is the default as well.
    """
    text_header = None
    if kind == "NIfTI":
        check_nifti_name(path)
    else:
        text_header = read_text_header(path, kind)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO({"NIfTI": "NiftiImageIO", "NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO"}[kind])
    reader.ReadImageInformation()
    size = reader.GetSize()
    decoded_bytes = decoded_bytes_per_pixel(reader)
    voxel_bytes = _NIFTI_BYTES[int(reader.GetMetaData("datatype"))] if kind == "NIfTI" else decoded_bytes
    check_size(path, size, max(voxel_bytes, decoded_bytes))
    pixel_bytes = math.prod(size) * voxel_bytes
    undefined = None
    if text_header is None:
        undefined = check_nifti(path, pixel_bytes, _NIFTI_FLOATS.get(int(reader.GetMetaData("datatype")), 0))
    else:
        check_text_volume(text_header, kind, pixel_bytes)
    volume = _grey_with_three_axes(path, _execute(path, reader))
    if undefined is not None:
        # Of more than three axes only the first volume is kept.
        undefined = undefined[: math.prod(volume.GetSize())].reshape(volume.GetSize()[::-1])
    volume = without_padding(defined(volume, undefined))

    one_slice = volume.GetSize()[2] == 1
    x, y, z = volume.GetSpacing()
    source = SpacingSource.GIVEN
    if one_slice and spacing_mm:
        volume.SetSpacing((*spacing_mm, z))
    elif one_slice and x == y == 1:
        source = SpacingSource.UNKNOWN
    direction = np.array(volume.GetDirection()).reshape(3, 3)
    orientation = orientation_of_cosines(direction[:, 0], direction[:, 1])
    if not (one_slice and orientation and set(orientation) & set("HF")):
        orientation = None
    return MedicalImage(volume, source, path.name, Acquisition(patient_orientation=orientation), _display_range(reader))


def _execute(path: Path, reader: sitk.ImageFileReader) -> sitk.Image:
    try:
        return reader.Execute()
    except RuntimeError as error:
        if len(reader.GetSize()) == 2 and "determinant" in str(error):
            raise InputError(
                f"{path}: expected an image of two axes in the plane of the first two, got one that stands in space; "
                "save it with a third axis of one slice"
            ) from None
        raise


def _grey_with_three_axes(path: Path, volume: sitk.Image) -> sitk.Image:
    size = volume.GetSize()
    if len(size) == 2:
        volume = sitk.JoinSeries(volume)
    elif len(size) > 3:
        volume = sitk.Extract(volume, [*size[:3], *[0] * (len(size) - 3)])
    channels = volume.GetNumberOfComponentsPerPixel()
    if channels == 1:
        return volume
    if channels not in (3, 4):
        raise InputError(f"{path}: expected a grey or colour image, got {channels} values per pixel; export it as grey")
    grey = sitk.GetImageFromArray(luminance(sitk.GetArrayViewFromImage(volume)))
    grey.CopyInformation(volume)
    return grey


def _display_range(reader: sitk.ImageFileReader) -> tuple[float, float] | None:
    """NIfTI's ``cal_min`` and ``cal_max``; both 0 where nothing is stated."""
    if not (reader.HasMetaDataKey("cal_min") and reader.HasMetaDataKey("cal_max")):
        return None
    black, white = float(reader.GetMetaData("cal_min")), float(reader.GetMetaData("cal_max"))
    return (black, white) if black < white and math.isfinite(white - black) else None
