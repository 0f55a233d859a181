"""A structure's mask in a segment of Slicer's, written and read.

Slicer shares label maps between segments when it saves, and a person crops, moves and resamples them: what a segment holds is
read through its label value and its place in the world.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonCore import VTK_UNSIGNED_CHAR
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from DenseLandmarksLib.scene.cropped_mask import CroppedMask
from DenseLandmarksLib.scene.ras import FloatArray, from_vtk, to_vtk
from DenseLandmarksLib.scene.slicer_classes import class_beside

LABEL_MAP = "Binary labelmap"
"""What Slicer calls the representation (vtkSegmentationConverter), in memory and in files."""
# Rounding in a file moves a voxel by less than this part of itself; another spacing moves some by more.
_SAME_VOXEL = 0.05
EXACT = 1e-6
"""What rounding in memory does to it."""


def label_map_of(segmentation: Any, mask: CroppedMask, index_to_node: FloatArray) -> Any:
    """A mask as Slicer keeps it, on the image's voxels."""
    label_map = class_beside(segmentation, "vtkOrientedImageData")()
    label_map.SetImageToWorldMatrix(to_vtk(index_to_node))
    extent: list[int] = []
    for start, length in zip(mask.start_ijk, mask.voxels.shape[::-1], strict=True):
        extent += [start, start + length - 1]
    label_map.SetExtent(extent)
    if mask.voxels.size:
        scalars = numpy_to_vtk(mask.voxels.view(np.uint8).ravel(), deep=True)
        scalars.SetName("ImageScalars")
        label_map.GetPointData().SetScalars(scalars)
    else:
        label_map.AllocateScalars(VTK_UNSIGNED_CHAR, 1)  # something to paint into
    return label_map


def stamp(segment: Any) -> tuple[Any, ...]:
    """What stays the same while nobody touches what a segment holds. Keeps the label map, so that no other can be it."""
    label_map = segment.GetRepresentation(LABEL_MAP)
    return label_map, 0 if label_map is None else label_map.GetMTime(), segment.GetLabelValue()


def mask_in(segment: Any, places: Sequence[FloatArray], size: tuple[int, int, int]) -> CroppedMask | None:
    """The mask that a segment holds, on the voxels of an image of ``size`` (i, j, k).

    ``places`` are matrices (4, 4) from the image's voxels to the node's coordinates: the first whose voxels are those of the
    segment counts, else the first of all. ``None`` for a segment that somebody made a surface.
    """
    label_map = segment.GetRepresentation(LABEL_MAP)
    if label_map is None:
        return None
    scalars = label_map.GetPointData().GetScalars()
    if scalars is None or not scalars.GetNumberOfTuples():
        return CroppedMask.of(np.zeros((0, 0, 0), bool))
    extent = label_map.GetExtent()
    first, shape = np.array(extent[::2]), label_map.GetDimensions()[::-1]
    held = CroppedMask.of(vtk_to_numpy(scalars).reshape(shape) == segment.GetLabelValue(), first.tolist())
    for index_to_node in places:
        to_image = _to_image(label_map, index_to_node)
        shift, error = _shift(to_image, extent)
        if error <= _SAME_VOXEL:
            return held.shifted(shift, size)
    return held.resampled(_to_image(label_map, places[0]), size)


def holds(segment: Any, mask: CroppedMask, index_to_node: FloatArray, size: tuple[int, int, int]) -> bool:
    """Whether a segment holds a mask, on the image's very voxels."""
    label_map = segment.GetRepresentation(LABEL_MAP)
    if label_map is None or _shift(_to_image(label_map, index_to_node), label_map.GetExtent())[1] > EXACT:
        return False
    held = mask_in(segment, [index_to_node], size)
    return held is not None and held.same_as(mask)


def _to_image(label_map: Any, index_to_node: FloatArray) -> FloatArray:
    """The matrix (4, 4) from a label map's voxels to the image's."""
    matrix = vtkMatrix4x4()
    label_map.GetImageToWorldMatrix(matrix)
    return np.asarray(np.linalg.solve(index_to_node, from_vtk(matrix)))


def _shift(to_image: FloatArray, extent: Sequence[int]) -> tuple[NDArray[np.intp], float]:
    """By how many voxels (3,) a label map of that extent is shifted in the image, and how far that misses the worst corner."""
    corners = np.array(np.meshgrid(extent[:2], extent[2:4], extent[4:])).reshape(3, -1).T
    moved = corners @ to_image[:3, :3].T + to_image[:3, 3] - corners
    shift = np.rint(moved[0])
    return shift.astype(np.intp), float(np.abs(moved - shift).max())
