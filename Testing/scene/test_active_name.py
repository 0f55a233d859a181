"""With a hundred points no list shows names; the one under the mouse has its name nevertheless."""

from __future__ import annotations

import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from vtkmodules.vtkCommonCore import vtkWeakReference

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.scene.active_name import ActiveName
from DenseLandmarksLib.scene.fiducial_lists import FiducialLists
from DenseLandmarksLib.scene.image_in_scene import ImageInScene
from DenseLandmarksLib.scene.ras import FloatArray
from DenseLandmarksLib.scene.volume_node import add_volume_node
from Testing.scene.offscreen import OffscreenSlice
from Testing.scene.test_ellipses import (
    a_covariance,
    a_state,
    an_image,
    assert_nothing_is_saved,
    node_ids,
    put_under_transform,
)

BESIDE = 100
"""Pixels of the view: no name reaches farther from its point."""


def many_points(geometry: ImageGeometry) -> CaseState:
    """Forty points, far enough from each other for the mouse; lists of so many show no labels."""
    i, j = np.meshgrid(np.linspace(20, 180, 8), np.linspace(20, 130, 5))
    index = np.column_stack([i.ravel(), j.ravel(), np.zeros(40)])
    return a_state(geometry, index, [a_covariance(geometry, 0, 1.0, 1.0)] * 40)


class Film:
    """Forty points on a film, watched, and seen from in front."""

    def __init__(self, screen: OffscreenSlice, image: MedicalImage) -> None:
        self.screen, self.state = screen, many_points(image.geometry)
        self.image = ImageInScene(add_volume_node(screen.scene, image), image.geometry)
        self.lists, self.name = FiducialLists(screen.scene, "film"), ActiveName(screen.scene, "film")
        self.lists.show(self.state, self.image)
        self.node = self.lists.nodes["bone"]
        self.name.watch(self.lists.nodes.values())
        screen.look_at(self.image.volume)

    def xy(self, n: int) -> tuple[int, int]:
        return self.screen.display_xy(self.node.GetNthControlPointPositionWorld(n))

    def text_pixels(self) -> tuple[FloatArray, Any]:
        """Pixels (x, y from the bottom) that the name changes, and their colours."""
        seen = self.screen.pixels()
        display = self.name.node.GetDisplayNode()
        display.SetVisibility(False)
        rows, columns = np.nonzero((seen != self.screen.pixels()).any(2))
        display.SetVisibility(True)
        return np.column_stack([columns, 1023 - rows]).astype(float), seen[rows, columns]

    def is_named(self) -> bool:
        return len(self.text_pixels()[0]) > 0


@pytest.fixture
def film(screen: OffscreenSlice) -> Film:
    return Film(screen, an_image())


def test_the_name_of_the_point_under_the_mouse_is_beside_it_and_goes_with_the_mouse(film: Film) -> None:
    assert not film.is_named()
    for n in (3, 4, 20):
        x, y = film.xy(n)
        film.screen.move(x, y)
        pixels, _ = film.text_pixels()
        assert len(pixels) > 200
        away = np.linalg.norm(pixels - [x, y], axis=1)
        assert away.min() > 3  # the point itself is not covered
        assert away.min() < 20
        assert away.max() < BESIDE
        assert film.name.node.GetNthControlPointLabel(0) == film.state.landmarks.names[n]
    film.screen.move(x + 30, y + 25)
    assert not film.is_named()


def test_the_name_shows_what_the_label_says(film: Film) -> None:
    film.screen.move(*film.xy(3))
    before, _ = film.text_pixels()
    film.node.SetNthControlPointLabel(3, "a much longer name")
    assert film.name.node.GetNthControlPointLabel(0) == "a much longer name"
    assert np.ptp(film.text_pixels()[0][:, 0]) > 2 * np.ptp(before[:, 0])


def test_the_name_stays_with_a_point_that_is_dragged(film: Film) -> None:
    x, y = film.xy(10)
    film.screen.press(x, y)
    for step in (10, 20, 30):
        film.screen.move(x + step, y - step)
        pixels, _ = film.text_pixels()
        assert np.linalg.norm(pixels - [x + step, y - step], axis=1).min() < 20
    film.screen.release(x + 30, y - 30)
    assert film.is_named()
    moved = film.lists.gesture(film.state, film.image).moved_lps_mm
    assert list(moved) == [film.state.landmarks.names[10]]
    film.screen.move(x + 80, y)
    assert not film.is_named()


def test_a_landmark_under_the_name_of_another_is_dragged_as_without(film: Film) -> None:
    x, y = film.xy(3)
    film.screen.move(x, y)
    on_text = film.text_pixels()[0].mean(0).round()
    film.node.SetNthControlPointPositionWorld(
        4, *film.screen.view._view_node.GetXYToRAS().MultiplyPoint((*on_text, 0, 1))[:3]
    )
    film.screen.move(x, y)
    start = film.xy(4)
    film.screen.drag(start, (start[0] + 40, start[1] + 40))
    assert film.xy(4) == pytest.approx((start[0] + 40, start[1] + 40), abs=2)
    assert film.xy(3) == (x, y)


def test_under_a_transform_the_name_is_where_the_point_is(screen: OffscreenSlice) -> None:
    scan = an_image()
    film = Film(screen, scan)
    put_under_transform(film.image)
    film.lists.show(film.state, film.image)
    screen.look_at(film.image.volume)
    screen.move(*film.xy(12))
    assert film.is_named()
    np.testing.assert_allclose(
        film.name.node.GetNthControlPointPositionWorld(0), film.node.GetNthControlPointPositionWorld(12), atol=1e-6
    )
    # The transform is edited while the mouse is there, then taken away.
    for edit in (
        film.image.volume.GetParentTransformNode().Inverse,
        lambda: film.node.SetAndObserveTransformNodeID(None),
    ):
        edit()
        np.testing.assert_allclose(
            film.name.node.GetNthControlPointPositionWorld(0), film.node.GetNthControlPointPositionWorld(12), atol=1e-6
        )


def test_the_mouse_takes_the_landmark_and_never_its_name(screen: OffscreenSlice) -> None:
    # Which of two lists with a point on one pixel gets the mouse is a matter of addresses: several names, made before.
    names = [ActiveName(screen.scene, f"film {n}") for n in range(8)]
    for name in names:
        name.watch([])
    film = Film(screen, an_image())
    for name in names:
        name.watch([film.node])
    x, y = film.xy(10)
    screen.move(x, y)
    screen.render()
    screen.drag((x, y), (x + 50, y + 30))
    assert film.xy(10) == pytest.approx((x + 50, y + 30), abs=2)
    assert list(film.lists.gesture(film.state, film.image).moved_lps_mm) == [film.state.landmarks.names[10]]


def test_a_hidden_list_has_no_name(film: Film) -> None:
    film.screen.move(*film.xy(3))
    film.node.SetDisplayVisibility(False)
    assert not film.is_named()


def test_a_list_with_labels_is_not_named_twice(film: Film) -> None:
    film.screen.move(*film.xy(3))
    assert film.is_named()
    film.node.GetDisplayNode().SetPointLabelsVisibility(True)
    assert not film.is_named()
    film.screen.move(*film.xy(5))
    assert not film.is_named()


def test_a_point_that_is_taken_away_takes_its_name_along(film: Film) -> None:
    film.screen.move(*film.xy(3))
    film.node.SetNthControlPointPositionMissing(3)
    assert not film.is_named()
    film.screen.move(*film.xy(5))
    assert film.is_named()
    film.node.SetFixedNumberOfControlPoints(False)
    film.node.RemoveNthControlPoint(5)
    assert not film.is_named()


def test_names_go_on_with_a_display_node_that_somebody_made_anew(film: Film) -> None:
    film.screen.scene.RemoveNode(film.node.GetDisplayNode())
    film.lists.show(film.state, film.image)
    film.screen.render()
    film.screen.move(*film.xy(3))
    assert film.is_named()


def test_lists_that_come_and_go_are_watched_and_let_go(film: Film) -> None:
    scene = film.screen.scene
    other = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "other")
    film.lists._set_style(other, film.state, "")
    other.AddControlPoint(*film.image.local_ras_mm(other, [[31.0, 33.0, 0.0]])[0], "the other")
    film.screen.render()
    x, y = film.screen.display_xy(other.GetNthControlPointPositionWorld(0))
    film.screen.move(x, y)
    assert not film.is_named()
    film.name.watch([film.node, other])  # the mouse is on it already
    assert film.is_named()
    film.name.watch([film.node])
    assert not film.is_named()
    film.screen.move(x + 30, y + 30)
    film.screen.move(x, y)
    assert not film.is_named()
    # A list that is deleted while it is watched does not live on.
    film.name.watch([film.node, other])
    weak = vtkWeakReference()
    weak.Set(other)
    scene.RemoveNode(other)
    film.screen.render()
    del other
    assert weak.Get() is None
    film.name.watch([film.node])
    film.screen.move(*film.xy(3))
    assert film.is_named()


def test_after_removal_nothing_is_named_and_nothing_of_ours_is_left(film: Film) -> None:
    scene = film.screen.scene
    film.name.remove()
    before = node_ids(scene)
    film.name.watch([film.node])
    film.screen.move(*film.xy(3))
    assert len(node_ids(scene)) == len(before) + 2
    film.name.remove()
    assert node_ids(scene) == before
    film.screen.move(*film.xy(20))
    film.node.SetNthControlPointLabel(20, "later")
    assert film.name.node is None
    assert node_ids(scene) == before


def test_no_list_calls_or_keeps_what_was_removed(film: Film) -> None:
    film.screen.move(*film.xy(3))
    film.name.remove()
    weak = weakref.ref(film.name)
    film.name = ActiveName(film.screen.scene, "another")
    assert weak() is None


def test_the_name_comes_back_after_the_scene_was_cleared(film: Film) -> None:
    film.screen.move(*film.xy(3))
    film.screen.scene.Clear(False)
    again = Film(film.screen, an_image())
    film.name.watch([again.node])
    again.name.remove()
    again.name = film.name
    again.screen.move(*again.xy(3))
    assert again.is_named()


def test_the_next_point_is_placed_in_the_list_that_a_person_chose(film: Film) -> None:
    scene = film.screen.scene
    selection = scene.GetFirstNodeByClass("vtkMRMLSelectionNode")
    curve = scene.AddNewNodeByClass("vtkMRMLMarkupsCurveNode")
    selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsCurveNode")
    for chosen in (curve.GetID(), None):
        film.name.remove()
        selection.SetReferenceActivePlaceNodeID(chosen)
        film.name.watch([film.node])
        assert selection.GetActivePlaceNodeID() == chosen
        assert selection.GetActivePlaceNodeClassName() == "vtkMRMLMarkupsCurveNode"


@pytest.mark.parametrize("grey", [0, 1000])
def test_the_name_can_be_read_on_bright_and_on_dark(screen: OffscreenSlice, grey: int) -> None:
    volume = sitk.GetImageFromArray(np.full((1, 150, 200), grey, np.int16))
    film = Film(screen, MedicalImage(volume, SpacingSource.DETECTOR, "film", (0.0, 1000.0)))
    screen.move(*film.xy(3))
    seen, display = screen.pixels(), film.name.node.GetDisplayNode()
    pixels, _ = film.text_pixels()
    # On black the background of the text is not seen; a frame of it belongs to what is looked at all the same.
    (left, low), (right, high) = pixels.min(0).astype(int), pixels.max(0).astype(int)
    box = seen[1023 - high : 1024 - low, left : right + 1].astype(float).mean(2)
    text = box > 200
    assert display.GetVisibility()
    assert 0.1 < text.mean() < 0.6
    assert np.median(box[~text]) < 130


def test_names_are_not_saved_and_appear_in_no_list(film: Film, tmp_path: Path) -> None:
    film.name.remove()
    before = node_ids(film.screen.scene)
    film.name.watch([film.node])
    film.screen.move(*film.xy(3))
    ours = node_ids(film.screen.scene) - before
    assert len(ours) == 2
    assert all(film.screen.scene.GetNodeByID(node).GetHideFromEditors() for node in ours)
    assert not any(film.screen.scene.GetNodeByID(node).GetUndoEnabled() for node in ours)
    assert_nothing_is_saved(film.screen, ours, tmp_path)


@pytest.mark.timed
def test_the_mouse_moves_on_without_waiting_for_names(film: Film) -> None:
    places = [film.xy(n) for n in range(40)]

    def seconds() -> float:
        took = []
        for place in places:
            start = time.perf_counter()
            film.screen._event("MouseMoveEvent", *place)
            took.append(time.perf_counter() - start)
        return float(np.median(took))

    seconds()
    with_names = seconds()
    film.name.remove()
    assert with_names - seconds() < 0.005


def test_the_landmark_that_is_worked_on_has_its_name_once(film: Film) -> None:
    """Its own mark says the name: a second one beside it would be drawn over the first."""
    n = 11
    film.name.leave_out(film.node.GetNthControlPointLabel(n))
    film.screen.move(*film.xy(n))
    assert film.name.node is not None
    assert not film.name.node.GetNthControlPointVisibility(0)
    film.screen.move(*film.xy(n + 1))
    assert film.name.node.GetNthControlPointVisibility(0)
    film.name.leave_out(film.node.GetNthControlPointLabel(n + 1))
    assert not film.name.node.GetNthControlPointVisibility(0), "chosen while the mouse was on it"
