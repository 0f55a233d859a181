"""The heatmaps of a multi-scale network as maps of evidence over the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.models.evidence import EvidenceMap, lps_to_index, relative
from DenseLandmarksLib.models.networks.loc_net import Centre
from DenseLandmarksLib.models.networks.multi_scale import LevelOutput

# The finest and the coarsest; a network of one level has the last alone.
NAMES = ("Fine heatmap", "Coarse heatmap")
_EXPLANATIONS = (
    "How likely each voxel of {spacing:g} mm near the landmark is it, at the closest look; 1 is the likeliest.",
    "How likely each voxel of {spacing:g} mm is the landmark, at the look at the whole volume; 1 is the likeliest.",
)


def level_maps(
    outputs: Sequence[LevelOutput], landmark: int, centre: Centre, geometry: ImageGeometry
) -> tuple[EvidenceMap, ...]:
    """Maps of one landmark from the outputs of the finest and the coarsest level, or of the only one."""
    named = zip(outputs, NAMES[-len(outputs) :], _EXPLANATIONS[-len(outputs) :], strict=True)
    return tuple(
        _level_map(output, landmark, centre, geometry, name, said.format(spacing=output.spacing_mm))
        for output, name, said in named
    )


def _level_map(
    output: LevelOutput, landmark: int, centre: Centre, geometry: ImageGeometry, name: str, explanation: str
) -> EvidenceMap:
    crop, place = (output.rows == landmark).nonzero()[0].tolist()
    logits = output.heat[0, crop, place].float().cpu().numpy()
    values = relative(np.exp(logits - logits.max()) if centre == "softmax" else logits)
    axes = output.frames[0].cpu().numpy().astype(np.float64) * output.spacing_mm
    to_lps_mm = np.eye(4)
    to_lps_mm[:3, :3] = axes
    middle = (np.array(logits.shape[::-1]) - 1) / 2
    to_lps_mm[:3, 3] = output.centres_lps_mm[0, crop].cpu().numpy() - axes @ middle
    return EvidenceMap(name, explanation, values, lps_to_index(geometry, to_lps_mm))
