"""Which images are of one patient, without saying who that is."""

from __future__ import annotations

import hashlib
import hmac
import logging
from pathlib import Path

from DenseLandmarksLib.geometry.formats.dicom_data_set import open_data_set
from DenseLandmarksLib.geometry.formats.reading import quiet_readers
from DenseLandmarksLib.geometry.formats.signatures import HEAD_BYTES, format_of
from DenseLandmarksLib.geometry.image_files import image_files

logger = logging.getLogger(__name__)

_KEY_LENGTH = 16


def patient_key(path: Path, salt: bytes) -> str:
    """16 hexadecimal digits, HMAC-SHA256 with ``salt`` over the PatientID of a DICOM file or series; empty without one.

    It keeps a patient's images together in training and says nothing to those without the library. Those who have the
    library have the salt, and could try the IDs that they know.
    """
    try:
        # All slices of a series are of one patient.
        files = image_files(path) if path.is_dir() else [path]
        identifier = next(filter(None, map(_patient_id, files)), "")
    except Exception as error:  # parsers raise anything on damaged data, and what they say may quote it
        logger.debug("no patient ID could be read: %s", type(error).__name__)
        return ""
    return (
        hmac.new(salt, b"patient " + identifier.encode(), hashlib.sha256).hexdigest()[:_KEY_LENGTH]
        if identifier
        else ""
    )


def _patient_id(path: Path) -> str:
    with path.open("rb") as file:
        if format_of(file.read(HEAD_BYTES)) != "DICOM":
            return ""
    with quiet_readers(), open_data_set(path, ["PatientID"]) as (dataset, _, _):
        return str(dataset.get("PatientID", "") or "").strip()
