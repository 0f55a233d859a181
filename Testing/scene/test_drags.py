"""What a person does with mouse and keys in a slice view of Slicer's, and what the session makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.desk import Desk
from DenseLandmarksLib.scene.ras import to_vtk
from DenseLandmarksLib.scene.segments import segment_id
from Testing.scene.offscreen import DELETE, OffscreenSlice
from Testing.scene.open_cases import (
    control_point,
    edits_on_disk,
    everything_is_on_its_voxel,
    point_lps_mm,
    predict,
    world_ras_mm,
)

A, B = "right_lung_10", "right_lung_11"


@pytest.fixture
def scene(screen: OffscreenSlice) -> Any:
    """That of the view."""
    return screen.scene


@pytest.fixture
def case(desk: Desk, screen: OffscreenSlice, library: Library, chest_template: Template) -> CaseInScene:
    """A predicted chest, seen from in front; its prediction is saved."""
    case = desk.open(library.case(library.cases()[0].id))
    predict(case.session, chest_template)
    case.save()
    screen.look_at(case.image.volume)
    return case


def drag(screen: OffscreenSlice, case: CaseInScene, name: str, dx: int, dy: int, button: str = "Left") -> None:
    """Drag a landmark's glyph by pixels of the view, and let the front end's timer tick."""
    x, y = screen.display_xy(world_ras_mm(case, name))
    screen.drag((x, y), (x + dx, y + dy), button)
    case.poll()


def mm_per_pixel(screen: OffscreenSlice) -> float:
    node = screen.view._view_node
    return float(node.GetFieldOfView()[0] / node.GetDimensions()[0])


def test_a_dragged_landmark_is_corrected_and_its_neighbours_come_along(
    screen: OffscreenSlice, case: CaseInScene, tmp_path: Path
) -> None:
    before, neighbour = point_lps_mm(case, A), point_lps_mm(case, B)
    drag(screen, case, A, 40, 0)
    moved = point_lps_mm(case, A) - before
    # To the right on the screen is the patient's left.
    np.testing.assert_allclose(moved, [40 * mm_per_pixel(screen), 0, 0], atol=mm_per_pixel(screen))
    assert 0.2 * moved[0] < (point_lps_mm(case, B) - neighbour)[0] < moved[0]
    landmarks = case.session.state.landmarks
    assert landmarks.review[landmarks.names.index(A)] is Review.CORRECTED
    assert edits_on_disk(tmp_path / "user") == ["TakePrediction", "Move"]
    assert everything_is_on_its_voxel(case)
    case.undo()
    np.testing.assert_array_equal(point_lps_mm(case, A), before)
    assert everything_is_on_its_voxel(case)


def test_neighbours_are_seen_to_come_along_while_the_mouse_is_down(
    screen: OffscreenSlice, case: CaseInScene, tmp_path: Path
) -> None:
    neighbour = world_ras_mm(case, B)
    x, y = screen.display_xy(world_ras_mm(case, A))
    screen.press(x, y)
    for step in range(1, 6):
        screen.move(x + 8 * step, y)
        case.poll()
    came_along = (world_ras_mm(case, B) - neighbour)[0]
    assert came_along < -2
    assert "Move" not in edits_on_disk(tmp_path / "user")
    screen.move(x, y)  # back to where it was, as near as a pixel is
    case.poll()
    assert abs((world_ras_mm(case, B) - neighbour)[0]) < 0.5
    screen.move(x + 40, y)
    screen.release(x + 40, y)
    case.poll()
    assert (world_ras_mm(case, B) - neighbour)[0] == pytest.approx(came_along, abs=1e-6)
    assert edits_on_disk(tmp_path / "user") == ["TakePrediction", "Move"]


@pytest.mark.parametrize("chosen", [True, False])
def test_while_a_point_is_dragged_nothing_covers_the_image(
    screen: OffscreenSlice, case: CaseInScene, chosen: bool
) -> None:
    display = case.segments.node.GetDisplayNode()
    display.SetVisibility2DFill(chosen)
    inside = screen.display_xy(np.mean([world_ras_mm(case, f"right_lung_{n:02d}") for n in range(1, 41)], axis=0))
    before = colourfulness(screen, inside)
    assert (before > 5) == chosen
    hidden, own = segment_id("right_clavicle"), segment_id(structure_of(case, A))
    display.SetSegmentVisibility2DOutline(hidden, False)
    borders = {one: display.GetSegmentVisibility2DOutline(one) for one in segments_of(case)}
    x, y = screen.display_xy(world_ras_mm(case, A))
    screen.press(x, y)
    screen.move(x + 30, y)
    case.poll()
    assert colourfulness(screen, inside) == 0
    assert [one for one in borders if display.GetSegmentVisibility2DOutline(one)] == [own], (
        "each border costs a picture"
    )
    screen.release(x, y)
    case.poll()
    assert (colourfulness(screen, inside) > 5) == chosen
    assert bool(display.GetVisibility2DFill()) == chosen
    assert {one: display.GetSegmentVisibility2DOutline(one) for one in segments_of(case)} == borders


def segments_of(case: CaseInScene) -> tuple[str, ...]:
    return tuple(case.segments.node.GetSegmentation().GetSegmentIDs())


def structure_of(case: CaseInScene, name: str) -> str:
    landmarks = case.session.state.landmarks
    return landmarks.structures[landmarks.names.index(name)]


def colourfulness(screen: OffscreenSlice, xy: tuple[int, int]) -> int:
    """How far a pixel, counted from the bottom left, is from grey."""
    pixels = screen.pixels()
    return int(np.ptp(pixels[pixels.shape[0] - 1 - xy[1], xy[0]].astype(int)))


def test_a_click_that_moves_nothing_leaves_no_trace(
    screen: OffscreenSlice, case: CaseInScene, tmp_path: Path, lines: list[str]
) -> None:
    state = case.session.state
    x, y = screen.display_xy(world_ras_mm(case, A))
    screen.press(x, y)
    screen.release(x, y)
    case.poll()
    screen.move(5, 5)
    case.poll()
    assert case.session.state is state
    assert edits_on_disk(tmp_path / "user") == ["TakePrediction"]
    assert lines == []


@pytest.mark.parametrize("display_made_anew", [False, True])
def test_a_list_dragged_with_the_middle_button_is_back_in_place(
    screen: OffscreenSlice, case: CaseInScene, tmp_path: Path, lines: list[str], display_made_anew: bool
) -> None:
    state = case.session.state
    node, _ = control_point(case, A)
    if display_made_anew:
        screen.scene.RemoveNode(node.GetDisplayNode())
        case.poll()
        assert not node.GetDisplayNode().GetPointLabelsVisibility()
        screen.render()
    drag(screen, case, A, 60, -30, "Middle")
    assert case.session.state is state
    assert everything_is_on_its_voxel(case)
    assert edits_on_disk(tmp_path / "user") == ["TakePrediction"]
    (line,) = lines
    assert "right_lung was moved as a whole" in line


def test_delete_over_a_point_says_that_it_is_absent(
    screen: OffscreenSlice, case: CaseInScene, tmp_path: Path, lines: list[str]
) -> None:
    x, y = screen.display_xy(world_ras_mm(case, A))
    node, n = control_point(case, A)
    screen.key(DELETE, x, y)
    case.poll()
    landmarks = case.session.state.landmarks
    assert landmarks.presence[landmarks.names.index(A)] is Presence.ABSENT
    assert control_point(case, A) == (node, n)  # it keeps its row, for whoever finds it after all
    assert edits_on_disk(tmp_path / "user")[-1] == "Absent"
    screen.move(5, 5)
    assert node.GetFixedNumberOfControlPoints()
    case.undo()
    assert everything_is_on_its_voxel(case)
    assert node.GetNthControlPointPositionStatus(n) == 2
    assert lines == []


def test_delete_beside_every_point_deletes_nothing(screen: OffscreenSlice, case: CaseInScene) -> None:
    state = case.session.state
    screen.key(DELETE, 5, 5)
    case.poll()
    assert case.session.state is state


def test_a_fold_is_refused_in_one_line_and_the_point_is_back(
    screen: OffscreenSlice, case: CaseInScene, lines: list[str]
) -> None:
    state = case.session.state
    # The apex of the lung through its base.
    top = min(
        (name for name in state.landmarks.names if name.startswith("right_lung")),
        key=lambda n: point_lps_mm(case, n)[1],
    )
    x, y = screen.display_xy(world_ras_mm(case, top))
    end = screen.display_xy(world_ras_mm(case, "right_clavicle_01"))
    screen.drag((x, y), (end[0], 60))
    case.poll()
    assert case.session.state is state
    assert everything_is_on_its_voxel(case)
    assert len(lines) == 1


def test_slicers_own_undo_leaves_the_case_alone(screen: OffscreenSlice, case: CaseInScene) -> None:
    scene = screen.scene
    other = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "somebody else's")
    scene.SetUndoOn()
    other.SetUndoEnabled(True)
    other.AddControlPoint(1, 2, 3)
    drag(screen, case, A, 40, 0)
    corrected = case.session.state
    scene.SaveStateForUndo()
    other.SetNthControlPointPosition(0, 7, 7, 7)
    scene.Undo()
    scene.Undo()
    case.poll()
    assert case.session.state is corrected
    assert everything_is_on_its_voxel(case)


@pytest.mark.parametrize("hardened", [False, True])
def test_under_a_transform_a_landmark_is_kept_in_the_images_own_frame(
    screen: OffscreenSlice, case: CaseInScene, hardened: bool
) -> None:
    turn = np.deg2rad(30)
    matrix = np.eye(4)
    matrix[:3, :3] = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    matrix[:3, 3] = 12, -7, 5
    transform = screen.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(to_vtk(matrix))
    case.image.volume.SetAndObserveTransformNodeID(transform.GetID())
    if hardened:
        case.poll()
        case.image.volume.HardenTransform()
    case.poll()
    assert everything_is_on_its_voxel(case)
    assert not case.session.unsaved
    screen.look_at(case.image.volume)  # turned with the image
    before = point_lps_mm(case, A)
    drag(screen, case, A, 40, 0)
    moved = point_lps_mm(case, A) - before
    np.testing.assert_allclose(moved, [40 * mm_per_pixel(screen), 0, 0], atol=1.5 * mm_per_pixel(screen))
    assert everything_is_on_its_voxel(case)


def test_a_transform_that_bends_is_refused_in_one_line(
    screen: OffscreenSlice, case: CaseInScene, lines: list[str]
) -> None:
    bending = screen.scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    case.image.volume.SetAndObserveTransformNodeID(bending.GetID())
    case.poll()
    assert case.image.volume.GetTransformNodeID() is None
    assert len(lines) == 1
    assert "linear" in lines[0]
    assert everything_is_on_its_voxel(case)


def test_a_new_landmark_by_click_is_in_its_list_here_and_in_the_next_case(
    screen: OffscreenSlice, desk: Desk, library: Library, chest_template: Template, lines: list[str]
) -> None:
    first, second = (library.case(entry.id) for entry in library.cases())
    other = desk.open(second)
    predict(other.session, chest_template, shift_px=(3.0, -2.0))
    other.save()
    other.close()
    case = desk.open(first)
    predict(case.session, chest_template)
    screen.look_at(case.image.volume)
    rows = case.session.state.landmarks.of_structure("heart")
    centre = np.mean([world_ras_mm(case, case.session.state.landmarks.names[row]) for row in rows], axis=0)
    case.place("apex of the heart")
    x, y = screen.display_xy(centre)
    screen.press(x, y)
    screen.release(x, y)
    case.poll()
    node, n = control_point(case, "apex of the heart")
    assert node is case.lists.nodes["heart"]
    assert len(node.GetMeasurement("confidence").GetControlPointValues().GetTuple(n)) == 1
    np.testing.assert_allclose(world_ras_mm(case, "apex of the heart")[:2], centre[:2], atol=2 * mm_per_pixel(screen))
    drag(screen, case, A, 20, 0)  # the mouse looks and drags again, it places nothing
    assert "apex of the heart" in case.session.state.landmarks.names
    assert len(case.session.state.landmarks) == len(chest_template.landmark_names) + 1
    placed_px = case.session.state.index_ijk[-1, :2]
    case.save()
    case.close()
    again = desk.open(second)
    again.poll()
    assert any("apex of the heart" in line for line in lines)
    node, n = control_point(again, "apex of the heart")
    assert node.GetMeasurement("review").GetControlPointValues().GetNumberOfTuples() == node.GetNumberOfControlPoints()
    index = again.session.state.index_ijk[again.session.state.landmarks.names.index("apex of the heart"), :2]
    np.testing.assert_allclose(index, np.add(placed_px, [3, -2]), atol=0.3)


def test_placing_can_be_given_up(screen: OffscreenSlice, case: CaseInScene) -> None:
    state, nodes = case.session.state, screen.scene.GetNumberOfNodes()
    case.place("nothing")
    screen.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton").SetCurrentInteractionMode(2)
    case.poll()
    case.settle()
    assert case.session.state is state
    assert screen.scene.GetNumberOfNodes() == nodes


def test_what_is_absent_is_placed_by_a_click(screen: OffscreenSlice, case: CaseInScene) -> None:
    case.session.mark_absent(A)
    case.place(A)
    x, y = screen.display_xy(world_ras_mm(case, B))
    screen.press(x - 25, y)
    screen.release(x - 25, y)
    case.poll()
    landmarks = case.session.state.landmarks
    assert landmarks.review[landmarks.names.index(A)] is Review.PLACED
    assert everything_is_on_its_voxel(case)


def test_the_list_that_a_person_places_points_in_stays_the_one(
    screen: OffscreenSlice, desk: Desk, library: Library, chest_template: Template
) -> None:
    mine = screen.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "mine")
    selection = screen.scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
    assert selection.GetActivePlaceNodeID() == mine.GetID()
    case = desk.open(library.case(library.cases()[0].id))
    predict(case.session, chest_template)
    assert selection.GetActivePlaceNodeID() == mine.GetID()
