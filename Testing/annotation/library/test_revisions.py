"""Every save stands: whoever else saves, whatever is damaged, and whenever a process is killed."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.annotation.case_masks import structure_mask
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Absent, Accept, Move, Paint
from DenseLandmarksLib.annotation.imports.read_landmarks import read_landmarks
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.library.chests import after, predicted, write_chest
from Testing.annotation.library.writer import moved, number_of, save_for_ever
from Testing.models.same_prediction import assert_same

ROOT = Path(__file__).resolve().parents[3]
KILLS = 60


def test_a_case_without_any_revision_is_the_image_before_anybody_did_anything(case: LibraryCase) -> None:
    state, info = case.load()
    assert info is None
    assert (state.geometry, len(state.landmarks), state.answer) == (case.geometry, 0, None)


def test_a_revision_comes_back_to_the_last_bit_and_older_ones_stay(case: LibraryCase, state: CaseState) -> None:
    painted = np.zeros((1, 128, 128), bool)
    painted[0, 3:9, 5:50] = True
    second = after(state, moved(1), Accept((), ("right_lung",)), Paint("heart", painted))
    assert case.save(state, "reader-1", 0).number == 1
    saved = case.save(second, "  reader-2\nB. ", 1, "the heart\nwas missing")
    assert (saved.number, saved.based_on, saved.others) == (2, 1, ())
    assert saved.message == "saved as revision 2"
    back, info = case.load()
    assert info is not None
    assert (info.number, info.who, info.based_on, info.why) == (2, "reader-2 B.", 1, "the heart was missing")
    assert (info.painted, info.structures, info.open_structures) == (("heart",), 5, 3)
    assert_same(back.landmarks, second.landmarks)
    assert_same(dict(back.painted), dict(second.painted))
    assert back.accepted == {"right_lung"}
    first, info = case.load(1)
    assert info is not None
    assert (info.number, info.who) == (1, "reader-1")
    assert_same(first.landmarks, state.landmarks)
    assert case.load(0)[0].answer is None
    with pytest.raises(InputError, match=r"expected a revision of case chest-0, got 3\. It has 1, 2\."):
        case.load(3)


def test_a_revision_is_there_for_programs_that_know_nothing_of_us(case: LibraryCase, state: CaseState) -> None:
    state = after(state, moved(3), Absent(("left_lung_03",)))
    case.save(state, "reader-1", 0)
    folder = case.revision_folder(1)
    assert {path.name for path in folder.iterdir()} == {
        *("landmarks.mrk.json", "structures.seg.nrrd"),
        *("sidecar.json", "summary.json"),
    }
    found = read_landmarks(folder / "landmarks.mrk.json", state.geometry)
    assert (found.names, found.presence, found.review) == (
        state.landmarks.names,
        state.landmarks.presence,
        state.landmarks.review,
    )
    sidecar = json.loads((folder / "sidecar.json").read_text())
    assert (sidecar["case"], sidecar["who"], sidecar["model"]) == (case.id, "reader-1", "perfect 1")
    assert sidecar["pixel_hash"] == case.id
    assert (sidecar["patient_key"], sidecar["laterality"], sidecar["view_position"]) == (
        case.patient_key,
        case.laterality,
        case.view_position,
    )
    assert sidecar["state"]["geometry"]["spacing_mm"] == list(state.geometry.spacing_mm)


def test_the_saved_mask_follows_a_corrected_landmark(case: LibraryCase, state: CaseState) -> None:
    dragged = after(state, Move((("right_lung_10", (5.0, 30.0, 0.0)),)))
    before, now = structure_mask(state, "right_lung"), structure_mask(dragged, "right_lung")
    assert now[0, 30, 6] or now[0, 30, 7]
    assert (before != now).sum() > 30
    assert (structure_mask(state, "left_lung") == structure_mask(dragged, "left_lung")).all()
    with pytest.raises(KeyError):
        structure_mask(state, "liver")


def test_two_writers_are_told_of_each_other_and_both_revisions_stand(case: LibraryCase, state: CaseState) -> None:
    case.save(state, "reader-1", 0)
    ann, ben = after(state, moved(1)), after(state, moved(2))
    first = case.save(ann, "reader-1", 1)
    assert first.others == ()
    second = case.save(ben, "reader-2", 1)
    assert (second.number, second.based_on) == (3, 1)
    assert [(info.number, info.who) for info in second.others] == [(2, "reader-1")]
    assert second.message.startswith("saved as revision 3; since revision 1 reader-1 saved revision 2 (")
    assert "\n" not in second.message
    assert [(info.number, info.who) for info in case.saved_since(first.number)] == [(3, "reader-2")]
    third = case.save(after(ann, moved(3)), "reader-1", first.number)
    assert [info.who for info in third.others] == ["reader-2"]
    assert [number_of(case.load(number)[0]) for number in (2, 3, 4)] == [1, 2, 3]


def test_many_who_save_at_the_same_moment_lose_nothing(case: LibraryCase, state: CaseState) -> None:
    case.save(state, "reader-1", 0)
    start = threading.Barrier(6)
    saved: dict[int, int] = {}

    def save(number: int) -> None:
        mine = after(state, moved(number))
        start.wait()
        saved[number] = case.save(mine, f"person {number}", 1).number

    people = [threading.Thread(target=save, args=(number,)) for number in range(6)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert sorted(saved.values()) == [2, 3, 4, 5, 6, 7]
    for number, revision in saved.items():
        found, info = case.load(revision)
        assert info is not None
        assert (number_of(found), info.who) == (number, f"person {number}")


def test_a_number_that_somebody_took_on_another_machine_is_never_written_over(
    case: LibraryCase, state: CaseState, monkeypatch: pytest.MonkeyPatch
) -> None:
    from DenseLandmarksLib.annotation.library import revision

    case.save(state, "reader-1", 0)
    case.save(after(state, moved(1)), "reader-2", 1)
    # A share's folder list may be seconds old: it does not show revision 2 yet.
    monkeypatch.setattr(revision, "revision_numbers", lambda revisions: [1])
    case.save(after(state, moved(2)), "reader-1", 1)
    monkeypatch.undo()
    assert [number_of(case.load(number)[0]) for number in (2, 3)] == [1, 2]


@pytest.mark.parametrize("damaged", ["sidecar.json", "summary.json", "arrays"])
@pytest.mark.parametrize("how", ["gone", "empty", "cut off", "other", "zeros"])
def test_a_damaged_revision_is_told_in_one_line_and_the_one_before_opens(
    case: LibraryCase, state: CaseState, damaged: str, how: str
) -> None:
    case.save(state, "reader-1", 0)
    old = set(case.store.folder.iterdir())
    painted = np.eye(128, dtype=bool)[None]
    second = after(state, moved(1), Paint("heart", painted))
    case.save(second, "reader-2", 1)
    (path,) = set(case.store.folder.iterdir()) - old if damaged == "arrays" else [case.revision_folder(2) / damaged]
    whole = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        content = {"empty": b"", "cut off": whole[: len(whole) // 2], "other": b"{}", "zeros": bytes(len(whole))}
        path.write_bytes(content[how])
    with pytest.raises(
        InputError, match="revision 2 of case chest-0 cannot be read, revision 1 is the one before"
    ) as told:
        case.load()
    assert "\n" not in str(told.value)
    assert path.name in str(told.value)
    before, info = case.load(1)
    assert info is not None
    assert_same(before.landmarks, state.landmarks)
    newest, damage = case.newest()
    assert newest is not None
    if damaged == "summary.json":
        assert (newest.number, path.name in damage, "\n" in damage) == (1, True, False)
    # Saving goes on behind the damaged one, which stays for whoever can mend it.
    saved = case.save(before, "reader-1", 1)
    assert saved.number == 3
    assert [info.number for info in saved.others] == ([] if damaged == "summary.json" else [2])
    assert case.load()[0].answer is not None


def test_a_revision_of_another_case_is_not_taken_for_ours(
    library: Library, case: LibraryCase, state: CaseState, tmp_path: Path, chest_template: Template
) -> None:
    other = library.add(write_chest(tmp_path / "images", chest_template, 1))
    other.save(predicted(other, chest_template), "reader-1", 0)
    shutil.copytree(other.folder / "revisions", case.folder / "revisions")
    shutil.copytree(other.folder / "arrays", case.folder / "arrays")
    with pytest.raises(InputError, match=f"expected a revision of case {case.id} in"):
        case.load()


def test_a_newer_format_is_told_as_such(case: LibraryCase, state: CaseState) -> None:
    case.save(state, "reader-1", 0)
    for name in ("sidecar.json", "summary.json"):
        path = case.revision_folder(1) / name
        whole = path.read_bytes()
        path.write_text(json.dumps(json.loads(whole) | {"format": 2}))
        with pytest.raises(InputError, match=r"expected format 1 in .*, got '2'\. Open the library with the version"):
            case.load()
        path.write_bytes(whole)


def test_what_killed_writers_left_is_no_revision_and_goes_after_a_day(case: LibraryCase, state: CaseState) -> None:
    case.save(state, "reader-1", 0)
    revisions = case.folder / "revisions"
    now = (revisions / "0001").stat().st_mtime
    for name, age_h in (("old", 25), ("new", 23)):
        left = revisions / f".writing-{name}"
        left.mkdir()
        (left / "sidecar.json").write_text("{")
        arrays = case.store.folder / f".{name}-{'0' * 32}.npz"
        arrays.write_bytes(b"PK")
        for path in (left, arrays):
            os.utime(path, (now - 3600 * age_h,) * 2)
    assert case.save(state, "reader-1", 1).number == 2
    assert [path.name for path in revisions.glob(".*")] == [".writing-new"]
    assert [path.name for path in case.store.folder.glob(".*")] == [f".new-{'0' * 32}.npz"]


def test_kill_9_at_any_moment_of_a_save_leaves_whole_revisions_only(case: LibraryCase, state: CaseState) -> None:
    case.save(after(state, moved(0)), "reader-1", 0)
    # How long a save takes here, so that the kills fall anywhere in it.
    started = time.perf_counter()
    case.save(after(state, moved(1)), "reader-1", 1)
    takes_s = time.perf_counter() - started
    context = multiprocessing.get_context("forkserver")  # imports once, and forks writers from there
    context.set_forkserver_preload(["Testing.annotation.library.writer"])
    chance = random.Random(0)
    in_the_middle = 0
    for _ in range(KILLS):
        answers, theirs = context.Pipe(duplex=False)
        writer = context.Process(target=save_for_ever, args=(case.library_folder, case.id, theirs))
        writer.start()
        theirs.close()
        answered = [answers.recv()]
        time.sleep(chance.uniform(0, 2 * takes_s))
        writer.kill()
        writer.join()
        with contextlib.suppress(EOFError, OSError):  # the last answer may be torn
            while True:
                answered.append(answers.recv())
        left = list((case.folder / "revisions").glob(".writing-*"))
        in_the_middle += len(left)
        for folder in left:
            shutil.rmtree(folder)
        numbers = case.revision_numbers()
        assert numbers == tuple(range(1, len(numbers) + 1))
        # A save that was answered is there; one that was not is there or not, and nothing else is.
        assert answered[-1] <= len(numbers) <= answered[-1] + 1
        for number in numbers[answered[0] - 1 :]:
            found, info = case.load(number)
            assert info is not None
            assert number_of(found) == number - 1
            read_landmarks(case.revision_folder(number) / "landmarks.mrk.json", found.geometry)
    assert in_the_middle >= KILLS // 4, "the kills missed the saves, and this test proves little"


def in_a_full_disk(limit_bytes: int) -> Callable[[], None]:
    """For ``preexec_fn``: every file may become this long and no longer, as on a disk that fills up."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    return limit


FULL = """
import sys
from pathlib import Path
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from Testing.annotation.library.chests import after
from Testing.annotation.library.writer import moved

case = Library.open(Path(sys.argv[1])).case(sys.argv[2])
state, info = case.load()
try:
    case.save(after(state, moved(7)), "reader-1", info.number)
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("limit_bytes", [0, 100, 5000, 40_000])
def test_a_full_disk_is_told_in_one_line_and_nothing_is_half_saved(
    case: LibraryCase, state: CaseState, limit_bytes: int
) -> None:
    case.save(state, "reader-1", 0)
    before = sorted(case.folder.rglob("*"))
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(case.library_folder), case.id],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=in_a_full_disk(limit_bytes),
        timeout=120,
    )
    assert run.stderr == ""
    (line,) = run.stdout.splitlines()
    assert line.startswith("expected to write ")
    assert "got 'File too large'" in line
    assert sorted(case.folder.rglob("*")) == before
    assert_same(case.load()[0].landmarks, state.landmarks)
