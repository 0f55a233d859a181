"""Where three-dimensional views look: at all of a volume from in front, then at a landmark."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.geometry.frames import lps_mm_from_index
from DenseLandmarksLib.scene.ras import to_vtk
from DenseLandmarksLib.scene.space_views import look_at_in_space, see_volume
from DenseLandmarksLib.scene.volume_node import add_volume_node
from Testing.models.neck_finder import marked_volume

TO_RAS = np.array([-1.0, -1.0, 1.0])


@pytest.mark.parametrize("moved_mm", [0.0, 500.0])
def test_all_of_a_volume_is_seen_from_in_front(scene: Any, moved_mm: float) -> None:
    image = marked_volume()
    volume, camera = add_volume_node(scene, image), scene.AddNewNodeByClass("vtkMRMLCameraNode")
    matrix = np.eye(4)
    matrix[0, 3] = moved_mm
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(to_vtk(matrix))
    volume.SetAndObserveTransformNodeID(transform.GetID())
    see_volume(scene, volume)
    corners = lps_mm_from_index(image.geometry, list(product(*((0, count - 1) for count in image.geometry.size))))
    offsets = corners * TO_RAS + [moved_mm, 0, 0] - camera.GetPosition()
    forward = np.array(camera.GetFocalPoint()) - camera.GetPosition()
    np.testing.assert_allclose(forward / np.linalg.norm(forward), [0, -1, 0], atol=1e-9)
    cosines = offsets @ forward / np.linalg.norm(offsets, axis=1) / np.linalg.norm(forward)
    angles_deg = np.rad2deg(np.arccos(cosines))
    assert angles_deg.max() < camera.GetViewAngle() / 2
    assert angles_deg.max() > camera.GetViewAngle() / 8, "and it is not a dot"
    look_at_in_space(scene, np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(camera.GetFocalPoint(), [1, 2, 3])
    np.testing.assert_allclose(np.array(camera.GetFocalPoint()) - camera.GetPosition(), forward)
