"""A landmark's heatmap, and what it is made of, as maps of evidence over the image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from DenseLandmarksLib.geometry.grid import Grid
from DenseLandmarksLib.models.evidence import EvidenceMap, grid_to_index, relative
from DenseLandmarksLib.models.networks.heatmap_network import HeatmapOutput
from DenseLandmarksLib.models.networks.spatial_configuration import LOCAL, SPATIAL

HEATMAP = "Heatmap"
_OF_HEIGHTS = "Where the model sees the landmark; 1 is a peak as high as it was taught, a missing peak stays dark."
_OF_DISTRIBUTION = (
    "How likely each pixel is the landmark; 1 is the likeliest of a landmark that is there, a missing one stays dark."
)
_OF_PARTS = {
    LOCAL: "Where the image looks like the landmark from near, at similar places too; 1 is the most alike.",
    SPATIAL: "Where the landmark may be, as the other landmarks lie; 1 is the most likely.",
}


def heat_maps(
    output: HeatmapOutput, row: int, peak: float | None, highest: float, grid: Grid, stride: int
) -> tuple[EvidenceMap, ...]:
    """Maps of one landmark of a radiograph; ``stride`` grid pixels per heatmap pixel, all else as in :func:`maps_of`."""
    parts = {name: _pixels(part[0, row]) for name, part in output.parts.items()}
    return maps_of(_pixels(output.heat[0, row]), parts, peak, highest, grid_to_index(grid, stride))


def maps_of(
    heat: NDArray[np.floating],
    parts: Mapping[str, NDArray[np.floating]],
    peak: float | None,
    highest: float,
    to_index: NDArray[np.float64],
) -> tuple[EvidenceMap, ...]:
    """Maps of one landmark, its heatmap (K, J, I) first, then the parts that it is made of.

    ``peak`` is the height that was taught, ``None`` of a distribution, whose likeliest pixel is shown as ``highest``, see
    :meth:`~DenseLandmarksLib.models.predictors.heat_reading.HeatReading.shown_highest`; ``to_index`` as
    :class:`EvidenceMap` has it.
    """
    heat = np.asarray(heat, np.float32)
    if peak is None:
        likely = np.float32(highest) * relative(np.exp(heat - heat.max()))
        first = EvidenceMap(HEATMAP, _OF_DISTRIBUTION, likely, to_index)
    else:
        first = EvidenceMap(HEATMAP, _OF_HEIGHTS, np.clip(heat / peak, 0, 1).astype(np.float32), to_index)
    top = np.unravel_index(heat.argmax(), heat.shape)
    return first, *(
        EvidenceMap(
            name.capitalize(),
            _OF_PARTS.get(name, "A part of what the heatmap is made of; 1 is its highest."),
            # Nothing teaches a part its sign: where two of them are below zero their product is as high.
            relative(-part if part[top] < 0 else part),
            to_index,
        )
        for name, part in parts.items()
    )


def _pixels(tensor: Tensor) -> NDArray[np.float32]:
    """One slice (1, h, w)."""
    return np.asarray(tensor.float().cpu().numpy()[None])
