"""The image of a case as a volume node."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonDataModel import vtkImageData
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.formats.padding import defined
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.ras import from_vtk, geometry_from_ijk_to_ras_mm, ijk_to_ras_mm, to_vtk
from DenseLandmarksLib.scene.scene_text import node_name

# So many voxels say which grey values a volume has.
_ENOUGH_VOXELS = 1_000_000


def add_volume_node(scene: Any, image: MedicalImage) -> Node:
    """Show an image as a new scalar volume node, called by the image's name; pixels are copied once.

    A radiograph is one slice thick, as Slicer's own readers make it. The window that the file asks for is set, where it
    does; else Slicer chooses one, or for a volume it is chosen here as Slicer would, in a fraction of the time.
    """
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(node_name(image.name)))
    voxels = sitk.GetArrayViewFromImage(image.volume)
    node.SetAndObserveImageData(_image_data(voxels))
    node.SetIJKToRASMatrix(to_vtk(ijk_to_ras_mm(image.geometry)))
    window = image.window or (None if image.is_radiograph else _usual_window(voxels))
    if window is None:
        node.CreateDefaultDisplayNodes()
    else:
        display = scene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
        display.SetDefaultColorMap()
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(*window)
        node.SetAndObserveDisplayNodeID(display.GetID())
    return node


def _usual_window(voxels: NDArray[Any]) -> tuple[float, float] | None:
    """What Slicer takes, the percentiles 0.1 and 99.9, of some of the voxels; ``None`` where these are all alike."""
    some = voxels.reshape(-1)[:: max(1, voxels.size // _ENOUGH_VOXELS)]
    low, high = np.percentile(some, (0.1, 99.9)).tolist()
    return (low, high) if low < high else None


def voxels_zyx(node: Node) -> NDArray[Any]:
    """Voxels (Z, Y, X) of a scalar volume node, a view of them."""
    data = node.GetImageData()
    voxels: NDArray[Any] = vtk_to_numpy(data.GetPointData().GetScalars()).reshape(data.GetDimensions()[::-1])
    return voxels


def turn_slices_round(node: Node) -> None:
    """Count the slices of a volume node from its other end; every voxel stays where it is in the scene.

    Slicer does so when it reads a volume whose axes are left-handed, also out of its own bundles. Done once more, the
    voxels have the indices again that they have in the image's file.
    """
    matrix = vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    turned = from_vtk(matrix)
    turned[:3, 3] += turned[:3, 2] * (node.GetImageData().GetDimensions()[2] - 1)
    turned[:3, 2] *= -1
    node.SetAndObserveImageData(_image_data(voxels_zyx(node)[::-1]))
    node.SetIJKToRASMatrix(to_vtk(turned))


def image_of_volume_node(node: Node, source: SpacingSource) -> MedicalImage:
    """A scalar volume node as an image of the library, in the node's own frame; transforms above it are left out.

    Nothing in a scene says where the spacing came from: ``source`` does. Voxels that are no number are padding, as they are
    in files. Raises :class:`InputError` for a node that no
    image can be made of.
    """
    data = node.GetImageData()
    if data is None or data.GetNumberOfScalarComponents() != 1 or 0 in data.GetDimensions():
        raise InputError(
            f"expected an image with grey values, got {node.GetName()!r}. Choose a radiograph or a volume."
        )
    matrix = vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    try:
        geometry = geometry_from_ijk_to_ras_mm(from_vtk(matrix), data.GetDimensions(), source)
    except ValueError as error:
        raise InputError(f"{node.GetName()}: {error}. Resample it first.") from error
    volume = sitk.GetImageFromArray(voxels_zyx(node))
    volume.SetSpacing(geometry.spacing_mm)
    volume.SetOrigin(geometry.origin_lps_mm)
    volume.SetDirection(geometry.direction)
    return MedicalImage(defined(volume), source, node.GetName())


def _image_data(voxels: NDArray[Any]) -> vtkImageData:
    data = vtkImageData()
    data.SetDimensions(*reversed(voxels.shape))
    scalars = numpy_to_vtk(np.ascontiguousarray(voxels).ravel(), deep=True)
    data.GetPointData().SetScalars(scalars)
    return data
