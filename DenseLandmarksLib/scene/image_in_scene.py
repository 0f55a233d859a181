"""Where the voxels of a case's image are in the scene, and the way from there back to the voxel.

Points are voxel indices. A person may put the image under linear transforms, or harden them: its voxels then lie
elsewhere in the scene than in the image's own frame, and everything of the case goes with them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from DenseLandmarksLib.geometry.image_geometry import ImageGeometry
from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.ras import FloatArray, from_vtk, ijk_to_ras_mm, to_vtk

# What a matrix loses on its way through a file of Slicer, which writes 6 decimals in some places.
_SAME = 1e-5
# How many times more a transform may stretch one direction than another.
_FLAT = 1e6


class ImageInScene:
    """The volume node of a case.

    Attributes
    ----------
    volume : the node.
    geometry : of the image in its own frame, as it is shown.
    """

    def __init__(self, volume: Node, geometry: ImageGeometry) -> None:
        self.volume, self.geometry = volume, geometry
        self._seen = self._ijk_to_local()

    def show(self, geometry: ImageGeometry) -> None:
        """Lay the volume out as ``geometry`` says; whatever moved it in the scene stays, a spacing that it was given not."""
        now = self._ijk_to_local()
        placed = self._seen if self.spacing_given_mm is not None else now
        wanted = placed @ np.linalg.inv(ijk_to_ras_mm(self.geometry)) @ ijk_to_ras_mm(geometry)
        if np.abs(wanted - now).max() > _SAME / 1000:
            self.volume.SetIJKToRASMatrix(to_vtk(wanted))
        self.geometry, self._seen = geometry, self._ijk_to_local()

    def index_to(self, node: Node) -> FloatArray:
        """The matrix (4, 4) from voxel index to RAS mm in ``node``'s own coordinates, by way of the world's.

        Only for linear transforms, see :attr:`is_linear`.
        """
        return np.asarray(np.linalg.solve(_linear(node), self._index_to_world()))

    def world_ras_mm(self, index_ijk: ArrayLike) -> FloatArray:
        """RAS mm (N, 3) in the world of continuous voxel indices (N, 3)."""
        matrix = self._index_to_world()
        return np.asarray(index_ijk, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]

    @property
    def larger_side_mm(self) -> float:
        """The longest of the image's sides in the world."""
        return float((np.linalg.norm(self._index_to_world()[:3, :3], axis=0) * self.geometry.size).max())

    def local_ras_mm(self, node: Node, index_ijk: ArrayLike) -> FloatArray:
        """RAS mm (N, 3) in ``node``'s own coordinates of continuous voxel indices (N, 3)."""
        matrix = self.index_to(node)
        return np.asarray(index_ijk, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]

    def index_ijk(self, node: Node, local_ras_mm: ArrayLike) -> FloatArray:
        """Continuous voxel indices (N, 3) of RAS mm (N, 3) in ``node``'s own coordinates."""
        matrix = self.index_to(node)
        offsets = np.asarray(local_ras_mm, np.float64) - matrix[:3, 3]
        return np.asarray(np.linalg.solve(matrix[:3, :3], offsets.T).T)

    def take_along(self, node: Node) -> None:
        """Put ``node`` under the transform that the image is under."""
        if node.GetTransformNodeID() != self.volume.GetTransformNodeID():
            node.SetAndObserveTransformNodeID(self.volume.GetTransformNodeID())

    @property
    def is_linear(self) -> bool:
        """Whether everything that the image is under is linear, and leads back to its voxels."""
        return to_world(self.volume) is not None

    @property
    def spacing_given_mm(self) -> tuple[float, float, float] | None:
        """The spacing that somebody gave the volume since it was shown; ``None`` where none, or where it was moved."""
        now, was = self._ijk_to_local(), self._seen
        ratio = np.linalg.norm(now[:3, :3], axis=0) / np.linalg.norm(was[:3, :3], axis=0)
        only_spacing = np.allclose(now, was * [*ratio, 1.0], atol=_SAME)
        if not only_spacing or np.allclose(ratio, 1, atol=_SAME):
            return None
        x, y, z = (np.array(self.geometry.spacing_mm) * ratio).tolist()
        return x, y, z

    def _index_to_world(self) -> FloatArray:
        return np.asarray(_linear(self.volume) @ self._ijk_to_local())

    def _ijk_to_local(self) -> FloatArray:
        matrix = vtkMatrix4x4()
        self.volume.GetIJKToRASMatrix(matrix)
        return from_vtk(matrix)


def to_world(node: Node) -> FloatArray | None:
    """The matrix (4, 4) from a node's own coordinates to the world's; ``None`` under a transform that bends or flattens."""
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    if not parent.IsTransformToWorldLinear():
        return None
    matrix = vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(matrix)
    to_world = from_vtk(matrix)
    # From what is flat, or nearly so, no way leads back to a voxel.
    return to_world if np.linalg.cond(to_world[:3, :3]) < _FLAT else None


def _linear(node: Node) -> FloatArray:
    """As :func:`to_world`; what bends is left out until it is put right."""
    matrix = to_world(node)
    return np.eye(4) if matrix is None else matrix
