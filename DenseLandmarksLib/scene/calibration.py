"""Calibrating an image by something in it whose length is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.place_mode import PlaceMode, defined_points
from DenseLandmarksLib.scene.ras import FloatArray

LINE_CLASS = "vtkMRMLMarkupsLineNode"
_NAME = "Calibration ruler"
# Half of a slice: what is placed in a slice view lies in the slice.
_OUT_OF_PLANE = 0.5
_SHORTEST_VOXELS = 1e-3
# From micro-computed tomography to a whole body on a screen; what lies outside was clicked or typed wrongly.
_SMALLEST_MM, _LARGEST_MM = 0.01, 10.0


class Ruler:
    """A line that a person draws over something of known length, with Slicer's place mode.

    It is for one measurement: :meth:`remove` it before the spacing is corrected, as the image then grows under it.
    """

    def __init__(self, scene: Any) -> None:
        """Wait for two clicks."""
        self._mode = PlaceMode(scene, LINE_CLASS, _NAME, 2)

    @property
    def node(self) -> Node:
        """The line; both ends can be dragged until it is removed."""
        return self._mode.node

    @property
    def is_done(self) -> bool:
        """Whether both ends are placed."""
        return self._mode.is_done

    @property
    def was_given_up(self) -> bool:
        """Whether the person went back to looking around before that, or removed the line."""
        return self._mode.was_given_up

    def length_mm(self, image: ImageInScene) -> float | None:
        """The line's length under the spacing in force (pixels where that is unknown), ``None`` until it is done."""
        return _length(image, _ends_ijk(image, self.node)) if self.is_done else None

    def remove(self) -> None:
        """Take the line out of the scene, drawn or not, and leave the place mode."""
        self._mode.end()


def spacing_from_line(image: ImageInScene, line: Node, length_mm: float) -> tuple[float, float, float]:
    """The spacing under which a line of Slicer's is ``length_mm`` long.

    It is the spacing in force times one factor, as the ratio of the axes is a property of the detector. On a radiograph,
    which has no third axis to measure, the third spacing stays what it is, as everywhere else. The line is measured in
    voxels: transforms above it or the image do not count.

    Raises :class:`InputError`, in one line, for a line that is not finished, has no length or leaves the plane of a
    radiograph, for a length that is none, and where the spacing would be absurd.
    """
    if not (np.isfinite(length_mm) and length_mm > 0):
        raise InputError(f"expected the length of the ruler in mm, got {length_mm:g}. Type a positive number.")
    if defined_points(line) != 2:
        raise InputError(f"expected a ruler with two ends, got {defined_points(line)}. Click on both ends of it.")
    ends_ijk = _ends_ijk(image, line)
    geometry = image.geometry
    if geometry.is_radiograph and np.abs(ends_ijk[:, 2]).max() > _OUT_OF_PLANE:
        raise InputError(
            "expected a ruler in the plane of the image, got one that leaves it. Draw it in the slice view."
        )
    if np.abs(ends_ijk[1] - ends_ijk[0]).max() < _SHORTEST_VOXELS:
        raise InputError("expected a ruler with a length, got two ends in one place. Drag one of them away.")
    factor = length_mm / _length(image, ends_ijk)
    x, y, z = (spacing * factor for spacing in geometry.spacing_mm)
    if geometry.is_radiograph:
        z = geometry.spacing_mm[2]
    for wrong in (x, y, z)[: 2 if geometry.is_radiograph else 3]:
        if not _SMALLEST_MM <= wrong <= _LARGEST_MM:
            raise InputError(
                f"expected voxels of {_SMALLEST_MM:g} to {_LARGEST_MM:g} mm, got {wrong:.3g} mm by a ruler of {length_mm:g} mm. "
                "Check its length and its ends."
            )
    return x, y, z


def _ends_ijk(image: ImageInScene, line: Node) -> FloatArray:
    """Continuous voxel indices (2, 3) of the ends of a line."""
    return image.index_ijk(line, [line.GetNthControlPointPosition(n) for n in range(2)])


def _length(image: ImageInScene, ends_ijk: FloatArray) -> float:
    """In the plane on a radiograph: an end a little above or below it makes nothing longer."""
    vector = (ends_ijk[1] - ends_ijk[0]) * image.geometry.spacing_mm
    return float(np.linalg.norm(vector[:2] if image.geometry.is_radiograph else vector))
