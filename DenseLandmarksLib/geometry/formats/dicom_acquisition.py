"""What a DICOM file states about how its picture was taken, and which way its patient lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.geometry.formats.dicom_tags import tag_code, tag_codes, tag_numbers

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# Toward the patient's left, back and head: the axes of DICOM's frame (LPS).
_TOWARD, _AWAY = "LPH", "RAF"


def dicom_acquisition(dataset: Dataset) -> Acquisition:
    """Codes of a DICOM data set (PS3.3, C.7.6.1.1.1 for *Patient Orientation*), without anything that names a person."""
    laterality = tag_code(dataset, "ImageLaterality") or tag_code(dataset, "Laterality")
    cosines = tag_numbers(dataset, "ImageOrientationPatient")
    orientation = _orientation_of_codes(tag_codes(dataset, "PatientOrientation"))
    if orientation is None and len(cosines) == 6:
        orientation = orientation_of_cosines(cosines[:3], cosines[3:])
    return Acquisition(
        modality=tag_code(dataset, "Modality"),
        body_part=tag_code(dataset, "BodyPartExamined"),
        view_position=tag_code(dataset, "ViewPosition"),
        laterality=laterality if laterality in ("R", "L") else "",
        patient_orientation=orientation,
    )


def orientation_of_cosines(row_lps: ArrayLike, column_lps: ArrayLike) -> tuple[str, str] | None:
    """Letters of the main directions (3,) that rows and columns run to; ``None`` unless they are two different axes."""
    letters = []
    axes = []
    for cosines in (np.asarray(row_lps, np.float64), np.asarray(column_lps, np.float64)):
        axis = int(np.abs(cosines).argmax())
        axes.append(axis)
        letters.append((_TOWARD if cosines[axis] > 0 else _AWAY)[axis])
        if abs(cosines[axis]) < 0.5:  # of a unit vector at least 1 / sqrt(3): these are no directions
            return None
    return (letters[0], letters[1]) if axes[0] != axes[1] else None


def _orientation_of_codes(codes: tuple[str, ...]) -> tuple[str, str] | None:
    """First letters of the two values; further letters (``LP``) tell how oblique the direction is."""
    if len(codes) != 2 or not all(set(code) <= set(_TOWARD + _AWAY) for code in codes):
        return None
    row, column = codes[0][0], codes[1][0]
    same_axis = any({row, column} <= {toward, away} for toward, away in zip(_TOWARD, _AWAY, strict=True))
    return None if same_axis else (row, column)
