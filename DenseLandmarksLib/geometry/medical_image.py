"""An image as it travels through the library: pixels, geometry, and where its spacing came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource


@dataclass(frozen=True)
class MedicalImage:
    """An image with its geometry and what its file states about it.

    Attributes
    ----------
    volume : a scalar :class:`SimpleITK.Image` with three axes; a radiograph is one slice thick.
    spacing_source : where the spacing came from.
    name : what results and messages call it; never a patient's name.
    acquisition : what the file states about how the picture was taken.
    window : grey values that are shown black and white where the file asks for them, else ``None``. For display
        only: models see all values.
    """

    volume: sitk.Image
    spacing_source: SpacingSource
    name: str = "image"
    acquisition: Acquisition = field(default_factory=Acquisition)
    window: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.volume.GetDimension() != 3 or self.volume.GetNumberOfComponentsPerPixel() != 1:
            raise ValueError(
                "MedicalImage needs a scalar image with three axes; got "
                f"{self.volume.GetDimension()} axes and {self.volume.GetNumberOfComponentsPerPixel()} components"
            )

    @cached_property
    def geometry(self) -> ImageGeometry:
        """Where the image lies; as the volume was when it was first asked for."""
        return ImageGeometry.of(self.volume, self.spacing_source)

    @property
    def is_radiograph(self) -> bool:
        """Whether the image is one slice thick."""
        return self.geometry.is_radiograph

    @property
    def unit(self) -> str:
        """Unit of every length in this image: ``"mm"``, or ``"px"`` when the spacing is unknown."""
        return self.geometry.unit

    @property
    def pixels_yx(self) -> NDArray[np.generic]:
        """Pixels (rows, columns) of a radiograph, in the stored type; a copy, as SimpleITK's views outlive their image."""
        if not self.is_radiograph:
            raise ValueError(f"pixels_yx needs a radiograph; this volume has size {self.volume.GetSize()}")
        pixels: NDArray[np.generic] = sitk.GetArrayFromImage(self.volume)[0]
        return pixels
