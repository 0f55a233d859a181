"""A multi-scale network that needs no training: its heatmaps are the grey values, so it finds what is bright."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from DenseLandmarksLib.geometry.level_grid import LevelGrid
from DenseLandmarksLib.models.networks.multi_scale import MultiScaleLocNet
from training.stored_pyramid import StoredPyramid

FloatArray = NDArray[np.float64]


def see_brightness(network: MultiScaleLocNet, sharpness: float = 1.0) -> MultiScaleLocNet:
    """Weights with which all heatmaps are ``sharpness * (grey value + 1)``, that is 0 where there is nothing."""
    for level in range(len(network.spacings_mm)):
        net = network.net(level)
        for value in net.parameters():
            nn.init.zeros_(value)
        with torch.no_grad():
            for number, block in enumerate((net.down[0], net.up[-1])):
                conv = next(module for module in block.modules() if isinstance(module, nn.Conv3d))
                # Up there come what was widened, and then what was passed.
                conv.weight[0, number * net.channels[1], 1, 1, 1] = 1
                assert conv.bias is not None
                conv.bias[0] = 1 - number
            net.head.weight[:, 0] = sharpness
    return network


def sampled_pyramid(
    of_lps_mm: Callable[[FloatArray], FloatArray],
    spacings_mm: Sequence[float],
    extent_mm: float,
    corner_lps_mm: Sequence[float] = (0.0, 0.0, 0.0),
) -> StoredPyramid:
    """The levels of a cube, with the values (...,) that a function has at positions (..., 3)."""
    grids, levels = [], []
    for spacing in spacings_mm:
        x, y, z = (float(corner) + spacing / 2 for corner in corner_lps_mm)
        count = round(extent_mm / spacing)
        grids.append(LevelGrid((x, y, z), spacing, (count, count, count)))
        index_zyx = np.indices((count,) * 3)
        positions = np.stack(index_zyx[::-1], axis=-1) * spacing + np.array([x, y, z])
        levels.append(of_lps_mm(positions).astype(np.float32))
    return StoredPyramid(grids, levels)  # type: ignore[arg-type]


def blob(at_lps_mm: Sequence[float], sigma_mm: float) -> Callable[[FloatArray], FloatArray]:
    """Black, with one Gaussian that is white in the middle."""

    def values(positions: FloatArray) -> FloatArray:
        squared = ((positions - np.array(at_lps_mm)) ** 2).sum(axis=-1)
        return np.asarray(2 * np.exp(-squared / (2 * sigma_mm**2)) - 1)

    return values
