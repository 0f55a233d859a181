"""What spoke for a landmark: known from the case, or to be asked of the model that predicted it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import read_description
from DenseLandmarksLib.models.evidence import Evidence
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.models.registry import find_bundle
from DenseLandmarksLib.models.uv_evidence import uv_evidence
from DenseLandmarksLib.models.versions import list_versions


def known_evidence(state: CaseState, landmark: str) -> Evidence | None:
    """The evidence that lies in the case, also for landmarks that were defined later; ``None`` where the model has it.

    Raises :class:`InputError`, in one line, where there is none.
    """
    if state.answer is None:
        raise InputError(f"expected a predicted case to tell why {landmark} is there, got one without. Predict first.")
    prediction, landmarks = state.answer.prediction, state.landmarks
    if landmark not in landmarks.names:
        raise InputError(f"expected a landmark of the case, got {landmark!r}. Choose one in the table.")
    row = landmarks.names.index(landmark)
    structure, uv = landmarks.structures[row], landmarks.template_uv[row]
    field = prediction.uv_field
    if field is not None and structure in field.structures and np.isfinite(uv).all():
        return uv_evidence(field, prediction.need_grid(), structure, uv, landmark)
    if field is not None or landmark not in prediction.landmarks.names:
        raise InputError(
            f"expected a landmark that {prediction.model_name} looked for, got {landmark}, which it knows nothing of. "
            "Choose another landmark."
        )
    return None


def bundle_behind(prediction: Prediction, chosen: str) -> Path:
    """The bundle that made a prediction: ``chosen``, a model's name or a folder, where it is that one, or the version by name.

    Raises :class:`InputError` where it is not on this computer: another model would not tell why this one said so.
    """
    wanted = prediction.model_name, prediction.model_version
    # What is chosen is for the next prediction, and may be gone.
    with suppress(InputError):
        description = read_description(find_bundle(chosen))
        if (description.name, description.version) == wanted:
            return description.folder
    for version in list_versions(wanted[0]):
        if (version.name, version.version) == wanted and not version.problem:
            return version.folder
    raise InputError(
        f"expected {' '.join(wanted)}, which predicted this case, on this computer, found it neither chosen nor among the "
        "versions. Choose it, or predict again."
    )
