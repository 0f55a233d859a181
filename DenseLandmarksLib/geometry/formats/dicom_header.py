"""The tags of a DICOM image, by pydicom, checked against its limits, its length and its codestreams before decoding."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.dicom_codestream import codestream_sizes
from DenseLandmarksLib.geometry.formats.dicom_data_set import open_data_set
from DenseLandmarksLib.geometry.formats.dicom_spacing import is_projection
from DenseLandmarksLib.geometry.formats.dicom_tags import tag_code, tag_codes, tag_number, tag_numbers, tag_values
from DenseLandmarksLib.geometry.formats.image_limits import (
    MAX_JPEG_2000_PIXELS_PER_BYTE,
    MAX_JPEG_PIXELS_PER_BYTE,
    check_held,
    check_size,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PIXEL_TAGS = [
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
]
# Nothing else is read, so that no patient, place or day can get into an object or a message.
_TAGS = [
    *PIXEL_TAGS,
    "SOPClassUID",
    "ImageType",
    "SeriesInstanceUID",
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "ImageLaterality",
    "Laterality",
    "PatientOrientation",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "PixelSpacing",
    "PixelSpacingCalibrationType",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "EstimatedRadiographicMagnificationFactor",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "VOILUTSequence",
    "ModalityLUTSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]
_STORAGE = "1.2.840.10008.5.1.4.1.1."
# DICOMDIR, then waveforms, presentation states, registrations, reports, documents and radiotherapy plans (PS3.4, B.5).
_NO_IMAGES = (
    "1.2.840.10008.1.3.10",
    *(_STORAGE + family for family in ("9.", "11.", "66", "67", "88.", "104.", "481.")),
)
IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
_DEFLATED = IMPLICIT_LITTLE_ENDIAN + ".1.99"
_NATIVE = (IMPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN + ".1", IMPLICIT_LITTLE_ENDIAN + ".2", _DEFLATED)
_RLE = IMPLICIT_LITTLE_ENDIAN + ".5"
# JPEG baseline, extended and lossless, JPEG-LS, JPEG 2000: what ITK's GDCM decodes (DICOM PS3.5, 10).
_CODESTREAMS = tuple(f"{IMPLICIT_LITTLE_ENDIAN}.4.{n}" for n in (50, 51, 57, 70, 80, 81, 90, 91))
# GDCM makes 15 MB of runs in a second: long ones, which radiographs do not have, could keep it busy for minutes.
_FAST_RUN_BYTES, _MAX_RUN_RATIO = 1 << 26, 8
_JPEGS = tuple(f"{IMPLICIT_LITTLE_ENDIAN}.4.{n}" for n in (50, 51, 57, 70))


def read_header(path: Path) -> Dataset:
    """What is needed of a DICOM file's tags; raises :class:`InputError` for one without an image or beyond decoding.

    Sizes are checked here against the limits, the length of the file and the codestreams' own headers.
    """
    with open_data_set(path, _TAGS) as (dataset, file, length):
        if "Rows" not in dataset or "Columns" not in dataset:
            raise InputError(
                f"{path}: expected a DICOM image, got a DICOM object without one "
                f"(modality {stated_modality(dataset)}); give the image file"
            )
        _check_pixel_tags(dataset)
        stored = stored_bytes(dataset)
        size = image_size(dataset)
        check_size(path, size, stored / math.prod(size))
        syntax = getattr(dataset.file_meta, "TransferSyntaxUID", IMPLICIT_LITTLE_ENDIAN)
        if syntax not in (*_NATIVE, _RLE, *_CODESTREAMS):
            name = getattr(syntax, "name", syntax)
            name = "a private one" if name == syntax else name
            raise InputError(f"{path}: expected a transfer syntax for images, got {name}; export it uncompressed")
        if syntax in _NATIVE:
            check_held(length - file.tell(), _native_bytes(dataset, file, stored))
        else:
            _check_compressed(path, dataset, syntax, file, length)
    return dataset


class SeriesMember(NamedTuple):
    """The series that an image belongs to, and where it may lie in a volume.

    ``orientation`` are the cosines of its rows and columns, to two digits, of a single slice of a body that says where it
    lies; of all other images none. A localiser (a scout) is of no volume.
    """

    uid: str
    orientation: tuple[float, ...] = ()
    is_localiser: bool = False

    @property
    def is_slice(self) -> bool:
        """Whether other images may complete it to a volume."""
        return bool(self.orientation)


def series_of(path: Path) -> SeriesMember | None:
    """The series that a DICOM file's image belongs to, ``None`` for an object of a class without one such as a report.

    Raises ``ValueError`` for an object of another class that holds no image: its file may be cut off.
    """
    with open_data_set(path, _TAGS) as (dataset, _, _):
        if "Rows" in dataset:
            uid = str(dataset.get("SeriesInstanceUID", ""))
            is_localiser = "LOCALIZER" in tag_codes(dataset, "ImageType")
            cosines = tag_numbers(dataset, "ImageOrientationPatient")
            has_place = len(cosines) == 6 and len(tag_numbers(dataset, "ImagePositionPatient")) == 3
            if is_localiser or not has_place or frame_count(dataset) > 1 or is_projection(dataset):
                return SeriesMember(uid, is_localiser=is_localiser)
            return SeriesMember(uid, tuple(round(cosine, 2) + 0.0 for cosine in cosines))
        if str(dataset.get("SOPClassUID", dataset.file_meta.get("MediaStorageSOPClassUID", ""))).startswith(_NO_IMAGES):
            return None
        raise ValueError("an image class without an image")


def stated_modality(dataset: Dataset) -> str:
    return tag_code(dataset, "Modality") or "not stated"


def frame_count(dataset: Dataset) -> int:
    return int(tag_number(dataset, "NumberOfFrames", 1))


def image_size(dataset: Dataset) -> tuple[int, int, int]:
    return int(dataset.Columns), int(dataset.Rows), frame_count(dataset)


def stored_bytes(dataset: Dataset) -> int:
    samples = int(tag_number(dataset, "SamplesPerPixel", 1))
    if "_422" in tag_code(dataset, "PhotometricInterpretation"):  # two colours for two pixels
        samples = 2
    return math.ceil(math.prod(image_size(dataset)) * samples * tag_number(dataset, "BitsAllocated", 16) / 8)


def _check_pixel_tags(dataset: Dataset) -> None:
    """Refuse (``ValueError``) what DICOM PS3.3, C.7.6.3.1 does not allow; GDCM makes an image of it all the same."""
    samples, allocated, stored, signed, frames = (
        tag_number(dataset, keyword, otherwise)
        for keyword, otherwise in (
            ("SamplesPerPixel", 1),
            ("BitsAllocated", 0),
            ("BitsStored", 0),
            ("PixelRepresentation", 0),
            ("NumberOfFrames", 0 if "NumberOfFrames" in dataset and tag_values(dataset, "NumberOfFrames") else 1),
        )
    )
    photometric = tag_code(dataset, "PhotometricInterpretation")
    colour = photometric in ("RGB", "ARGB", "CMYK", "HSV") or photometric.startswith("YBR_")
    if (
        allocated not in (1, 8, 12, 16, 32, 64)
        or not 0 < stored <= allocated
        or signed not in (0, 1)
        or frames < 1
        or samples != (1 if not colour else 4 if photometric in ("ARGB", "CMYK") else 3)
        or not (colour or photometric in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"))
    ):
        raise ValueError("pixel tags that cannot be")


def _check_compressed(path: Path, dataset: Dataset, syntax: str, file: BinaryIO, length: int) -> None:
    """Refuse compressed pixels, ``file`` being at them, that are none, of another size, or too many for ``length``."""
    if not _is_encapsulated(file):
        raise ValueError("raw pixels in a compressed transfer syntax")
    if syntax == _RLE:
        if stored_bytes(dataset) > max(_FAST_RUN_BYTES, length * _MAX_RUN_RATIO):
            raise InputError(
                f"{path}: expected run lengths of at most {_FAST_RUN_BYTES >> 20} MiB, or packed {_MAX_RUN_RATIO}:1 at "
                f"best, got {stored_bytes(dataset) >> 20} MiB from {length / 2**20:.1f}; export it uncompressed"
            )
        return
    size = image_size(dataset)
    check_held(length, math.prod(size), MAX_JPEG_PIXELS_PER_BYTE if syntax in _JPEGS else MAX_JPEG_2000_PIXELS_PER_BYTE)
    expected = (size[0], size[1], int(tag_number(dataset, "SamplesPerPixel", 1)))
    for found in codestream_sizes(file):
        if found[:3] != expected or found.bits > tag_number(dataset, "BitsAllocated", 0):
            raise InputError(
                f"{path}: expected compressed pixels of {size[0]} x {size[1]}, got some of "
                f"{found.columns} x {found.rows} with {found.samples} values of {found.bits} bits; "
                "export the image again"
            )


def _is_encapsulated(file: BinaryIO) -> bool:
    """Whether the element that ``file`` is at has an undefined length, as compressed pixels do (DICOM PS3.5, A.4)."""
    at = file.tell()
    head = file.read(12)
    file.seek(at)
    return head[8:] == b"\xff\xff\xff\xff"


def _native_bytes(dataset: Dataset, file: BinaryIO, stored: int) -> int:
    """The length of uncompressed pixel data (with its tag and VR), which must be what the sizes ask for, or a bit more."""
    implicit, little = dataset.original_encoding if hasattr(dataset, "original_encoding") else (False, True)
    at = file.tell()
    head = file.read(8 if implicit else 12)
    file.seek(at)
    claimed = int.from_bytes(head[-4:], "little" if little in (True, None) else "big")
    return len(head) + max(claimed, stored)
