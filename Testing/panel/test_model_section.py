"""Section 2: which model, what is known of it, its versions, and whether it runs here."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from DenseLandmarksLib.models import chosen_model as chosen_model_module
from DenseLandmarksLib.models import versions
from DenseLandmarksLib.models.bundle import METADATA, read_description
from DenseLandmarksLib.models.manage_versions import add_version
from DenseLandmarksLib.models.versions import list_versions
from DenseLandmarksLib.worker.environment_report import EnvironmentReport
from Testing.geometry.dicom_files import write_dicom
from Testing.host import Host

Open = Callable[[Any], Any]
SHIPPED = versions.SHIPPED / "chest-xray"


def entries(selector: Any) -> list[str]:
    return [selector.itemText(row) for row in range(selector.count)]


def shown(selector: Any) -> str:
    return selector.itemText(selector.currentIndex)


def another_version(folder: Path, version: str, **changed: Any) -> Path:
    """The shipped bundle under another version."""
    shutil.copytree(SHIPPED, folder)
    path = folder / METADATA
    metadata = json.loads(path.read_text()) | {"version": version} | changed
    path.write_text(json.dumps(metadata))
    return folder


# ---- which model ----


def test_the_shipped_model_is_chosen_and_says_what_matters(host: Host, widget: Any) -> None:
    ui = widget.panel.ui
    assert shown(ui.modelSelector) == "chest-xray"
    text = ui.modelSummary.text
    described = read_description(SHIPPED)
    assert f"chest-xray {described.version}" in text
    assert "right&nbsp;lung" in text
    assert text.count("&#9632;") == len(described.styles)
    assert "166 landmarks" in text
    measured = described.metadata["measured"]
    tre = measured["average"]["tre_mm"]
    assert f"landmarks {tre['mean']:.2f} ± {tre['sd']:.2f} mm" in text.replace("&nbsp;", " ")
    assert f"on {measured['cases']} cases of jsrt (test)" in text
    assert "160 cases of jsrt" in text
    assert "research use only" in text
    assert (SHIPPED / "docs" / "README.md").as_uri() in text


def test_a_model_in_a_folder_is_used_from_there(host: Host, widget: Any, tmp_path: Path) -> None:
    folder = another_version(tmp_path / "mine & <others>", "9.0", description="bones <b>& more</b>", measured=None)
    ui, panel = widget.panel.ui, widget.panel
    host.answer("folder", str(folder))
    host.click(ui.modelFolderButton)
    assert panel.parameters.model == str(folder)
    assert shown(ui.modelSelector) == "chest-xray 9.0 (from a folder)"
    assert "bones &lt;b&gt;&amp; more&lt;/b&gt;" in ui.modelSummary.text
    assert "not measured" in ui.modelSummary.text
    host.pick(ui.modelSelector, "chest-xray")
    assert panel.parameters.model == "chest-xray"
    host.pick(ui.modelSelector, "chest-xray 9.0 (from a folder)")
    assert panel.parameters.model == str(folder)
    host.answer("folder", "")
    host.click(ui.modelFolderButton)
    assert panel.parameters.model == str(folder)


def test_a_broken_bundle_is_refused_in_one_line(host: Host, widget: Any, tmp_path: Path) -> None:
    folder = another_version(tmp_path / "broken", "9.0")
    (folder / "models" / "model.safetensors").write_bytes(b"nothing")
    host.answer("folder", str(folder))
    host.click(widget.panel.ui.modelFolderButton)
    assert widget.panel.parameters.model == "chest-xray"
    assert "model.safetensors is not the file that was saved" in widget.panel.ui.messageLabel.text


def test_a_model_that_a_scene_names_and_is_not_here_is_said_so(host: Host, widget: Any) -> None:
    panel = widget.panel
    ui = panel.ui
    panel.parameters.model = "hip-xray"
    assert shown(ui.modelSelector) == "hip-xray (not on this computer)"
    assert "got &#x27;hip-xray&#x27;" in ui.modelSummary.text
    assert not ui.checkButton.enabled
    assert not ui.predictButton.enabled
    host.pick(ui.modelSelector, "chest-xray")
    assert len(entries(ui.modelSelector)) == len(versions.shipped_bundles())
    assert not any("not on this computer" in entry for entry in entries(ui.modelSelector))
    assert ui.checkButton.enabled


def test_the_model_comes_back_with_the_scene(host: Host, widget: Any, tmp_path: Path) -> None:
    folder = another_version(tmp_path / "elsewhere", "9.0")
    panel = widget.panel
    panel.parameters.model = str(folder)
    saved = host.save_scene(tmp_path / "scene.mrb")
    host.close_scene()
    assert shown(panel.ui.modelSelector) == "chest-xray"
    shutil.rmtree(folder)
    host.open_scene(saved)
    assert panel.parameters.model == str(folder)
    assert shown(panel.ui.modelSelector) == "elsewhere (not on this computer)"


def test_a_bundle_is_read_once_and_again_when_it_changed(
    host: Host, widget: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = another_version(tmp_path / "mine", "9.0")
    read: list[Path] = []
    monkeypatch.setattr(
        chosen_model_module, "read_description", lambda folder: read.append(folder) or read_description(folder)
    )
    panel = widget.panel
    panel.parameters.model = str(folder)
    for _ in range(3):
        panel.refresh()
    assert read == [folder]
    path = folder / METADATA
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": "9.1"}))
    os.utime(path, ns=(1, 1))
    panel.refresh()
    assert read == [folder, folder]
    assert shown(panel.ui.modelSelector) == "chest-xray 9.1 (from a folder)"


def test_the_model_that_knows_what_the_file_states_is_one_click_away(
    host: Host, widget: Any, open_chest: Open, tmp_path: Path
) -> None:
    panel = open_chest(widget)
    ui = panel.ui
    assert not ui.fittingModelButton.visible
    entry = panel.bench.library.add(write_dicom(tmp_path / "film.dcm", BodyPartExamined="HAND"))
    panel.bench.open_case(entry.id)
    host.process(0.1)
    assert ui.fittingModelButton.visible
    assert ui.fittingModelButton.text == "Use hand-xray"
    assert ui.fittingModelButton.toolTip == "The image's file states body part HAND, which this model knows."
    host.click(ui.fittingModelButton)
    assert panel.parameters.model == "hand-xray"
    assert shown(ui.modelSelector) == "hand-xray"
    assert not ui.fittingModelButton.visible


# ---- versions ----


@pytest.fixture
def own_version(widget: Any, tmp_path: Path, user: Path) -> str:
    """A version of the user's own beside the shipped one."""
    add_version(another_version(tmp_path / "retrained", "9.0"))
    widget.panel.refresh()
    return "9.0"


def test_one_version_alone_shows_no_row(host: Host, widget: Any) -> None:
    assert not widget.panel.ui.versionSelector.visible


def test_another_version_is_used_and_going_back_is_using_the_first(host: Host, widget: Any, own_version: str) -> None:
    ui, shipped = widget.panel.ui, read_description(SHIPPED).version
    assert entries(ui.versionSelector) == [f"{shipped} (shipped) · in use", own_version]
    assert not ui.activateVersionButton.enabled
    assert not ui.deleteVersionButton.enabled
    host.pick(ui.versionSelector, own_version)
    host.click(ui.activateVersionButton)
    assert shown(ui.versionSelector) == f"{own_version} · in use"
    assert f"chest-xray {own_version}" in ui.modelSummary.text
    host.pick(ui.versionSelector, f"{shipped} (shipped)")
    host.click(ui.activateVersionButton)
    assert f"chest-xray {shipped}" in ui.modelSummary.text


def test_a_version_is_deleted_after_one_question(host: Host, widget: Any, own_version: str) -> None:
    ui = widget.panel.ui
    host.pick(ui.versionSelector, own_version)
    host.answer("yesNo", False)
    host.click(ui.deleteVersionButton)
    assert len(list_versions("chest-xray")) == 2
    host.answer("yesNo", True)
    host.click(ui.deleteVersionButton)
    assert len(list_versions("chest-xray")) == 1
    assert not ui.versionSelector.visible


def test_a_damaged_version_says_so_and_cannot_be_used(host: Host, widget: Any, own_version: str, user: Path) -> None:
    ui = widget.panel.ui
    folder = user / "models" / "chest-xray" / own_version
    (folder / METADATA).write_text("{")
    host.select("Data")
    host.select("DenseLandmarks")
    host.process(0.1)
    host.pick(ui.versionSelector, f"{own_version} · damaged")
    assert not ui.activateVersionButton.enabled
    assert "not JSON" in ui.versionSelector.toolTip
    host.answer("yesNo", True)
    host.click(ui.deleteVersionButton)
    assert not folder.exists()


# ---- the environment ----


def test_the_check_runs_in_the_worker_while_the_panel_goes_on(host: Host, widget: Any) -> None:
    ui = widget.panel.ui
    assert not ui.environmentText.visible
    host.pick(ui.deviceSelector, "Processor")
    host.click(ui.checkButton)
    assert ui.checkButton.text == "Cancel check"
    assert ui.environmentText.visible
    host.process(120.0, until=lambda: ui.checkButton.text == "Check environment")
    text = ui.environmentText.plainText
    assert text.startswith("Everything works on cpu: one pass of the model takes ")
    assert "\ntorch " in text
    assert ui.environmentText.readOnly


def test_a_check_is_cancelled(host: Host, widget: Any) -> None:
    ui = widget.panel.ui
    host.click(ui.checkButton)
    host.click(ui.checkButton)
    host.process(until=lambda: ui.checkButton.text == "Check environment")
    assert not ui.environmentText.visible


def test_missing_packages_are_named_without_starting_anything(host: Host, widget: Any) -> None:
    host.pip.versions["torch"] = None
    ui = widget.panel.ui
    host.click(ui.checkButton)
    assert ui.environmentText.plainText.startswith("Missing: torch")
    assert ui.checkButton.text == "Check environment"
    assert not widget.panel.bench.is_busy


def test_a_check_ends_when_the_worker_is_started_anew(host: Host, widget: Any) -> None:
    ui = widget.panel.ui
    host.click(ui.checkButton)
    widget.panel.bench.restart_worker()
    host.process(until=lambda: ui.checkButton.text == "Check environment")
    assert "given up" in ui.environmentText.plainText


def test_what_does_not_work_comes_first_in_the_report() -> None:
    from DenseLandmarksLib.panel.environment_check import report_text

    report = EnvironmentReport(("Python 3.12", "torch: missing"), "expected torch, found none. Install it.")
    assert report_text(report).splitlines()[0] == "expected torch, found none. Install it."
    assert len(report_text(report).splitlines()) == 3
