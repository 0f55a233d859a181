"""The application's views: which image they show, and where they look."""

from __future__ import annotations

from typing import Any

import numpy as np
import qt
import slicer
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from DenseLandmarksLib.scene.image_in_scene import to_world
from DenseLandmarksLib.scene.nodes import Node, is_in
from DenseLandmarksLib.scene.ras import FloatArray, from_vtk
from DenseLandmarksLib.scene.space_views import look_at_in_space, see_volume

# Of a radiograph: the red view alone; of a volume: the three of the four-up layout.
_OF_RADIOGRAPH, _OF_VOLUME = ("Red",), ("Red", "Yellow", "Green")
# The preset that looks along each of the axes R, A and S.
_ALONG = ("Sagittal", "Coronal", "Axial")


def show_image(volume: Node) -> None:
    """Show another image, along its own axes and as large as it goes; a radiograph in one view, a volume in all.

    Call it when another image comes, not on each refresh: how a person looks at it afterwards is theirs. Without views
    nothing happens.
    """
    manager = slicer.app.layoutManager()
    if manager is None or volume is None or volume.GetImageData() is None:
        return
    is_radiograph = volume.GetImageData().GetDimensions()[2] == 1
    layouts = slicer.vtkMRMLLayoutNode
    layout = layouts.SlicerLayoutOneUpRedSliceView if is_radiograph else layouts.SlicerLayoutFourUpView
    was_other = manager.layout != layout
    if was_other:
        manager.setLayout(layout)
    wanted = _OF_RADIOGRAPH if is_radiograph else _OF_VOLUME
    widgets = [manager.sliceWidget(name) for name in manager.sliceViewNames() if name in wanted]
    for widget in widgets:
        widget.mrmlSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
        node = widget.mrmlSliceNode()
        node.SetOrientationToDefault()
        if is_radiograph:
            node.SetOrientation(_preset_along(volume))
        node.RotateToVolumePlane(volume)
        widget.sliceLogic().FitSliceToBackground()
    if not is_radiograph:
        see_volume(slicer.mrmlScene, volume)
    if was_other:  # views get their size when they are laid out
        looked_at = [_plane(widget) for widget in widgets]

        def fit_again() -> None:
            for widget, before in zip(widgets, looked_at, strict=True):
                if is_in(slicer.mrmlScene, volume) and _shows(widget, volume) and _plane(widget) == before:
                    widget.sliceLogic().FitSliceToBackground()

        qt.QTimer.singleShot(0, fit_again)


def look_at(world_ras_mm: FloatArray, side_mm: float) -> None:
    """Centre all views on a point of the world, ``side_mm`` of it to be seen along the shorter side of slice views."""
    manager = slicer.app.layoutManager()
    if manager is None:
        return
    look_at_in_space(slicer.mrmlScene, world_ras_mm)
    for name in manager.sliceViewNames():
        node = manager.sliceWidget(name).mrmlSliceNode()
        node.JumpSliceByCentering(*(float(value) for value in world_ras_mm))
        x, y, z = node.GetFieldOfView()
        if min(x, y) > 0 and side_mm > 0:
            factor = side_mm / min(x, y)
            node.SetFieldOfView(x * factor, y * factor, z)


def _shows(widget: Any, volume: Node) -> bool:
    return bool(widget.mrmlSliceCompositeNode().GetBackgroundVolumeID() == volume.GetID())


def _plane(widget: Any) -> list[float]:
    """Where a view looks: another place is somebody's wish."""
    return [float(value) for value in from_vtk(widget.mrmlSliceNode().GetSliceToRAS()).ravel()]


def _preset_along(volume: Node) -> str:
    """The orientation that looks at a radiograph from in front: its rows and columns lie in the view."""
    matrix = vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    world = to_world(volume)
    through = (np.eye(4) if world is None else world) @ from_vtk(matrix)
    return _ALONG[int(np.abs(through[:3, 2]).argmax())]
