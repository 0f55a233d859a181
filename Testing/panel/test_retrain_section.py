"""Section 6: a person retrains, watches, cancels, goes on, comes back, and decides which version predicts."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import read_metadata
from DenseLandmarksLib.models.manage_versions import add_version
from DenseLandmarksLib.models.versions import active_bundle, list_versions
from DenseLandmarksLib.scene import retraining as retraining_module
from DenseLandmarksLib.scene.curve_nodes import ERROR, LOSS
from DenseLandmarksLib.worker.launch import TRAINING
from Testing.annotation.retraining.runs import STAND_IN, place_blind, taught_library
from Testing.host import Host
from Testing.panel.conftest import ROOT
from Testing.scene.saved_scene import nodes_of
from Testing.training.blob_radiographs import write_blob_radiographs
from Testing.training.conftest import TRAIN, phantom_folder  # noqa: F401 - a fixture

WITHIN_S = 20.0
Open = Callable[..., Any]


@pytest.fixture
def hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """While it is there the stand-in waits after an epoch; it is looked at more often than a person needs."""
    path = tmp_path / "hold"
    path.touch()
    monkeypatch.setenv("HOLD", str(path))
    monkeypatch.setattr(retraining_module, "LOOK_EVERY_S", 0.05)
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def taught(tmp_path: Path, chest_template: Template) -> Library:
    return taught_library(tmp_path, chest_template)


@pytest.fixture
def open_section(
    taught: Library, user: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Host, Any], Any]:
    """Have the section unfolded, with a library to learn from and a model of the user's; returns the panel."""

    def open_it(host: Host, widget: Any, module: str = STAND_IN) -> Any:
        monkeypatch.setattr("DenseLandmarksLib.panel.frame.TRAINING", module)
        if not list_versions("tiny"):
            add_version(tiny_bundle)
        panel = widget.panel
        panel.bench.open_library(taught.folder)
        panel.parameters.model = "tiny"
        panel.refresh()
        if panel.ui.retrainSection.collapsed:
            host.click(panel.ui.retrainSection)
        return panel

    return open_it


def wait(host: Host, done: Callable[[], Any]) -> None:
    host.process(WITHIN_S, until=done)


def retrain(host: Host, panel: Any) -> None:
    """Press Retrain, and wait until it learns."""
    host.click(panel.ui.retrainButton)
    wait(host, lambda: panel.bench.retraining.curves.loss)


def test_what_there_is_to_learn_from_is_counted_when_the_section_is_opened(
    host: Host, widget: Any, taught: Library, open_section: Open, chest_template: Template
) -> None:
    panel = widget.panel
    panel.bench.open_library(taught.folder)
    host.process(0.3)
    assert panel.bench.retraining.lessons is None, "nobody looks"
    open_section(host, widget)
    ui = panel.ui
    wait(host, lambda: ui.retrainLessonsLabel.text.startswith("To learn from"))
    assert ui.retrainLessonsLabel.text == (
        f"To learn from: 6 corrected, 0 placed, {2 * len(chest_template.landmark_names) - 8} verified and 2 absent landmarks "
        "in 2 cases. 0 of 20 cases to compare versions on."
    )
    assert ui.retrainButton.enabled
    case = panel.bench.open_case(taught.cases()[0].id)
    panel.bench.do(Session.mark_unsure, "heart_05")
    case.save()
    wait(host, lambda: f"{2 * len(chest_template.landmark_names) - 9} verified" in ui.retrainLessonsLabel.text)


def test_cases_to_compare_on_are_counted_for_the_chosen_model(
    host: Host, widget: Any, taught: Library, open_section: Open, chest_template: Template, tmp_path: Path
) -> None:
    place_blind(taught, tmp_path, chest_template)
    panel = open_section(host, widget)
    ui = panel.ui
    wait(host, lambda: ui.retrainLessonsLabel.text.endswith(" 1 of 20 cases to compare versions on."))
    panel.parameters.model = "headneck-ct"
    panel.refresh()
    assert ui.retrainLessonsLabel.text.endswith(" 0 of 20 cases to compare versions on.")
    panel.parameters.model = "none of ours"
    panel.refresh()
    assert ui.retrainLessonsLabel.text.endswith("in 2 cases.")


def test_without_a_decision_there_is_nothing_to_press(host: Host, widget: Any, tmp_path: Path) -> None:
    panel = widget.panel
    ui = panel.ui
    host.click(ui.retrainSection)
    assert ui.retrainLessonsLabel.text == "Open a case library first."
    for button in (ui.retrainButton, ui.retrainActivateButton, ui.retrainRollBackButton, ui.retrainBlindButton):
        assert not button.enabled
    panel.bench.create_library(tmp_path / "new", "new")
    wait(host, lambda: ui.retrainLessonsLabel.text.startswith("Nothing to learn from yet"))
    assert not ui.retrainButton.enabled
    assert ui.retrainButton.toolTip == "There is nothing to learn from yet."
    assert not ui.retrainTable.visible
    assert not ui.retrainBar.visible


def test_a_retraining_is_started_watched_and_made_active_and_rolled_back(
    host: Host, widget: Any, open_section: Open, hold: Path
) -> None:
    panel = open_section(host, widget)
    ui = panel.ui
    retrain(host, panel)
    assert ui.retrainBar.visible
    assert not ui.retrainButton.enabled
    assert ui.retrainButton.toolTip == "A retraining of this library is under way."
    wait(host, lambda: ui.retrainStatusLabel.text == "epoch 1 of 4 · about 2 min left")
    assert not ui.retrainTable.visible
    hold.unlink()
    wait(host, lambda: not ui.retrainBar.visible)
    assert ui.messageLabel.text.startswith("Retraining: tiny ")
    rows = [[ui.retrainTable.item(n, c).text() for c in range(4)] for n in range(ui.retrainTable.rowCount)]
    before = panel.bench.retraining.parent_version
    assert rows == [
        ["Version", before, f"{before}+1", ""],
        ["Cases", "", "3", ""],
        ["Mean error", "2.50 mm", "2.25 mm", "-0.25 mm"],
        ["95 % interval", "", "", "-0.50 to +0.12 mm"],
        ["heart", "2.50 mm", "2.25 mm", "-0.25 mm"],
        ["Called absent", "2", "1", ""],
    ]
    assert ui.retrainVerdictLabel.text.startswith("Not enough evidence")
    host.click(ui.retrainTable.item(2, 1))

    assert not ui.retrainRollBackButton.enabled
    host.answer("yesNo", False)
    host.click(ui.retrainActivateButton)
    assert active_bundle("tiny").name == before, "not without being sure"
    host.answer("yesNo", True)
    host.click(ui.retrainActivateButton)
    assert active_bundle("tiny").name == f"{before}+1"
    assert ui.messageLabel.text == f"tiny {before}+1 predicts from now on."
    assert not ui.retrainActivateButton.enabled
    assert ui.versionSelector.itemText(1) == f"{before}+1 · in use", "the section Model says so, too"
    host.click(ui.retrainRollBackButton)
    assert active_bundle("tiny").name == before
    assert not ui.retrainRollBackButton.enabled
    assert ui.retrainActivateButton.enabled


def test_it_is_cancelled_and_goes_on(host: Host, widget: Any, open_section: Open, hold: Path) -> None:
    panel = open_section(host, widget)
    ui = panel.ui
    assert not ui.retrainCancelButton.visible
    assert not ui.retrainGoOnButton.visible
    retrain(host, panel)
    host.click(ui.retrainCancelButton)
    wait(host, lambda: ui.retrainGoOnButton.visible)
    assert ui.retrainStatusLabel.text == "cancelled after epoch 1"
    assert not ui.retrainCancelButton.visible
    hold.unlink()
    host.click(ui.retrainGoOnButton)
    wait(host, lambda: ui.retrainActivateButton.enabled)
    assert [epoch for epoch, _ in panel.bench.retraining.curves.loss] == [0, 1, 2, 3]


def test_whoever_comes_back_finds_it_and_whoever_leaves_does_not_end_it(
    host: Host, widget: Any, open_section: Open, hold: Path
) -> None:
    panel = open_section(host, widget)
    retrain(host, panel)
    process = panel.bench.retraining.run._process
    host.select("Data")
    widget.onReload()  # all of the panel goes, and the library with it
    import slicer

    again = slicer.modules.DenseLandmarksWidget
    assert again.panel is not panel
    assert process.poll() is None, "the window took it along"
    host.select("DenseLandmarks")
    open_section(host, again)
    ui = again.panel.ui
    wait(host, lambda: ui.retrainBar.visible)
    assert again.panel.bench.retraining.curves.loss
    hold.unlink()
    wait(host, lambda: ui.retrainActivateButton.enabled)
    assert process.wait(10) == 0


def test_one_that_was_killed_is_said_to_be_interrupted_and_goes_on(
    host: Host, widget: Any, open_section: Open, hold: Path
) -> None:
    panel = open_section(host, widget)
    ui = panel.ui
    retrain(host, panel)
    os.kill(panel.bench.retraining.run._process.pid, signal.SIGKILL)
    wait(host, lambda: ui.retrainGoOnButton.visible)
    assert ui.retrainStatusLabel.text.startswith("interrupted: the process ended without a word")
    assert ui.messageLabel.text == f"Retraining: {ui.retrainStatusLabel.text}"
    hold.unlink()
    host.click(ui.retrainGoOnButton)
    wait(host, lambda: ui.retrainActivateButton.enabled)


def test_original_cases_are_chosen_once_and_replayed(
    host: Host, widget: Any, open_section: Open, hold: Path, tmp_path: Path
) -> None:
    panel = open_section(host, widget)
    ui, cases = panel.ui, write_blob_radiographs(tmp_path / "blobs", 1, 0)
    none = "Original cases: none given; the model is held near its old weights instead."
    assert ui.retrainOriginalLabel.text == none
    assert not ui.retrainForgetButton.visible
    for wrong in ("", str(tmp_path)):  # somebody changes their mind, and takes another folder
        host.answer("folder", wrong)
        host.click(ui.retrainOriginalButton)
        assert ui.retrainOriginalLabel.text == none
    assert ui.messageLabel.text.startswith("expected a data folder with dataset.json and landmarks.csv")
    host.answer("folder", str(cases))
    host.click(ui.retrainOriginalButton)
    assert ui.retrainOriginalLabel.text == "Original cases: blobs, replayed so that nothing is forgotten."
    assert ui.retrainOriginalLabel.toolTip == str(cases)
    panel.parameters.model = "chest-xray"
    panel.refresh()
    assert ui.retrainOriginalLabel.text == none, "they are those of another model"

    host.select("Data")
    widget.onReload()
    import slicer

    host.select("DenseLandmarks")
    again = open_section(host, slicer.modules.DenseLandmarksWidget)
    assert again.ui.retrainOriginalLabel.text == "Original cases: blobs, replayed so that nothing is forgotten."
    retrain(host, again)
    assert replayed(again) == [str(cases)]
    hold.unlink()
    wait(host, lambda: again.ui.retrainActivateButton.enabled)


def test_original_cases_that_are_gone_are_told_until_they_are_forgotten(
    host: Host, widget: Any, open_section: Open, hold: Path, tmp_path: Path
) -> None:
    panel = open_section(host, widget)
    ui, cases = panel.ui, write_blob_radiographs(tmp_path / "blobs", 1, 0)
    host.answer("folder", str(cases))
    host.click(ui.retrainOriginalButton)
    cases.rename(tmp_path / "elsewhere")
    host.click(ui.retrainButton)
    line = f"expected the cases that tiny was trained on in {cases}, found none there. Say where they are now, or forget them."
    assert ui.messageLabel.text == line
    gone = "Original cases: blobs is not there any more. Say where they are now, or forget them."
    assert ui.retrainOriginalLabel.text == gone
    assert panel.bench.retraining.run is None
    host.click(ui.retrainForgetButton)
    assert ui.retrainOriginalLabel.text.startswith("Original cases: none given")
    assert not ui.retrainForgetButton.visible
    retrain(host, panel)
    assert replayed(panel) == []
    hold.unlink()
    wait(host, lambda: ui.retrainActivateButton.enabled)


def replayed(panel: Any) -> list[str]:
    """What the process was told to replay."""
    arguments = json.loads((panel.bench.retraining.run.folder / "request.json").read_text())["arguments"]
    return [value for name, value in pairwise(arguments) if name == "--replay"]


def test_curves_grow_in_plot_views_beside_the_image_and_go_as_they_came(
    host_with_view: Host, widget_with_view: Any, open_section: Open, taught: Library, hold: Path, tmp_path: Path
) -> None:
    import slicer

    host = host_with_view
    panel = open_section(host, widget_with_view)
    ui = panel.ui
    panel.bench.open_case(taught.cases()[0].id)
    host.process(0.1)
    manager = slicer.app.layoutManager()
    before, nodes = manager.layout, node_names(host)
    assert not ui.retrainCurvesButton.visible, "there is nothing to see yet"
    retrain(host, panel)
    host.click(ui.retrainCurvesButton)
    assert ui.retrainCurvesButton.checked
    assert manager.layout != before
    assert manager.layoutLogic().GetLayoutNode().GetCurrentLayoutDescription().count("vtkMRMLPlotViewNode") == 2
    assert plotted(host, "RetrainingLoss", LOSS) == [(0, 1.0)]
    assert plotted(host, "RetrainingError", ERROR) == [(0, 5.0)]
    hold.unlink()
    wait(host, lambda: len(plotted(host, "RetrainingLoss", LOSS)) == 4)
    assert plotted(host, "RetrainingError", ERROR) == [(0, 5), (1, 4), (2, 3), (3, 2)]
    assert host.scene.GetModifiedSinceRead() in (0, 1)
    assert not any(node.GetSaveWithScene() for node in nodes_of(host.scene, "vtkMRMLPlotChartNode"))
    host.click(ui.retrainCurvesButton)
    assert manager.layout == before
    assert not ui.retrainCurvesButton.checked
    assert node_names(host) == nodes

    host.click(ui.retrainCurvesButton)
    manager.setLayout(before)  # somebody chooses another layout
    wait(host, lambda: not ui.retrainCurvesButton.checked)
    assert node_names(host) == nodes
    host.click(ui.retrainCurvesButton)
    host.close_scene()
    host.process(0.2)
    assert plotted(host, "RetrainingLoss", LOSS) is not None, "a new scene has the curves again"
    host.select("Data")
    assert manager.layout == before


def plotted(host: Host, tag: str, column: str) -> list[tuple[float, float]]:
    """The points that a plot view shows, as its nodes say it."""
    chart = host.scene.GetSingletonNode(tag, "vtkMRMLPlotViewNode").GetPlotChartNode()
    series = chart.GetNthPlotSeriesNode(0)
    assert (series.GetXColumnName(), series.GetYColumnName()) == ("Epoch", column)
    table = series.GetTableNode().GetTable()
    x, y = (table.GetColumnByName(name) for name in ("Epoch", column))
    return [(x.GetValue(n), y.GetValue(n)) for n in range(table.GetNumberOfRows())]


def node_names(host: Host) -> list[str]:
    return sorted(
        node.GetName()
        for name in ("Table", "PlotSeries", "PlotChart")
        for node in nodes_of(host.scene, f"vtkMRML{name}Node")
    )


def test_annotating_blind_opens_a_case_of_which_nobody_decided_anything(
    host: Host, widget: Any, open_section: Open, taught: Library, tmp_path: Path, chest_template: Template
) -> None:
    import SimpleITK as sitk

    from Testing.annotation.perfect_answer import chest_image

    panel = open_section(host, widget)
    host.click(panel.ui.retrainBlindButton)
    assert "no case is left for comparison" in panel.ui.messageLabel.text
    sitk.WriteImage(chest_image(chest_template, 128, 77).volume, str(tmp_path / "new.nrrd"))
    case = taught.add(tmp_path / "new.nrrd")
    host.click(panel.ui.retrainBlindButton)
    assert panel.bench.session.case.id == case.id
    assert panel.bench.state.is_chosen_for_comparison
    assert panel.ui.landmarkTable.rowCount == 12
    selector = panel.ui.caseSelector
    assert selector.currentText == f"{case.name} · 12 of 12 left, for comparison · unsaved"
    assert panel.ui.leftLabel.text == "12 of 12 left"
    assert panel.ui.nextButton.enabled
    assert not panel.ui.acceptAllButton.enabled
    name = panel.bench.state.landmarks.names[0]
    panel.bench.do(Session.place, name, panel.bench.state.geometry.origin_lps_mm)
    panel.bench.open_case(taught.cases()[0].id)
    panel.refresh()
    texts = [selector.itemText(row) for row in range(selector.count)]
    assert f"{case.name} · 11 of 12 left, for comparison · r1" in texts
    assert sum("for comparison" in text for text in texts) == 1


def test_the_real_training_runs_under_pythonslicer(
    host: Host,
    widget: Any,
    open_section: Open,
    hold: Path,
    phantom_folder: Path,  # noqa: F811
) -> None:
    hold.unlink()
    panel = open_section(host, widget, TRAINING)
    host.answer("folder", str(phantom_folder))
    host.click(panel.ui.retrainOriginalButton)
    panel.bench.retraining.steps = 2
    panel.parameters.device = type(panel.parameters.device).CPU
    ui = panel.ui
    host.click(ui.retrainButton)
    host.process(90.0, until=lambda: not panel.bench.retraining.is_under_way)
    retraining = panel.bench.retraining
    log = (retraining.run.folder / "log.txt").read_text()
    assert str(retraining.status.phase) == "done", (retraining.line, log[-2000:])
    assert retraining.curves.loss, log[-2000:]
    finetuned = read_metadata(retraining.new_version().folder)["training"]["finetuned"]
    assert (finetuned["replayed"], finetuned["replayed_cases"]) == ("phantoms", TRAIN)
    assert ui.retrainVerdictLabel.text.startswith("Not enough evidence")
    assert ui.retrainActivateButton.enabled
    host.answer("yesNo", True)
    host.click(ui.retrainActivateButton)
    assert active_bundle("tiny").name == retraining.new_version().version
    host.click(ui.retrainRollBackButton)
    assert active_bundle("tiny").name == retraining.parent_version


def test_a_slicer_without_its_python_is_one_line(
    host: Host, widget: Any, open_section: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_section(host, widget)
    wait(host, lambda: panel.bench.retraining.lessons is not None)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", os.defpath)
        host.click(panel.ui.retrainButton)
    assert panel.ui.messageLabel.text.startswith("expected PythonSlicer")
    assert panel.bench.retraining.run is None
    assert ROOT.is_dir()
