"""What a finetuned model keeps of the one it was made from, without being measured anew: how sure it may say it is."""

from __future__ import annotations

from typing import Any

from DenseLandmarksLib.models.bundle import BundleDescription

CALIBRATION = ("ellipses", "ellipsoids", "presence", "present_above", "plausibility", "uses_shape")
"""Entries of ``inference.json`` that calibration writes. None is keyed by landmark: structures that the parent did not
know get the pooled factor of :class:`~DenseLandmarksLib.models.ellipsoids.EllipsoidCalibration`, and presence is one
regression for all, so a new landmark has both at once."""
CALIBRATION_OF = "calibration_of"
"""Entry of the metadata that says whose calibration it is."""
_OTHERS = ("expects", "is_mixed")
# Of these alone people would read that something was measured.
_MEASURED = ("ellipses", "ellipsoids", "presence", "plausibility")


def inherited_inference(parent: BundleDescription) -> dict[str, Any]:
    """Calibration of ``parent``, the images it expects and how it computes, to be put over the entries of a model made from it."""
    return {name: parent.inference[name] for name in (*CALIBRATION, *_OTHERS) if name in parent.inference}


def inherited_metadata(parent: BundleDescription) -> dict[str, Any]:
    """What the metadata of a model made from ``parent`` say of it: terms, demonstration, and whose calibration it has."""
    kept: dict[str, Any] = {
        name: parent.metadata[name] for name in ("license", "demonstration") if name in parent.metadata
    }
    if any(name in parent.inference for name in _MEASURED):
        first = parent.metadata.get(CALIBRATION_OF)
        kept[CALIBRATION_OF] = first or f"{parent.name} {parent.version}"
    return kept


def inherited_lines(metadata: dict[str, Any]) -> list[str]:
    """Lines of a model card that say whose calibration it is; none where it is the model's own, or there is none."""
    if CALIBRATION_OF not in metadata:
        return []
    return [
        "",
        f"How sure it says it is was calibrated for {metadata[CALIBRATION_OF]}, from which it was finetuned, and not anew: "
        "ellipses, presence and limits of plausibility are that model's, and what they are said to hold was measured there.",
    ]
