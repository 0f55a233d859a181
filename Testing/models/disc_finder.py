"""A whole heatmap bundle that needs no training, and radiographs in which it must find seven grey discs exactly.

The network is a small SpatialConfiguration-Net with weights set by hand: the local appearance of a landmark is a tent over
its own grey value, its spatial configuration is a blurred picture of that, highest in the middle of a disc.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.grid import fit_grid
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.template import Template, build_template
from DenseLandmarksLib.models.bundle import load_bundle, save_bundle
from DenseLandmarksLib.models.family import TEMPLATE

FloatArray = NDArray[np.float64]

STRUCTURE = "hand"
NAMES = ("wrist", "thumb", "index", "middle", "ring", "little", "palm")
GRID = (128, 96)
# A radiograph of 120 x 160 mm, which fills the grid.
PIXELS, SPACING_MM = (240, 320), 0.5
FIELD_OF_VIEW_MM = (160.0, 120.0)
ORIGIN, DIRECTION = (-60.0, 40.0, 210.0), (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0)
# The mean shape, in mm from the outer corner; no mirror image of it is like it.
SHAPE_MM = np.array([[62, 138], [22, 92], [38, 38], [58, 28], [78, 36], [98, 58], [64, 88]], np.float64)
BLACK, GREY, STEP, RADIUS_MM, FRAME_MM = 0, 100, 20, 6.0, 10.0
LIMITS = {"shape_residual_mm": 6.0, "peak_weakness": 0.5}


def patient(seed: int) -> FloatArray:
    """The landmarks (7, 2) of a patient, in mm from the outer corner: turned, of another size, and a little bent."""
    rng = np.random.default_rng(seed)
    angle = np.deg2rad(rng.uniform(-8, 8))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array(FIELD_OF_VIEW_MM[::-1]) / 2
    posed = rng.uniform(0.9, 1.0) * (SHAPE_MM - middle) @ turn.T + middle
    return np.asarray(posed + 1.5 * np.sin(posed[:, ::-1] / 40 + rng.uniform(0, 6, 2)))


def pixels_of(points_mm: FloatArray) -> FloatArray:
    """Pixel positions (N, 2) of positions in mm from the outer corner."""
    return points_mm / SPACING_MM - 0.5


def lps_of(points_mm: FloatArray) -> FloatArray:
    """Physical LPS (N, 3) of positions in mm from the outer corner of a :func:`marked_hand`."""
    plane = points_mm - SPACING_MM / 2
    return np.column_stack([plane[:, 0], np.zeros(len(plane)), -plane[:, 1]]) + ORIGIN


def marked_hand(
    points_mm: FloatArray = SHAPE_MM,
    lost: Sequence[str] = (),
    source: SpacingSource = SpacingSource.CALIBRATED,
    name: str = "hand.nrrd",
) -> MedicalImage:
    """A radiograph with a disc of its own grey at each landmark that is not ``lost``, in a black frame."""
    y, x = (np.indices(PIXELS[::-1]) + 0.5) * SPACING_MM
    pixels = np.full(PIXELS[::-1], GREY, np.uint16)
    inside = (np.minimum(x, y) > FRAME_MM) & (x < FIELD_OF_VIEW_MM[1] - FRAME_MM) & (y < FIELD_OF_VIEW_MM[0] - FRAME_MM)
    pixels[~inside] = BLACK
    for number, (landmark, (centre_x, centre_y)) in enumerate(zip(NAMES, points_mm, strict=True)):
        disc = (x - centre_x) ** 2 + (y - centre_y) ** 2 < RADIUS_MM**2
        pixels[disc & (landmark not in lost)] = GREY + STEP * (number + 1)
    volume = sitk.GetImageFromArray(pixels[None])
    volume.SetSpacing((SPACING_MM, SPACING_MM, 1.0))
    volume.SetOrigin(ORIGIN)
    volume.SetDirection(DIRECTION)
    return MedicalImage(volume, source, name)


def write_hand(path: Path, seed: int, is_mirrored: bool = False, lost: Sequence[str] = ()) -> Path:
    """The radiograph of a patient as a file, by default the left hand."""
    volume = marked_hand(patient(seed), lost).volume
    if is_mirrored:
        mirrored = sitk.GetImageFromArray(sitk.GetArrayFromImage(volume)[:, :, ::-1])
        mirrored.CopyInformation(volume)
        volume = mirrored
    sitk.WriteImage(volume, str(path))
    return path


def hand_template() -> Template:
    """Seven landmarks that are no contour."""
    return build_template({STRUCTURE: SHAPE_MM[None]}, {STRUCTURE: NAMES}, FIELD_OF_VIEW_MM, chart="points")


def disc_network() -> Any:
    """The network that finds each disc by its grey; its peaks are 1 high."""
    import torch

    from DenseLandmarksLib.models.networks.spatial_configuration import SpatialConfigurationNet

    seen = fit_grid(marked_hand(), GRID).resample(marked_hand().pixels_yx)
    black, grey = float(seen[1, 1]), float(seen[GRID[0] // 2, GRID[1] // 6])  # the middle row has no disc on its left
    step = (grey - black) * STEP / (GREY - BLACK)
    count = len(NAMES)
    network = SpatialConfigurationNet(
        count, filters=count + 2, levels=1, spatial_filters=count, spatial_stride=2, dropout=0.0
    )
    middle = network.spatial[0].convolution.kernel_size[0] // 2
    away = torch.arange(2 * middle + 1) - middle
    blur = torch.exp(-(away[:, None] ** 2 + away**2) / (2 * 2.0**2))
    with torch.no_grad():
        for name, value in network.named_parameters():
            if name != "sigma":
                value.zero_()
        network.stem.convolution.weight[:, 0, 1, 1] = 1
        # One threshold below the first grey and one above the last.
        network.stem.convolution.bias[:] = -(grey + step * torch.arange(count + 2))
        for convolution in (*network.local.contracting[0][::2], network.local.parallel[0]):
            convolution.convolution.weight[:, :, 1, 1] = torch.eye(count + 2)
        for landmark in range(count):
            tent = torch.tensor([1.0, -2.0, 1.0]) / step
            network.local_head.convolution.weight[landmark, landmark : landmark + 3, 1, 1] = tent
            network.spatial[0].convolution.weight[landmark, landmark] = blur / blur.sum()
            for further in network.spatial[1:]:
                further.convolution.weight[landmark, landmark, middle, middle] = 1
        height = network(torch.from_numpy(seen)[None, None]).heat[0].amax(dim=(1, 2)).mean()
        network.local_head.convolution.weight /= height.sqrt()
        for _ in range(20):  # the product is not linear in the weights: tanh bounds one of its factors
            height = network(torch.from_numpy(seen)[None, None]).heat[0].amax(dim=(1, 2)).mean()
            network.local_head.convolution.weight /= height.sqrt()
    return network.eval()


def write_disc_finder(folder: Path, **inference: Any) -> Path:
    """The bundle of :func:`disc_network`, with entries of ``inference`` replaced."""
    network, template = disc_network(), hand_template()
    metadata = {
        "name": folder.name,
        "version": "1.0.0",
        "family": "heatmap",
        "task": "landmarks on radiographs",
        "description": "Finds grey discs: for tests.",
        "license": "research use only",
        "coordinate_system": "LPS",
        "units": "mm",
        "structures": [],
        "landmark_names": list(template.landmark_names),
        "training": {"data": "nothing", "cases": 0},
    }
    definition = {
        "_target_": "DenseLandmarksLib.models.networks.heatmap_networks.SpatialConfigurationNet",
        "landmarks": len(NAMES),
        "filters": len(NAMES) + 2,
        "levels": 1,
        "spatial_filters": len(NAMES),
        "spatial_stride": 2,
        "dropout": 0.0,
    }
    said = {
        "network_def": definition,
        "is_mixed": False,
        "grid_size": list(GRID),
        "heat": "regression",
        "target": {"height": 1.0, "is_normalised": False},
        "sub_pixel": True,
        "passes": 1,
        "present_above": 0.5,
        "either_side": False,
        "plausibility": {"limits": LIMITS},
        "expects": {},
    } | inference
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    save_bundle(folder, metadata, said, {TEMPLATE: template.to_json()}, weights, "# For tests\n", "For tests.\n")
    load_bundle(folder)
    return folder
