"""A scene that was saved finds its library again, and never a wrong one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from DenseLandmarksLib.annotation.library.known_libraries import find_library, remember
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError


def test_a_library_is_found_where_it_was_last(tmp_path: Path) -> None:
    library = Library.create(tmp_path / "a", "chests")
    assert find_library(library.id, tmp_path / "user") is None
    remember(library, tmp_path / "user")
    assert find_library(library.id, tmp_path / "user") == library
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert find_library(library.id, tmp_path / "user") is None
    remember(Library.open(tmp_path / "b"), tmp_path / "user")
    found = find_library(library.id, tmp_path / "user")
    assert found is not None
    assert found.folder == tmp_path / "b"


def test_another_library_in_its_place_is_not_taken_for_it(tmp_path: Path) -> None:
    library = Library.create(tmp_path / "a", "chests")
    remember(library, tmp_path / "user")
    shutil.rmtree(tmp_path / "a")
    Library.create(tmp_path / "a", "others")
    assert find_library(library.id, tmp_path / "user") is None


@pytest.mark.parametrize("content", [b"", b"{}", b'{"folder": 3}', b"\xff"])
def test_a_damaged_note_is_no_note(tmp_path: Path, content: bytes) -> None:
    library = Library.create(tmp_path / "a", "chests")
    remember(library, tmp_path / "user")
    (note,) = (tmp_path / "user").rglob("*.json")
    note.write_bytes(content)
    assert find_library(library.id, tmp_path / "user") is None


@pytest.mark.parametrize("library_id", ["", "../../etc/passwd", "a/b", "."])
def test_an_id_out_of_a_file_leads_nowhere_else(tmp_path: Path, library_id: str) -> None:
    assert find_library(library_id, tmp_path / "user") is None


def test_a_note_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    library = Library.create(tmp_path / "a", "chests")
    (tmp_path / "user").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="expected to write to"):
        remember(library, tmp_path / "user")
