"""Section 3: one button, how it goes, and whether to believe what came."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.volume_node import add_volume_node
from Testing.annotation.perfect_answer import chest_image
from Testing.host import Host
from Testing.scene.open_cases import edits_on_disk

Open = Callable[[Any], Any]


@pytest.fixture
def ready(host: Host, widget: Any, tiny_bundle: Path, chest_template: Template) -> Any:
    """The panel with an image chosen that nobody worked on, and a model that answers at once."""
    panel = widget.panel
    panel.parameters.model = str(tiny_bundle)
    volume = add_volume_node(host.scene, chest_image(chest_template, 128, 7))
    host.pick(panel.ui.imageSelector, volume)
    return panel


def sample(host: Host, title: str) -> Any:
    import SampleData

    return SampleData.SampleDataLogic().downloadSample(title)


def test_what_is_missing_is_said_before_anything_is_pressed(host: Host, widget: Any, ready: Any) -> None:
    ui = ready.ui
    assert ui.predictButton.enabled
    host.pick(ui.imageSelector, None)
    assert not ui.predictButton.enabled
    assert "got none" in ui.missingLabel.text
    assert ui.missingLabel.visible


def test_one_press_predicts_and_the_button_cancels_meanwhile(host: Host, ready: Any) -> None:
    ui = ready.ui
    assert ready.bench.case is None
    host.click(ui.predictButton)
    assert ui.predictButton.text == "Cancel"
    assert ui.progressBar.visible
    host.process(90, until=lambda: not ready.bench.predicting.is_under_way)
    host.process(0.1)
    assert ui.predictButton.text == "Predict"
    assert not ui.progressBar.visible
    assert ready.bench.state.answer is not None
    assert "landmarks by tiny" in ui.statusLabel.text
    assert float(ui.elapsedLabel.text.split()[0]) >= 0


def test_a_cancelled_prediction_changes_nothing(host: Host, ready: Any, user: Path) -> None:
    host.click(ready.ui.predictButton)
    host.click(ready.ui.predictButton)
    host.process(90, until=lambda: not ready.bench.predicting.is_under_way)
    host.process(0.1)
    assert ready.ui.statusLabel.text == "cancelled"
    assert ready.bench.state.answer is None
    assert edits_on_disk(user) == []
    assert ready.ui.predictButton.enabled


@pytest.mark.timed
def test_the_application_is_never_held_up(host: Host, ready: Any) -> None:
    """Starting Python and opening a model takes seconds; the panel answers all the time."""
    from time import perf_counter

    from PySide6 import QtCore

    ticks: list[float] = []
    timer = QtCore.QTimer()
    timer.timeout.connect(lambda: ticks.append(perf_counter()))
    timer.start(5)
    host.click(ready.ui.predictButton)
    host.process(90, until=lambda: not ready.bench.predicting.is_under_way)
    timer.stop()
    gaps = sorted(b - a for a, b in itertools.pairwise(ticks))
    assert gaps[-1] < 0.5, f"the longest pause was {gaps[-1]:.2f} s"


@pytest.mark.usefixtures("warm")
def test_the_log_can_be_read_and_copied(host: Host, ready: Any) -> None:
    ui = ready.ui
    host.click(ui.predictButton)
    host.process(90, until=lambda: not ready.bench.predicting.is_under_way)
    assert ui.logText.plainText == ""
    host.click(ui.logSection)
    assert ui.logText.plainText == ready.bench.predicting.log != ""
    host.click(ui.copyLogButton)
    from PySide6 import QtWidgets

    assert QtWidgets.QApplication.clipboard().text() == ready.bench.predicting.log


@pytest.mark.usefixtures("warm")
def test_a_film_that_lies_on_its_side_is_doubted_and_predicted_as_advised(host: Host, widget: Any) -> None:
    from DenseLandmarksLib.panel.sample_data import SAMPLES

    panel, ui = widget.panel, widget.panel.ui
    host.pick(ui.imageSelector, sample(host, SAMPLES[1].title))
    host.click(ui.predictButton)
    host.process(90, until=lambda: panel.bench.predicting.run is not None and not panel.bench.predicting.is_under_way)
    host.process(0.1)
    assert ui.doubtFrame.visible
    assert "Not plausible" in ui.doubtLabel.text
    assert "turned by 90" in ui.advisedButton.text
    host.click(ui.advisedButton)
    host.process(90, until=lambda: not panel.bench.predicting.is_under_way)
    host.process(0.1)
    assert not ui.doubtFrame.visible
    assert panel.bench.state.answer.prediction.view.turn_deg == 90


@pytest.mark.parametrize("outcome", ["declined", "offline", "restart"])
def test_nothing_is_predicted_with_packages_that_are_not_there(
    host: Host, ready: Any, outcome: str, user: Path
) -> None:
    host.install_pytorch()
    host.pip.versions = {"monai": None}
    host.pip.outcome = outcome
    host.select("Data")
    host.select("DenseLandmarks")
    assert "asks to install: monai" in ready.ui.missingLabel.text
    assert host.pip.calls == [], "something was installed by opening the panel"
    if outcome == "restart":
        host.answer("yesNo", False)
    elif outcome == "offline":
        host.answer("error")  # Slicer's own box, with pip's log
    host.click(ready.ui.predictButton)
    assert len(host.pip.calls) == 1
    assert "numpy==" in host.pip.calls[0]["constraints"]
    if outcome == "restart":
        return  # the person goes on without: packages of the worker are not in use here
    assert not ready.bench.predicting.is_under_way
    assert ready.ui.messageLabel.text.startswith("expected")
    assert ready.bench.case is None
    host.pip.outcome = "installed"
    host.click(ready.ui.predictButton)
    assert ready.bench.predicting.is_under_way
    assert not ready.ui.missingLabel.visible


def test_what_was_installed_is_there_for_the_next_prediction(host: Host, ready: Any) -> None:
    """A worker that runs does not see new packages."""
    host.click(ready.ui.predictButton)
    host.process(90, until=lambda: not ready.bench.predicting.is_under_way)
    pid = ready.bench.predicting.worker.pid
    host.pip.versions = {"monai": None}
    host.click(ready.ui.predictButton)
    assert len(host.pip.calls) == 1
    host.process(90, until=lambda: not ready.bench.predicting.is_under_way)
    assert not ready.bench.predicting.run.status.problem
    assert ready.bench.predicting.worker.pid != pid


def test_without_the_pytorch_extension_the_person_is_told_to_install_it(host: Host, ready: Any) -> None:
    host.pip.versions = {"torch": None}
    host.click(ready.ui.predictButton)
    assert "Extensions Manager" in ready.ui.messageLabel.text
    assert host.pip.calls == []


@pytest.mark.parametrize("how", ["scene", "image", "module", "reload"])
def test_nothing_breaks_in_mid_prediction(host: Host, widget: Any, ready: Any, how: str, user: Path) -> None:
    """The scene is closed, the image deleted, another module entered, the module reloaded."""
    host.click(ready.ui.predictButton)
    assert ready.bench.predicting.is_under_way
    if how == "scene":
        host.close_scene()
    elif how == "image":
        host.scene.RemoveNode(ready.volume)
    elif how == "module":
        host.select("Data")
    else:
        widget.onReload()
        host.process(0.2)
        import slicer

        again = slicer.modules.DenseLandmarksWidget.panel
        assert again is not ready
        assert again.is_entered
        assert edits_on_disk(user) == []
        return
    host.process(90, until=lambda: not ready.bench.predicting.is_under_way)
    host.process(0.1)
    if how == "module":
        assert ready.bench.state.answer is not None, "the prediction did not go on while another module was open"
        host.select("DenseLandmarks")
        assert ready.ui.landmarkTable.rowCount == len(ready.bench.state.landmarks)
    else:
        assert ready.bench.case is None
        assert edits_on_disk(user) == []
        assert not ready.ui.predictButton.enabled


@pytest.mark.usefixtures("warm")
def test_a_worker_that_dies_is_told_in_one_line(
    host: Host, ready: Any, tiny_bundle: Path, tmp_path: Path, library: Library
) -> None:
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(tiny_bundle, broken)
    weights = broken / "models" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    ready.parameters.model = str(broken)
    host.click(ready.ui.predictButton)
    host.process(90, until=lambda: not ready.bench.predicting.is_under_way)
    host.process(0.1)
    assert "expected a model bundle" in ready.ui.statusLabel.text
    assert "\n" not in ready.ui.messageLabel.text
    assert ready.ui.predictButton.enabled
