"""Among a hundred glyphs a person sees at once which one is meant."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.case_in_scene import CaseInScene
from DenseLandmarksLib.scene.desk import Desk
from DenseLandmarksLib.scene.ras import to_vtk
from Testing.scene.offscreen import OffscreenSlice
from Testing.scene.open_cases import control_point, point_lps_mm, predict, world_ras_mm

A, B = "right_lung_10", "right_lung_11"


@pytest.fixture
def scene(screen: OffscreenSlice) -> Any:
    """That of the view."""
    return screen.scene


@pytest.fixture
def case(desk: Desk, screen: OffscreenSlice, library: Library, chest_template: Template) -> CaseInScene:
    """A predicted chest, seen from in front."""
    case = desk.open(library.case(library.cases()[0].id))
    predict(case.session, chest_template)
    case.poll()
    screen.look_at(case.image.volume)
    return case


def mark(case: CaseInScene) -> Any:
    return case._showing.chosen.node


def marked_world(case: CaseInScene) -> Any:
    return np.array(mark(case).GetNthControlPointPositionWorld(0))


def pixels_of_mark(screen: OffscreenSlice, case: CaseInScene) -> Any:
    """Pixels (x, y from the bottom) that the mark changes."""
    seen = screen.pixels()
    mark(case).GetDisplayNode().SetVisibility(False)
    rows, columns = np.nonzero((seen != screen.pixels()).any(2))
    mark(case).GetDisplayNode().SetVisibility(True)
    return np.column_stack([columns, seen.shape[0] - 1 - rows])


def test_the_chosen_landmark_has_a_cross_and_its_name_and_stays_free_in_the_middle(
    screen: OffscreenSlice, case: CaseInScene
) -> None:
    assert case.chosen == ""
    case.choose(A)
    assert (case.chosen, mark(case).GetNthControlPointLabel(0)) == (A, A)
    changed = pixels_of_mark(screen, case) - np.array(screen.display_xy(world_ras_mm(case, A)))
    away = np.linalg.norm(changed, axis=1)
    assert ((changed[:, 0] == 0) & (away < 40)).any()  # the upright of the cross
    assert away.min() > 4  # where the point is nothing is covered
    assert len(changed) > 300  # the name
    case.choose(B)
    np.testing.assert_allclose(marked_world(case), world_ras_mm(case, B), atol=1e-6)
    case.choose("")
    assert not mark(case).GetNthControlPointVisibility(0)
    case.choose("nobody")
    assert not mark(case).GetNthControlPointVisibility(0)


def test_the_mark_goes_with_edits_undo_and_transforms(screen: OffscreenSlice, case: CaseInScene) -> None:
    case.choose(A)
    case.session.move({A: point_lps_mm(case, A) + [10, 5, 0]})
    np.testing.assert_allclose(marked_world(case), world_ras_mm(case, A), atol=1e-6)
    case.undo()
    np.testing.assert_allclose(marked_world(case), world_ras_mm(case, A), atol=1e-6)
    matrix = np.eye(4)
    matrix[:3, 3] = 12, -7, 5
    transform = screen.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(to_vtk(matrix))
    case.image.volume.SetAndObserveTransformNodeID(transform.GetID())
    case.poll()
    np.testing.assert_allclose(marked_world(case), world_ras_mm(case, A), atol=1e-6)
    np.testing.assert_allclose(case.world_ras_mm(A), world_ras_mm(case, A), atol=1e-4)


def test_an_absent_landmark_is_marked_at_the_best_guess_with_a_question(case: CaseInScene) -> None:
    where = world_ras_mm(case, A)
    case.choose(A)
    case.session.mark_absent(A)
    assert mark(case).GetNthControlPointLabel(0) == f"{A}?"
    np.testing.assert_allclose(marked_world(case), where, atol=1e-6)
    np.testing.assert_allclose(case.world_ras_mm(A), where, atol=1e-6)
    case.session.place("clip", point_lps_mm(case, B))
    case.session.reset("clip")
    case.choose("clip")
    assert case.world_ras_mm("clip") is None
    assert not mark(case).GetNthControlPointVisibility(0)
    assert case.world_ras_mm("nobody") is None


def test_a_press_on_a_glyph_chooses_it(screen: OffscreenSlice, case: CaseInScene) -> None:
    x, y = screen.display_xy(world_ras_mm(case, B))
    screen.press(x, y)
    case.poll()
    assert case.chosen == B
    screen.move(x + 30, y)
    case.poll()
    np.testing.assert_allclose(marked_world(case), world_ras_mm(case, B), atol=1e-3)  # while it is dragged, too
    screen.release(x + 30, y)
    case.poll()
    np.testing.assert_allclose(marked_world(case), world_ras_mm(case, B), atol=1e-6)
    screen.press(5, 5)
    screen.release(5, 5)
    case.poll()
    assert case.chosen == B


def test_what_anybody_deletes_of_the_mark_is_back(screen: OffscreenSlice, case: CaseInScene) -> None:
    case.choose(A)
    screen.scene.RemoveNode(mark(case).GetDisplayNode())
    case.choose(A)
    assert len(pixels_of_mark(screen, case)) > 300
    screen.scene.RemoveNode(mark(case))
    case.poll()
    assert screen.scene.IsNodePresent(mark(case))
    case.close()
    case.choose(B)
    assert case.chosen == A


def test_the_mark_is_not_saved(screen: OffscreenSlice, case: CaseInScene, tmp_path: Path) -> None:
    case.choose(A)
    path = tmp_path / "scene.mrb"
    assert screen.scene.WriteToMRB(str(path))
    with zipfile.ZipFile(path) as bundle:
        (name,) = (name for name in bundle.namelist() if name.endswith(".mrml"))
        text = bundle.read(name).decode()
    assert control_point(case, A)[0].GetID() in text
    for node in (mark(case), mark(case).GetDisplayNode()):
        assert f'"{node.GetID()}"' not in text
        assert node.GetName() not in text


def test_a_landmark_that_is_there_is_placed_anew_by_a_click_and_chosen(
    screen: OffscreenSlice, case: CaseInScene
) -> None:
    assert case.placing == ""
    case.place(A)
    assert case.placing == A
    before = world_ras_mm(case, A)
    x, y = screen.display_xy(before + [8, 0, 0])
    screen.press(x, y)
    screen.release(x, y)
    case.poll()
    assert (case.placing, case.chosen) == ("", A)
    node, n = control_point(case, A)
    np.testing.assert_allclose(node.GetNthControlPointPositionWorld(n) - before, [8, 0, 0], atol=0.5)
    assert case.session.state.landmarks.review[case.session.state.landmarks.names.index(A)] is Review.CORRECTED
