"""A heatmap bundle for volumes that needs no training: it sees a bright blob, its flanks, and one thing that is never there.

A flank is where the grey values rise the most: of a Gaussian one standard deviation from its middle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from DenseLandmarksLib.models.intensity import IntensityRecipe
from DenseLandmarksLib.models.networks.localisation_unet import LocalisationUNet
from Testing.models.blob_model import AT_LPS_MM, BRIGHTEST, SIGMA_MM
from training.heatmap_recipe import HeatmapLossRecipe, HeatmapNetworkRecipe
from training.heatmap_volume_recipe import HeatmapVolumeRecipe, TilesRecipe
from training.heatmap_volume_task import HeatmapVolumeTask
from training.volume_cases import VolumeCases

NAMES = ("middle", "left flank", "upper flank", "nowhere")
STRUCTURES = ("blob", "flanks", "flanks", "nothing")
SPACING_MM = 2.0
HEIGHT = 2.0
# What the rise over two voxels is at its most, of a Gaussian that is HEIGHT high.
_STEEPEST = 2 * HEIGHT * np.exp(-0.5) * SPACING_MM / SIGMA_MM


def true_points_lps_mm() -> np.ndarray:
    """Where the four landmarks are; the last is not there."""
    flank = SIGMA_MM * np.eye(3)
    return np.array([AT_LPS_MM, AT_LPS_MM + flank[0], AT_LPS_MM + flank[2], [np.nan] * 3])


def see_blob(network: LocalisationUNet, kind: str = "heat_reg") -> LocalisationUNet:
    """Weights with which heatmaps are grey values above the darkest, and how much they fall to the left, and upwards.

    A distribution has logits that are ten times as high.
    """
    for value in network.parameters():
        nn.init.zeros_(value)
    nn.init.constant_(network.sigma, SIGMA_MM / SPACING_MM)
    first, _, second = network.contracting[0]  # type: ignore[misc]
    with torch.no_grad():
        for layer in (network.stem, first, second):
            layer.convolution.weight[0, 0, 1, 1, 1] = 1
        network.stem.convolution.bias[0] = 1  # type: ignore[index]
        for number, step in enumerate(((1, 1, 0), (0, 1, 1)), start=1):
            z, y, x = step
            second.convolution.weight[number, 0, z, y, x] = 1
            second.convolution.weight[number, 0, 2 - z, 2 - y, 2 - x] = -1
        high = 10 if kind == "distribution" else 1
        network.head.convolution.weight[0, 0] = high
        for row in (1, 2):
            network.head.convolution.weight[row, row] = high * HEIGHT / _STEEPEST
    return network


def blob_recipe(name: str, **changes: Any) -> HeatmapVolumeRecipe:
    """Of a model that sees the blob; ``changes`` take the place of what is there."""
    given: dict[str, Any] = {
        "tiles": TilesRecipe(SPACING_MM, (24, 20, 28), 8),
        "loss": HeatmapLossRecipe("heat_reg", height=HEIGHT),
        "network": HeatmapNetworkRecipe("LocalisationUNet", {"filters": 3, "levels": 1}),
        "intensity": IntensityRecipe("window", 0.0, BRIGHTEST),
        **changes,
    }
    return HeatmapVolumeRecipe(name, "Sees a blob and its flanks: for tests.", **given)


def write_blob_finder(folder: Path, **changes: Any) -> Path:
    """A bundle, as training exports it."""
    recipe = blob_recipe(folder.name, **changes)
    patients = np.where(np.isfinite(true_points_lps_mm()), true_points_lps_mm(), AT_LPS_MM + 20)
    patients = patients + np.random.default_rng(0).normal(0, 0.5, (5, 4, 3))
    absent = np.zeros((5, 4), bool)
    cases = VolumeCases("nobody", tuple("abcde"), ("train",) * 5, (), patients, absent, NAMES, STRUCTURES)
    task = HeatmapVolumeTask(recipe, cases, None, "cpu")
    network = task.new_network()
    assert isinstance(network, LocalisationUNet)
    task.export(folder, see_blob(network, recipe.loss.kind), None)
    return folder
