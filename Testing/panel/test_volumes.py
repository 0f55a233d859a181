"""A volume in the panel: seen in all views, predicted by the worker, corrected with the mouse, saved and exported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from Testing.host import Host
from Testing.models.neck_finder import (
    LEFT,
    NAMES,
    OBLIQUE,
    RIGHT,
    SPACING_MM,
    centres_lps_mm,
    marked_volume,
)
from Testing.scene.open_cases import edits_on_disk, everything_is_on_its_voxel, point_lps_mm, world_ras_mm

FOUR_UP, MIDDLE = 3, 128
# The balls are drawn on voxels of up to 2 mm.
NEAR_MM = 0.5
TO_RAS = np.array([-1.0, -1.0, 1.0])
Predict = Callable[..., Any]


@pytest.fixture
def necks(tmp_path: Path) -> Library:
    """A library of one oblique volume, neck."""
    sitk.WriteImage(marked_volume().volume, tmp_path / "neck.nrrd")
    library = Library.create(tmp_path / "necks", "necks")
    library.add(tmp_path / "neck.nrrd")
    return library


@pytest.fixture
def predicted(necks: Library, volume_bundle: Path, request: pytest.FixtureRequest) -> Predict:
    """``predicted(host, widget)``: the panel, after the worker has predicted the volume at the press of the button."""

    def predict(host: Host, widget: Any) -> Any:
        request.getfixturevalue("warm")  # the panel can be imported only now
        panel = widget.panel
        panel.bench.open_library(necks.folder)
        panel.bench.open_case(necks.cases()[0].id)
        panel.parameters.model = str(volume_bundle)
        host.process(0.1)
        assert panel.ui.missingLabel.text == ""
        host.click(panel.ui.predictButton)
        host.process(90, until=lambda: not panel.bench.predicting.is_under_way)
        host.process(0.1)
        assert "2 of 2 landmarks by neck-finder" in panel.ui.statusLabel.text
        return panel

    return predict


@pytest.fixture
def seen(host_with_views: Host, predicted: Predict) -> Any:
    """The same in the four-up layout."""
    root = Path(__file__).resolve().parents[2]
    return predicted(host_with_views, host_with_views.create_widget(root / "DenseLandmarks", "DenseLandmarks"))


def row(panel: Any, name: str) -> int:
    table = panel.ui.landmarkTable
    return next(n for n in range(table.rowCount) if table.item(n, 0).text() == name)


def select(host: Host, panel: Any, name: str) -> None:
    host.click(panel.ui.landmarkTable.item(row(panel, name), 0))


def test_a_volume_is_in_all_views_and_its_landmarks_are_where_they_are(host_with_views: Host, seen: Any) -> None:
    host, case = host_with_views, seen.bench.case
    assert host.app.layoutManager().layout == FOUR_UP
    for screen in host.screens.values():
        assert screen.view._logic.GetSliceCompositeNode().GetBackgroundVolumeID() == case.image.volume.GetID()
    truth = centres_lps_mm(case.session.state.geometry)
    for name, centre in zip(NAMES, truth, strict=True):
        np.testing.assert_allclose(world_ras_mm(case, name), centre * TO_RAS, atol=NEAR_MM)
    assert everything_is_on_its_voxel(case)
    # The three views look along the volume's own axes, each along another.
    along = [abs(np.array(OBLIQUE).reshape(3, 3).T * [-1, -1, 1] @ normal(screen)) for screen in host.screens.values()]
    assert sorted(int(cosines.argmax()) for cosines in along) == [0, 1, 2]
    np.testing.assert_allclose([cosines.max() for cosines in along], 1, atol=1e-6)


def normal(screen: Any) -> np.ndarray:
    """Where a view looks (3,), in RAS."""
    matrix = screen.view._view_node.GetSliceToRAS()
    return np.array([matrix.GetElement(row, 2) for row in range(3)])


def test_a_jump_moves_all_views_to_the_landmark(host_with_views: Host, seen: Any) -> None:
    host, case = host_with_views, seen.bench.case
    camera = host.scene.GetFirstNodeByName("a camera") or host.scene.AddNewNodeByClass("vtkMRMLCameraNode", "a camera")
    for name in NAMES:
        select(host, seen, name)
        at = world_ras_mm(case, name)
        for screen in host.screens.values():
            assert screen.display_xy(at) == (pytest.approx(MIDDLE, abs=1), pytest.approx(MIDDLE, abs=1))
            assert abs(distance_mm(screen, at)) < 1e-3
        np.testing.assert_allclose(camera.GetFocalPoint(), at, atol=1e-6)


def distance_mm(screen: Any, world_ras_mm: np.ndarray) -> float:
    """Of a point from the plane that is seen."""
    matrix = screen.view._view_node.GetSliceToRAS()
    on_plane = np.array([matrix.GetElement(row, 3) for row in range(3)])
    return float((world_ras_mm - on_plane) @ normal(screen))


@pytest.mark.parametrize("view", ["Red", "Yellow", "Green"])
def test_a_landmark_that_is_dragged_in_a_slice_is_where_it_was_dropped(
    host_with_views: Host, seen: Any, view: str, user: Path
) -> None:
    host, case = host_with_views, seen.bench.case
    select(host, seen, LEFT)
    screen = host.screens[view]
    before, other = point_lps_mm(case, LEFT), point_lps_mm(case, RIGHT)
    x, y = screen.display_xy(world_ras_mm(case, LEFT))
    screen.render()
    screen.drag((x, y), (x + 30, y + 20))
    host.process(0.2)
    node = screen.view._view_node
    dropped_ras_mm = np.array(node.GetXYToRAS().MultiplyPoint((x + 30, y + 20, 0, 1))[:3])
    np.testing.assert_allclose(point_lps_mm(case, LEFT), dropped_ras_mm * TO_RAS, atol=min(SPACING_MM) / 2)
    assert np.linalg.norm(point_lps_mm(case, LEFT) - before) > 3
    np.testing.assert_array_equal(point_lps_mm(case, RIGHT), other)
    assert edits_on_disk(user) == ["TakePrediction", "Move"]
    assert seen.ui.landmarkTable.item(row(seen, LEFT), 2).text() == "corrected"
    assert everything_is_on_its_voxel(case)
    host.click(seen.ui.undoButton)
    np.testing.assert_array_equal(point_lps_mm(case, LEFT), before)


def test_ellipsoids_are_seen_in_each_slice_and_can_be_hidden(host_with_views: Host, seen: Any) -> None:
    host, case = host_with_views, seen.bench.case
    select(host, seen, LEFT)
    centre, _ = centres_lps_mm(case.session.state.geometry)
    bounds = [0.0] * 6
    case.ellipses.node.GetRASBounds(bounds)
    low, high = np.array(bounds).reshape(3, 2).T
    assert (low < centre * TO_RAS).all()
    assert (high > centre * TO_RAS).all()
    assert (high - low > 5).all(), "they have an extent along each axis"
    shown = {name: screen.pixels().astype(int) for name, screen in host.screens.items()}
    host.click(seen.ui.ellipsesBox)
    host.process(0.1)
    for name, screen in host.screens.items():
        assert (np.abs(screen.pixels().astype(int) - shown[name]).sum(axis=2) > 30).sum() > 30, name


def test_what_is_absent_is_gone_from_all_views_and_comes_back(host: Host, widget: Any, predicted: Predict) -> None:
    panel = predicted(host, widget)
    select(host, panel, RIGHT)
    host.click(panel.ui.absentButton)
    landmarks = panel.bench.state.landmarks
    assert landmarks.presence[1] is Presence.ABSENT
    node = panel.bench.case.lists.nodes["right carotid"]
    assert node.GetNthControlPointPositionStatus(0) != node.PositionDefined
    host.click(panel.ui.undoButton)
    assert panel.bench.state.landmarks.presence[1] is Presence.PRESENT
    assert everything_is_on_its_voxel(panel.bench.case)


def test_saved_opened_again_and_exported(
    host: Host, widget: Any, predicted: Predict, necks: Library, tmp_path: Path
) -> None:
    panel = predicted(host, widget)
    select(host, panel, LEFT)
    host.click(panel.ui.acceptButton)
    host.click(panel.ui.saveButton)
    expected = panel.bench.state.landmarks
    panel.bench.case.close()
    host.process(0.1)
    panel.bench.open_case(necks.cases()[0].id)
    host.process(0.1)
    landmarks = panel.bench.state.landmarks
    assert landmarks.review == (Review.VERIFIED, Review.PREDICTED)
    np.testing.assert_array_equal(landmarks.points_lps_mm, expected.points_lps_mm)
    out = tmp_path / "out"
    out.mkdir()
    host.answer("folder", str(out))
    host.click(panel.ui.exportButton)
    host.process(0.2)
    (path,) = out.rglob("*.mrk.json")
    point = json.loads(path.read_text())["markups"][0]["controlPoints"][0]
    np.testing.assert_allclose(point["position"], centres_lps_mm(panel.bench.state.geometry)[0], atol=NEAR_MM)


def test_what_makes_no_sense_for_a_volume_says_why(host: Host, widget: Any, predicted: Predict) -> None:
    ui = predicted(host, widget).ui
    for name, why in (
        ("spacingBox", "A volume has the spacing that its scanner wrote"),
        ("turnSelector", "nothing has to be turned"),
        ("flipSelector", "nothing has to be turned"),
        ("strengthSlider", "each landmark by itself"),
        ("editStructuresButton", "no structures"),
    ):
        assert not getattr(ui, name).enabled, name
        assert why in getattr(ui, name).toolTip, name
    host.type(ui.newNameEdit, "hyoid")
    assert ui.newLandmarkButton.enabled
    assert "of this image alone" in ui.newLandmarkButton.toolTip
    assert "all other cases" not in ui.newLandmarkButton.toolTip
    assert [ui.newStructureSelector.itemText(n) for n in range(3)] == ["None", "left carotid", "right carotid"]


def test_a_new_landmark_is_placed_in_this_volume(host_with_views: Host, seen: Any) -> None:
    host, case = host_with_views, seen.bench.case
    select(host, seen, LEFT)
    host.type(seen.ui.newNameEdit, "hyoid")
    host.click(seen.ui.newLandmarkButton)
    screen = host.screens["Green"]
    x, y = 90, 150
    at_ras_mm = np.array(screen.view._view_node.GetXYToRAS().MultiplyPoint((x, y, 0, 1))[:3])
    screen.press(x, y)
    screen.release(x, y)
    host.process(0.2)
    np.testing.assert_allclose(point_lps_mm(case, "hyoid"), at_ras_mm * TO_RAS, atol=min(SPACING_MM) / 2)
    assert case.session.state.landmarks.review[2] is Review.PLACED
    assert not any("expected" in line for line in seen.bench.lines)
