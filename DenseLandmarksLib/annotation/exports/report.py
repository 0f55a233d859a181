"""A prediction as plain data for a JSON report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from DenseLandmarksLib.geometry.frames import index_from_lps_mm
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.structure_style import StructureStyle

RESEARCH_USE_ONLY = "Research use only. Not a medical device; not for diagnosis or treatment."


def report(
    image: MedicalImage, prediction: Prediction, styles: Sequence[StructureStyle] = (), case_key: str | None = None
) -> dict[str, Any]:
    """Everything a prediction says about one image, as JSON types; NaN becomes ``None``.

    Of a radiograph ``size_px``, ``spacing`` and each ``pixel`` have two numbers, of a volume three. Lengths and areas are in ``unit`` and its square: ``"mm"``, or ``"px"`` when the spacing is unknown. A landmark
    that is not present has no position; an absent one gives its best guess under a name of its own.
    ``standard_deviation`` is that along the direction in which the point is least sure. With ``styles``, structures
    carry their terminology. ``plausible`` is ``None`` for models that cannot tell. ``case_key`` as
    :func:`~DenseLandmarksLib.annotation.case_key.case_key` gives it.
    """
    axes = 2 if image.is_radiograph else 3
    terms = {style.name: style.to_dict()["terminology"] for style in styles}
    return {
        "research_use_only": RESEARCH_USE_ONLY,
        "model": {"name": prediction.model_name, "version": prediction.model_version, "device": prediction.device},
        "image": {
            "name": image.name,
            "case_key": case_key,
            "size_px": list(image.volume.GetSize()[:axes]),
            "spacing": [_number(spacing, 6) for spacing in image.volume.GetSpacing()[:axes]],
            "spacing_source": str(image.spacing_source),
        },
        "view": str(prediction.view),
        "plausibility": _plausibility(prediction),
        "unit": image.unit,
        "frame": "positions are physical LPS of the image; pixels are continuous indices "
        f"({', '.join('xyz'[:axes])}), centres at integers",
        "structures": [_structure(image, prediction, s, terms) for s in range(len(prediction.structures))],
        "landmarks": _landmarks(image, prediction.landmarks),
    }


def structure_is_found(prediction: Prediction, s: int) -> bool:
    """Whether the mask of structure ``s`` has a pixel in the image; the padding around the image is nobody's."""
    return _count(prediction, s) > 0


def _count(prediction: Prediction, s: int) -> int:
    top, left, height, width = prediction.need_grid().inner
    return int(prediction.masks[s, top : top + height, left : left + width].sum())


def is_plausible(prediction: Prediction) -> bool | None:
    """What the model says about its own prediction; ``None`` for models without limits, which cannot tell."""
    plausibility = prediction.plausibility
    return plausibility.plausible if plausibility.limits or plausibility.doubts else None


def _plausibility(prediction: Prediction) -> dict[str, Any]:
    plausibility = prediction.plausibility
    return {
        "plausible": is_plausible(prediction),
        "doubts": list(plausibility.doubts),
        "measures": {name: _number(value, 4) for name, value in plausibility.measures.items()},
        "limits": {name: _number(value, 4) for name, value in plausibility.limits.items()},
        "suggested_view": None if plausibility.suggested_view is None else str(plausibility.suggested_view),
    }


def _structure(image: MedicalImage, prediction: Prediction, s: int, terms: dict[str, Any]) -> dict[str, Any]:
    pixel_area = float(np.prod(prediction.need_grid().pixel_size(image.volume.GetSpacing()[:2])))
    count = _count(prediction, s)
    name = prediction.structures[s]
    entry: dict[str, Any] = {"name": name, "found": count > 0, "area": _number(count * pixel_area, 1)}
    if name in terms:
        entry["terminology"] = terms[name]
    return entry


def _landmarks(image: MedicalImage, landmarks: LandmarkSet) -> list[dict[str, Any]]:
    pixels = index_from_lps_mm(image.geometry, landmarks.points_lps_mm)[:, : 2 if image.is_radiograph else 3]
    deviation = [_largest_deviation(covariance) for covariance in landmarks.covariance_mm2]
    entries = []
    for i, name in enumerate(landmarks.names):
        present = landmarks.presence[i] is Presence.PRESENT
        position, pixel = _numbers(landmarks.points_lps_mm[i], 3), _numbers(pixels[i], 2)
        entry: dict[str, Any] = {
            "name": name,
            "structure": landmarks.structures[i],
            "presence": str(landmarks.presence[i]),
            "position_lps": position if present else None,
            "pixel": pixel if present else None,
            "confidence": _number(landmarks.confidence[i], 4),
            "standard_deviation": _number(deviation[i], 3),
            "review": str(landmarks.review[i]),
        }
        if landmarks.presence[i] is Presence.ABSENT:
            entry |= {"best_guess_lps": position, "best_guess_pixel": pixel}
        entries.append(entry)
    return entries


def _largest_deviation(covariance: ArrayLike) -> float:
    covariance = np.asarray(covariance, np.float64)
    if not np.isfinite(covariance).all():
        return float("nan")
    return float(np.sqrt(max(np.linalg.eigvalsh(covariance)[-1], 0.0)))


def _number(value: float | np.floating[Any], digits: int) -> float | None:
    return round(float(value), digits) if np.isfinite(value) else None


def _numbers(values: ArrayLike, digits: int) -> list[float] | None:
    values = np.asarray(values, np.float64)
    return [round(float(v), digits) for v in values] if np.isfinite(values).all() else None
