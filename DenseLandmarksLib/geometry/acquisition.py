"""What a file states about how its picture was taken. Nothing here names a patient, a place or a day."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Acquisition:
    """What a file states; an empty string or ``None`` where it states nothing.

    Attributes
    ----------
    modality : DICOM's code such as ``"DX"``.
    body_part : DICOM's code such as ``"CHEST"``.
    view_position : DICOM's code such as ``"PA"``.
    laterality : of a paired body part, ``"R"`` or ``"L"``.
    patient_orientation : where the rows run to (from left to right on the screen) and where the columns run to (from
        top to bottom), each the first letter of DICOM's *Patient Orientation*: one of R, L, A, P, H, F. A frontal chest
        as it is usually looked at has ``("L", "F")``.
    """

    modality: str = ""
    body_part: str = ""
    view_position: str = ""
    laterality: str = ""
    patient_orientation: tuple[str, str] | None = None
