"""Heatmap networks that a test can afford, and the paper's without the memory for their weights."""

from __future__ import annotations

from typing import Any

import torch

from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork
from DenseLandmarksLib.models.networks.heatmap_networks import HEATMAP_NETWORKS
from DenseLandmarksLib.models.networks.spatial_configuration import SpatialConfigurationNet

SMALL: dict[str, dict[str, Any]] = {
    "SpatialConfigurationNet": {"filters": 4, "levels": 3, "spatial_stride": 4, "kernel": 3},
    "LocalisationUNet": {"filters": 4, "levels": 3},
    "HeatRegNet": {"channels": (4, 8, 8)},
    "CompactHeatmapNet": {"channels": (4, 8, 8)},
}
STEMS = [*SMALL, "SpatialConfigurationNet, stride 2", "LocalisationUNet, stride 2"]


def small(name: str, landmarks: int = 3, dimensions: int = 2, **arguments: Any) -> HeatmapNetwork:
    torch.manual_seed(0)
    name, _, stem = name.partition(",")
    given = {**SMALL[name], **({"stem_stride": 2} if stem else {}), **arguments}
    return HEATMAP_NETWORKS[name](landmarks, dimensions=dimensions, **given).eval()  # type: ignore[arg-type]


def on_paper(landmarks: int, dimensions: int, **arguments: Any) -> SpatialConfigurationNet:
    """The paper's sizes, without the memory for their weights."""
    with torch.device("meta"):
        return SpatialConfigurationNet(landmarks, dimensions, **arguments)
