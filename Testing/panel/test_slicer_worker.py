"""Predictions run in Slicer's own Python, in a process of their own, and never in the application."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.worker.client import Worker
from DenseLandmarksLib.worker.events import Checked
from DenseLandmarksLib.worker.launch import ROOT
from Testing.host import Host
from Testing.worker.waiting import answers


def test_a_worker_runs_under_pythonslicer(host: Host, tiny_bundle: Path) -> None:
    from DenseLandmarksLib.panel.slicer_worker import slicer_launch

    launch = slicer_launch()
    assert launch.command[0] == str(Path(host.app.temporaryPath) / "bin" / "PythonSlicer")
    with Worker(launch) as worker:
        client = worker.client()
        request = client.check(tiny_bundle, "cpu")
        checked = answers(worker, client, to=[request])[request]
        assert isinstance(checked, Checked)
        assert checked.report.problem == ""
        assert worker.pid != os.getpid()


def test_it_gets_the_environment_of_the_application_and_the_library(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    from DenseLandmarksLib.panel.slicer_worker import slicer_launch

    monkeypatch.setenv("SSL_CERT_FILE", "of the hospital")
    monkeypatch.setenv("PYTHONPATH", "of Slicer")
    before, path = dict(os.environ), list(sys.path)
    environment = slicer_launch().environment
    assert environment == {**before, "PYTHONPATH": os.pathsep.join((str(ROOT), "of Slicer"))}
    assert (dict(os.environ), sys.path) == (before, path)


def test_a_slicer_without_its_python_is_one_line(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from DenseLandmarksLib.panel.slicer_worker import slicer_launch

    # Undone before the host takes its own folder off the path.
    with monkeypatch.context() as patch:
        patch.setenv("PATH", os.defpath)
        with pytest.raises(InputError) as error:
            slicer_launch()
    assert str(error.value).startswith("expected PythonSlicer, which comes with 3D Slicer, on the PATH of the app")
    assert "\n" not in str(error.value)
