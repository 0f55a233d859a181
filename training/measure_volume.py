"""One predicted volume against its truth."""

from __future__ import annotations

import numpy as np

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.models.ellipsoids import ellipsoid_volume
from DenseLandmarksLib.models.prediction import Prediction
from training.evaluation_report import METRICS, CaseMeasurement, StructureMeasurement, Values
from training.landmark_measurement import match_landmarks, measure_landmarks
from training.metrics import LandmarkErrors
from training.volume_data import VolumeCase, VolumeDataset


def read_volume_case(case: VolumeCase) -> MedicalImage:
    """The volume of a case; raises :class:`InputError` when it is one slice."""
    image = read_image(case.image_path)
    if image.is_radiograph:
        raise InputError(
            f"expected a volume for case {case.name}, {case.image_path} is one slice. "
            "Restore the volume that the landmarks were placed in."
        )
    return image


def measure_volume_case(
    prediction: Prediction, image: MedicalImage, case: VolumeCase, dataset: VolumeDataset
) -> CaseMeasurement:
    """Measure one prediction against the truth, in LPS millimetres.

    A landmark that is neither annotated nor known to be absent counts nowhere. Raises :class:`InputError` when the
    model is one for radiographs, ``ValueError`` when it gives no position for a landmark that it names.
    """
    if prediction.grid is not None:
        raise InputError(
            f"expected a model for volumes, as {dataset.name} is of volumes, got {prediction.model_name}, which is for "
            "radiographs. Choose another model or another data folder."
        )
    matched = match_landmarks(prediction, dataset.landmark_names, case.name)
    annotated = np.asarray(np.isfinite(case.points_lps_mm).all(axis=1))
    claims_region = np.asarray(matched.covariance_mm2.any(axis=(1, 2)))
    region_ml = np.where(claims_region, ellipsoid_volume(matched.covariance_mm2) / 1000, np.nan)
    errors = LandmarkErrors(*(np.full(len(annotated), np.nan) for _ in LandmarkErrors._fields))
    structures = {}
    for structure in dataset.structures:
        rows = dataset.landmarks_of(structure)
        measured = rows[annotated[rows] & matched.named[rows]]
        absent = rows[case.absent[rows] & matched.named[rows]]
        of_landmarks, of_errors = measure_landmarks(matched, case.points_lps_mm, measured, absent, image.unit)
        for all_errors, some in zip(errors, of_errors, strict=True):
            all_errors[measured] = some
        values: Values = {**dict.fromkeys(METRICS), **of_landmarks}
        if claims_region[measured].any():
            values["median_ellipsoid_90_ml"] = float(np.nanmedian(region_ml[measured]))
        structures[structure] = StructureMeasurement(values, len(measured), len(absent))
    return CaseMeasurement(
        case=case.name,
        images="volumes",
        unit=image.unit,
        model={"name": prediction.model_name, "version": prediction.model_version, "device": prediction.device},
        structures=structures,
        landmark_names=dataset.landmark_names,
        points_lps_mm=matched.points_lps_mm,
        present=matched.present,
        errors=errors,
        region=region_ml,
        unnamed_landmarks=tuple(n for n, known in zip(dataset.landmark_names, matched.named, strict=True) if not known),
    )
