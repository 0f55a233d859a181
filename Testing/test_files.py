"""What is written is whole or not there, and lies where the user keeps data."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from DenseLandmarksLib.files import user_data_folder, write_beside_and_rename, write_json, write_text


def test_a_crash_while_writing_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("old")

    def interrupted() -> None:
        with write_beside_and_rename(target) as temporary:
            temporary.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert target.read_text() == "old"


def test_the_file_has_its_name_only_once_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "case.1.seg.nrrd"
    with write_beside_and_rename(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.name.endswith("case.1.seg.nrrd")
        temporary.write_bytes(b"all")
        assert not target.exists()
    assert target.read_bytes() == b"all"
    assert list(target.parent.iterdir()) == [target]


def test_a_writer_that_wrote_nothing_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), write_beside_and_rename(tmp_path / "a.png"):
        pass


def test_text_and_json_come_back_as_they_were(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Lunge ä\n")
    assert (tmp_path / "a.txt").read_bytes() == "Lunge ä\n".encode()
    write_json(tmp_path / "a.json", {"ä": [1, None]})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ä": [1, None]}


def test_nan_never_reaches_a_json_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="the XDG folders are Linux's")
def test_the_data_folder_is_where_the_user_keeps_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert user_data_folder() == tmp_path / "data" / "DenseLandmarks"
    for unusable in ("", "relative"):
        monkeypatch.setenv("XDG_DATA_HOME", unusable)
        assert user_data_folder() == tmp_path / ".local/share/DenseLandmarks"
    assert not list(tmp_path.iterdir())
