"""A case as plain data: what the sidecar of a revision holds, and the journal. Every number comes back bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DenseLandmarksLib.annotation.answer_record import get_answer, put_answer
from DenseLandmarksLib.annotation.array_file import Store
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.mask_record import get_mask, put_mask
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import index_from_lps_mm
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark

FORMAT = 1


def state_to_record(state: CaseState, store: Store) -> dict[str, Any]:
    """The case as JSON types; covariances, painted masks and the model's answer go into ``store``, the record names them.

    A landmark's position is there twice: ``lps_mm``, under the geometry in force, which is read back; and
    ``index_ijk``, its voxel, for whoever opens the image with another spacing. A number that is not there (NaN) is null.
    The float64 numbers are written with all their digits.

    Raises :class:`InputError` where the store cannot be written.
    """
    landmarks = state.landmarks
    predicted_ijk = index_from_lps_mm(state.geometry, landmarks.predicted_lps_mm)
    return {
        "format": FORMAT,
        "geometry": state.geometry.to_dict(),
        "strength": state.strength,
        "landmarks": [
            {
                "name": landmarks.names[i],
                "structure": landmarks.structures[i],
                "presence": str(landmarks.presence[i]),
                "review": str(landmarks.review[i]),
                "index_ijk": _to_json(index_ijk),
                "lps_mm": _to_json(landmarks.points_lps_mm[i]),
                "predicted_index_ijk": _to_json(predicted_ijk[i]),
                "predicted_lps_mm": _to_json(landmarks.predicted_lps_mm[i]),
                "confidence": _to_json(landmarks.confidence[i : i + 1])[0],
                "template_uv": _to_json(landmarks.template_uv[i]),
            }
            for i, index_ijk in enumerate(state.index_ijk)
        ],
        "covariance_mm2": store.put({"kind": "covariance"}, {"covariance_mm2": landmarks.covariance_mm2}),
        "answer": None if state.answer is None else put_answer(state.answer, store),
        "painted": {name: put_mask(mask, store) for name, mask in state.painted.items()},
        "accepted": sorted(state.accepted),
        "new_landmarks": [landmark.to_dict() for landmark in state.new_landmarks],
        "blind": sorted(state.blind),
        "is_chosen_for_comparison": state.is_chosen_for_comparison,
    }


def state_from_record(record: Mapping[str, Any], store: Store) -> CaseState:
    """The case of a record; raises :class:`InputError`, in one line, for a damaged one and for what the store lacks."""
    stated = record.get("format") if isinstance(record, Mapping) else None
    if stated != FORMAT:
        raise InputError(
            f"expected the record of a case in format {FORMAT}, got {str(stated)[:40]!r}. "
            "Open it with the version of this program that wrote it."
        )
    try:
        geometry = ImageGeometry.from_dict(record["geometry"])
        rows = record["landmarks"]
        covariance = store.get(record["covariance_mm2"])[1]["covariance_mm2"]
        landmarks = LandmarkSet(
            names=tuple(_text(row["name"]) for row in rows),
            structures=tuple(_text(row["structure"]) for row in rows),
            points_lps_mm=_from_json([row["lps_mm"] for row in rows], 3),
            predicted_lps_mm=_from_json([row["predicted_lps_mm"] for row in rows], 3),
            presence=tuple(Presence(row["presence"]) for row in rows),
            review=tuple(Review(row["review"]) for row in rows),
            confidence=_from_json([[row["confidence"]] for row in rows], 1)[:, 0],
            covariance_mm2=covariance.astype(np.float64),
            template_uv=_from_json([row["template_uv"] for row in rows], 2),
        )
        state = CaseState(
            geometry,
            answer=None if record["answer"] is None else get_answer(record["answer"], store),
            painted={_text(name): get_mask(key, store) for name, key in record["painted"].items()},
            accepted=frozenset(_text(name) for name in record["accepted"]),
            strength=float(record["strength"]),
            new_landmarks=tuple(NewLandmark.from_dict(raw) for raw in record["new_landmarks"]),
            # Revisions and journals of before did not keep these two: nothing in them is known to be blind.
            blind=frozenset(_text(name) for name in record.get("blind", ())),
            is_chosen_for_comparison=_truth(record.get("is_chosen_for_comparison", False)),
        )
        wrong = [name for name, mask in state.painted.items() if mask.shape != geometry.size[::-1]]
        if wrong or not 0 <= state.strength <= 1 or not state.blind <= set(landmarks.names):
            raise ValueError("masks of another size, a strength that cannot be, or names of no landmark")
        # What corrections will move follows from the rest; the positions are those that were saved.
        return replace(state.with_predicted(landmarks), landmarks=landmarks)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise InputError(
            f"expected the record of a case, got one that is damaged ({type(error).__name__}). Open an earlier revision."
        ) from error


def _to_json(values: NDArray[np.float64]) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]


def _from_json(values: ArrayLike, columns: int) -> NDArray[np.float64]:
    return np.array(values, np.float64).reshape(-1, columns)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, got {value!r}")
    return value
