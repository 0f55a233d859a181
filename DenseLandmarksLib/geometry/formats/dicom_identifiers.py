"""What in a DICOM file's header could name a person, a place or a stay: for comparing with a name, and for nothing else.

Nobody may keep, print or write what :func:`read_identifiers` returns.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DenseLandmarksLib.geometry.formats.dicom_data_set import open_data_set
from DenseLandmarksLib.geometry.formats.reading import quiet_readers

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# From the basic profile of DICOM PS3.15, table E.1-1, what people put into file names. UIDs are left out: they are the
# usual names of files and folders, and name nobody without access to the archive that they came from.
_TAGS = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "OtherPatientIDs",
    "OtherPatientNames",
    "OtherPatientIDsSequence",
    "PatientBirthName",
    "PatientMotherBirthName",
    "PatientBirthDate",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "PatientComments",
    "MedicalRecordLocator",
    "MilitaryRank",
    "BranchOfService",
    "InsurancePlanIdentification",
    "ResponsiblePerson",
    "ResponsibleOrganization",
    "CountryOfResidence",
    "RegionOfResidence",
    "Occupation",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "StationName",
    "DeviceSerialNumber",
    "ReferringPhysicianName",
    "ReferringPhysicianAddress",
    "ReferringPhysicianTelephoneNumbers",
    "ReferringPhysicianIdentificationSequence",
    "ConsultingPhysicianName",
    "PhysiciansOfRecord",
    "PerformingPhysicianName",
    "NameOfPhysiciansReadingStudy",
    "RequestingPhysician",
    "RequestingService",
    "OperatorsName",
    "AccessionNumber",
    "StudyID",
    "AdmissionID",
    "ServiceEpisodeID",
    "FillerOrderNumberImagingServiceRequest",
    "PlacerOrderNumberImagingServiceRequest",
    "RequestedProcedureID",
    "PerformedProcedureStepID",
    "ScheduledProcedureStepID",
    "RequestAttributesSequence",
    "AdmittingDate",
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "ContentDate",
)
_SIGNATURES_OF_OTHERS = (b"\x89PNG", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"NRRD", b"\x1f\x8b", b"ObjectType")
_SUFFIXES_OF_OTHERS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".nii", ".gz", ".nrrd", ".mha", ".mhd")
_SUFFIXES = (".dcm", ".dicom", ".dic", ".ima")
# How names are written where the keyboard has no such letters.
_TRANSLITERATION = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae", "ł": "l"})
_LONG_ENOUGH = 3


def read_identifiers(path: Path) -> frozenset[str] | None:
    """The words, numbers and dates, in small letters, of the identifying tags of a DICOM file.

    Empty for a file of another format. ``None`` for a DICOM file whose header cannot be read up to the image: nothing
    is then known to be harmless. The same for a file that cannot be opened and could be DICOM by its name. Of a folder
    those of all its files, for they may be of several patients.
    """
    if path.is_dir():
        found = [read_identifiers(file) for file in path.iterdir() if not file.name.startswith(".") and file.is_file()]
        known = [identifiers for identifiers in found if identifiers is not None]
        return frozenset[str]().union(*known) if len(known) == len(found) else None
    try:
        with path.open("rb") as file:
            head = file.read(132)
    except OSError:
        return frozenset() if path.suffix.lower() in _SUFFIXES_OF_OTHERS else None
    try:
        has_preamble = head[128:] == b"DICM"
        # Files from before DICOM part 10 begin with their first element, of group 2 or 8.
        bare = head[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08") or path.suffix.lower() in _SUFFIXES
        if not has_preamble and (not bare or head.startswith(_SIGNATURES_OF_OTHERS)):
            return frozenset()
        # What pydicom warns of and logs quotes values.
        with quiet_readers(), open_data_set(path, (*_TAGS, "Rows")) as (dataset, _, _):
            if "Rows" not in dataset:  # cut off before the image's own tags, and so perhaps before the patient's
                return None
            for about_the_file in ("Rows", "SpecificCharacterSet"):
                dataset.pop(about_the_file, None)
            return frozenset(token for value in _values(dataset) for token in _tokens(value))
    except Exception:  # parsers raise anything on damaged data, and what they say may quote it
        return None


def contains_identifier(text: str, identifiers: Collection[str]) -> bool:
    """Whether ``text`` holds any of ``identifiers``, whatever its letter case, accents and separators.

    Words of two letters count when they stand alone, everything longer anywhere.
    """
    for form in _forms(text):
        words = _words(form)
        squeezed = "".join(words)
        for token in identifiers:
            if token in words if _must_stand_alone(token) else token in form or token in squeezed:
                return True
    return False


def _values(dataset: Dataset) -> Iterator[str]:
    """Every value of a data set and of those nested in it, as text."""
    for element in dataset:
        if element.VR == "SQ":
            for nested in element.value:
                yield from _values(nested)
            continue
        for value in _each(element.value):
            yield str(value)


def _each(value: Any) -> Iterator[Any]:
    if value is None:
        return
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__") or hasattr(value, "family_name"):
        yield value
    else:
        yield from value


def _tokens(value: str) -> Iterator[str]:
    for form in _forms(value):
        words = _words(form)
        for word in words:
            if len(word) >= _LONG_ENOUGH or not word.isascii() or (len(word) == 2 and word.isalpha()):
                yield word
        together = "".join(words)
        if len(together) >= _LONG_ENOUGH and any(c.isdigit() for c in together):  # 12-345 is also written 12345
            yield together
    yield from _date_spellings(value)


def _must_stand_alone(token: str) -> bool:
    return len(token) < _LONG_ENOUGH and token.isascii()


def _forms(text: str) -> set[str]:
    """Small letters without accents: as the alphabet orders them (ü as u) and as they are transliterated (ü as ue)."""
    small = unicodedata.normalize("NFC", text).casefold()
    spelled = (small, small.translate(_TRANSLITERATION))
    return {"".join(c for c in unicodedata.normalize("NFKD", form) if not unicodedata.combining(c)) for form in spelled}


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", text) if word]


def _date_spellings(value: str) -> Iterator[str]:
    """The usual spellings of a DICOM date (YYYYMMDD), without separators; none for any other value."""
    digits = value.replace(".", "").strip()
    if not re.fullmatch(r"\d{8}", digits):
        return
    try:
        day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return
    # Numbers only: strftime's names of months depend on the locale.
    year, month, number = f"{day.year:04}", f"{day.month:02}", f"{day.day:02}"
    name = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")[day.month - 1]
    for y in (year, year[2:]):
        for m in (month, name):
            yield from (y + m + number, number + m + y, m + number + y)
    # 3.4.1947 squeezed is 341947.
    yield from (f"{day.day}{day.month}{year}", f"{day.month}{day.day}{year}", f"{year}{day.month}{day.day}")
