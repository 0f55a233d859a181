"""The section Retrain of the page: start, watch, cancel, go on, come back, and decide which version predicts."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.manage_versions import add_version
from DenseLandmarksLib.models.versions import active_bundle
from DenseLandmarksLib.scene import retraining as retraining_module
from Testing.annotation.perfect_answer import chest_image
from Testing.annotation.retraining.runs import STAND_IN, place_blind, taught_library
from Testing.training.blob_radiographs import write_blob_radiographs
from Testing.web.test_app import Person

SECTION = 5


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data folder, of the page and of all that it starts."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path / "data" / "DenseLandmarks"


@pytest.fixture
def hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """While it is there the stand-in waits after an epoch; it is looked at more often than a person needs."""
    path = tmp_path / "hold"
    path.touch()
    monkeypatch.setenv("HOLD", str(path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(retraining_module, "LOOK_EVERY_S", 0.05)
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def taught(tmp_path: Path, chest_template: Template) -> Library:
    return taught_library(tmp_path, chest_template)


def come(library: Library, user: Path) -> Person:
    """At the page, with the section unfolded and a model of the user's."""
    anna = Person(library.folder, user)
    anna.chooses(model="tiny", device="cpu")
    anna.server.state.open_sections = [SECTION]
    anna.page.frame.sections[SECTION]._look()  # as the browser does by unfolding it
    return anna


@pytest.fixture
def anna(
    taught: Library, user: Path, tiny_bundle: Path, hold: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Person]:
    """At the page, where Retrain starts the stand-in."""
    monkeypatch.setattr(retraining_module, "TRAINING", STAND_IN)
    add_version(tiny_bundle)
    anna = come(taught, user)
    yield anna
    anna.leaves()


def retrain(anna: Person) -> None:
    """Press Retrain, and wait until it learns."""
    anna.does("retrain")
    anna.until(lambda: bool(anna.sees("retraining_charts")))


def test_what_there_is_to_learn_from_is_counted(anna: Person, chest_template: Template) -> None:
    anna.until(lambda: anna.sees("lessons_line").startswith("To learn from"))
    assert anna.sees("lessons_line") == (
        f"To learn from: 6 corrected, 0 placed, {2 * len(chest_template.landmark_names) - 8} verified and 2 absent landmarks "
        "in 2 cases. 0 of 20 cases to compare versions on."
    )
    assert anna.sees("why_no_retraining") == ""
    assert anna.sees("why_not_active") == "No retraining of this library made a version yet."
    assert anna.sees("why_no_roll_back") == "The version in use was not made by retraining."


def test_cases_to_compare_on_are_counted_for_the_chosen_model(
    anna: Person, taught: Library, chest_template: Template, tmp_path: Path
) -> None:
    anna.until(lambda: anna.sees("lessons_line").endswith(" 0 of 20 cases to compare versions on."))
    first = taught.cases()[0].id
    place_blind(taught, tmp_path, chest_template)
    anna.does("open_case", first)
    anna.until(lambda: anna.sees("lessons_line").endswith(" 1 of 20 cases to compare versions on."))
    anna.chooses(model="headneck-ct")
    assert anna.sees("lessons_line").endswith(" 0 of 20 cases to compare versions on.")


def test_nothing_is_read_while_nobody_looks(taught: Library, user: Path, hold: Path) -> None:
    anna = Person(taught.folder, user)
    for _ in range(20):
        anna.page.tick()
    assert anna.sees("lessons_line") == "Counting what there is to learn from …"
    assert SECTION not in anna.sees("open_sections")
    anna.leaves()


def test_curves_grow_and_the_new_version_is_made_active_and_rolled_back(anna: Person, hold: Path) -> None:
    retrain(anna)
    assert anna.sees("retraining")
    assert anna.sees("why_no_retraining") == "A retraining of this library is under way."
    anna.until(lambda: anna.sees("retraining_line") == "epoch 1 of 4 · about 2 min left")
    assert [len(one["dots"]) for one in anna.sees("retraining_charts")] == [1, 1]
    hold.unlink()
    anna.until(lambda: not anna.sees("retraining"))
    error, loss = anna.sees("retraining_charts")
    assert (error["title"], error["last"], loss["title"], loss["last"]) == ("Error (mm)", "2", "Loss", "0.25")
    assert [len(one["dots"]) for one in (error, loss)] == [4, 4]
    heights = [dot["y"] for dot in error["dots"]]
    assert heights == sorted(heights), "an error that falls goes down"
    before = anna.bench.retraining.parent_version
    assert anna.sees("retraining_rows") == [
        ["Version", before, f"{before}+1", ""],
        ["Cases", "", "3", ""],
        ["Mean error", "2.50 mm", "2.25 mm", "-0.25 mm"],
        ["95 % interval", "", "", "-0.50 to +0.12 mm"],
        ["heart", "2.50 mm", "2.25 mm", "-0.25 mm"],
        ["Called absent", "2", "1", ""],
    ]
    assert anna.sees("retraining_verdict").startswith("Not enough evidence")
    assert anna.sees("retraining_is_unsure")
    assert anna.sees("message").startswith("Retraining: tiny ")
    anna.does("make_active")
    assert active_bundle("tiny").name == f"{before}+1"
    assert anna.sees("message") == f"tiny {before}+1 predicts from now on."
    assert anna.sees("why_not_active") == "The new version is in use."
    assert [one["title"] for one in anna.sees("versions")] == [before, f"{before}+1 · in use"]
    anna.does("roll_back")
    assert active_bundle("tiny").name == before
    assert anna.sees("why_not_active") == ""


def test_it_is_cancelled_and_goes_on(anna: Person, hold: Path) -> None:
    retrain(anna)
    anna.does("cancel_retraining")
    anna.until(lambda: anna.sees("retraining_can_go_on"))
    assert anna.sees("retraining_line") == "cancelled after epoch 1"
    hold.unlink()
    anna.does("go_on_retraining")
    anna.until(lambda: anna.sees("why_not_active") == "")


def test_whoever_closes_the_server_does_not_end_it_and_whoever_comes_back_finds_it(
    anna: Person, hold: Path, taught: Library, user: Path
) -> None:
    retrain(anna)
    process = anna.bench.retraining.run._process
    anna.leaves()
    again = come(taught, user)
    again.until(lambda: again.sees("retraining"))
    assert again.sees("retraining_charts")
    assert process.poll() is None
    again.does("retrain")
    assert again.sees("message").startswith("expected one retraining of a library at a time")
    hold.unlink()
    again.until(lambda: again.sees("why_not_active") == "")
    assert process.wait(10) == 0
    again.leaves()


def test_one_that_was_killed_is_said_to_be_interrupted_and_goes_on(anna: Person, hold: Path) -> None:
    retrain(anna)
    os.kill(anna.bench.retraining.run._process.pid, signal.SIGKILL)
    anna.until(lambda: anna.sees("retraining_can_go_on"))
    assert anna.sees("retraining_line").startswith("interrupted: the process ended without a word")
    hold.unlink()
    anna.does("go_on_retraining")
    anna.until(lambda: anna.sees("why_not_active") == "")


def test_original_cases_are_replayed_until_they_are_forgotten(
    anna: Person, hold: Path, tmp_path: Path, taught: Library, user: Path
) -> None:
    none = "Original cases: none given; the model is held near its old weights instead."
    assert anna.sees("original_cases_line") == none
    assert not anna.sees("has_original_cases")
    cases = write_blob_radiographs(tmp_path / "blobs", 1, 0)
    anna.bench.retraining.choose_original_cases("tiny", cases)  # as where the server is started
    again = come(taught, user)
    assert again.sees("original_cases_line") == "Original cases: blobs, replayed so that nothing is forgotten."
    assert str(tmp_path) not in str(again.server.state.original_cases_line), "a page names no folder"
    retrain(again)
    assert replayed(again) == [str(cases)]
    hold.unlink()
    again.until(lambda: again.sees("why_not_active") == "")

    cases.rename(tmp_path / "elsewhere")
    again.does("retrain")
    assert again.sees("message").startswith(f"expected the cases that tiny was trained on in {cases}, found none there")
    assert again.sees("original_cases_line") == (
        "Original cases: blobs is not there any more. Say where they are now, or forget them."
    )
    again.does("forget_original_cases")
    assert again.sees("original_cases_line") == none
    again.does("retrain")
    assert replayed(again) == []
    again.until(lambda: not again.sees("retraining"))
    again.leaves()


def replayed(anna: Person) -> list[str]:
    """What the process was told to replay."""
    arguments = json.loads((anna.bench.retraining.run.folder / "request.json").read_text())["arguments"]
    return [value for name, value in pairwise(arguments) if name == "--replay"]


def test_the_list_says_which_case_was_annotated_blind(anna: Person, taught: Library, chest_template: Template) -> None:
    path = taught.folder.parent / "new.nrrd"
    sitk.WriteImage(chest_image(chest_template, 128, 77).volume, str(path))
    case = taught.add(path)
    anna.does("annotate_blind")
    assert [one["title"] for one in anna.sees("cases") if one["value"] == case.id] == [
        f"{case.name} · 12 of 12 left, for comparison · unsaved"
    ]
    state = anna.bench.state
    anna.bench.do(Session.place, state.landmarks.names[0], state.geometry.origin_lps_mm)
    anna.does("open_case", taught.cases()[0].id)
    titles = [one["title"] for one in anna.sees("cases")]
    assert f"{case.name} · 11 of 12 left, for comparison · r1" in titles
    assert sum("for comparison" in title for title in titles) == 1


def test_annotating_blind_without_a_case_left_is_one_line(anna: Person) -> None:
    anna.does("annotate_blind")
    assert "no case is left for comparison" in anna.sees("message")


def test_the_real_training_makes_a_version(taught: Library, user: Path, hold: Path, tiny_bundle: Path) -> None:
    add_version(tiny_bundle)
    anna = come(taught, user)
    anna.bench.retraining.steps = 2
    anna.does("retrain")
    anna.until(lambda: not anna.sees("retraining"))
    log = (anna.bench.retraining.run.folder / "log.txt").read_text()
    assert str(anna.bench.retraining.status.phase) == "done", (anna.sees("retraining_line"), log[-2000:])
    assert {one["title"] for one in anna.sees("retraining_charts")} >= {"Loss"}
    assert anna.sees("retraining_verdict").startswith("Not enough evidence")
    anna.does("make_active")
    assert active_bundle("tiny").name == anna.bench.retraining.new_version().version
    anna.does("roll_back")
    assert active_bundle("tiny").name == anna.bench.retraining.parent_version
    anna.leaves()
