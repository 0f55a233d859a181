"""The pixel spacing that a DICOM file can prove, and by which of its tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from DenseLandmarksLib.geometry.formats.dicom_tags import tag_number, tag_numbers, tag_values
from DenseLandmarksLib.geometry.image_geometry import SpacingSource

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_DICOM_IMAGE = "1.2.840.10008.5.1.4.1.1."
# CR, then everything beneath it (DX, mammography, intra-oral), then XA and RF: DICOM PS3.4, table B.5-1.
_PROJECTION_CLASSES = (_DICOM_IMAGE + "1", _DICOM_IMAGE + "1.", _DICOM_IMAGE + "12.")


def dicom_spacing(dataset: Dataset) -> tuple[tuple[float, float], SpacingSource] | None:
    """Pixel size (x, y) in mm that a DICOM data set proves, and how; ``None`` when it proves none.

    ``PixelSpacing`` counts as calibrated when the file says how it was calibrated, when it differs from the spacing at
    the detector, and in every class that is not a projection (DICOM PS3.3, 10.7). Otherwise the spacing is that at
    the detector (a digitised film's at the film), divided by the estimated magnification where there is one. ITK and
    Slicer read only one of the tags per class and so lose or ignore the calibrated one.
    """
    pixel = _positive_pair(dataset, "PixelSpacing")
    detector = _positive_pair(dataset, "ImagerPixelSpacing") or _positive_pair(dataset, "NominalScannedPixelSpacing")
    if pixel:
        differs = detector is not None and not np.allclose(pixel, detector, rtol=1e-3)
        stated = bool(tag_values(dataset, "PixelSpacingCalibrationType"))
        if stated or differs or (detector is None and not is_projection(dataset)):
            return pixel, SpacingSource.CALIBRATED
    # Older CR files have PixelSpacing alone and mean the detector by it.
    at_detector = detector or pixel
    if at_detector is None:
        return None
    magnification = tag_number(dataset, "EstimatedRadiographicMagnificationFactor", 1.0)
    if magnification <= 0:
        magnification = 1.0
    return (at_detector[0] / magnification, at_detector[1] / magnification), SpacingSource.DETECTOR


def is_projection(dataset: Dataset) -> bool:
    """Whether the class of a DICOM data set is an X-ray projection: CR, DX, mammography, intra-oral, XA or RF."""
    sop_class = str(dataset.get("SOPClassUID", ""))
    return sop_class == _PROJECTION_CLASSES[0] or sop_class.startswith(_PROJECTION_CLASSES[1:])


def _positive_pair(dataset: Dataset, keyword: str) -> tuple[float, float] | None:
    """A DICOM spacing, stored as (between rows, between columns), as (x, y)."""
    values = tag_numbers(dataset, keyword)
    return (values[1], values[0]) if len(values) == 2 and min(values) > 0 else None
