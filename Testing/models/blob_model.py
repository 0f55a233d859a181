"""A bundle of the multi-scale family that finds the bright blob of a volume, and volumes that have one, however stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.bundle import save_bundle
from DenseLandmarksLib.models.family import JOINT_SHAPE
from DenseLandmarksLib.models.networks.multi_scale import NETWORK_MODULE, MultiScaleLocNet
from Testing.models.blob_finder import see_brightness

FloatArray = NDArray[np.float64]
NETWORK: dict[str, Any] = {
    "landmarks": 2,
    "spacings_mm": [4.0, 2.0, 1.0],
    "crop_size": 24,
    "groups": [0, 1],
    "channels": [1, 1],
    "centre": "relu",
    "presence": True,
}
AT_LPS_MM = np.array([-104.3, 61.8, 33.1])
MIDDLE_LPS_MM = np.array([-110.0, 64.0, 30.0])
SIGMA_MM = 3.5
BRIGHTEST = 200.0


def write_blob_bundle(folder: Path, **inference: Any) -> Path:
    """Both landmarks are the blob; the second is said to be absent. ``inference`` takes the place of what is there."""
    network = see_brightness(MultiScaleLocNet(**NETWORK))
    assert network.presence is not None
    torch.nn.init.zeros_(network.presence[-1].weight)  # type: ignore[arg-type]
    with torch.no_grad():
        network.presence[-1].bias.copy_(torch.tensor([2.0, -3.0]))  # type: ignore[operator, union-attr]
    metadata = {
        "name": folder.name,
        "version": "1.0.0",
        "family": "multi_scale",
        "description": "Finds what is bright: for tests.",
        "structures": [],
        "landmark_names": ["blob", "other"],
        "landmark_structures": ["bright", "dark"],
    }
    said = {
        "dimensions": 3,
        "network_def": {"_target_": f"{NETWORK_MODULE}.MultiScaleLocNet", **NETWORK},
        "intensity": {"kind": "window", "low": 0.0, "high": BRIGHTEST},
        "passes": 4,
        "shift_mm": 3.0,
        "uses_shape": False,
        "confidence_radius_mm": 5.0,
        **inference,
    }
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    save_bundle(folder, metadata, said, {JOINT_SHAPE: json.dumps({})}, weights, "A card.", "Terms.")
    return folder


def stored_blob(
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    direction: FloatArray | None = None,
    extent_mm: float = 64.0,
    change: Callable[[FloatArray, FloatArray], NDArray[Any]] = lambda values, offsets: values.astype(np.float32),
    name: str = "blob",
) -> MedicalImage:
    """The same blob in LPS millimetres. ``change`` gets the values (z, y, x), and where voxels lie about the middle."""
    matrix = np.eye(3) if direction is None else direction
    size = np.round(extent_mm / np.array(spacing_mm)).astype(int)
    index = np.stack(np.indices(size[::-1])[::-1], axis=-1)
    offsets = ((index - (size - 1) / 2) * np.array(spacing_mm)) @ matrix.T
    squared = ((offsets + MIDDLE_LPS_MM - AT_LPS_MM) ** 2).sum(axis=-1)
    volume = sitk.GetImageFromArray(change(BRIGHTEST * np.exp(-squared / (2 * SIGMA_MM**2)), offsets))
    volume.SetSpacing(spacing_mm)
    volume.SetDirection(matrix.ravel().tolist())
    volume.SetOrigin((MIDDLE_LPS_MM - matrix @ ((size - 1) / 2 * np.array(spacing_mm))).tolist())
    return MedicalImage(volume, SpacingSource.CALIBRATED, name)


def _padded(value: float, dtype: type) -> Callable[[FloatArray, FloatArray], NDArray[Any]]:
    """Something else outside of the ball that the scanner reconstructs."""

    def change(values: FloatArray, offsets: FloatArray) -> NDArray[Any]:
        return np.where((offsets**2).sum(axis=-1) < 29**2, values, value).astype(dtype)

    return change


OBLIQUE = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
STORED: dict[str, dict[str, Any]] = {
    "plain": {},
    "oblique": {"direction": OBLIQUE},
    "flipped": {"direction": np.diag([-1.0, 1, -1])},
    "mirrored axes, permuted": {"direction": np.array([[0.0, 0, 1], [-1, 0, 0], [0, 1, 0]])},
    "thick slices": {"spacing_mm": (0.8, 0.8, 3.0)},
    "fine": {"spacing_mm": (0.5, 0.5, 0.5), "extent_mm": 60.0},
    "bytes": {"change": lambda values, _: np.round(values).astype(np.uint8)},
    "double": {"change": lambda values, _: values},
    "int32": {"change": lambda values, _: np.round(values).astype(np.int32)},
    "padded with -3024": {"change": _padded(-3024, np.int16), "direction": OBLIQUE},
    "padded with NaN": {"change": _padded(np.nan, np.float32)},
    "larger": {"extent_mm": 120.0, "spacing_mm": (2.0, 2.0, 2.0)},
}
