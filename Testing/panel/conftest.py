"""The module as the application opens it, with a library of chests at hand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.worker.client import Worker
from Testing.host.conftest import collect_ignore_glob, host, host_with_view, host_with_views  # noqa: F401 - fixtures
from Testing.panel.lent_worker import LentWorker
from Testing.scene.open_cases import chest_library, predict

if TYPE_CHECKING:
    from Testing.host import Host

LIBRARY = "DenseLandmarksLib"
ROOT = Path(__file__).resolve().parents[2]
Open = Callable[["Host"], Any]


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data folder; the real one is never touched."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "DenseLandmarks"


@pytest.fixture(autouse=True)
def one_library() -> Iterator[None]:
    """A module that is reloaded reads the library anew; other tests go on with the one that they know."""

    def ours() -> dict[str, Any]:
        return {name: module for name, module in sys.modules.items() if name.split(".")[0] == LIBRARY}

    before = ours()
    yield
    if sys.modules[LIBRARY] is not before[LIBRARY]:
        for name in ours():
            del sys.modules[name]
        sys.modules.update(before)


@pytest.fixture
def library(tmp_path: Path, chest_template: Template) -> Library:
    """A library of two chests, chest-0 and chest-1."""
    return chest_library(tmp_path, chest_template, 2)


@pytest.fixture
def widget(host: Host) -> Any:  # noqa: F811
    """The module's widget, open, without a view."""
    return host.create_widget(ROOT / "DenseLandmarks", "DenseLandmarks")


@pytest.fixture
def widget_with_view(host_with_view: Host) -> Any:  # noqa: F811
    """The module's widget, open, with a red view."""
    return host_with_view.create_widget(ROOT / "DenseLandmarks", "DenseLandmarks")


@pytest.fixture
def warm(warm_worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions come from a worker that runs already; for tests that are not about its start."""
    monkeypatch.setattr("DenseLandmarksLib.panel.frame.Worker", lambda launch: LentWorker(warm_worker))


@pytest.fixture
def open_chest(library: Library, chest_template: Template) -> Callable[[Any], Any]:
    """Have a widget work on chest-0 as a perfect model predicted it; returns the panel."""

    def open_it(widget: Any) -> Any:
        panel = widget.panel
        panel.bench.open_library(library.folder)
        (entry, *_) = library.cases()
        case = panel.bench.open_case(entry.id)
        predict(case.session, chest_template)
        panel.refresh()
        return panel

    return open_it
