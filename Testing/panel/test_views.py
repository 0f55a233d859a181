"""What the application's views show, and where they look."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.scene.ras import to_vtk
from DenseLandmarksLib.scene.volume_node import add_volume_node

if TYPE_CHECKING:
    from Testing.host import Host

ONE_RED, FOUR_UP = 6, 3
# Columns: where the film's rows, its columns and its back face go, in LPS.
SEEN_FROM = {
    "as files without a direction": np.eye(3),
    "from in front": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], float),
    "from the side": np.array([[0, 0, 1], [1, 0, 0], [0, -1, 0]], float),
}


def volume(
    host: Host, slices: int = 1, direction: Any = SEEN_FROM["as files without a direction"], name: str = "film"
) -> Any:
    """An image that is bright in its first rows and columns."""
    voxels = np.zeros((slices, 60, 100), np.int16)
    voxels[:, :15, :25] = 1000
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((1.5, 1.5, 2.0))
    image.SetOrigin((10.0, -20.0, 30.0))
    image.SetDirection(np.asarray(direction, float).ravel().tolist())
    return add_volume_node(host.scene, MedicalImage(image, SpacingSource.DETECTOR, name))


def show(host: Host, node: Any) -> None:
    from DenseLandmarksLib.panel.views import show_image

    show_image(node)
    host.process(0.02)


@pytest.mark.parametrize("seen_from", SEEN_FROM)
def test_a_radiograph_is_seen_upright_whole_and_alone(host_with_view: Host, seen_from: str) -> None:
    host = host_with_view
    show(host, volume(host, direction=SEEN_FROM[seen_from]))
    assert host.app.layoutManager().layout == ONE_RED
    node = host.screen.view._view_node
    assert max(node.GetFieldOfView()[:2]) >= 150  # its longer side
    assert max(node.GetFieldOfView()[:2]) < 200
    pixels = host.screen.pixels().astype(int).sum(2)
    rows, columns = np.nonzero(pixels > pixels.max() / 2)
    assert (rows.mean(), columns.mean()) == (pytest.approx(70, abs=12), pytest.approx(32, abs=12))


def test_a_turned_film_is_seen_along_its_own_rows(host_with_view: Host) -> None:
    host = host_with_view
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    film = volume(host)
    transform = host.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    transform.SetMatrixTransformToParent(to_vtk(matrix))
    film.SetAndObserveTransformNodeID(transform.GetID())
    show(host, film)
    pixels = host.screen.pixels().astype(int).sum(2)
    bright = pixels > pixels.max() / 2
    rows, columns = np.nonzero(bright)
    filled = bright.sum() / ((np.ptp(rows) + 1) * (np.ptp(columns) + 1))
    assert filled > 0.95  # a rectangle along the view's sides


def test_a_volume_is_seen_in_all_views_and_the_next_film_alone_again(host_with_view: Host) -> None:
    host = host_with_view
    show(host, volume(host, direction=SEEN_FROM["from in front"]))
    ct = volume(host, 20, name="ct")
    show(host, ct)
    assert host.app.layoutManager().layout == FOUR_UP
    composite = host.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == ct.GetID()
    # The red view looks along the body again, not from in front as at the film.
    axis = host.screen.view._view_node.GetSliceToRAS()
    assert abs(axis.GetElement(2, 2)) == pytest.approx(1, abs=1e-6)
    show(host, volume(host))
    assert host.app.layoutManager().layout == ONE_RED


def test_what_else_a_person_set_stays(host_with_view: Host) -> None:
    host = host_with_view
    composite = host.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    overlay = volume(host, name="overlay")
    composite.SetForegroundVolumeID(overlay.GetID())
    composite.SetForegroundOpacity(0.25)
    show(host, volume(host))
    assert composite.GetForegroundVolumeID() == overlay.GetID()
    assert composite.GetForegroundOpacity() == 0.25


def test_without_views_nothing_happens(host: Host) -> None:
    from DenseLandmarksLib.panel.views import look_at

    show(host, volume(host))
    look_at(np.zeros(3), 10.0)


def test_an_image_that_is_deleted_at_once_is_no_trouble(host_with_view: Host) -> None:
    from DenseLandmarksLib.panel.views import show_image

    film = volume(host_with_view)
    show_image(film)
    host_with_view.scene.RemoveNode(film)
    host_with_view.process(0.05)
    show_image(None)


def test_looking_at_a_point_centres_it_and_keeps_the_proportions(host_with_view: Host) -> None:
    from DenseLandmarksLib.panel.views import look_at

    host = host_with_view
    host.screen.view.render_window().SetSize(300, 200)
    show(host, volume(host))
    node = host.screen.view._view_node
    before = node.GetFieldOfView()
    point = np.array([-50.0, 10.0, 30.0])
    look_at(point, 40.0)
    x, y, z = node.GetFieldOfView()
    assert (min(x, y), x / y, z) == (pytest.approx(40), pytest.approx(before[0] / before[1]), before[2])
    width, height = node.GetDimensions()[:2]
    assert host.screen.display_xy(point) == (pytest.approx(width / 2, abs=1), pytest.approx(height / 2, abs=1))


def test_a_jump_finds_the_landmark_of_an_image_under_a_transform(
    host_with_view: Host, widget_with_view: Any, open_chest: Callable[[Any], Any]
) -> None:
    host, panel = host_with_view, open_chest(widget_with_view)
    case = panel.bench.case
    transform = host.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = np.diag([2.0, 2.0, 1.0, 1.0])
    matrix[:3, 3] = 100, -30, 5
    transform.SetMatrixTransformToParent(to_vtk(matrix))
    case.image.volume.SetAndObserveTransformNodeID(transform.GetID())
    host.process(0.1)
    show(host, case.image.volume)
    host.click(panel.ui.landmarkTable.item(7, 0))
    name = panel.ui.landmarkTable.item(7, 0).text()
    structure = panel.ui.landmarkTable.item(7, 1).text()
    node = case.lists.nodes[structure]
    glyph = node.GetNthControlPointPositionWorld(case.lists.names_of(structure).index(name))
    assert host.screen.display_xy(glyph) == (pytest.approx(128, abs=1), pytest.approx(128, abs=1))
    # The image is twice as large in the world, and so is a part of it.
    assert min(host.screen.view._view_node.GetFieldOfView()[:2]) == pytest.approx(0.3 * 2 * 358.4, rel=1e-3)


def test_a_jump_right_after_another_image_came_is_not_undone(host_with_view: Host) -> None:
    from DenseLandmarksLib.panel.views import look_at, show_image

    host = host_with_view
    show_image(volume(host))
    look_at(np.array([-50.0, 10.0, 30.0]), 40.0)
    host.process(0.05)
    assert min(host.screen.view._view_node.GetFieldOfView()[:2]) == pytest.approx(40)
