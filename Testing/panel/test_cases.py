"""Section 1, library and cases."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.perfect_answer import chest_image
from Testing.host import Host
from Testing.panel.seen import entries, shown
from Testing.scene.open_cases import predict

Open = Callable[[Any], Any]


# ---- the library ----


def test_a_library_is_opened_by_its_folder_and_open_again_the_next_time(
    host: Host, widget: Any, library: Library
) -> None:
    ui = widget.panel.ui
    assert ui.libraryName.text == "none yet: the first case makes one"
    host.answer("folder", str(library.folder))
    host.click(ui.openLibraryButton)
    assert ui.libraryName.text == "chests · 0 of 2 cases finished"
    assert entries(ui.caseSelector) == ["choose a case", "chest-0 · new", "chest-1 · new"]
    assert widget.panel.settings.library == library.folder
    import slicer

    slicer.util.reloadScriptedModule("DenseLandmarks")
    host.process(0.1)
    panel = slicer.modules.DenseLandmarksWidget.panel
    assert panel.ui.libraryName.text == "chests · 0 of 2 cases finished"


def test_a_library_that_is_gone_the_next_time_is_not_mentioned(host: Host, widget: Any, library: Library) -> None:
    import slicer

    widget.panel.settings.library = library.folder
    shutil.rmtree(library.folder)
    slicer.util.reloadScriptedModule("DenseLandmarks")
    host.process(0.1)
    panel = slicer.modules.DenseLandmarksWidget.panel
    assert panel.ui.libraryName.text == "none yet: the first case makes one"
    assert panel.ui.messageLabel.text == ""


def test_a_folder_that_is_no_library_becomes_one_after_a_question(host: Host, widget: Any, tmp_path: Path) -> None:
    ui, folder = widget.panel.ui, tmp_path / "hip study"
    folder.mkdir()
    host.answer("folder", str(folder))
    host.answer("yesNo", False)
    host.click(ui.openLibraryButton)
    assert list(folder.iterdir()) == []
    host.answer("folder", "")
    host.click(ui.openLibraryButton)
    host.answer("folder", str(folder))
    host.answer("yesNo", True)
    host.click(ui.openLibraryButton)
    assert ui.libraryName.text == "hip study · no cases yet"
    assert Library.open(folder).name == "hip study"
    assert entries(ui.caseSelector) == ["no cases yet"]


def test_a_library_that_is_deleted_while_it_is_open_is_told_in_one_line(
    host: Host, widget: Any, open_chest: Open, library: Library
) -> None:
    panel = open_chest(widget)
    shutil.rmtree(library.folder)
    host.pick(panel.ui.caseSelector, "chest-1 · new")
    assert panel.bench.session.case.name == "chest-0"
    assert panel.bench.session.unsaved
    assert panel.ui.libraryName.text == "chests · cannot be read"
    assert panel.ui.messageLabel.text.startswith("expected ")
    assert "\n" not in panel.ui.messageLabel.text


# ---- bringing images in ----


def test_a_folder_of_images_comes_in_one_by_one_and_can_be_stopped(
    host: Host, widget: Any, tmp_path: Path, chest_template: Template, user: Path
) -> None:
    ui, folder = widget.panel.ui, tmp_path / "films"
    folder.mkdir()
    for seed in range(6):
        sitk.WriteImage(chest_image(chest_template, 32, seed).volume, str(folder / f"film-{seed}.nrrd"))
    (folder / "notes.txt").write_text("not an image")
    assert not ui.addingBar.visible
    host.answer("folder", str(folder))
    host.click(ui.addImagesButton)
    host.process(until=lambda: ui.addingBar.visible and ui.addingBar.value > 0)
    assert not ui.openLibraryButton.enabled
    assert ui.addingBar.format.endswith(" of 7 files")
    host.click(ui.cancelAddingButton)
    assert "stopped after" in ui.messageLabel.text
    assert not ui.addingBar.visible
    before = len(widget.panel.bench.library.cases())
    assert 0 < before < 6
    assert len(entries(ui.caseSelector)) == before + 1
    host.answer("folder", str(folder))
    host.click(ui.addImagesButton)
    host.process(until=lambda: not ui.addingBar.visible)
    assert ui.messageLabel.text == "Added: 6 of 6 images."
    assert ui.libraryName.text == "my cases · 0 of 6 cases finished"
    assert "film-5 · new" in entries(ui.caseSelector)


def test_an_image_that_cannot_be_used_is_named_and_the_others_come_in(
    host: Host, widget: Any, tmp_path: Path, chest_template: Template
) -> None:
    ui, folder = widget.panel.ui, tmp_path / "films"
    folder.mkdir()
    sitk.WriteImage(chest_image(chest_template, 32).volume, str(folder / "good.nrrd"))
    (folder / "cut off.nrrd").write_bytes((folder / "good.nrrd").read_bytes()[:300])
    host.answer("folder", str(folder))
    host.click(ui.addImagesButton)
    host.process(until=lambda: "Added" in ui.messageLabel.text)
    assert ui.messageLabel.text.startswith("Added: 1 of 2 images.")
    assert "cut off.nrrd" in ui.messageLabel.text


# ---- cases ----


def test_a_pick_opens_a_case_and_the_one_before_is_saved(
    host: Host, widget: Any, open_chest: Open, library: Library
) -> None:
    panel = open_chest(widget)
    ui, first = panel.ui, panel.bench.session.case
    panel.bench.do(Session.accept, *panel.bench.state.landmarks.names[:100])
    host.process(0.1)
    assert shown(ui.caseSelector) == "chest-0 · 54 of 154 left · unsaved"
    host.pick(ui.caseSelector, "chest-1 · new")
    assert panel.bench.session.case.name == "chest-1"
    assert shown(ui.caseSelector) == "chest-1 · new"
    assert panel.parameters.image is panel.bench.case.image.volume
    assert entries(ui.caseSelector)[1] == "chest-0 · 54 of 154 left · r1"
    _, info = library.case(first.id).load()
    assert info is not None
    assert info.reviewed == 100


def test_previous_and_next_go_through_the_cases_with_the_reason(
    host: Host, widget: Any, open_chest: Open, chest_template: Template
) -> None:
    panel = open_chest(widget)
    ui = panel.ui
    assert not ui.previousCaseButton.enabled
    host.pick(ui.caseOrder, "By name")
    host.click(ui.nextCaseButton)
    assert panel.bench.session.case.name == "chest-1"
    assert (
        ui.caseReason.text
        == "next in the list of 1 with something to decide; nobody has looked at it and no model has seen it."
    )
    predict(panel.bench.session, chest_template)
    host.click(ui.previousCaseButton)
    assert panel.bench.session.case.name == "chest-0"
    assert ui.caseReason.text == ""
    assert not ui.previousCaseButton.enabled
    assert entries(ui.caseSelector)[2] == "chest-1 · 154 of 154 left · r1"
    panel.bench.do(Session.accept_remaining)
    host.click(ui.nextCaseButton)
    panel.bench.do(Session.accept_remaining)
    host.click(ui.nextCaseButton)
    assert ui.caseReason.text == "chests: nothing is left to decide."
    assert ui.libraryName.text == "chests · 2 of 2 cases finished"
    assert entries(ui.caseSelector)[1] == "chest-0 · finished · r2"


def test_a_damaged_case_says_so_and_cannot_be_chosen(host: Host, widget: Any, library: Library) -> None:
    (entry, _) = library.cases()
    (library.folder / "cases" / entry.id / "case.json").write_text("{")
    panel = widget.panel
    host.answer("folder", str(library.folder))
    host.click(panel.ui.openLibraryButton)
    damaged = f"case-{entry.id} · damaged"
    assert damaged in entries(panel.ui.caseSelector)
    with pytest.raises(AssertionError, match="greyed out"):
        host.pick(panel.ui.caseSelector, damaged)
    host.pick(panel.ui.caseSelector, "chest-1 · new")
    assert panel.bench.session.case.name == "chest-1"


def test_choosing_the_entry_that_is_no_case_does_nothing(host: Host, widget: Any, open_chest: Open) -> None:
    panel = open_chest(widget)
    case = panel.bench.case
    host.pick(panel.ui.caseSelector, "choose a case")
    assert panel.bench.case is case
    assert shown(panel.ui.caseSelector).startswith("chest-0")


def test_a_case_of_another_library_stays_until_one_of_this_is_picked(
    host: Host, widget: Any, open_chest: Open, library: Library, tmp_path: Path, chest_template: Template
) -> None:
    panel = open_chest(widget)
    ui, first = panel.ui, panel.bench.session.case
    other = Library.create(tmp_path / "other", "others")
    other.add_pixels(chest_image(chest_template, seed=7), "hip-7")
    host.answer("folder", str(other.folder))
    host.click(ui.openLibraryButton)
    assert panel.bench.session.case.id == first.id
    assert entries(ui.caseSelector) == ["choose a case", "hip-7 · new"]
    assert shown(ui.caseSelector) == "choose a case"
    host.pick(ui.caseSelector, "hip-7 · new")
    assert panel.bench.session.case.name == "hip-7"
    assert library.case(first.id).revision_numbers() == (1,)


def test_a_long_name_leaves_room_for_what_is_left(host: Host, widget: Any, chest_template: Template) -> None:
    panel, name = widget.panel, "thorax of the second visit in the outpatient department"
    panel.bench.need_library().add_pixels(chest_image(chest_template), name)
    panel.refresh()
    host.select("Data")
    host.select("DenseLandmarks")
    host.process(0.1)
    (_, line) = entries(panel.ui.caseSelector)
    assert line == "thorax of the…t department · new"


def test_the_list_reads_the_library_only_when_something_changed(
    host: Host, widget: Any, open_chest: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_chest(widget)
    read: list[int] = []
    cases = Library.cases
    monkeypatch.setattr(Library, "cases", lambda self: read.append(1) or cases(self))
    for name in panel.bench.state.landmarks.names[:5]:
        panel.bench.do(Session.accept, name)
        host.process(0.05)
    assert read == []
    panel.bench.save()
    host.process(0.05)
    assert read == [1]
