"""Slicer's own scene."""

from __future__ import annotations

from collections.abc import Iterator
from ctypes.util import find_library
from typing import Any

import pytest

from Testing.scene.offscreen import OffscreenSlice
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
