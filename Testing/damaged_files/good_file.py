"""A good file of any format, whatever family it belongs to."""

from __future__ import annotations

import numpy as np

from Testing.damaged_files.good_dicom import SYNTAXES, dicom_bytes, good_dataset
from Testing.damaged_files.good_pictures import PNG_FORMATS, TIFF_FORMATS, good_picture
from Testing.damaged_files.good_volumes import META_FORMATS, NIFTI_FORMATS, NRRD_FORMATS, good_volume

DICOM_FORMATS = tuple(SYNTAXES)
PICTURE_FORMATS = (*PNG_FORMATS, "JPEG", *TIFF_FORMATS)
VOLUME_FORMATS = (*NIFTI_FORMATS, *NRRD_FORMATS, *META_FORMATS)
FORMATS = (*DICOM_FORMATS, *PICTURE_FORMATS, *VOLUME_FORMATS)
_SUFFIXES = {
    "DICOM": ".dcm",
    "PNG": ".png",
    "JPEG": ".jpg",
    "TIFF": ".tif",
    "NIfTI": ".nii",
    "NRRD": ".nrrd",
    "MetaImage": ".mha",
}


def good_file(name: str, rng: np.random.Generator) -> bytes:
    """A file of format ``name`` that every reader must take."""
    if name in DICOM_FORMATS:
        return dicom_bytes(good_dataset(name, rng))
    return good_picture(name, rng) if name in PICTURE_FORMATS else good_volume(name, rng)


def family(name: str) -> str:
    """The format without its variant: ``"DICOM"`` for ``"DICOM RLE"``."""
    return name.split()[0]


def suffix(name: str) -> str:
    """What file names of this format end in."""
    return ".nii.gz" if name == "NIfTI gz" else _SUFFIXES[family(name)]
