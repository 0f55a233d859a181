"""A better model is one that can be left again: versions are kept beside each other, and the shipped one always stays."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from pathlib import Path

import pytest

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models import manage_versions, versions
from DenseLandmarksLib.models.bundle import CARD, METADATA, TEMPLATE, WEIGHTS, load_bundle
from DenseLandmarksLib.models.manage_versions import ADDING, DELETED, add_version, delete_version, set_active
from DenseLandmarksLib.models.registry import find_bundle, open_predictor
from DenseLandmarksLib.models.versions import ACTIVE, ModelVersion, active_bundle, is_plain, list_versions, model_names

SHIPPED_VERSION = "1.0.0"


@pytest.fixture
def data(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder of a user to whom one model was shipped: tiny 1.0.0."""
    shutil.copytree(tiny_bundle, tmp_path / "shipped" / "tiny")
    monkeypatch.setattr(versions, "SHIPPED", tmp_path / "shipped")
    return tmp_path / "data"


def bundle(tiny_bundle: Path, folder: Path, version: object, name: object = "tiny") -> Path:
    """A copy of the bundle under another version."""
    shutil.copytree(tiny_bundle, folder)
    metadata = json.loads((folder / METADATA).read_text())
    (folder / METADATA).write_text(json.dumps({**metadata, "name": name, "version": version}))
    return folder


@pytest.fixture
def later(tiny_bundle: Path, tmp_path: Path) -> Path:
    """Version 1.2.0, as training leaves it."""
    return bundle(tiny_bundle, tmp_path / "trained" / "1.2.0", "1.2.0")


def told(data: Path, name: str = "tiny") -> list[tuple[str, bool, bool]]:
    """(version, shipped, active) of each."""
    return [(one.version, one.shipped, one.active) for one in list_versions(name, data)]


def one_line(error: pytest.ExceptionInfo[InputError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- going on and going back ----------------------------------------------------------------------------------------


def test_a_new_version_is_used_once_it_is_made_active_and_left_again(data: Path, later: Path) -> None:
    shipped = find_bundle("tiny", data)
    added = add_version(later, data)
    assert (added.version, added.shipped, added.active, added.problem) == ("1.2.0", False, False, "")
    assert find_bundle("tiny", data) == shipped  # trained is not used
    set_active("tiny", "1.2.0", data)
    assert find_bundle("tiny", data) == added.folder == data / "models" / "tiny" / "1.2.0"
    assert load_bundle(find_bundle("tiny", data)).version == "1.2.0"
    assert told(data) == [(SHIPPED_VERSION, True, False), ("1.2.0", False, True)]
    set_active("tiny", SHIPPED_VERSION, data)
    assert find_bundle("tiny", data) == shipped
    assert told(data) == [(SHIPPED_VERSION, True, True), ("1.2.0", False, False)]


def test_a_name_opens_the_active_version_wherever_it_is_given(
    data: Path, later: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "user_data_folder", lambda: data)
    add_version(later)
    assert open_predictor("tiny", "cpu").version == SHIPPED_VERSION
    set_active("tiny", "1.2.0")
    assert open_predictor("tiny", "cpu").version == "1.2.0"


def test_who_never_went_on_gets_the_next_shipped_version(
    data: Path, later: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    add_version(later, data)
    set_active("tiny", "1.2.0", data)
    set_active("tiny", SHIPPED_VERSION, data)
    shutil.rmtree(tmp_path / "shipped" / "tiny")
    bundle(tiny_bundle, tmp_path / "shipped" / "tiny", "1.1.0")
    assert told(data) == [("1.1.0", True, True), ("1.2.0", False, False)]


def test_versions_are_in_the_order_in_which_they_were_made(data: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    for version in ("1.10.0", "1.9.0", "2-beta", "1.9.0b"):
        add_version(bundle(tiny_bundle, tmp_path / version, version), data)
    assert [one.version for one in list_versions("tiny", data)] == ["1.0.0", "1.9.0", "1.9.0b", "1.10.0", "2-beta"]


def test_a_model_of_ones_own_is_active_from_the_first(data: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    assert active_bundle("knee", data) is None
    with pytest.raises(InputError, match="Models here: tiny"):
        find_bundle("knee", data)
    for version in ("1.0.0", "1.1.0"):
        add_version(bundle(tiny_bundle, tmp_path / version, version, "knee"), data)
    assert told(data, "knee") == [("1.0.0", False, True), ("1.1.0", False, False)]
    assert model_names(data) == ("knee", "tiny")
    assert find_bundle("knee", data) == data / "models" / "knee" / "1.0.0"


# ---- what is damaged or gone ----------------------------------------------------------------------------------------


def test_an_active_version_that_is_gone_leaves_the_shipped_one_and_a_line_in_the_log(
    data: Path, later: Path, caplog: pytest.LogCaptureFixture
) -> None:
    added = add_version(later, data)
    set_active("tiny", "1.2.0", data)
    shutil.rmtree(added.folder)
    with caplog.at_level(logging.WARNING):
        assert find_bundle("tiny", data) == versions.SHIPPED / "tiny"
    assert caplog.messages == ["version 1.2.0 of the model tiny was active and is gone; another one is used"]


@pytest.mark.parametrize("said", ["", "{", "[]", "{}", '{"version": 7}', '{"version": "../../elsewhere"}', "\xff"])
def test_a_damaged_pointer_leaves_the_shipped_one_and_a_line_in_the_log(
    said: str, data: Path, later: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(later, data / "elsewhere")
    add_version(later, data)
    (data / "models" / "tiny" / ACTIVE).write_bytes(said.encode("latin-1"))
    with caplog.at_level(logging.WARNING):
        assert find_bundle("tiny", data) == versions.SHIPPED / "tiny"
    (message,) = caplog.messages
    assert "no version of tiny was made active" in message


def test_a_model_of_ones_own_without_its_active_version_goes_on_with_the_latest(
    data: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    for version in ("1.0.0", "1.9.0", "1.10.0"):
        add_version(bundle(tiny_bundle, tmp_path / version, version, "knee"), data)
    shutil.rmtree(data / "models" / "knee" / "1.0.0")
    assert find_bundle("knee", data).name == "1.10.0"


def damaged(data: Path, later: Path, how: str) -> ModelVersion:
    """The listed version of a folder that something happened to."""
    folder = add_version(later, data).folder
    if how == "metadata":
        (folder / METADATA).unlink()
    elif how == "template":
        (folder / TEMPLATE).write_text("{}")
    elif how == "renamed":
        folder = folder.rename(folder.with_name("1.3.0"))
    elif how == "a name with a space":
        folder = folder.rename(folder.with_name("my best"))
    else:
        metadata = json.loads((folder / METADATA).read_text())
        (folder / METADATA).write_text(json.dumps({**metadata, "checksums": 7, "structures": {}}))
    (found,) = [one for one in list_versions("tiny", data) if one.folder == folder]
    return found


@pytest.mark.parametrize("how", ["metadata", "template", "renamed", "a name with a space", "checksums"])
def test_an_unreadable_version_is_told_cannot_be_made_active_and_can_be_deleted(
    how: str, data: Path, later: Path
) -> None:
    found = damaged(data, later, how)
    assert found.problem.startswith(f"expected a model bundle in {found.folder}, but ")
    with pytest.raises(InputError) as error:
        set_active("tiny", found.version, data)
    assert one_line(error) == found.problem
    assert find_bundle("tiny", data) == versions.SHIPPED / "tiny"
    delete_version("tiny", found.version, data)
    assert told(data) == [(SHIPPED_VERSION, True, True)]


def test_weights_that_changed_on_the_disk_are_not_made_active(data: Path, later: Path) -> None:
    folder = add_version(later, data).folder
    with (folder / WEIGHTS).open("r+b") as weights:
        weights.seek(-1, os.SEEK_END)
        weights.write(b"\x7f")
    with pytest.raises(InputError, match="its checksum differs"):
        set_active("tiny", "1.2.0", data)
    assert find_bundle("tiny", data) == versions.SHIPPED / "tiny"


def test_a_shipped_model_that_cannot_be_read_is_told(data: Path) -> None:
    (versions.SHIPPED / "tiny" / TEMPLATE).unlink()
    (found,) = list_versions("tiny", data)
    assert (found.version, found.active) == (SHIPPED_VERSION, True)
    assert f"{TEMPLATE} is missing" in found.problem


def test_a_version_that_is_shipped_later_hides_ones_own_of_that_number(data: Path, later: Path, tmp_path: Path) -> None:
    add_version(later, data)
    set_active("tiny", "1.2.0", data)
    shutil.rmtree(tmp_path / "shipped" / "tiny")
    shutil.copytree(later, tmp_path / "shipped" / "tiny")
    assert told(data) == [("1.2.0", True, True), ("1.2.0", False, False)]
    assert "got that of the shipped model" in list_versions("tiny", data)[1].problem
    assert find_bundle("tiny", data) == versions.SHIPPED / "tiny"
    delete_version("tiny", "1.2.0", data)
    assert told(data) == [("1.2.0", True, True)]


def test_a_user_without_a_home_has_the_shipped_models(data: Path, later: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(versions, "user_data_folder", no_home)
    assert find_bundle("tiny") == versions.SHIPPED / "tiny"
    assert model_names() == ("tiny",)
    with pytest.raises(InputError, match="expected a folder for this user's models, got none"):
        add_version(later)


# ---- adding ---------------------------------------------------------------------------------------------------------


def test_only_what_makes_a_bundle_is_copied(data: Path, later: Path) -> None:
    (later / "events.tfevents").write_bytes(b"training log")
    (later / "configs" / "images.json").write_text("names of patients")
    added = add_version(later, data)
    there = {path.relative_to(added.folder).as_posix() for path in added.folder.rglob("*") if path.is_file()}
    assert there == {METADATA, TEMPLATE, WEIGHTS, CARD, "configs/inference.json", "LICENSE"}
    assert not [path for path in added.folder.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("tiny", ".."),
        ("..", "1.2.0"),
        ("tiny", "../../../1.2.0"),
        ("tiny", "/tmp/1.2.0"),
        ("tiny", "C:\\1.2.0"),
        ("tiny", ".active.json"),
        ("tiny", ""),
        ("tiny", "1.2.0."),
        ("tiny", "1.2.0\n"),
        ("con", "1.2.0"),
        ("tiny", "nul.1"),
        ("tiny", "1" * 65),
        ("tiny", 2),
        ("\u212anee", "1.2.0"),  # the Kelvin sign, which some file systems take for a k
    ],
)
def test_names_that_lead_elsewhere_are_refused(
    name: object, version: object, data: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    strange = bundle(tiny_bundle, tmp_path / "strange", version, name)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError) as error:
        add_version(strange, data)
    assert "is none that a folder can have" in one_line(error)
    assert sorted(tmp_path.rglob("*")) == before


def test_no_name_leads_to_a_bundle_outside(data: Path, later: Path) -> None:
    assert (later / METADATA).is_file()
    for name in ("../../trained/1.2.0", str(later), "tiny/../tiny", "."):
        assert active_bundle(name, data) is None
        assert list_versions(name, data) == ()
    with pytest.raises(InputError, match=r"expected a version of the model tiny, got '\.\./\.\./\.\./trained/1\.2\.0'"):
        set_active("tiny", "../../../trained/1.2.0", data)
    with pytest.raises(InputError, match="which is not there"):
        delete_version("tiny", "../../../trained/1.2.0", data)
    with pytest.raises(InputError, match="which is not there"):
        delete_version("../../trained", "1.2.0", data)
    assert (later / METADATA).is_file()


def test_plain_names_are_taken() -> None:
    for name in ("chest-xray", "1.1.0", "1.1.0+site2", "Knee_2", "console", "7", "a" * 64):
        assert is_plain(name), name


def test_a_version_that_is_there_is_not_replaced(data: Path, later: Path, tiny_bundle: Path) -> None:
    add_version(later, data)
    for again in (later, tiny_bundle):
        with pytest.raises(InputError, match=r"which is there already\. Give the bundle another version, or delete"):
            add_version(again, data)


def test_a_bundle_that_is_not_whole_is_not_added(data: Path, later: Path) -> None:
    (later / WEIGHTS).write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(InputError, match="is a pickle"):
        add_version(later, data)
    (later / WEIGHTS).unlink()
    with pytest.raises(InputError, match="is missing"):
        add_version(later, data)
    assert not data.exists()


def test_a_copy_that_fails_half_way_leaves_no_version(data: Path, later: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copyfile

    def full(source: Path, target: Path) -> None:
        if Path(source).name == Path(WEIGHTS).name:
            Path(target).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        copy(source, target)

    monkeypatch.setattr(manage_versions.shutil, "copyfile", full)
    with pytest.raises(InputError) as error:
        add_version(later, data)
    assert "got 'No space left on device'. Make the folder writable, free space" in one_line(error)
    assert list((data / "models" / "tiny").iterdir()) == []
    monkeypatch.undo()


# ---- deleting -------------------------------------------------------------------------------------------------------


def test_the_active_and_the_shipped_version_are_not_deleted(data: Path, later: Path) -> None:
    add_version(later, data)
    set_active("tiny", "1.2.0", data)
    for version, says in (
        ("1.2.0", "that is not active, got 1.2.0. Make another one active first."),
        (SHIPPED_VERSION, "got '1.0.0', which came with the program."),
        ("9.9.9", "got '9.9.9', which is not there."),
    ):
        with pytest.raises(InputError) as error:
            delete_version("tiny", version, data)
        assert says in one_line(error)
    assert [one.version for one in list_versions("tiny", data)] == [SHIPPED_VERSION, "1.2.0"]
    set_active("tiny", SHIPPED_VERSION, data)
    delete_version("tiny", "1.2.0", data)
    assert list((data / "models" / "tiny").iterdir()) == []


def test_a_deletion_that_is_killed_leaves_no_half_bundle_and_is_finished_by_the_next(
    data: Path, later: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_version(later, data)

    def killed(path: Path, **_: object) -> None:
        (path / METADATA).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(manage_versions.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            delete_version("tiny", "1.2.0", data)
    assert told(data) == [(SHIPPED_VERSION, True, True)]
    assert len(list((data / "models" / "tiny").glob(f"{DELETED}*"))) == 1
    add_version(bundle(tiny_bundle, tmp_path / "1.3.0", "1.3.0"), data)
    assert [path.name for path in (data / "models" / "tiny").iterdir()] == ["1.3.0"]


def test_what_was_begun_to_be_added_is_removed_when_it_is_surely_abandoned(data: Path, later: Path) -> None:
    model = data / "models" / "tiny"
    for name, age_s in (("old", 2 * manage_versions.ABANDONED_AFTER_S), ("of-another-program", 0)):
        (model / f"{ADDING}{name}").mkdir(parents=True)
        os.utime(model / f"{ADDING}{name}", (time.time() - age_s,) * 2)
    add_version(later, data)
    assert sorted(path.name for path in model.iterdir()) == [f"{ADDING}of-another-program", "1.2.0"]


@pytest.mark.skipif(os.name == "nt", reason="Windows lets only administrators make links")
def test_deleting_a_link_leaves_what_it_leads_to(data: Path, later: Path) -> None:
    (data / "models" / "tiny").mkdir(parents=True)
    (data / "models" / "tiny" / "1.2.0").symlink_to(later, target_is_directory=True)
    delete_version("tiny", "1.2.0", data)
    assert told(data) == [(SHIPPED_VERSION, True, True)]
    assert load_bundle(later).version == "1.2.0"
