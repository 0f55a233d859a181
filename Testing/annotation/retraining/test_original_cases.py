"""Where the cases are that a model was trained on is said once, checked when it is said, and kept for each model."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.retraining.original_cases import forget, remember, remembered, to_replay
from DenseLandmarksLib.errors import InputError
from Testing.training.blob_radiographs import write_blob_radiographs
from Testing.training.blob_volumes import write_blob_volumes


def packed_radiographs(folder: Path) -> Path:
    from training.grid_cases import read_grid_cases, save_grid_cases

    save_grid_cases(folder / "cases.npz", read_grid_cases(write_blob_radiographs(folder / "data", 2, 1), (16, 16)))
    return folder / "cases.npz"


def packed_volumes(folder: Path) -> Path:
    from DenseLandmarksLib.models.intensity import IntensityRecipe
    from training.read_volumes import read_volume_cases
    from training.volume_cases import save_volume_cases

    cases = read_volume_cases(write_blob_volumes(folder / "data", 2, 1), (16.0,), IntensityRecipe())
    save_volume_cases(folder / "cases.npz", cases)
    return folder / "cases.npz"


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: write_blob_radiographs(folder / "data", 2, 1),
        lambda folder: write_blob_volumes(folder / "data", 2, 1),
        packed_radiographs,
        packed_volumes,
    ],
    ids=["radiographs", "volumes", "packed radiographs", "packed volumes"],
)
def test_whatever_training_reads_is_kept_for_its_model_until_it_is_forgotten(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    cases, user = write(tmp_path), tmp_path / "user"
    assert to_replay("chest", user) is None
    remember("chest", cases, user)
    assert to_replay("chest", user) == remembered("chest", user) == cases
    assert remembered("hand", user) is None
    remember("hand", cases, user)
    forget("chest", user)
    assert to_replay("chest", user) is None
    assert to_replay("hand", user) == cases
    forget("chest", user)


def test_a_folder_is_found_wherever_a_later_program_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = write_blob_radiographs(tmp_path / "data", 1, 0)
    monkeypatch.chdir(tmp_path)
    remember("chest", Path("data"), tmp_path / "user")
    monkeypatch.chdir(tmp_path / "user")
    assert to_replay("chest", tmp_path / "user") == cases


def folder_without_table(folder: Path) -> Path:
    (write_blob_radiographs(folder / "data", 1, 0) / "landmarks.csv").unlink()
    return folder / "data"


def archive_of_something_else(folder: Path) -> Path:
    np.savez(folder / "other.npz", weights=np.zeros(3))
    return folder / "other.npz"


def cut_off(folder: Path) -> Path:
    path = packed_radiographs(folder)
    path.write_bytes(path.read_bytes()[:200])
    assert not zipfile.is_zipfile(path)
    return path


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: folder,
        lambda folder: Library.create(folder / "library", "chests").folder,
        lambda folder: folder / "nowhere",
        folder_without_table,
        archive_of_something_else,
        cut_off,
    ],
    ids=["an empty folder", "a library", "nothing", "no landmarks", "another archive", "a file that is cut off"],
)
def test_what_holds_no_cases_is_refused_in_one_line_and_nothing_is_noted(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    other, user = make(tmp_path), tmp_path / "user"
    with pytest.raises(InputError, match=r"expected a data folder with dataset.json and landmarks.csv.*got ") as raised:
        remember("chest", other, user)
    assert str(other) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not user.exists()


def test_cases_that_are_gone_are_not_silently_left_out(tmp_path: Path) -> None:
    cases, user = write_blob_radiographs(tmp_path / "data", 1, 0), tmp_path / "user"
    remember("chest", cases, user)
    cases.rename(tmp_path / "elsewhere")
    assert remembered("chest", user) == cases
    with pytest.raises(InputError, match=f"expected the cases that chest was trained on in {cases}, found none there"):
        to_replay("chest", user)
    remember("chest", tmp_path / "elsewhere", user)
    assert to_replay("chest", user) == tmp_path / "elsewhere"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"chest": 3}', b"\xff"])
def test_a_damaged_note_is_no_note_and_is_written_anew(tmp_path: Path, content: bytes) -> None:
    cases, user = write_blob_radiographs(tmp_path / "data", 1, 0), tmp_path / "user"
    remember("chest", cases, user)
    (note,) = user.iterdir()
    note.write_bytes(content)
    assert to_replay("chest", user) is None
    remember("chest", cases, user)
    assert to_replay("chest", user) == cases


def test_where_nothing_can_be_written_that_is_one_line(tmp_path: Path) -> None:
    cases, user = write_blob_radiographs(tmp_path / "data", 1, 0), tmp_path / "user"
    user.write_text("a file where the folder should be")
    with pytest.raises(InputError, match=f"expected to write to {user}"):
        remember("chest", cases, user)
