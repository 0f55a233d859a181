"""Edits as JSON and back; what is large goes into an array store and is named by its key."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from DenseLandmarksLib.annotation import edits
from DenseLandmarksLib.annotation.answer_record import get_answer, put_answer
from DenseLandmarksLib.annotation.array_file import ArrayStore
from DenseLandmarksLib.annotation.edits import Edit, Index
from DenseLandmarksLib.annotation.mask_record import get_mask, put_mask
from DenseLandmarksLib.annotation.state_record import state_from_record, state_to_record
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark


def edit_to_record(edit: Edit, store: ArrayStore) -> dict[str, Any]:
    """An edit as JSON types, positions to the last bit; masks, predictions and whole states are put into ``store``."""
    fields: dict[str, Any]
    match edit:
        case edits.Paint(structure, mask):
            fields = {"structure": structure, "key": put_mask(mask, store)}
        case edits.TakePrediction(answer, geometry):
            fields = {"key": put_answer(answer, store), "geometry": geometry.to_dict()}
        case edits.Define(landmark, index_ijk):
            fields = {"landmark": landmark.to_dict(), "index_ijk": list(index_ijk)}
        case edits.LookUp(landmarks):
            fields = {"landmarks": [landmark.to_dict() for landmark in landmarks]}
        case edits.Seen(seen):
            fields = {"edit": edit_to_record(seen, store)}
        case edits.Restore(state):
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
            return edits.Move(tuple((str(name), _index(index)) for name, index in record["positions"]))
        case "Accept":
            return edits.Accept(_names(record["names"]), _names(record["structures"]))
        case "Absent":
            return edits.Absent(_names(record["names"]))
        case "Unsure":
            return edits.Unsure(_names(record["names"]))
        case "Place":
            return edits.Place(str(record["name"]), str(record["structure"]), _index(record["index_ijk"]))
        case "Reset":
            return edits.Reset(_names(record["names"]))
        case "SetStrength":
            return edits.SetStrength(float(record["strength"]))
        case "CorrectSpacing":
            return edits.CorrectSpacing(_index(record["spacing_mm"]), SpacingSource(record["source"]))
        case "Paint":
            return edits.Paint(str(record["structure"]), get_mask(record["key"], store))
        case "Unpaint":
            return edits.Unpaint(_names(record["structures"]))
        case "TakePrediction":
            return edits.TakePrediction(get_answer(record["key"], store), ImageGeometry.from_dict(record["geometry"]))
        case "Define":
            return edits.Define(NewLandmark.from_dict(record["landmark"]), _index(record["index_ijk"]))
        case "LookUp":
            return edits.LookUp(tuple(NewLandmark.from_dict(raw) for raw in record["landmarks"]))
        case "Import":
            return edits.Import(tuple(_imported(raw) for raw in record["rows"]))
        case "StartBlind":
            return edits.StartBlind(tuple((str(name), str(structure)) for name, structure in record["landmarks"]))
        case "Seen":
            seen = edit_from_record(record["edit"], store)
            if not isinstance(seen, edits.Move | edits.Place | edits.Absent | edits.Import):
                raise TypeError(f"expected an edit of landmarks, got {type(seen).__name__}")
            return edits.Seen(seen)
        case "Restore":
            return edits.Restore(state_from_record(record["state"], store))
        case kind:
            raise ValueError(f"expected an edit of a kind that this version knows, got {kind!r}")


def _names(raw: Any) -> tuple[str, ...]:
    return tuple(str(name) for name in raw)


def _index(raw: Any) -> Index:
    i, j, k = (float(value) for value in raw)
    return i, j, k


def _imported(raw: dict[str, Any]) -> edits.ImportedRow:
    index = None if raw["index_ijk"] is None else _index(raw["index_ijk"])
    return edits.ImportedRow(
        str(raw["name"]), str(raw["structure"]), Presence(raw["presence"]), Review(raw["review"]), index
    )
