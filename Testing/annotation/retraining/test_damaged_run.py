"""Whatever stands in the files of a run, a front end goes on and says one line."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from DenseLandmarksLib.annotation.file_lock import try_lock
from DenseLandmarksLib.annotation.retraining.comparison import read_comparison
from DenseLandmarksLib.annotation.retraining.curves import Curves, read_curves
from DenseLandmarksLib.annotation.retraining.run_status import Phase, last_line, read_status
from Testing.annotation.retraining.stand_in import GATE

DAMAGED = [
    "",
    "{",
    "null",
    "[1]",
    '"text"',
    "\x00\xff",
    '{"status": 3, "line": ["a"], "fraction": "half", "epoch": null}',
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_state_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(text)
    status = read_status(tmp_path, is_starting=False)
    assert not status.phase.is_under_way
    assert "\n" not in status.line
    assert 0 <= status.fraction <= 1
    (tmp_path / "run.lock").touch()
    with (tmp_path / "run.lock").open("r+b") as lock:
        assert try_lock(lock)
        assert "\n" not in read_status(tmp_path, is_starting=False).line


def test_numbers_that_are_none_are_the_ones_that_say_least(tmp_path: Path) -> None:
    state = {"status": "done", "line": "one\ntwo", "fraction": 7, "epoch": True, "minutes_left": "soon"}
    (tmp_path / "state.json").write_text(json.dumps(state))
    status = read_status(tmp_path, is_starting=False)
    assert (status.line, status.fraction, status.epoch, status.minutes_left) == ("one two", 1.0, 0, None)
    assert status.phase is Phase.DONE


def test_half_a_line_and_text_in_a_table_are_left_out(tmp_path: Path) -> None:
    assert read_curves(tmp_path) == Curves()
    (tmp_path / "training.csv").write_text("epoch,loss,seconds\n0,1.5,1\n1,nan,1\n2,text,1\n3\n4,0.5,1\n5,0.25")
    (tmp_path / "validation.csv").write_bytes(b"epoch,error_mm\n-1,4\n0,\xff\xfe\n1,3.5\n")
    assert read_curves(tmp_path) == Curves(((0, 1.5), (4, 0.5)), ((-1, 4), (1, 3.5)))
    (tmp_path / "training.csv").write_bytes(b"\x00\x01\x02\n\n,,,\n")
    (tmp_path / "validation.csv").unlink()
    (tmp_path / "validation.csv").mkdir()
    assert read_curves(tmp_path) == Curves()


@pytest.mark.parametrize("text", [*DAMAGED, '{"outcome": "worse"}', '{"outcome": 1, "line": 2}'])
def test_a_damaged_comparison_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "gate.json").write_text(text)
    assert read_comparison(tmp_path) is None


def test_a_comparison_without_evidence_has_no_numbers(tmp_path: Path) -> None:
    empty = {"before_mm": None, "after_mm": float("nan"), "difference_mm": [1, None, 2], "by_structure": [3, {}]}
    (tmp_path / "gate.json").write_text(json.dumps({**GATE, **empty, "called_absent": [1]}))
    compared = read_comparison(tmp_path)
    assert compared is not None
    assert (compared.before_mm, compared.after_mm, compared.difference_mm) == (None, None, None)
    assert (compared.called_absent, compared.structures) == ((0, 0), ())
    assert compared.outcome == "not enough evidence"


@pytest.mark.timed
def test_the_last_line_of_a_long_log_is_found_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"x" * 50_000_000 + b"\nstep 1\rstep 2\n\n  error:   no room  \n\n")
    began = time.perf_counter()
    assert last_line(log) == "error: no room"
    assert time.perf_counter() - began < 0.1
    assert last_line(tmp_path / "none") == ""
