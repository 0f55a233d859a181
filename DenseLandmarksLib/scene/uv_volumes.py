"""The uv field of a case as hidden volumes, so that a saved scene can be asked for landmarks that nobody knows yet.

One vector volume of three numbers per structure lies on the field's pixels: slice 0 holds u, v and whether the pixel is
inside (1) or not (0); slice 1, where the model says how sure it is, the Laplace scales of u and v, and 0. Outside all is 0.
Slicer fails to save a scene in which a volume has more than four numbers per voxel (measured on 5.11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonDataModel import vtkImageData
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.grid import Grid
from DenseLandmarksLib.landmarks.uv_field import UvField
from DenseLandmarksLib.models.evidence import grid_to_index
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.nodes import Node, is_in, remove_node
from DenseLandmarksLib.scene.ras import from_vtk, to_vtk
from DenseLandmarksLib.scene.scene_text import node_name, to_attribute

NODE_CLASS = "vtkMRMLVectorVolumeNode"
STRUCTURE = "DenseLandmarks.Structure"
"""The attribute of a node that names its structure, see :mod:`~DenseLandmarksLib.scene.scene_text`."""


class UvVolumes:
    """The uv field of one case in a scene. ``nodes`` are its volumes by structure."""

    def __init__(self, scene: Any, case_name: str) -> None:
        self.nodes: dict[str, Node] = {}
        self._scene, self._case_name = scene, case_name
        self._field: UvField | None = None
        # When each volume was filled, by VTK's clock: whoever changes one since finds it put right.
        self._filled: dict[str, int] = {}

    def adopt(self, nodes: Mapping[str, Node]) -> None:
        """Go on with volumes that are in the scene already, by structure."""
        self.nodes, self._field = dict(nodes), None

    def show(self, state: CaseState, image: ImageInScene) -> None:
        """Bring the volumes to what the case says; only what differs is touched."""
        prediction = None if state.answer is None else state.answer.prediction
        field = None if prediction is None else prediction.uv_field
        for structure in set(self.nodes).difference(() if field is None else field.structures):
            remove_node(self._scene, self.nodes.pop(structure))
        if prediction is not None and field is not None:
            for row, structure in enumerate(field.structures):
                node = self.nodes.get(structure)
                if node is None or not is_in(self._scene, node):
                    node = self.nodes[structure] = self._add_volume(structure)
                if field is not self._field or _changed(node) != self._filled.get(structure):
                    _fill(node, _voxels(field, row))
                    self._filled[structure] = _changed(node)
                image.take_along(node)  # so that the image's own matrix is right for both, also under a warp
                _lay(node, _ijk_to_ras_mm(image.volume) @ _pixel_to_index(field, prediction.need_grid()))
        self._field = field

    def remove(self) -> None:
        """Take our volumes, and nothing else, out of the scene."""
        for node in self.nodes.values():
            remove_node(self._scene, node)
        self.nodes.clear()

    def _add_volume(self, structure: str) -> Node:
        node = self._scene.AddNewNodeByClass(NODE_CLASS, node_name(f"{self._case_name} uv {structure}"))
        node.SetUndoEnabled(False)  # the session's undo is the only one
        node.SetHideFromEditors(True)
        node.SetAttribute(STRUCTURE, to_attribute(structure))
        return node


def uv_arrays(nodes: Mapping[str, Node], structures: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The field that volumes hold, S ``structures`` in that order.

    ``"uv"`` (S, 2, h, w) float32, ``"masks"`` (S, h, w) bool and, where the model gives it, ``"uv_scale"`` (S, 2, h, w)
    float32; see :class:`~DenseLandmarksLib.landmarks.uv_field.UvField`.

    Raises :class:`InputError`, in one line, where a volume is missing, or is none of ours any more.
    """
    found: list[NDArray[np.float32]] = []
    for structure in structures:
        voxels = None if nodes.get(structure) is None else _held(nodes[structure])
        if voxels is None or voxels.dtype != np.float32 or voxels.shape != (found or [voxels])[0].shape:
            raise InputError(
                f"expected the uv volume of {structure}, got "
                f"{'none' if voxels is None else f'one of {voxels.dtype} and shape {voxels.shape}'}. "
                "Open the scene as it was saved, or the case from its library."
            )
        found.append(voxels)
    slices = np.stack(found)
    numbers = np.ascontiguousarray(slices[..., :2].transpose(1, 0, 4, 2, 3))
    arrays: dict[str, NDArray[Any]] = {"uv": numbers[0], "masks": slices[:, 0, :, :, 2] == 1}
    return arrays if len(numbers) == 1 else arrays | {"uv_scale": numbers[1]}


def _voxels(field: UvField, row: int) -> NDArray[np.float32]:
    """What the volume of a structure holds, (1 or 2, h, w, 3)."""
    inside = field.masks[row]
    numbers = [field.uv[row]] if field.uv_scale is None else [field.uv[row], field.uv_scale[row]]
    voxels = np.zeros((len(numbers), *inside.shape, 3), np.float32)
    voxels[0, ..., 2] = inside
    for n, number in enumerate(numbers):
        voxels[n, inside, :2] = number[:, inside].T
    return voxels


def _held(node: Node) -> NDArray[Any] | None:
    """Voxels (K, h, w, 3) of a volume, a view of them; ``None`` where it has none."""
    data = node.GetImageData()
    scalars = None if data is None else data.GetPointData().GetScalars()
    if scalars is None or scalars.GetNumberOfComponents() != 3:
        return None
    voxels: NDArray[Any] = vtk_to_numpy(scalars).reshape(*data.GetDimensions()[::-1], 3)
    return voxels


def _changed(node: Node) -> int:
    data = node.GetImageData()
    return -1 if data is None else int(data.GetMTime())


def _fill(node: Node, voxels: NDArray[np.float32]) -> None:
    held = _held(node)
    if held is not None and held.shape == voxels.shape and held.tobytes() == voxels.tobytes():
        return
    data = vtkImageData()
    data.SetDimensions(*voxels.shape[2::-1])
    data.GetPointData().SetScalars(numpy_to_vtk(voxels.reshape(-1, 3), deep=True))
    node.SetAndObserveImageData(data)


def _pixel_to_index(field: UvField, grid: Grid) -> NDArray[np.float64]:
    """The matrix (4, 4) from the field's pixels (x, y, slice) to the image's voxels (i, j, k)."""
    return grid_to_index(grid, field.stride)


def _lay(node: Node, to_ras_mm: NDArray[np.float64]) -> None:
    # Slicer reads a left-handed volume with its slices in reverse order. The field has one: the second slice may lie on
    # either side of it.
    if np.linalg.det(to_ras_mm[:3, :3]) < 0:
        to_ras_mm[:, 2] *= -1
    node.SetIJKToRASMatrix(to_vtk(to_ras_mm))


def _ijk_to_ras_mm(node: Node) -> NDArray[np.float64]:
    """A volume's matrix (4, 4) in its own coordinates."""
    matrix = vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return from_vtk(matrix)
