"""Landmarks out of a CSV table: ours, or the one that Slicer exports (``ExportControlPointsToCSV``)."""

from __future__ import annotations

import csv
import io
import re
from typing import NamedTuple

from DenseLandmarksLib.annotation.imports.imported_landmarks import (
    ImportedLandmarks,
    ImportedPoint,
    gather,
    numbers,
    point_lps_mm,
    shown,
    stated_presence,
    stated_review,
)
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.landmarks.landmark_set import Presence


class _Frame(NamedTuple):
    columns: tuple[str, ...]
    name: str
    pixel_units: bool = False


# The first that the header has is read: on a radiograph a landmark is its pixel, whatever the spacing became since.
_FRAMES = (
    _Frame(("x_px", "y_px"), "pixels"),
    _Frame(("l_lps_mm", "p_lps_mm", "s_lps_mm"), "LPS"),
    _Frame(("l_lps_px", "p_lps_px", "s_lps_px"), "LPS", pixel_units=True),
    _Frame(("l", "p", "s"), "LPS"),
    _Frame(("r", "a", "s"), "RAS"),
)
_EXPECTED = "; or ".join(", ".join(frame.columns) for frame in _FRAMES)
_SLICER_TAIL = ("defined", "selected", "visible", "locked", "description")
# Slicer puts quotes around texts without doubling those inside. The seven numbers between them tell where a text ends.
_SLICER_ROW = re.compile(r'"(.*)",' + r"([^,]*)," * 7 + r'"(.*)"')


def landmarks_of_csv(text: str, geometry: ImageGeometry) -> ImportedLandmarks:
    """All rows of a table; the header's names say the frame.

    Positions are in the columns ``x_px, y_px`` (radiographs; pixel centres at integers), ``l_lps_mm, p_lps_mm,
    s_lps_mm`` (``_px`` for ``_mm`` from volumes of unknown spacing), or Slicer's ``l, p, s`` or ``r, a, s``; the name is in ``name`` or ``label``, the structure in
    ``structure`` or ``description``. ``presence`` and ``review`` hold our words; Slicer's ``defined`` of 0 means
    unplaced, as it does not tell missing from undefined. Without either, an empty position is unplaced. Commas,
    semicolons (with decimal commas) and tabs are read. Raises :class:`InputError` for anything else.
    """
    header, rows, decimal = _table(text)
    named = next((column for column in ("name", "label") if column in header), None)
    if named is None or len(set(header)) != len(header):
        raise InputError(
            f"expected a table with one column 'name' or 'label', got the columns {shown(header)}. Add a header row."
        )
    frame = next((frame for frame in _FRAMES if set(frame.columns) <= set(header)), None)
    if frame is None:
        raise InputError(f"expected the columns {_EXPECTED}, got {shown(header)}. Name the frame in the header.")
    if frame.name == "pixels" and not geometry.is_radiograph:
        raise InputError("expected positions in mm for a volume, got x_px, y_px. Export l_lps_mm, p_lps_mm, s_lps_mm.")
    records = [dict(zip(header, row, strict=True)) for row in rows]
    return gather([_point(record, named, frame, decimal, geometry) for record in records], geometry)


def _point(record: dict[str, str], named: str, frame: _Frame, decimal: str, geometry: ImageGeometry) -> ImportedPoint:
    name, structure = record[named], record.get("structure", record.get("description", ""))
    texts = [record[column].strip().replace(decimal, ".") for column in frame.columns]
    if "presence" in record:
        presence = stated_presence(record["presence"])
    elif "defined" in record:
        if record["defined"] not in ("0", "1"):
            raise InputError(f"expected 'defined' to be 0 or 1, got {shown(record['defined'])}. Correct the file.")
        presence = Presence.PRESENT if record["defined"] == "1" else Presence.UNPLACED
    else:
        presence = Presence.PRESENT if any(texts) else Presence.UNPLACED
    point = None
    if presence is Presence.PRESENT:
        position = numbers(texts, len(texts), f"the position of {shown(name)}")
        if frame.name == "pixels":
            point = lps_mm_from_pixels(geometry, [position])[0]
        else:
            point = point_lps_mm(position, frame.name, frame.pixel_units, geometry)
    return ImportedPoint(name, structure, presence, point, stated_review(record.get("review")))


def _table(text: str) -> tuple[list[str], list[list[str]], str]:
    """Header, rows, and the sign of the decimals."""
    first = text.split("\n", 1)[0]
    delimiter = next((sign for sign in ",;\t" if sign in first), ",")
    try:
        header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows = [row for row in rows if row]
        broken = next((row for row in rows if len(row) != len(header)), None)
        problem = "" if broken is None else f"a row of {len(broken)}: {shown(broken)}"
    except (csv.Error, ValueError) as error:
        header, rows, problem = first.replace('"', "").strip().split(delimiter), [], str(error)
    if problem and len(header) == 9 and tuple(header[4:]) == _SLICER_TAIL:
        matches = [_SLICER_ROW.fullmatch(line) for line in text.replace("\r\n", "\n").split("\n")[1:] if line]
        if all(matches):
            return header, [list(match.groups()) for match in matches if match], "."
    if problem and {"name", "label"} & set(header):  # a text of another kind is told so from its header
        raise InputError(f"expected rows of {len(header)} fields, got {problem}. Put quotes around texts with commas.")
    return header, rows, "," if delimiter == ";" else "."
