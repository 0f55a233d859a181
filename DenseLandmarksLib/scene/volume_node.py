"""The image of a case as a volume node."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
from vtkmodules.vtkCommonDataModel import vtkImageData

from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.scene.ras import ijk_to_ras_mm, to_vtk

Node = Any
"""A vtkMRML node: this room makes them by name through the scene it is given, and never imports Slicer."""


def add_volume_node(scene: Any, image: MedicalImage) -> Node:
    """Show an image as a new scalar volume node, called by the image's name; pixels are copied once.

    A radiograph is one slice thick, as Slicer's own readers make it. The window that the file asks for is set, where it
    does; else Slicer chooses one.
    """
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(image.name))
    node.SetAndObserveImageData(_image_data(sitk.GetArrayViewFromImage(image.volume)))
    node.SetIJKToRASMatrix(to_vtk(ijk_to_ras_mm(image.geometry)))
    node.CreateDefaultDisplayNodes()
    if image.window is not None:
        low, high = image.window
        display = node.GetDisplayNode()
        display.AutoWindowLevelOff()
        display.SetWindowLevelMinMax(low, high)
    return node


def voxels_zyx(node: Node) -> NDArray[Any]:
    """Voxels (Z, Y, X) of a scalar volume node, a view of them."""
    data = node.GetImageData()
    voxels: NDArray[Any] = vtk_to_numpy(data.GetPointData().GetScalars()).reshape(data.GetDimensions()[::-1])
    return voxels


def _image_data(voxels: NDArray[Any]) -> vtkImageData:
    data = vtkImageData()
    data.SetDimensions(*reversed(voxels.shape))
    scalars = numpy_to_vtk(np.ascontiguousarray(voxels).ravel(), deep=True)
    data.GetPointData().SetScalars(scalars)
    return data
