"""A library with one case that a model predicted, and people who may not write."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.library.chests import predicted, write_chest

NOBODY = 65534


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """An empty library."""
    return Library.create(tmp_path / "library", "Chests of ward 3")


@pytest.fixture
def case(library: Library, tmp_path: Path, chest_template: Template) -> LibraryCase:
    """A case of that library, of which nothing is saved."""
    return library.add(write_chest(tmp_path / "images", chest_template), who="reader-1")


@pytest.fixture
def state(case: LibraryCase, chest_template: Template) -> CaseState:
    """That case with a prediction without a heart."""
    return predicted(case, chest_template, lost=("heart",))


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], AbstractContextManager[Path]]]:
    """``with read_only(folder) as copy``: a copy of a folder that the process may read and not write, as root neither."""
    base = Path(tempfile.mkdtemp())

    @contextmanager
    def forbidding(folder: Path) -> Iterator[Path]:
        copy = base / folder.name
        shutil.copytree(folder, copy)
        paths = [base, copy, *copy.rglob("*")]
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            if os.geteuid() == 0:
                os.seteuid(NOBODY)
            yield copy
        finally:
            if os.getuid() == 0:
                os.seteuid(0)
            for path in paths:
                path.chmod(0o755)

    yield forbidding
    shutil.rmtree(base)
