"""Landmarks out of Slicer's markups file (``.mrk.json``), whichever program wrote it."""

from __future__ import annotations

from typing import Any

import numpy as np

from DenseLandmarksLib.annotation.exports.markups import (
    PRESENCE_CODES,
    REVIEW,
    REVIEW_CODES,
    REVIEW_LABEL,
    REVIEW_POSITION,
    label_checksum,
)
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
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review

_PRESENCE = {
    "defined": Presence.PRESENT,
    "missing": Presence.ABSENT,
    "undefined": Presence.UNPLACED,
    "preview": Presence.UNPLACED,  # a point that was still at the mouse
}
# A point that is farther from where it was written was moved.
_SAME_PLACE = 1e-3
_REVIEWS = {
    code + more: (review, presence)
    for review, code in REVIEW_CODES.items()
    for presence, more in PRESENCE_CODES.items()
}
# As written: the word, or the coded entry [value, scheme, meaning] (UCUM).
_MILLIMETRE, _PIXEL = ("mm",), ("px", "pixel", "{pixel}")


def landmarks_of_markups(document: dict[str, Any], geometry: ImageGeometry) -> ImportedLandmarks:
    """All control points of all lists, in order: label = name, description (else the list's name) = structure.

    ``coordinateSystem`` is LPS, the schema's default, or RAS. A point whose status is "missing" is absent; one that is
    "undefined", or has neither a status nor a position, is unplaced. Raises :class:`InputError` for anything else.

    In a file of ours (see :func:`~DenseLandmarksLib.annotation.exports.markups.write_markups`) each point also says what a
    person had decided, ``None`` for one that is new. One that was changed in Slicer since is corrected, for whoever changed
    it saw where it was; unless a person had placed it, who may have seen nothing.
    """
    lists = document.get("markups")
    if not isinstance(lists, list) or not all(isinstance(markup, dict) for markup in lists):
        raise InputError(f"expected 'markups' to be a list of lists, got {shown(lists)}. Save it from Slicer again.")
    return gather([point for markup in lists for point in _points(markup, geometry)], geometry)


def _points(markup: dict[str, Any], geometry: ImageGeometry) -> list[ImportedPoint]:
    frame = markup.get("coordinateSystem", "LPS")
    if frame not in ("LPS", "RAS"):
        raise InputError(f"expected coordinateSystem LPS or RAS, got {shown(frame)}. Save it from Slicer again.")
    pixel_units = _are_pixels(markup.get("coordinateUnits", "mm"))
    controls = markup.get("controlPoints", [])
    if not isinstance(controls, list) or not all(isinstance(control, dict) for control in controls):
        raise InputError(f"expected controlPoints to be a list of points, got {shown(controls)}. Save it again.")
    points = []
    decided = _decisions(markup)
    for control in controls:
        name, structure = _text(control, "label"), _text(control, "description") or _text(markup, "name")
        position = control.get("position")
        placed = position not in ("", None, [], [None, None, None])
        status = control.get("positionStatus", "defined" if placed else "undefined")
        if not isinstance(status, str) or status not in _PRESENCE:
            raise InputError(
                f"expected positionStatus defined, missing or undefined for {shown(name)}, got {shown(status)}. "
                "Correct the file."
            )
        presence, point = _PRESENCE[status], None
        stated_lps = [0.0, 0.0, 0.0]
        if presence is Presence.PRESENT:
            xyz = numbers(position, 3, f"the position of {shown(name)}")
            point = point_lps_mm(xyz, frame, pixel_units, geometry)
            stated_lps = [-xyz[0], -xyz[1], xyz[2]] if frame == "RAS" else xyz
        review = _review(decided.get(label_checksum(name)), presence, stated_lps)
        points.append(ImportedPoint(name, structure, presence, point, review))
    return points


def _decisions(markup: dict[str, Any]) -> dict[int, tuple[int, list[float]]]:
    """By the checksum of a label: code and LPS position of a decision; empty for a list that is not ours."""
    measurements = markup.get("measurements")
    found: dict[Any, Any] = {}
    for measurement in measurements if isinstance(measurements, list) else []:
        if isinstance(measurement, dict):
            found[str(measurement.get("name"))] = measurement.get("controlPointValues")
    columns = [found.get(name) for name in (REVIEW, REVIEW_LABEL, *REVIEW_POSITION)]
    try:
        table = np.array(columns, np.float64)
    except (TypeError, ValueError, OverflowError):
        return {}
    if table.ndim != 2 or not np.isfinite(table).all():
        return {}
    return {int(label): (int(code), position) for code, label, *position in table.T.tolist()}


def _review(decision: tuple[int, list[float]] | None, presence: Presence, position_lps: list[float]) -> Review | None:
    if decision is None:
        return None
    code, position = decision
    was_moved = max(abs(here - there) for here, there in zip(position_lps, position, strict=True)) > _SAME_PLACE
    said = _REVIEWS.get(code)
    if said is None:
        return None
    review, before = said
    if before is presence and not was_moved:
        return review
    return None if Presence.UNPLACED in (presence, before) or review is Review.PLACED else Review.CORRECTED


def _are_pixels(unit: Any) -> bool:
    code = unit[0] if isinstance(unit, list) and unit else unit
    if code in _MILLIMETRE:
        return False
    if code in _PIXEL:
        return True
    raise InputError(f"expected coordinateUnits of mm or pixels, got {shown(unit)}. Convert the file to mm.")


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key, "")
    if not isinstance(value, str):
        raise InputError(f"expected {key} to be text, got {shown(value)}. Correct the file.")
    return value
