"""Where things are in a scene: what a walk compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.ras import FloatArray, from_vtk, to_vtk
from DenseLandmarksLib.scene.segments import segment_id
from Testing.scene.walk.rules import FOREIGN, LABELMAP, SEGMENTATION, Node, rule


def to_world(node: Node) -> FloatArray:
    """The matrix (4, 4) from a node's own coordinates to the world's."""
    matrix = vtkMatrix4x4()
    if node.GetParentTransformNode() is not None:
        node.GetParentTransformNode().GetMatrixTransformToWorld(matrix)
    return from_vtk(matrix)


def voxel_to_world(volume: Node) -> FloatArray:
    """The matrix (4, 4) from voxel index to the world."""
    matrix = vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return to_world(volume) @ from_vtk(matrix)


def world_of(case: CaseInScene, index_ijk: Sequence[float]) -> FloatArray:
    """Where a voxel of the case's image is in the world (3,)."""
    return np.asarray((voxel_to_world(case.image.volume) @ [*index_ijk, 1.0])[:3])


def mask_in_scene(case: CaseInScene, structure: str) -> NDArray[np.bool_]:
    """What a segment holds at the centres of the image's voxels (Z, Y, X)."""
    node, size = case.segments.node, case.session.state.geometry.size
    segment = node.GetSegmentation().GetSegment(segment_id(structure))
    rule(segment is not None, "a structure has no segment", structure)
    labelmap = segment.GetRepresentation(LABELMAP)
    found = np.zeros(size[::-1], bool)
    scalars = labelmap.GetPointData().GetScalars()
    if scalars is None or not scalars.GetNumberOfTuples():
        return found
    matrix = vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(matrix)
    chain = np.linalg.inv(to_world(node) @ from_vtk(matrix)) @ voxel_to_world(case.image.volume)
    index = np.stack([*np.meshgrid(*map(np.arange, size), indexing="ij"), np.ones(size)], axis=-1).reshape(-1, 4)
    extent = np.array(labelmap.GetExtent()).reshape(3, 2)
    at = np.rint(index @ chain[:3].T).astype(int) - extent[:, 0]
    inside = ((at >= 0) & (at <= extent[:, 1] - extent[:, 0])).all(axis=1)
    voxels = vtk_to_numpy(scalars).reshape(labelmap.GetDimensions()[::-1])
    held = np.zeros(len(index), bool)
    held[inside] = voxels[tuple(at[inside].T[::-1])] == segment.GetLabelValue()
    return held.reshape(size).transpose(2, 1, 0)


def oriented(mask: NDArray[np.bool_], matrix: FloatArray, start_ijk: Sequence[int] = (0, 0, 0)) -> Any:
    """A mask (Z, Y, X) as Slicer's modules hand it on; ``matrix`` (4, 4) from its voxels to the node's coordinates."""
    import slicer

    data = slicer.vtkOrientedImageData()
    extent: list[int] = []
    for first, length in zip(start_ijk, mask.shape[::-1], strict=True):
        extent += [first, first + length - 1]
    data.SetExtent(extent)
    data.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(), deep=True))
    data.SetImageToWorldMatrix(to_vtk(matrix))
    return data


def sight(node: Node) -> tuple[Any, ...]:
    """What a person sees of a node of somebody else's."""
    seen: list[Any] = [node.GetName(), node.GetAttribute(FOREIGN)]
    if node.IsA("vtkMRMLTransformableNode"):
        seen.append(node.GetTransformNodeID())
    if node.IsA("vtkMRMLDisplayableNode"):
        display = node.GetDisplayNode()
        seen.append(display and (display.GetID(), display.GetVisibility(), display.GetOpacity(), display.GetColor()))
    if node.IsA("vtkMRMLLinearTransformNode"):
        matrix = vtkMatrix4x4()
        node.GetMatrixTransformToParent(matrix)
        seen.append(from_vtk(matrix).tobytes())
    if node.IsA("vtkMRMLMarkupsNode"):
        seen += [node.GetLocked(), node.GetFixedNumberOfControlPoints()]
        for n in range(node.GetNumberOfControlPoints()):
            seen += [node.GetNthControlPointLabel(n), node.GetNthControlPointPosition(n)]
            seen.append(node.GetNthControlPointPositionStatus(n))
    if node.IsA("vtkMRMLTextNode"):
        seen.append(node.GetText())
    if node.IsA("vtkMRMLVolumeNode"):
        matrix = vtkMatrix4x4()
        node.GetIJKToRASMatrix(matrix)
        data = node.GetImageData()
        seen += [from_vtk(matrix).tobytes(), data and vtk_to_numpy(data.GetPointData().GetScalars()).tobytes()]
    if node.IsA(SEGMENTATION):
        for name in node.GetSegmentation().GetSegmentIDs():
            segment = node.GetSegmentation().GetSegment(name)
            seen += [name, segment.GetName(), segment.GetColor()]
    return tuple(seen)
