"""An image as a header for JSON and an array of its pixels, and back: how it crosses to the worker.

Whatever else its file said (DICOM tags that SimpleITK keeps with a volume) stays here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.geometry.medical_image import MedicalImage


def image_to_arrays(image: MedicalImage) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Header and arrays of an image; ``pixels`` (k, j, i) is the volume's own memory and lives as long as it does.

    Raises :class:`InputError` for pixels that are no real numbers.
    """
    pixels = sitk.GetArrayViewFromImage(image.volume)
    if pixels.dtype.kind not in "uif":
        raise InputError(
            f"expected an image of whole or floating numbers, {image.name} has {image.volume.GetPixelIDTypeAsString()}."
            " Convert it to grey values."
        )
    header = {
        "name": image.name,
        "geometry": ImageGeometry.of(image.volume, image.spacing_source).to_dict(),
        "acquisition": asdict(image.acquisition),
    }
    # The window may hold what JSON has not.
    return header, {"pixels": pixels, "window": np.array(image.window or (), np.float64)}


def image_from_arrays(header: object, arrays: Mapping[str, NDArray[Any]]) -> MedicalImage:
    """The image of :func:`image_to_arrays`; raises ``ValueError`` in one line for anything else."""
    try:
        if not isinstance(header, Mapping):
            raise TypeError("it is no object")
        name, geometry = header["name"], ImageGeometry.from_dict(header["geometry"])
        acquisition = _read_acquisition(header["acquisition"])
        pixels, window = arrays["pixels"], arrays["window"]
        if not isinstance(name, str) or pixels.shape != geometry.size[::-1] or window.shape not in ((0,), (2,)):
            raise ValueError(f"pixels of shape {pixels.shape} for size {geometry.size}, window of {window.shape}")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"expected an image with geometry and pixels, got another ({error}); send it again") from error
    volume = sitk.GetImageFromArray(pixels)
    volume.SetSpacing(geometry.spacing_mm)
    volume.SetOrigin(geometry.origin_lps_mm)
    volume.SetDirection(geometry.direction)
    shown = (float(window[0]), float(window[1])) if len(window) else None
    return MedicalImage(volume, geometry.spacing_source, name, acquisition, shown)


def _read_acquisition(raw: Mapping[str, Any]) -> Acquisition:
    """Raises ``TypeError`` or ``ValueError`` for anything but the fields of an :class:`Acquisition`."""
    fields = dict(raw)
    orientation = fields.pop("patient_orientation")
    if not all(isinstance(text, str) for text in (*fields.values(), *(orientation or ()))):
        raise TypeError("its acquisition is not text")
    if orientation is not None:
        rows, columns = orientation
        orientation = (rows, columns)
    return Acquisition(**fields, patient_orientation=orientation)
