"""Section 5: revisions, files for other programs, landmarks from files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.landmark_set import Review
from Testing.host import Host
from Testing.scene.open_cases import predict

Open = Callable[[Any], Any]


def test_a_saved_case_says_its_revision_and_what_is_not_saved(host: Host, widget: Any, open_chest: Open) -> None:
    panel = open_chest(widget)
    ui = panel.ui
    assert "not saved yet, with unsaved changes" in ui.savedState.text
    host.type(ui.whyEdit, "first look")
    host.click(ui.saveButton)
    assert ui.savedState.text == "chest-0: revision 1"
    assert ui.whyEdit.text == ""
    assert "saved as revision 1" in ui.messageLabel.text
    assert "first look" in ui.revisionSelector.itemText(0)
    panel.bench.do(Session.accept_remaining)
    host.process(0.1)
    assert ui.savedState.text == "chest-0: revision 1, with unsaved changes"


def test_an_earlier_revision_comes_back_and_one_undo_takes_it_away(host: Host, widget: Any, open_chest: Open) -> None:
    panel = open_chest(widget)
    ui = panel.ui
    host.click(ui.saveButton)
    panel.bench.do(Session.accept_remaining)
    host.click(ui.saveButton)
    assert ui.revisionSelector.count == 2
    host.pick(ui.revisionSelector, ui.revisionSelector.itemText(1))
    host.click(ui.restoreButton)
    reviews = set(panel.bench.state.landmarks.review)
    assert reviews == {Review.PREDICTED}
    panel.bench.undo()
    assert set(panel.bench.state.landmarks.review) == {Review.VERIFIED}


def test_a_name_that_is_typed_stands_in_the_next_revision_and_is_kept(
    host: Host, widget: Any, open_chest: Open, library: Library
) -> None:
    panel = open_chest(widget)
    host.type(panel.ui.whoEdit, "reader 2")
    host.click(panel.ui.saveButton)
    info, _ = library.case(panel.bench.session.case.id).newest()
    assert info is not None
    assert info.who == "reader 2"
    assert panel.settings.who == "reader 2"


def test_the_case_on_the_screen_is_exported_with_what_is_not_saved(
    host: Host, widget: Any, open_chest: Open, tmp_path: Path
) -> None:
    panel = open_chest(widget)
    name = panel.bench.worklist.names[0]
    panel.bench.do(Session.mark_absent, name)
    host.answer("folder", str(tmp_path / "files"))
    host.click(panel.ui.exportButton)
    (path,) = (tmp_path / "files").glob("*.mrk.json")
    points = json.loads(path.read_text())["markups"][0]["controlPoints"]
    assert next(point for point in points if point["label"] == name)["positionStatus"] == "missing"
    assert "cases 1, files 1" in panel.ui.messageLabel.text


def test_a_library_is_exported_case_by_case_and_can_be_stopped(
    host: Host, widget: Any, open_chest: Open, tmp_path: Path, library: Library, chest_template: Any
) -> None:
    panel = open_chest(widget)
    ui = panel.ui
    panel.bench.save()
    panel.bench.open_case(library.cases()[1].id)
    predict(panel.bench.session, chest_template)
    panel.bench.save()
    host.process(0.05)
    host.pick(ui.exportScope, "All saved cases of the library")
    host.pick(ui.exportFormat, "Training data (MONAI datalist)")
    host.answer("folder", str(tmp_path / "all"))
    host.click(ui.exportButton)
    host.process(until=lambda: "cases 2" in ui.messageLabel.text)
    host.process(0.1)
    assert not ui.exportBar.visible
    assert (tmp_path / "all" / "datalist.json").is_file()

    panel._timer.stop()  # the next case is not written before the person is quick enough
    host.answer("folder", str(tmp_path / "stopped"))
    host.click(ui.exportButton)
    assert ui.cancelExportButton.visible
    assert not ui.exportButton.enabled
    host.click(ui.cancelExportButton)
    panel._timer.start()
    host.process(until=lambda: "stopped" in ui.messageLabel.text)
    assert not (tmp_path / "stopped" / "datalist.json").exists()


def test_what_cannot_be_exported_says_why(host: Host, widget: Any, open_chest: Open) -> None:
    ui = widget.panel.ui
    assert not ui.exportButton.enabled
    assert ui.exportButton.toolTip == "Open a case first."
    open_chest(widget)
    assert ui.exportButton.enabled
    host.pick(ui.exportFormat, "Training data (MONAI datalist)")
    assert not ui.exportButton.enabled
    assert "list of cases" in ui.exportButton.toolTip


def test_a_folder_that_is_not_chosen_changes_nothing(host: Host, widget: Any, open_chest: Open) -> None:
    panel = open_chest(widget)
    told = len(panel.bench.lines)
    host.answer("folder", "")
    host.click(panel.ui.exportButton)
    host.answer("openFile", "")
    host.click(panel.ui.importButton)
    assert len(panel.bench.lines) == told


def test_landmarks_come_from_a_file_and_one_undo_takes_them_back(
    host: Host, widget: Any, open_chest: Open, tmp_path: Path
) -> None:
    panel = open_chest(widget)
    panel.bench.do(Session.accept_remaining)
    host.answer("folder", str(tmp_path))
    host.click(panel.ui.exportButton)
    (path,) = tmp_path.glob("*.mrk.json")
    panel.bench.undo()
    host.answer("openFile", str(path))
    host.click(panel.ui.importButton)
    assert Review.PREDICTED not in panel.bench.state.landmarks.review
    panel.bench.undo()
    assert set(panel.bench.state.landmarks.review) == {Review.PREDICTED}
    (tmp_path / "broken.csv").write_text("nothing")
    host.answer("openFile", str(tmp_path / "broken.csv"))
    host.click(panel.ui.importButton)
    assert "broken.csv: expected" in panel.ui.messageLabel.text
