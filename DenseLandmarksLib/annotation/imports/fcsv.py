"""Landmarks out of Slicer's old fiducial list (``.fcsv``), which Slicer no longer writes from 5.12 on."""

from __future__ import annotations

import csv

from DenseLandmarksLib.annotation.imports.imported_landmarks import (
    ImportedLandmarks,
    ImportedPoint,
    gather,
    numbers,
    point_lps_mm,
    shown,
)
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.landmarks.landmark_set import Presence

_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
# Slicer up to 4.10 wrote its own numbers; checked against the reader of slicer-core 5.11, LPS by default included.
_FRAMES = {"0": "RAS", "1": "LPS", "RAS": "RAS", "LPS": "LPS"}
# Slicer 5 adds two fields behind the named columns, the first of them vtkMRMLMarkupsNode's position status.
_STATUS = {"0": Presence.UNPLACED, "1": Presence.UNPLACED, "2": Presence.PRESENT, "3": Presence.ABSENT}


def landmarks_of_fcsv(text: str, geometry: ImageGeometry) -> ImportedLandmarks:
    """All points of the list: label = name, desc = structure, in the frame that ``# CoordinateSystem`` states.

    A missing point is absent and an undefined one unplaced; files of Slicer 4 know neither. Raises
    :class:`InputError` for anything that is not such a list.
    """
    stated = {"CoordinateSystem": "LPS", "columns": _COLUMNS}
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.startswith("#"):
            key, _, value = line.lstrip("# ").partition("=")
            stated[key.strip()] = value.strip()
        elif line.strip():
            lines.append(line)
    frame = _FRAMES.get(stated["CoordinateSystem"])
    if frame is None:
        raise InputError(
            f"expected a CoordinateSystem of LPS, RAS, 0 or 1, got {shown(stated['CoordinateSystem'])}. "
            "Save the list from Slicer again."
        )
    columns = [column.strip() for column in stated["columns"].split(",")]
    if not {"x", "y", "z", "label"} <= set(columns):
        raise InputError(f"expected the columns x, y, z and label, got {shown(columns)}. Save it from Slicer again.")
    points = []
    for line in lines:
        try:
            (row,) = csv.reader([line], strict=True)
        except (csv.Error, ValueError):
            row = []
        if len(row) < len(columns):
            raise InputError(f"expected {len(columns)} fields in a line, got {shown(line)}. Save it from Slicer again.")
        points.append(_point(row, columns, frame, geometry))
    return gather(points, geometry)


def _point(row: list[str], columns: list[str], frame: str, geometry: ImageGeometry) -> ImportedPoint:
    record, behind = dict(zip(columns, row, strict=False)), row[len(columns) :]
    presence = _STATUS.get(behind[0]) if behind else Presence.PRESENT
    if presence is None:
        raise InputError(f"expected a position status of 0 to 3, got {shown(behind[0])}. Save it from Slicer again.")
    point = None
    if presence is Presence.PRESENT:
        position = numbers([record[axis] for axis in "xyz"], 3, f"the position of {shown(record['label'])}")
        point = point_lps_mm(position, frame, False, geometry)
    return ImportedPoint(record["label"], record.get("desc", ""), presence, point)
