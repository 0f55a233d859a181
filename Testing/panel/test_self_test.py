"""The test that a person runs in 3D Slicer runs here, on the stand-in, with the shipped model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from Testing.host import Host
from Testing.slicer_self_test import run


def test_the_self_test_holds(host_with_view: Host, widget_with_view: Any, tmp_path: Path, user: Path) -> None:
    status = run(tmp_path / "report")
    report = (tmp_path / "report" / "report.txt").read_text()
    assert status == 0, report
    assert len(list((tmp_path / "report").glob("*.png"))) == report.count("holds: ") == 10
    assert not (user / "my cases").exists()
    assert not (user / "journals").exists(), "the test left something in the user's own folder"


@pytest.mark.usefixtures("warm")
def test_slicer_finds_the_test_by_its_name(host_with_view: Host, widget_with_view: Any) -> None:
    host_with_view.testing = True
    import slicer

    slicer.selfTests["DenseLandmarks"](msec=1)
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 0


def test_a_step_that_fails_is_in_the_report(
    host_with_view: Host, widget_with_view: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import SampleData

    monkeypatch.setattr(SampleData.SampleDataLogic, "downloadSample", lambda self, name: None)
    assert run(tmp_path) == 1
    assert "Sample Data has no" in (tmp_path / "report.txt").read_text()
