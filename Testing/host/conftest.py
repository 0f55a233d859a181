"""A fresh session of the application for each test."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from Testing.host import Host

try:
    for name in ("PySide6.QtUiTools", "vtkmodules"):  # the first needs libraries of the system, too
        import_module(name)
    MISSING = ""
except ImportError as error:
    MISSING = str(error)
collect_ignore_glob = ["test_*.py"] if MISSING else []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say which tests are left out as a whole, and why."""
    if collect_ignore_glob:
        terminalreporter.write_line(f"the tests of the stand-in for Slicer's Qt side are left out: {MISSING}")


@pytest.fixture
def host() -> Iterator[Host]:
    """A session without a slice view: it begins in milliseconds."""
    from Testing.host import session

    with session() as host:
        yield host


@pytest.fixture
def host_with_view() -> Iterator[Host]:
    """A session with a red slice view that is really drawn."""
    from Testing.host import session

    with session(with_view=True) as host:
        yield host


@pytest.fixture
def host_with_views() -> Iterator[Host]:
    """A session with the three slice views of the four-up layout, all really drawn."""
    from Testing.host import session

    with session(four_up=True) as host:
        yield host
