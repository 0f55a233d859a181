"""Edits as JSON and back; what is large goes into an array store and is named by its key."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from DenseLandmarksLib.annotation.answer_record import get_answer, put_answer
from DenseLandmarksLib.annotation.array_file import ArrayStore
from DenseLandmarksLib.annotation.edits import (
    Absent,
    Accept,
    CorrectSpacing,
    Define,
    Edit,
    Import,
    ImportedRow,
    Index,
    LookUp,
    Move,
    Paint,
    Place,
    Reset,
    Restore,
    SetStrength,
    TakePrediction,
    Unpaint,
    Unsure,
)
from DenseLandmarksLib.annotation.mask_record import get_mask, put_mask
from DenseLandmarksLib.annotation.state_record import state_from_record, state_to_record
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark


def edit_to_record(edit: Edit, store: ArrayStore) -> dict[str, Any]:
    """An edit as JSON types, positions to the last bit; masks, predictions and whole states are put into ``store``."""
    fields: dict[str, Any]
    match edit:
        case Paint(structure, mask):
            fields = {"structure": structure, "key": put_mask(mask, store)}
        case TakePrediction(answer, geometry):
            fields = {"key": put_answer(answer, store), "geometry": geometry.to_dict()}
        case Define(landmark, index_ijk):
            fields = {"landmark": landmark.to_dict(), "index_ijk": list(index_ijk)}
        case LookUp(landmarks):
            fields = {"landmarks": [landmark.to_dict() for landmark in landmarks]}
        case Restore(state):
            fields = {"state": state_to_record(state, store)}
        case _:
            fields = asdict(edit)
    return {"kind": type(edit).__name__, **fields}


def edit_from_record(record: dict[str, Any], store: ArrayStore) -> Edit:
    """Read what :func:`edit_to_record` made.

    Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else, and
    :class:`~DenseLandmarksLib.errors.InputError` where the store lacks a part.
    """
    match record["kind"]:
        case "Move":
            return Move(tuple((str(name), _index(index)) for name, index in record["positions"]))
        case "Accept":
            return Accept(_names(record["names"]), _names(record["structures"]))
        case "Absent":
            return Absent(_names(record["names"]))
        case "Unsure":
            return Unsure(_names(record["names"]))
        case "Place":
            return Place(str(record["name"]), str(record["structure"]), _index(record["index_ijk"]))
        case "Reset":
            return Reset(_names(record["names"]))
        case "SetStrength":
            return SetStrength(float(record["strength"]))
        case "CorrectSpacing":
            return CorrectSpacing(_index(record["spacing_mm"]), SpacingSource(record["source"]))
        case "Paint":
            return Paint(str(record["structure"]), get_mask(record["key"], store))
        case "Unpaint":
            return Unpaint(_names(record["structures"]))
        case "TakePrediction":
            return TakePrediction(get_answer(record["key"], store), ImageGeometry.from_dict(record["geometry"]))
        case "Define":
            return Define(NewLandmark.from_dict(record["landmark"]), _index(record["index_ijk"]))
        case "LookUp":
            return LookUp(tuple(NewLandmark.from_dict(raw) for raw in record["landmarks"]))
        case "Import":
            return Import(tuple(_imported(raw) for raw in record["rows"]))
        case "Restore":
            return Restore(state_from_record(record["state"], store))
        case kind:
            raise ValueError(f"expected an edit of a kind that this version knows, got {kind!r}")


def _names(raw: Any) -> tuple[str, ...]:
    return tuple(str(name) for name in raw)


def _index(raw: Any) -> Index:
    i, j, k = (float(value) for value in raw)
    return i, j, k


def _imported(raw: dict[str, Any]) -> ImportedRow:
    index = None if raw["index_ijk"] is None else _index(raw["index_ijk"])
    return ImportedRow(str(raw["name"]), str(raw["structure"]), Presence(raw["presence"]), Review(raw["review"]), index)
