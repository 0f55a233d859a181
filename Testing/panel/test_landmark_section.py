"""A person works through the landmarks of a chest in the panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.template import Template
from Testing.scene.open_cases import control_point, point_lps_mm, predict, world_ras_mm

if TYPE_CHECKING:
    from Testing.host import Host

NAME, STRUCTURE, STATE, DOUBT = range(4)
A, B = "right_lung_10", "right_lung_11"
PLACE, LOOK = 1, 2


class Work:
    """The section as a person sees it."""

    def __init__(self, host: Host, panel: Any) -> None:
        self.host, self.panel, self.ui = host, panel, panel.ui

    @property
    def case(self) -> Any:
        return self.panel.bench.case

    @property
    def landmarks(self) -> Any:
        return self.case.session.state.landmarks

    def row(self, name: str) -> int:
        table = self.ui.landmarkTable
        return next(n for n in range(table.rowCount) if table.item(n, NAME).text() == name)

    def state(self, name: str) -> str:
        return str(self.ui.landmarkTable.item(self.row(name), STATE).text())

    def select(self, *names: str) -> None:
        """Click the first row and add the others with the Ctrl key."""
        self.host.click(self.ui.landmarkTable.item(self.row(names[0]), NAME))
        for name in names[1:]:
            self.host.click(self.ui.landmarkTable.item(self.row(name), NAME), "Ctrl")

    @property
    def selected(self) -> set[str]:
        return {item.text() for item in self.ui.landmarkTable.selectedItems() if item.column() == NAME}

    @property
    def current(self) -> str:
        table = self.ui.landmarkTable
        return str(table.item(table.currentRow(), NAME).text()) if table.currentRow() >= 0 else ""

    def review(self, name: str) -> Review:
        return self.landmarks.review[self.landmarks.names.index(name)]

    def presence(self, name: str) -> Presence:
        return self.landmarks.presence[self.landmarks.names.index(name)]

    def left(self) -> int:
        return int(str(self.ui.leftLabel.text).split(" of ")[0])


@pytest.fixture
def work(host: Host, widget: Any, open_chest: Callable[[Any], Any]) -> Work:
    """A predicted chest, nothing decided, without a view."""
    return Work(host, open_chest(widget))


@pytest.fixture
def seen(host_with_view: Host, widget_with_view: Any, open_chest: Callable[[Any], Any]) -> Work:
    """The same with a red view that shows the chest."""
    work = Work(host_with_view, open_chest(widget_with_view))
    host_with_view.screen.look_at(work.case.image.volume)
    return work


def click_in_view(work: Work, world: Any) -> None:
    x, y = work.host.screen.display_xy(world)
    work.host.screen.press(x, y)
    work.host.screen.release(x, y)
    work.host.process(0.1)


# Looking.


def test_the_table_is_the_worklist(work: Work) -> None:
    table = work.ui.landmarkTable
    assert [table.item(n, NAME).text() for n in range(table.rowCount)] == list(work.panel.bench.worklist.names)
    assert table.rowCount == len(work.landmarks)
    assert work.ui.leftLabel.text == f"{table.rowCount} of {table.rowCount} left"


def test_without_a_case_all_is_empty_and_grey_and_says_what_to_do(host: Host, widget: Any) -> None:
    ui = widget.panel.ui
    assert ui.landmarkTable.rowCount == 0
    assert "Choose an image" in ui.leftLabel.text
    for name in ("accept", "absent", "unsure", "reset", "next", "place", "acceptStructure", "acceptAll", "newLandmark"):
        assert not getattr(ui, f"{name}Button").enabled, name
    for name in ("undoButton", "redoButton", "editStructuresButton", "strengthSlider", "newNameEdit"):
        assert not getattr(ui, name).enabled, name


def test_a_click_on_a_row_centres_the_view_on_the_landmark_and_marks_it(seen: Work) -> None:
    seen.select(A)
    node = seen.host.screen.view._view_node
    x, y = seen.host.screen.display_xy(world_ras_mm(seen.case, A))
    width, height = node.GetDimensions()[:2]
    assert (x, y) == (pytest.approx(width / 2, abs=1), pytest.approx(height / 2, abs=1))
    side = 0.3 * 358.4  # closeUp of the image's side
    assert min(node.GetFieldOfView()[:2]) == pytest.approx(side, rel=1e-3)
    assert seen.case.chosen == A


def test_arrow_keys_jump_too(seen: Work) -> None:
    seen.host.type(seen.ui.closeUpBox, "0.50")
    seen.select(A)
    seen.host.key("Down")
    assert seen.current != A
    x, y = seen.host.screen.display_xy(world_ras_mm(seen.case, seen.current))
    assert (x, y) == (pytest.approx(128, abs=1), pytest.approx(128, abs=1))
    assert min(seen.host.screen.view._view_node.GetFieldOfView()[:2]) == pytest.approx(179.2, rel=1e-3)


def test_a_second_click_on_the_same_row_comes_back_to_it(seen: Work) -> None:
    seen.select(A)
    seen.host.screen.view._view_node.JumpSliceByCentering(0, 0, 0)
    seen.select(A)
    assert seen.host.screen.display_xy(world_ras_mm(seen.case, A)) == (
        pytest.approx(128, abs=1),
        pytest.approx(128, abs=1),
    )


def test_an_absent_landmark_is_looked_at_where_the_model_would_put_it(seen: Work) -> None:
    where = world_ras_mm(seen.case, A)
    seen.panel.parameters.goOn = False
    seen.select(A)
    seen.host.click(seen.ui.absentButton)
    seen.host.screen.view._view_node.JumpSliceByCentering(0, 0, 0)
    seen.select(A)
    assert seen.host.screen.display_xy(where) == (pytest.approx(128, abs=1), pytest.approx(128, abs=1))


def test_next_doubtful_goes_down_the_list(work: Work) -> None:
    names = work.panel.bench.worklist.names
    work.host.click(work.ui.nextButton)
    assert work.current == names[0]
    work.host.click(work.ui.nextButton)
    assert (work.current, work.selected) == (names[1], {names[1]})
    work.panel.bench.case.session.accept(names[2])
    work.host.click(work.ui.nextButton)
    assert work.current == names[3]


def test_next_doubtful_stays_in_what_the_filter_shows(work: Work) -> None:
    work.host.type(work.ui.filterEdit, "HEART")
    hearts = [name for name in work.panel.bench.worklist.names if name.startswith("heart")]
    work.host.click(work.ui.nextButton)
    work.host.click(work.ui.nextButton)
    assert work.current == hearts[1]
    assert not work.ui.landmarkTable.isRowHidden(work.row(hearts[0]))
    assert work.ui.landmarkTable.isRowHidden(work.row(A))
    work.panel.bench.case.session.accept(*hearts)
    work.host.process(0.1)
    work.host.click(work.ui.nextButton)
    assert work.current == hearts[1]
    assert "Clear the filter" in work.panel.bench.lines[-1]


def test_what_is_shown_follows_what_is_decided(work: Work) -> None:
    work.host.pick(work.ui.shownSelector, "Not decided")
    work.select(A)
    work.host.click(work.ui.acceptButton)
    assert work.ui.landmarkTable.isRowHidden(work.row(A))
    work.host.pick(work.ui.shownSelector, "Decided")
    visible = [n for n in range(work.ui.landmarkTable.rowCount) if not work.ui.landmarkTable.isRowHidden(n)]
    assert visible == [work.row(A)]


# Deciding.


@pytest.mark.parametrize(
    ("button", "presence", "review", "word"),
    [
        ("acceptButton", Presence.PRESENT, Review.VERIFIED, "verified"),
        ("absentButton", Presence.ABSENT, Review.CORRECTED, "absent"),
        ("unsureButton", Presence.PRESENT, Review.UNSURE, "unsure"),
    ],
)
def test_a_decision_is_one_edit_and_goes_on_to_the_next(
    work: Work, button: str, presence: Presence, review: Review, word: str
) -> None:
    names, before = work.panel.bench.worklist.names, work.left()
    work.select(names[3])
    work.host.click(getattr(work.ui, button))
    assert (work.presence(names[3]), work.review(names[3]), work.state(names[3])) == (presence, review, word)
    assert work.left() == before - 1
    assert (work.current, work.case.chosen) == (names[4], names[4])
    assert [work.panel.bench.worklist.names[n] for n in range(5)] == list(names[:5])
    work.host.click(work.ui.undoButton)
    assert (work.review(names[3]), work.left()) == (Review.PREDICTED, before)
    work.host.click(work.ui.redoButton)
    assert (work.review(names[3]), work.left()) == (review, before - 1)


def test_going_on_can_be_switched_off(work: Work) -> None:
    work.host.click(work.ui.goOnBox)
    work.select(A)
    work.host.click(work.ui.acceptButton)
    assert (work.current, work.selected) == (A, {A})
    assert work.ui.resetButton.enabled
    work.host.click(work.ui.resetButton)
    assert work.review(A) is Review.PREDICTED
    assert not work.ui.resetButton.enabled
    work.host.click(work.ui.unsureButton)
    assert (work.current, work.review(A)) == (A, Review.UNSURE)


def test_several_rows_are_decided_together_and_taken_back_together(work: Work) -> None:
    names = work.panel.bench.worklist.names
    work.select(names[1], names[3], names[5])
    assert work.selected == {names[1], names[3], names[5]}
    work.host.click(work.ui.acceptButton)
    assert [work.review(name) for name in names[:6]] == [Review.PREDICTED, Review.VERIFIED] * 3
    assert work.current == names[6]
    work.host.click(work.ui.undoButton)
    assert work.left() == len(names)


def test_a_selection_outlasts_edits_made_elsewhere(work: Work) -> None:
    names = work.panel.bench.worklist.names
    work.select(names[1], names[3])
    work.case.session.mark_unsure(names[2])
    work.host.process(0.1)
    assert work.state(names[2]) == "unsure"
    assert work.selected == {names[1], names[3]}


def test_what_is_nowhere_cannot_be_accepted_and_absent_stays_absent(work: Work) -> None:
    work.panel.parameters.goOn = False
    work.select(A)
    work.host.click(work.ui.absentButton)
    state = work.case.session.state
    work.host.click(work.ui.acceptButton)
    assert work.case.session.state is state  # a person said so already
    work.case.session.place("clip", point_lps_mm(work.case, B), "heart")
    work.case.session.reset("clip")  # nobody knows where it is now
    work.host.process(0.1)
    assert work.state("clip") == "not placed"
    work.select("clip")
    assert not work.ui.acceptButton.enabled
    work.select("clip", B)
    work.host.click(work.ui.acceptButton)
    assert (work.review(B), work.presence("clip")) == (Review.VERIFIED, Presence.UNPLACED)


def test_accept_structure_is_that_of_the_selected_landmark(work: Work) -> None:
    hearts = [n for n, of in zip(work.landmarks.names, work.landmarks.structures, strict=True) if of == "heart"]
    work.select(hearts[0])
    work.host.click(work.ui.acceptStructureButton)
    assert {n for n in work.landmarks.names if work.review(n) is Review.VERIFIED} == set(hearts)
    assert work.case.session.state.structure_review("heart") is Review.VERIFIED
    assert not work.ui.acceptStructureButton.enabled
    work.host.click(work.ui.undoButton)
    assert work.left() == len(work.landmarks)


def test_accept_all_remaining_says_how_many_and_one_undo_takes_it_back(work: Work) -> None:
    work.select(A)
    work.host.click(work.ui.absentButton)
    total = len(work.landmarks)
    work.host.click(work.ui.acceptAllButton)
    assert work.ui.leftLabel.text == f"0 of {total} left: all decided"
    assert work.panel.bench.lines[-1].startswith(f"{total - 1} landmarks and 5 structures accepted")
    assert work.presence(A) is Presence.ABSENT
    assert not work.ui.acceptAllButton.enabled
    assert not work.ui.nextButton.enabled
    work.host.click(work.ui.undoButton)
    assert work.left() == total - 1
    assert work.state(A) == "absent"


def test_undo_and_redo_are_grey_where_there_is_nothing(work: Work) -> None:
    work.case.session.save()
    while work.case.session.can_undo:
        work.host.click(work.ui.undoButton)
    work.host.process()
    assert not work.ui.undoButton.enabled
    assert work.ui.redoButton.enabled
    assert work.ui.leftLabel.text.startswith("No landmarks yet")


def test_the_count_is_seen_when_the_section_is_folded(work: Work) -> None:
    work.host.click(work.ui.landmarkSection)
    assert work.ui.landmarkSection.text.endswith(work.ui.leftLabel.text)
    work.host.click(work.ui.landmarkSection)
    assert "left" not in work.ui.landmarkSection.text


def test_the_strength_is_an_edit_and_follows_undo(work: Work) -> None:
    slider = work.ui.strengthSlider
    assert (slider.value, work.ui.strengthValue.text) == (100, "100 %")
    work.host.show(work.ui.strengthSlider)
    work.host.key("PgDown")
    assert work.case.session.state.strength == pytest.approx(0.9)
    assert work.ui.strengthValue.text == "90 %"
    work.host.click(work.ui.undoButton)
    assert (slider.value, work.ui.strengthValue.text) == (100, "100 %")
    assert work.case.session.state.strength == 1


def test_a_dragged_slider_is_one_edit_when_it_is_let_go(work: Work) -> None:
    from PySide6 import QtCore, QtTest

    from Testing.host.python_qt import hidden

    slider, left = hidden(work.ui.strengthSlider), QtCore.Qt.MouseButton.LeftButton
    y, right = slider.height() // 2, slider.width()
    state = work.case.session.state
    QtTest.QTest.mousePress(slider, left, pos=QtCore.QPoint(right - 6, y))
    for x in (0.9, 0.7, 0.5):
        QtTest.QTest.mouseMove(slider, QtCore.QPoint(round(x * right), y))
        work.host.process(0.05)
    percent = work.ui.strengthValue.text
    assert percent not in ("100 %", "0 %")  # what it will be is read while it is dragged
    assert work.case.session.state is state
    QtTest.QTest.mouseRelease(slider, left, pos=QtCore.QPoint(round(0.5 * right), y))
    work.host.process()
    assert f"{round(100 * work.case.session.state.strength)} %" == work.ui.strengthValue.text == percent
    work.host.click(work.ui.undoButton)
    assert work.case.session.state is state


# In the view.


def test_a_dragged_glyph_is_corrected_in_the_table_and_undo_brings_it_back(seen: Work) -> None:
    total, before = len(seen.landmarks), point_lps_mm(seen.case, A)
    x, y = seen.host.screen.display_xy(world_ras_mm(seen.case, A))
    seen.host.screen.drag((x, y), (x + 20, y))
    seen.host.process(0.1)
    assert seen.state(A) == "corrected"
    assert seen.ui.landmarkTable.item(seen.row(A), DOUBT).text() == ""
    assert seen.left() == total - 1
    assert (seen.current, seen.selected, seen.case.chosen) == (A, {A}, A)
    assert np.abs(point_lps_mm(seen.case, A) - before).max() > 5
    seen.host.click(seen.ui.undoButton)
    assert (seen.state(A), seen.left()) == ("predicted", total)
    np.testing.assert_array_equal(point_lps_mm(seen.case, A), before)


def test_a_click_on_a_glyph_selects_its_row_and_the_view_stays(seen: Work) -> None:
    node = seen.host.screen.view._view_node
    before = node.GetFieldOfView()
    click_in_view(seen, world_ras_mm(seen.case, "heart_05"))
    assert seen.current == "heart_05"
    assert node.GetFieldOfView() == before
    table = seen.ui.landmarkTable
    assert 0 <= table.visualItemRect(table.item(seen.row("heart_05"), NAME)).y() < table.viewport().height


def test_place_waits_for_a_click(seen: Work) -> None:
    seen.panel.parameters.goOn = False
    where = world_ras_mm(seen.case, A)
    seen.select(A)
    seen.host.click(seen.ui.absentButton)
    seen.host.click(seen.ui.placeButton)
    assert seen.ui.placeButton.checked
    interaction = seen.host.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    assert interaction.GetCurrentInteractionMode() == PLACE
    click_in_view(seen, where + [3, 0, 0])
    assert not seen.ui.placeButton.checked
    assert (seen.state(A), seen.current) == ("placed", A)


def test_a_landmark_that_is_there_is_placed_anew(seen: Work) -> None:
    before = world_ras_mm(seen.case, A)
    seen.select(A)
    seen.host.click(seen.ui.placeButton)
    click_in_view(seen, before + [8, 0, 0])
    assert seen.review(A) is Review.CORRECTED
    np.testing.assert_allclose(world_ras_mm(seen.case, A) - before, [8, 0, 0], atol=0.5)


@pytest.mark.parametrize("how", ["button", "escape", "in the view", "another module"])
def test_placing_can_be_given_up(seen: Work, how: str) -> None:
    state = seen.case.session.state
    seen.select(A)
    seen.host.click(seen.ui.placeButton)
    interaction = seen.host.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    if how == "button":
        seen.host.click(seen.ui.placeButton)
    elif how == "escape":
        seen.host.key("Esc")
    elif how == "in the view":
        interaction.SetCurrentInteractionMode(LOOK)
        seen.host.process(0.1)
    else:
        seen.host.select("Welcome")
    assert not seen.ui.placeButton.checked
    assert interaction.GetCurrentInteractionMode() == LOOK
    assert seen.case.placing == ""
    assert seen.case.session.state is state


def test_a_new_landmark_is_named_clicked_and_current(seen: Work) -> None:
    ui = seen.ui
    assert not ui.newLandmarkButton.enabled
    assert "name" in ui.newLandmarkButton.toolTip
    seen.host.type(ui.newNameEdit, A)
    assert not ui.newLandmarkButton.enabled
    assert "already" in ui.newLandmarkButton.toolTip
    seen.host.type(ui.newNameEdit, "apex")
    structures = [ui.newStructureSelector.itemText(n) for n in range(ui.newStructureSelector.count)]
    assert structures == ["Automatic", *dict.fromkeys(seen.landmarks.structures)]
    seen.host.pick(ui.newStructureSelector, "heart")
    seen.host.click(ui.newLandmarkButton)
    assert ui.newLandmarkButton.checked
    assert not ui.placeButton.checked
    hearts = [n for n in seen.landmarks.names if n.startswith("heart")]
    centre = np.mean([world_ras_mm(seen.case, name) for name in hearts], axis=0)
    click_in_view(seen, centre)
    assert (ui.newLandmarkButton.checked, ui.newNameEdit.text) == (False, "")
    assert (seen.current, seen.case.chosen, seen.state("apex")) == ("apex", "apex", "placed")
    assert ui.landmarkTable.item(seen.row("apex"), STRUCTURE).text() == "heart"
    seen.host.click(ui.undoButton)
    assert "apex" not in seen.landmarks.names
    assert ui.landmarkTable.rowCount == len(seen.landmarks)


def test_a_new_landmark_can_be_given_up_and_keeps_its_name(seen: Work) -> None:
    seen.host.type(seen.ui.newNameEdit, "apex")
    seen.host.click(seen.ui.newLandmarkButton)
    seen.host.key("Esc")
    assert (seen.ui.newLandmarkButton.checked, seen.ui.newNameEdit.text) == (False, "apex")
    seen.host.click(seen.ui.newLandmarkButton)
    seen.host.click(seen.ui.newLandmarkButton)
    assert (seen.ui.newLandmarkButton.checked, seen.case.placing) == (False, "")


def test_a_name_that_another_case_took_is_refused_before_the_click(
    work: Work, library: Library, chest_template: Template
) -> None:
    work.host.process(0.1)  # what was defined before is looked up by itself
    other = Session(library.case(library.cases()[1].id), "another annotator")
    predict(other, chest_template)
    rows = other.state.landmarks.of_structure("heart")
    other.define_landmark("apex", other.state.landmarks.points_lps_mm[rows].mean(0))
    other.save()
    other.close()
    work.host.type(work.ui.newNameEdit, "apex")
    work.host.click(work.ui.newLandmarkButton)
    assert work.case.placing == ""
    assert not work.ui.newLandmarkButton.checked
    assert "apex" in work.panel.bench.lines[-1]


def test_uncertainty_and_names_are_shown_and_hidden(work: Work) -> None:
    lists = work.case.lists.nodes.values()
    ellipses = work.case.ellipses.node.GetDisplayNode()
    assert ellipses.GetVisibility()
    assert not any(node.GetDisplayNode().GetPointLabelsVisibility() for node in lists)
    work.host.click(work.ui.ellipsesBox)
    work.host.click(work.ui.namesBox)
    assert not ellipses.GetVisibility()
    assert all(node.GetDisplayNode().GetPointLabelsVisibility() for node in lists)
    work.host.click(work.ui.ellipsesBox)
    assert ellipses.GetVisibility()


def test_the_boxes_also_hold_for_the_next_case(work: Work, library: Library, chest_template: Template) -> None:
    work.host.click(work.ui.ellipsesBox)
    work.host.click(work.ui.namesBox)
    case = work.panel.bench.open_case(library.cases()[1].id)
    predict(case.session, chest_template)
    work.host.process(0.1)
    assert not case.ellipses.node.GetDisplayNode().GetVisibility()
    assert all(node.GetDisplayNode().GetPointLabelsVisibility() for node in case.lists.nodes.values())
    assert (work.current, work.selected) == ("", set())


def test_edit_structures_opens_the_segment_editor_on_ours(work: Work) -> None:
    work.select("heart_05")
    work.host.click(work.ui.editStructuresButton)
    editor = work.host.scene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    assert editor.GetSegmentationNode() is work.case.segments.node
    assert editor.GetSourceVolumeNode() is work.case.image.volume
    assert editor.GetSelectedSegmentID() == "heart"
    assert work.host.recorded.modules[-1] == "SegmentEditor"
    work.host.select("DenseLandmarks")
    work.host.click(work.ui.editStructuresButton)
    assert work.host.scene.GetNumberOfNodesByClass("vtkMRMLSegmentEditorNode") == 1


# When things end.


@pytest.mark.parametrize("how", ["case closed", "image deleted", "scene closed"])
@pytest.mark.parametrize("is_placing", [False, True])
def test_the_section_is_empty_when_the_case_is_gone(work: Work, how: str, is_placing: bool) -> None:
    work.select(A)
    if is_placing:
        work.host.click(work.ui.placeButton)
    if how == "case closed":
        work.case.close()
    elif how == "image deleted":
        work.host.scene.RemoveNode(work.case.image.volume)
    else:
        work.host.close_scene()
    work.host.process(0.2)
    assert work.case is None
    assert work.ui.landmarkTable.rowCount == 0
    assert "Choose an image" in work.ui.leftLabel.text
    assert not work.ui.acceptButton.enabled
    assert not work.ui.placeButton.checked
    for key in ("A", "N", "P", "Ctrl+Z", "Esc"):
        work.host.key(key)


def test_a_list_that_somebody_deletes_is_back_with_its_marks(work: Work) -> None:
    work.select(A)
    node, _ = control_point(work.case, A)
    work.host.click(work.ui.namesBox)
    work.host.scene.RemoveNode(node)
    work.host.process(0.2)
    again, _ = control_point(work.case, A)
    assert again is not node
    assert again.GetDisplayNode().GetPointLabelsVisibility()
