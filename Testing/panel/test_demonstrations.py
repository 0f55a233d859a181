"""A model that is for demonstration is offered last and as such; one for volumes says what it finds without structures."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from DenseLandmarksLib.models import versions
from Testing.host import Host
from Testing.models.volume_model import write_volume_bundle


@pytest.fixture(autouse=True)
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chest model, one for volumes, and a demonstration that comes first by name."""
    shutil.copytree(versions.SHIPPED / "chest-xray", tmp_path / "shipped" / "chest-xray")
    write_volume_bundle(tmp_path / "shipped" / "neck-ct")
    write_volume_bundle(tmp_path / "shipped" / "a-phantom", demonstration=True)
    monkeypatch.setattr(versions, "SHIPPED", tmp_path / "shipped")


def test_a_demonstration_is_offered_last_and_never_first(host: Host, widget: Any) -> None:
    ui = widget.panel.ui
    offered = [ui.modelSelector.itemText(row) for row in range(ui.modelSelector.count)]
    assert offered == ["chest-xray", "neck-ct", "a-phantom (demonstration)"]
    assert widget.panel.parameters.model == "chest-xray"
    host.pick(ui.modelSelector, "a-phantom (demonstration)")
    assert widget.panel.parameters.model == "a-phantom"


def test_a_model_without_structures_is_summed_up(host: Host, widget: Any) -> None:
    ui = widget.panel.ui
    host.pick(ui.modelSelector, "neck-ct")
    assert "<b>neck-ct 1.0.0</b>" in ui.modelSummary.text
    assert ">4 landmarks<" in ui.modelSummary.text, "and no empty line of structures above"
    assert "&#9632;" not in ui.modelSummary.text
