"""A map of evidence over the image in slice views: coloured where it is high, nothing where it is zero.

It is a layer of its own above the image, so that whatever a person has there as foreground or labels stays. Its pixels are
colours with an opacity: of a volume of numbers Slicer shows a pixel or not, nothing between. Views keep the layer by the
identity of its volume, and a saved scene keeps that identity though the volume is not saved: it is one that no other node
ever gets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonDataModel import vtkImageData
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.models.evidence import EvidenceMap
from DenseLandmarksLib.scene.eyes_only import add_for_eyes_only
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.nodes import Node, is_in, remove_node
from DenseLandmarksLib.scene.ras import FloatArray, from_vtk, to_vtk

# From 0 to 1: nine stops of the viridis ramp (S. van der Walt and N. Smith, 2015), whose lightness rises evenly. No colour of
# it is a grey of the image.
RAMP = (
    (0.267, 0.005, 0.329),
    (0.279, 0.175, 0.483),
    (0.230, 0.322, 0.546),
    (0.173, 0.449, 0.558),
    (0.128, 0.567, 0.551),
    (0.158, 0.684, 0.502),
    (0.369, 0.789, 0.383),
    (0.678, 0.864, 0.190),
    (0.993, 0.906, 0.144),
)
_WHAT, _VOLUME = "why here", "vtkMRMLVectorVolumeNode"
_TAG = "DenseLandmarksWhyHere"
# What is lower is fainter than a fiftieth, and so many voxels are coloured in a moment.
_LOWEST, _MOST_VOXELS = 4e-4, 4_000_000
_COMPOSITE = "vtkMRMLSliceCompositeNode"


class EvidenceOverlay:
    """The overlay of one case; no two are shown at a time.

    ``node`` is its volume, ``None`` where nothing is shown.
    """

    def __init__(self, scene: Any) -> None:
        self.node: Node | None = None
        self._scene = scene
        self._map: EvidenceMap | None = None
        self._strength = 1.0
        self._to_index: FloatArray = np.eye(4)

    def put(self, one: EvidenceMap, strength: float, image: ImageInScene) -> None:
        """Have a map over the image, as opaque at its highest as ``strength`` (0 to 1) says."""
        is_new = one is not self._map or not is_in(self._scene, self.node)
        self._map, self._strength = one, strength
        node = self._ensure_node()
        if is_new:
            values, self._to_index = _smooth(one)
            node.SetAndObserveImageData(_colours(values))
        self._ensure_display(node)
        self._lay(node, image)
        self.keep_in_views(image)

    def show(self, _state: CaseState, image: ImageInScene) -> None:
        """Have it lie on the image, which may have been moved."""
        if self._map is not None:
            self.put(self._map, self._strength, image)

    def keep_in_views(self, image: ImageInScene) -> None:
        """Have it in the views that show the image, also in new ones, and in no other."""
        if self._map is None or self.node is None:
            return
        for view in _views(self._scene):
            layer = _layer_of(view, self.node)
            if view.GetBackgroundVolumeID() != image.volume.GetID():
                _empty(view, layer)
                continue
            if layer is None:
                layer = _free_layer(view)
                view.SetNthLayerVolumeID(layer, self.node.GetID())
            if view.GetNthLayerOpacity(layer) != self._strength:
                view.SetNthLayerOpacity(layer, self._strength)

    def remove(self) -> None:
        """Take it and all that belongs to it out of views and scene."""
        if is_in(self._scene, self.node):
            for view in _views(self._scene):
                _empty(view, _layer_of(view, self.node))
        remove_node(self._scene, self.node)
        self.node = self._map = None

    def _ensure_node(self) -> Node:
        """The volume; what anybody removed of it is made anew."""
        node = self.node
        if node is None or not is_in(self._scene, node):
            node = self.node = add_for_eyes_only(self._scene, _VOLUME, _WHAT, _TAG)
        return node

    def _ensure_display(self, node: Node) -> None:
        if node.GetDisplayNode() is None:
            display = add_for_eyes_only(self._scene, "vtkMRMLVectorVolumeDisplayNode", f"{_WHAT} display")
            display.SetDefaultColorMap()  # not used, but without any VTK logs an error
            display.AutoWindowLevelOff()  # its colours are those that are meant
            display.SetWindowLevelMinMax(0, 255)
            node.SetAndObserveDisplayNodeID(display.GetID())

    def _lay(self, node: Node, image: ImageInScene) -> None:
        image.take_along(node)
        matrix = vtkMatrix4x4()
        image.volume.GetIJKToRASMatrix(matrix)
        to_ras_mm: FloatArray = from_vtk(matrix) @ self._to_index
        if node.GetImageData().GetDimensions()[2] == 1 and np.linalg.det(to_ras_mm[:3, :3]) < 0:
            to_ras_mm[:, 2] *= -1  # a single slice lies as well on a right-handed grid, of which Slicer is sure
        node.GetIJKToRASMatrix(matrix)
        if not np.array_equal(from_vtk(matrix), to_ras_mm):
            node.SetIJKToRASMatrix(to_vtk(to_ras_mm))


def ramp_colours(values: FloatArray) -> FloatArray:
    """Colours (N, 3), 0 to 1, of values (N,) from 0 to 1."""
    stops = np.linspace(0, 1, len(RAMP))
    return np.stack([np.interp(values, stops, channel) for channel in np.transpose(RAMP)], axis=1)


def _smooth(one: EvidenceMap) -> tuple[NDArray[np.float32], FloatArray]:
    """The part (K, J, I) of a map in which something is seen, on smaller voxels, and their matrix to the image's.

    Slicer interpolates between colours, which from one end of the ramp to the other leads through none of it: numbers are
    interpolated before.
    """
    seen = np.argwhere(one.values >= _LOWEST)
    if not len(seen):
        return one.values, one.to_index
    size = np.array(one.values.shape)
    low, high = np.maximum(seen.min(axis=0) - 1, 0), np.minimum(seen.max(axis=0) + 2, size)
    part = one.values[tuple(map(slice, low, high))]
    finer = np.where(size == 1, 1, next((f for f in (4, 3, 2) if part.size * f**3 <= _MOST_VOXELS), 1))
    step = np.eye(4)
    step[:3, :3] = np.diag(1 / finer[::-1])
    # The corners of both lie in one place, not the middles of their voxels.
    step[:3, 3] = low[::-1] + (1 / finer[::-1] - 1) / 2
    return zoom(part, finer, order=1, mode="nearest", grid_mode=True), one.to_index @ step


def _colours(values: NDArray[np.float32]) -> vtkImageData:
    """Red, green, blue and opacity of values (K, J, I)."""
    flat = np.clip(values.ravel().astype(np.float64), 0, 1)
    # What is low is faint too, so that the image is seen there; the root keeps the foot of a peak in sight.
    rgba = np.rint(255 * np.column_stack([ramp_colours(flat), np.sqrt(flat)])).astype(np.uint8)
    data = vtkImageData()
    data.SetDimensions(*reversed(values.shape))
    data.GetPointData().SetScalars(numpy_to_vtk(rgba, deep=True))
    return data


def _views(scene: Any) -> Iterator[Node]:
    return (scene.GetNthNodeByClass(n, _COMPOSITE) for n in range(scene.GetNumberOfNodesByClass(_COMPOSITE)))


def _additional(view: Node) -> range:
    first = view.Layer_Last
    return range(first, first + view.GetNumberOfAdditionalLayers())


def _layer_of(view: Node, node: Node | None) -> int | None:
    """The layer of a view that a volume is in."""
    return next(
        (n for n in _additional(view) if node is not None and view.GetNthLayerVolumeID(n) == node.GetID()), None
    )


def _free_layer(view: Node) -> int:
    used = _additional(view)
    return next((n for n in used if not view.GetNthLayerVolumeID(n)), used.stop)


def _empty(view: Node, layer: int | None) -> None:
    if layer is not None:
        view.SetNthLayerVolumeID(layer, None)
