"""Where the three-dimensional views look: at a volume from in front, or at a point of it.

Slicer keeps each view's camera as a node of the scene, so this works in whichever front end draws the views.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from DenseLandmarksLib.scene.nodes import Node
from DenseLandmarksLib.scene.ras import FloatArray

_CAMERA = "vtkMRMLCameraNode"
_FRONT_RAS, _HEAD_RAS = np.array([0.0, 1.0, 0.0]), (0.0, 0.0, 1.0)


def see_volume(scene: Any, volume: Node) -> None:
    """Look at a volume from in front, all of it to be seen."""
    bounds = [0.0] * 6
    volume.GetRASBounds(bounds)  # in the world
    low, high = np.array(bounds).reshape(3, 2).T
    middle, radius = (low + high) / 2, np.linalg.norm(high - low) / 2
    for camera in _cameras(scene):
        # So that a ball around the volume fits into the cone that is seen.
        away = radius / np.sin(np.deg2rad(camera.GetViewAngle() / 2))
        was_modifying = camera.StartModify()
        camera.SetFocalPoint(*middle.tolist())
        camera.SetPosition(*(middle + away * _FRONT_RAS).tolist())
        camera.SetViewUp(*_HEAD_RAS)
        camera.EndModify(was_modifying)
        camera.ResetClippingRange()


def look_at_in_space(scene: Any, world_ras_mm: FloatArray) -> None:
    """Have a point of the world in the middle, from the same side and as near as before."""
    for camera in _cameras(scene):
        moved = np.asarray(world_ras_mm) - camera.GetFocalPoint()
        was_modifying = camera.StartModify()
        camera.SetPosition(*(moved + camera.GetPosition()).tolist())
        camera.SetFocalPoint(*(moved + camera.GetFocalPoint()).tolist())
        camera.EndModify(was_modifying)
        camera.ResetClippingRange()


def _cameras(scene: Any) -> list[Node]:
    return [scene.GetNthNodeByClass(n, _CAMERA) for n in range(scene.GetNumberOfNodesByClass(_CAMERA))]
