"""The whole panel in the life of the application."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.annotation.worklist import open_landmarks
from DenseLandmarksLib.landmarks.landmark_set import Review
from Testing.host import Host
from Testing.scene.open_cases import edits_on_disk, everything_is_on_its_voxel, world_ras_mm

Open = Callable[[Any], Any]
ROOT = Path(__file__).resolve().parents[2]


def test_a_saved_scene_brings_the_panel_back(host: Host, widget: Any, open_chest: Open, tmp_path: Path) -> None:
    panel = open_chest(widget)
    ui = panel.ui
    host.pick(ui.deviceSelector, "Processor")
    host.pick(ui.caseOrder, "By name")
    host.type(ui.filterEdit, "heart")
    host.pick(ui.shownSelector, "Not decided")
    host.click(ui.goOnBox)
    host.type(ui.closeUpBox, "0.5")
    host.click(ui.ellipsesBox)
    host.click(ui.namesBox)
    host.pick(ui.exportScope, "All saved cases of the library")
    host.pick(ui.exportFormat, "COCO keypoints")
    host.click(ui.reviewedOnlyBox)
    panel.bench.do(Session.mark_absent, panel.bench.worklist.names[0])

    def seen() -> dict[str, Any]:
        return {name: panel.parameters.getValue(name) for name in panel.parameters.allParameters if name != "image"}

    changed = seen()
    assert all(changed[name] != panel.parameters.default(name).value for name in changed if name != "model"), changed
    landmarks = panel.bench.state.landmarks
    host.save_scene(tmp_path / "scene.mrb")
    host.close_scene()
    assert panel.bench.case is None
    assert seen() != changed, "a new scene keeps the old one's settings"
    host.open_scene(tmp_path / "scene.mrb")
    host.process(until=lambda: panel.bench.case is not None)
    host.process(0.1)
    assert seen() == changed
    assert ui.filterEdit.text == "heart"
    assert ui.closeUpBox.value == 0.5
    assert not ui.ellipsesBox.checked
    assert ui.imageSelector.currentNode() is panel.bench.case.image.volume
    assert panel.bench.state.landmarks.review == landmarks.review
    assert panel.bench.state.landmarks.presence == landmarks.presence
    assert ui.landmarkTable.rowCount == len(landmarks)


def test_a_scene_in_which_no_image_is_chosen_brings_its_case_back(
    host: Host, widget: Any, open_chest: Open, tmp_path: Path
) -> None:
    panel = open_chest(widget)
    names = panel.bench.state.landmarks.names
    host.pick(panel.ui.imageSelector, None)
    assert panel.bench.case is None
    host.save_scene(tmp_path / "scene.mrb")
    host.open_scene(tmp_path / "scene.mrb")
    host.process(until=lambda: panel.bench.case is not None)
    assert panel.bench.state.landmarks.names == names
    assert panel.ui.imageSelector.currentNode() is panel.bench.case.image.volume


def test_ten_corrections_and_then_a_calibration_keep_every_glyph_on_its_pixel(
    host_with_view: Host, widget_with_view: Any, open_chest: Open, user: Path
) -> None:
    host, panel = host_with_view, open_chest(widget_with_view)
    host.process(0.1)
    host.click(panel.ui.goOnBox)
    screen, case = host.screen, panel.bench.case
    assert screen is not None
    screen.render()
    dragged = []
    for name in open_landmarks(panel.bench.state)[::9]:
        x, y = screen.display_xy(world_ras_mm(case, name))
        size = screen.view.render_window().GetSize()
        if not (20 < x < size[0] - 20 and 20 < y < size[1] - 20):
            continue
        before = panel.bench.state
        screen.drag((x, y), (x + 3, y + 2))
        host.process(0.05)
        state = panel.bench.state
        if state is before:
            continue  # another glyph lay over it, and the drag would have folded the structure
        dragged.append(name)
        if len(dragged) == 10:
            break
    assert len(dragged) == 10
    corrected = sum(review is Review.CORRECTED for review in panel.bench.state.landmarks.review)
    assert corrected >= 8, "the mouse moved other things than landmarks"
    assert everything_is_on_its_voxel(case)
    before = panel.bench.state
    host.type(panel.ui.spacingBox, "0.3")
    host.click(panel.ui.spacingButton)
    after = panel.bench.state
    assert after.geometry.spacing_mm[:2] == pytest.approx((0.3, 0.3))
    assert everything_is_on_its_voxel(case)
    assert np.allclose(after.index_ijk, before.index_ijk, atol=1e-9)
    host.click(panel.ui.undoButton)
    assert panel.bench.state.geometry == before.geometry
    assert everything_is_on_its_voxel(case)
    assert edits_on_disk(user).count("CorrectSpacing") == 1


def test_a_module_that_is_left_and_reloaded_loses_nothing(
    host: Host, widget: Any, open_chest: Open, library: Any
) -> None:
    panel = open_chest(widget)
    panel.bench.do(Session.accept_remaining)
    host.select("Data")
    assert panel.bench.case is not None, "leaving the module closed the case"
    host.select("DenseLandmarks")
    assert panel.bench.case is not None
    widget.onReload()
    host.process(0.2)
    import slicer

    again = slicer.modules.DenseLandmarksWidget.panel
    again.bench.open_library(library.folder)
    again.bench.open_case(library.cases()[0].id)
    (work,) = again.bench.session.recoverable
    again.bench.session.recover(work)
    assert {str(review) for review in again.bench.state.landmarks.review} == {str(Review.VERIFIED)}


def test_a_deleted_image_leaves_a_panel_that_works(host: Host, widget: Any, open_chest: Open, library: Any) -> None:
    panel = open_chest(widget)
    host.scene.RemoveNode(panel.bench.case.image.volume)
    host.process(0.1)
    assert panel.bench.case is None
    assert panel.ui.landmarkTable.rowCount == 0
    assert not panel.ui.acceptButton.enabled
    (entry, *_) = library.cases()
    assert entry.newest is not None, "the work was not saved"
    panel.bench.open_case(entry.id)
    host.process(0.1)
    assert panel.ui.landmarkTable.rowCount > 0


def test_the_panel_is_there_without_a_worker_and_without_torch() -> None:
    """Opening the module loads nothing heavy, and starts no process."""
    code = f"""
import sys
from pathlib import Path
from Testing.host import session
with session() as host:
    panel = host.create_widget(Path({str(ROOT / "DenseLandmarks")!r}), "DenseLandmarks").panel
    host.process(0.2)
    assert panel.bench.predicting._worker is None
    print(sorted({{"torch", "monai", "matplotlib", "scipy.optimize", "pandas"}} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.stdout.strip().splitlines()[-1:] == ["[]"], run.stderr[-2000:]


def test_a_mistake_of_the_program_is_told_and_not_swallowed(
    host: Host, widget: Any, open_chest: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = open_chest(widget)
    monkeypatch.setattr(panel.bench, "save", lambda why: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        host.click(panel.ui.saveButton)
    assert "A mistake of this program: ZeroDivisionError" in panel.ui.messageLabel.text
    assert panel.ui.saveButton.enabled
