"""A whole multi-scale bundle that needs no training, and volumes in which it must find two balls exactly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage

# As the neck phantoms have them, see training/neck_anatomy.py.
LEFT, RIGHT = NAMES = ("left_bifurcation", "right_bifurcation")
STRUCTURES = ("left carotid", "right carotid")
SPACINGS_MM = (4.0, 2.0)
SIZE, SPACING_MM, ORIGIN_MM = (68, 60, 44), (1.2, 1.4, 2.0), (-35.0, 60.0, -410.0)
# Turned about all axes of the patient: no two of its axes can be taken for each other.
OBLIQUE = sitk.Euler3DTransform((0, 0, 0), *np.deg2rad([15.0, -20.0, 35.0])).GetMatrix()
# Where the balls are, as a share of the volume's size, and their grey values.
PLACES = {LEFT: (0.72, 0.35, 0.6), RIGHT: (0.25, 0.62, 0.35)}
GREYS, AIR = {LEFT: 1000, RIGHT: 500}, -500
RADII_MM = {LEFT: 8.0, RIGHT: 13.0}


def marked_volume(direction: Sequence[float] = OBLIQUE, name: str = "neck") -> MedicalImage:
    """A volume that holds a white and a grey ball, see :func:`centres_lps_mm`."""
    volume = sitk.Image(SIZE, sitk.sitkInt16)
    volume.SetSpacing(SPACING_MM)
    volume.SetOrigin(ORIGIN_MM)
    volume.SetDirection(direction)
    geometry = ImageGeometry.of(volume, SpacingSource.GIVEN)
    index_ijk = np.indices(SIZE[::-1])[::-1].reshape(3, -1).T
    points_lps_mm = lps_mm_from_index(geometry, index_ijk)
    voxels = np.full(len(points_lps_mm), AIR, np.int16)
    for landmark, centre_lps_mm in zip(NAMES, centres_lps_mm(geometry), strict=True):
        voxels[((points_lps_mm - centre_lps_mm) ** 2).sum(axis=1) < RADII_MM[landmark] ** 2] = GREYS[landmark]
    filled = sitk.GetImageFromArray(voxels.reshape(SIZE[::-1]))
    filled.CopyInformation(volume)
    return MedicalImage(filled, SpacingSource.GIVEN, name)


def centres_lps_mm(geometry: ImageGeometry) -> NDArray[np.float64]:
    """Where the balls (2, 3) of a :func:`marked_volume` are."""
    return lps_mm_from_index(geometry, np.array(list(PLACES.values())) * (np.array(geometry.size) - 1))


def write_neck_finder(folder: Path, passes: int = 4, demonstration: bool = False) -> Path:
    """A bundle, as training exports it, that sees the left landmark where it is white and the right one where it is grey."""
    import torch
    from torch import nn

    from Testing.models.blob_finder import see_brightness
    from training.run_recipe import OptimiserRecipe
    from training.volume_cases import VolumeCases
    from training.volume_recipe import LevelsRecipe, LocNetRecipe, VolumeRecipe
    from training.volume_task import VolumeTask

    recipe = VolumeRecipe(
        folder.name,
        "Sees a white and a grey ball: for tests.",
        passes=passes,
        demonstration=demonstration,
        levels=LevelsRecipe(24, SPACINGS_MM, (0, 1)),
        network=LocNetRecipe((2, 2), 1, is_normalised=False),
        optimiser=OptimiserRecipe(precision="float32"),
    )
    none = np.zeros((0, 2, 3)), np.zeros((0, 2), bool)
    cases = VolumeCases("nothing", (), (), (), *none, NAMES, STRUCTURES, recipe.intensity)
    task = VolumeTask(recipe, cases, None, "cpu")
    network = task.new_network()
    see_brightness(network, 30.0)  # type: ignore[arg-type]
    with torch.no_grad():
        for level in network.levels:  # type: ignore[union-attr]
            last = level.up[-1][0]
            # A second feature, above zero for what is brighter than grey: it takes the white ball from the right landmark.
            last.weight[1, level.channels[1], 1, 1, 1] = 1
            last.bias[1] = -1.5
            level.head.weight[1, 1] = -60.0
        nn.init.zeros_(network.presence[-1].weight)  # type: ignore[index, union-attr]
        nn.init.constant_(network.presence[-1].bias, 4.0)  # type: ignore[index, union-attr]
    task.export(folder, network, None)
    return folder
