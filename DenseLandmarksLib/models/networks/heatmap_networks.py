"""The heatmap networks by name, as recipes and bundles write them."""

from __future__ import annotations

from DenseLandmarksLib.models.networks.compact_heatmap import CompactHeatmapNet
from DenseLandmarksLib.models.networks.heat_reg import HeatRegNet
from DenseLandmarksLib.models.networks.heatmap_network import HeatmapNetwork
from DenseLandmarksLib.models.networks.localisation_unet import LocalisationUNet
from DenseLandmarksLib.models.networks.spatial_configuration import SpatialConfigurationNet

HEATMAP_NETWORK_MODULE = "DenseLandmarksLib.models.networks.heatmap_networks"
HEATMAP_NETWORKS: dict[str, type[HeatmapNetwork]] = {
    network.__name__: network for network in (SpatialConfigurationNet, LocalisationUNet, HeatRegNet, CompactHeatmapNet)
}
