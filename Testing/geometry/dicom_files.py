"""DICOM files as tests need them: one call, any tag, no patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from DenseLandmarksLib.geometry.read_image import read_image

CR, DX = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"
XA, RF = "1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2"
SC, CT = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
# 40 rows, 48 columns, 12 bits, no two neighbours alike.
PIXELS: NDArray[np.uint16] = (np.arange(40)[:, None] * 97 + np.arange(48) * 31).astype(np.uint16) % 4096


def write_dicom(path: Path, sop_class: str = DX, pixels: NDArray[Any] = PIXELS, **tags: Any) -> Path:
    """Write ``pixels`` (rows, columns) or (frames, rows, columns); uint16 in 12 bits unless ``tags`` say otherwise."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = 8 * pixels.dtype.itemsize
    stored = 12 if pixels.dtype == np.uint16 else bits
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, stored, stored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
        if keyword == "BitsStored":
            dataset.HighBit = value - 1
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_ct_slices(folder: Path, heights_mm: list[float], series: str = "1.2.3", **tags: Any) -> list[Path]:
    """One CT slice per height, named in the order given; slice ``i`` shows ``PIXELS + i``, its rescale takes off 1024."""
    folder.mkdir(exist_ok=True)
    written = []
    for i, height in enumerate(heights_mm):
        position = {
            "Modality": "CT",
            "SeriesInstanceUID": series,
            "ImagePositionPatient": [-10.0, -20.0, height],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [0.7, 0.6],
            "RescaleSlope": "1",
            "RescaleIntercept": "-1024",
        }
        written.append(write_dicom(folder / f"{series}_{i:03}", CT, PIXELS % 2048 + np.uint16(i), **(position | tags)))
    return written


def write_enhanced_ct(path: Path, heights_mm: list[float]) -> Path:
    """Frames at the given heights; frame ``i`` shows ``PIXELS % 2048 + i - 1024``."""

    def item(**values: Any) -> Dataset:
        dataset = Dataset()
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        return dataset

    return write_dicom(
        path,
        ENHANCED_CT,
        np.stack([PIXELS % 2048 + np.uint16(i) for i in range(len(heights_mm))]),
        Modality="CT",
        NumberOfFrames=len(heights_mm),
        SharedFunctionalGroupsSequence=[
            item(
                PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
                PixelMeasuresSequence=[item(PixelSpacing=[0.7, 0.6], SliceThickness=2.5)],
                PixelValueTransformationSequence=[item(RescaleSlope="1", RescaleIntercept="-1024", RescaleType="HU")],
            )
        ],
        PerFrameFunctionalGroupsSequence=[
            item(PlanePositionSequence=[item(ImagePositionPatient=[-10, -20, height])]) for height in heights_mm
        ],
    )


def read_pixels(path: Path) -> NDArray[np.generic]:
    """Pixels of a radiograph as the library reads it."""
    return read_image(path).pixels_yx
