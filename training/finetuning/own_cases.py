"""Which cases of a library speak of a model's landmarks: a library may hold cases of several models, and of none."""

from __future__ import annotations

from DenseLandmarksLib.annotation.library.decisions import Decisions
from DenseLandmarksLib.models.bundle import BundleDescription


def is_of_model(case: Decisions, model: BundleDescription) -> bool:
    """Whether one of the model's landmarks was decided in a case, or the prediction in it is one of the model's versions."""
    names = {decision.name for decision in case.landmarks}
    return case.model_name == model.name or not names.isdisjoint(model.landmark_names)
