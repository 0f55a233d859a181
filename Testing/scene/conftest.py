"""Slicer's own scene."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path
from typing import Any

import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.desk import Desk
from Testing.scene.offscreen import OffscreenSlice
from Testing.scene.open_cases import chest_library
from Testing.scene.saved_scene import new_scene


@pytest.fixture
def scene() -> Any:
    """An empty scene of slicer-core."""
    pytest.importorskip(
        "slicer",
        reason="slicer-core or a library it needs is not installed: there is no scene",
        exc_type=ImportError,
    )
    return new_scene()


@pytest.fixture
def screen() -> Iterator[OffscreenSlice]:
    """A slice view of 1024 x 1024 pixels without a screen."""
    pytest.importorskip(
        "trame_slicer", reason="trame-slicer is not installed: there is no view to drag in", exc_type=ImportError
    )
    if find_library("EGL") is None:
        pytest.skip("libEGL is not installed: no view can be drawn without a screen")
    screen = OffscreenSlice()
    yield screen
    screen.close()


@pytest.fixture
def lines() -> list[str]:
    """What the person at work was told."""
    return []


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """The user's data folder."""
    return tmp_path / "user"


@pytest.fixture
def library(tmp_path: Path, chest_template: Template) -> Library:
    """A library of two chests."""
    return chest_library(tmp_path, chest_template, 2)


@pytest.fixture
def desk(scene: Any, user: Path, lines: list[str]) -> Desk:
    """One annotator's work in the scene."""
    return Desk(scene, "an annotator", lines.append, user)
