"""What a case's model says about whether a landmark is there."""

from __future__ import annotations

import numpy as np

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.landmarks.landmark_set import Presence


def predicted_presence(state: CaseState, row: int) -> Presence:
    """What the model says about a landmark: present, absent, or unplaced where it says nothing."""
    name, structure = state.landmarks.names[row], state.landmarks.structures[row]
    if not np.isfinite(state.landmarks.predicted_lps_mm[row]).all():
        return Presence.UNPLACED
    if state.answer is None:  # imported as a prediction
        return Presence.PRESENT
    said = state.answer.prediction.landmarks
    if name in said.names:
        return said.presence[said.names.index(name)]
    # Looked up: it is where its structure is.
    found = any(said.presence[i] is Presence.PRESENT for i in said.of_structure(structure))
    return Presence.PRESENT if found else Presence.ABSENT
