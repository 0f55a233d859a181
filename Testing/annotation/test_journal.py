"""The journal: what was done is on the disk, whatever happens next."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edit_record import edit_from_record, edit_to_record
from DenseLandmarksLib.annotation.edits import (
    Absent,
    Accept,
    CorrectSpacing,
    Define,
    Edit,
    Import,
    ImportedRow,
    LookUp,
    Move,
    Paint,
    Place,
    Reset,
    Restore,
    Seen,
    SetStrength,
    StartBlind,
    TakePrediction,
    Unpaint,
    Unsure,
)
from DenseLandmarksLib.annotation.journal import Journal, JournalHeader, abandoned_journals, read_journal
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.perfect_answer import chest_image, perfect_answer
from Testing.models.same_prediction import assert_same

ROOT = Path(__file__).parents[2]
HEADER = JournalHeader("library", "case", 0, "an annotator", "2026-01-01T00:00:00+00:00")
SOME = tuple(Move(((f"a{i}", (i + 1 / 3, 2.0, 0.0)),)) for i in range(4))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.start(tmp_path / "journals", HEADER)


def killed(journal: Journal) -> Path:
    """What is left when the process is gone."""
    journal.close()
    return journal.folder


def write_all(journal: Journal, edits: tuple[Edit, ...]) -> None:
    for at, edit in enumerate(edits):
        journal.record_edit(edit, at)


def test_every_kind_of_edit_comes_back_as_it_was(journal: Journal, chest_template: Template) -> None:
    image = chest_image(chest_template)
    answer = perfect_answer(chest_template, image)
    mask = np.zeros((1, 128, 128), bool)
    mask[0, 3:9, 5:7] = True
    new = NewLandmark("hilum", "right_lung", (0.1, 1 / 3), "Größe", ("SCT", "1", "Hilum"), "key")
    edits: tuple[Edit, ...] = (
        Move((("a", (1 / 3, -2.0, 0.0)), ("b", (1e-17, 1e17, 0.0)))),
        Accept(("a", 'quote"\n'), ("heart",)),
        Absent(("a",)),
        Unsure(("a",)),
        Place("c", "heart", (0.1, 0.2, 0.3)),
        Reset(("a",)),
        SetStrength(0.1),
        CorrectSpacing((0.1, 0.2, 1.0), SpacingSource.CALIBRATED),
        Paint("heart", mask),
        Unpaint(("heart",)),
        TakePrediction(answer, image.geometry),
        Define(new, (5.5, 6.5, 0.0)),
        LookUp((new,)),
        Import((ImportedRow("a", "heart", Presence.PRESENT, Review.PLACED, (1.0, 2.0, 0.0)),)),
        Import((ImportedRow("a", "heart", Presence.ABSENT, Review.CORRECTED),)),
        StartBlind((("a", "heart"), ("b", 'quote"'))),
        Seen(Place("c", "heart", (0.1, 0.2, 0.3))),
        Seen(Import((ImportedRow("a", "heart", Presence.ABSENT, Review.CORRECTED),))),
    )
    kinds = {type(edit) for edit in edits} | {Restore}
    assert kinds == set(get_args(Edit)), "an edit of another kind may be lost"
    write_all(journal, edits)
    read = read_journal(killed(journal))
    assert (read.header, read.damage) == (HEADER, "")
    assert len(read.history.edits) == read.history.index == len(edits)
    for got, wanted in zip(read.history.edits, edits, strict=True):
        if not isinstance(wanted, TakePrediction):
            assert_same(got, wanted)
            continue
        assert isinstance(got, TakePrediction)
        assert_same(got.answer.prediction.landmarks, answer.prediction.landmarks)
        assert_same(got.answer.prediction.masks, answer.prediction.masks)
        structure = chest_template.structure("heart")
        fields = got.answer.prediction.uv_field, answer.prediction.uv_field
        found, wanted_there = (field.read("heart", structure.landmark_uv) for field in fields if field is not None)
        assert found is not None
        assert wanted_there is not None
        np.testing.assert_array_equal(found.points, wanted_there.points)


def test_a_whole_state_comes_back(journal: Journal, chest_template: Template) -> None:
    image = chest_image(chest_template)
    state = CaseState(image.geometry, strength=0.5, new_landmarks=(NewLandmark("x", "heart", (0.5, 0.25)),))
    state = apply_edit(apply_edit(state, StartBlind((("a", "heart"),))), Place("a", "heart", (1.0, 2.0, 0.0)))
    record = edit_to_record(Restore(state), journal.store)
    back = edit_from_record(record, journal.store)
    assert isinstance(back, Restore)
    assert back.state.geometry == state.geometry
    assert back.state.new_landmarks == state.new_landmarks
    assert back.state.strength == 0.5
    assert (back.state.blind, back.state.is_chosen_for_comparison) == ({"a"}, True)


def test_undo_redo_and_saves_are_remembered(journal: Journal) -> None:
    write_all(journal, SOME)
    journal.record_index(2)
    journal.record_saved(7)
    journal.record_index(3)
    read = read_journal(killed(journal))
    assert (read.history.index, read.history.saved_index, read.saved_revision) == (3, 2, 7)
    assert read.history.unsaved
    assert len(read.history.edits) == 4  # the fourth can still be redone


def test_an_edit_after_undo_takes_the_place_of_what_was_undone(journal: Journal) -> None:
    write_all(journal, SOME)
    journal.record_saved(1)
    journal.record_index(1)
    journal.record_edit(SOME[3], 1)
    journal.record_edit(SOME[2], 2)
    journal.record_edit(SOME[1], 3)
    history = read_journal(killed(journal)).history
    assert history.edits == (SOME[0], SOME[3], SOME[2], SOME[1])
    # As many edits as when it was saved, but others.
    assert history.index == 4
    assert history.unsaved


@pytest.mark.parametrize("cut", [1, 2, 15, 60])
def test_a_torn_last_line_costs_only_what_was_never_answered(journal: Journal, cut: int) -> None:
    write_all(journal, SOME)
    folder = killed(journal)
    path = folder / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    read = read_journal(folder)
    assert read.history.edits == SOME[:3]
    assert read.damage == ""
    again = Journal.go_on(read)
    again.record_edit(SOME[3], 3)
    assert read_journal(killed(again)).history.edits == SOME


def test_damage_in_the_middle_is_told_and_kept(journal: Journal) -> None:
    write_all(journal, SOME)
    folder = killed(journal)
    path = folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"a1", b"a2")  # a bit that flipped
    path.write_bytes(b"".join(lines))
    read = read_journal(folder)
    assert read.history.edits == SOME[:1]
    assert "damaged" in read.damage
    again = Journal.go_on(read)
    again.record_edit(SOME[1], 1)
    assert read_journal(killed(again)).history.edits == SOME[:2]
    assert (folder / "journal.jsonl.damaged").read_bytes() == b"".join(lines)


def test_an_edit_whose_mask_is_lost_ends_what_can_be_recovered(journal: Journal) -> None:
    journal.record_edit(SOME[0], 0)
    journal.record_edit(Paint("heart", np.ones((1, 8, 8), bool)), 1)
    journal.record_edit(SOME[1], 2)
    folder = killed(journal)
    for path in (folder / "arrays").iterdir():
        path.unlink()
    read = read_journal(folder)
    assert read.history.edits == SOME[:1]
    assert "after 1 steps" in read.damage
    again = Journal.go_on(read)
    again.record_edit(SOME[2], 1)
    assert read_journal(killed(again)).history.edits == (SOME[0], SOME[2])


@pytest.mark.parametrize("content", [b"", b"\x00" * 50, b"hello\n", b'1234 {"journal":1}\n'])
def test_what_is_no_journal_is_told_in_one_line(journal: Journal, content: bytes) -> None:
    folder = killed(journal)
    (folder / "journal.jsonl").write_bytes(content)
    with pytest.raises(InputError, match="expected a journal") as told:
        read_journal(folder)
    assert "\n" not in str(told.value)


def test_a_journal_in_use_is_not_offered_to_others(journal: Journal, tmp_path: Path) -> None:
    journal.record_edit(SOME[0], 0)
    assert abandoned_journals(tmp_path / "journals") == []
    with pytest.raises(InputError, match="another window"):
        Journal.go_on(read_journal(journal.folder))
    folder = killed(journal)
    assert abandoned_journals(tmp_path / "journals") == [folder]


def test_a_full_disk_is_told_and_leaves_the_journal_whole(journal: Journal) -> None:
    journal.record_edit(SOME[0], 0)
    size = (journal.folder / "journal.jsonl").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, hard))
    try:
        with pytest.raises(InputError, match="Nothing was changed"):
            journal.record_edit(SOME[1], 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    journal.record_edit(SOME[2], 1)
    assert read_journal(killed(journal)).history.edits == (SOME[0], SOME[2])


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="expected to write to"):
        Journal.start(tmp_path / "file", HEADER)


def test_a_killed_process_leaves_all_that_it_had_answered(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from typing import get_args
from DenseLandmarksLib.annotation.journal import Journal, JournalHeader
from DenseLandmarksLib.annotation.edits import Move
journal = Journal.start(Path(sys.argv[1]), JournalHeader("l", "c", 0, "w", "t"))
for i in range(100000):
    journal.record_edit(Move(((f"a{i}", (i + 0.5, 2.0, 0.0)),)), i)
    sys.stdout.write(f"{i}\\n")
    sys.stdout.flush()
"""
    for wait_s in (0.0, 0.05, 0.11):
        folder = tmp_path / f"journals-{wait_s}"
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": ""},
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait_s)
        process.kill()
        answered = len(process.stdout.read().splitlines()) + 1
        process.wait()
        (path,) = abandoned_journals(folder)
        edits = read_journal(path).history.edits
        assert answered <= len(edits) <= answered + 1
        assert edits == tuple(Move(((f"a{i}", (i + 0.5, 2.0, 0.0)),)) for i in range(len(edits)))


def test_what_is_recorded_is_on_the_disk_before_the_command_returns(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Power may fail: what only the system's memory holds is then lost."""
    on_the_disk: list[bytes] = []
    really = os.fsync

    def fsync(descriptor: int) -> None:
        really(descriptor)
        on_the_disk.append((journal.folder / "journal.jsonl").read_bytes())

    monkeypatch.setattr(os, "fsync", fsync)
    for at, edit in enumerate(SOME):
        journal.record_edit(edit, at)
        assert on_the_disk[-1] == (journal.folder / "journal.jsonl").read_bytes()
        assert on_the_disk[-1].count(b"\n") == at + 2
