"""Slicer's own scene."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def scene() -> Any:
    """An empty scene of slicer-core."""
    slicer = pytest.importorskip(
        "slicer",
        reason="slicer-core or a library it needs is not installed: there is no scene",
        exc_type=ImportError,
    )
    return slicer.vtkMRMLScene()
