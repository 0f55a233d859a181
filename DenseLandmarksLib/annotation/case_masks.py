"""The masks of a case's structures on the image's own voxels, and how they are shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.landmarks.structure_warp import structure_warp
from DenseLandmarksLib.landmarks.warp_mask import warp_mask
from DenseLandmarksLib.models.structure_style import StructureStyle


def structure_mask(state: CaseState, structure: str) -> NDArray[np.bool_]:
    """The mask (Z, Y, X) of a structure: as a person painted it, else the model's, following the corrected landmarks.

    Raises ``KeyError`` for a structure that has no mask.
    """
    if structure in state.painted:
        return np.asarray(state.painted[structure], bool)
    if state.answer is None or structure not in state.answer.prediction.structures:
        raise KeyError(structure)
    prediction = state.answer.prediction
    predicted = prediction.masks[prediction.structures.index(structure)]
    warp = structure_warp(state.landmarks, structure, state.geometry)
    grid = prediction.need_grid()
    return grid.mask_on_image(warp_mask(predicted, warp, state.geometry, grid))[None]


def structure_style(state: CaseState, structure: str) -> StructureStyle:
    """Colour and terms of a structure: the model's, or for one that only a person knows a colour by its name."""
    for style in () if state.answer is None else state.answer.styles:
        if style.name == structure:
            return style
    return StructureStyle.by_name(structure)
