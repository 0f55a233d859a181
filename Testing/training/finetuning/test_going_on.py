"""Fine-tuning that is cancelled, killed or out of time goes on as if it had never been stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from DenseLandmarksLib.annotation.file_lock import is_locked, try_lock
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.versions import list_versions
from Testing.training.finetuning.chest_library import (
    FEW_STEPS,
    MODEL,
    case_ids,
    reopened,
    request_for,
    run,
)
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.finetuning.finished_runs import (
    own_versions,
    state,
)
from Testing.training.kept_state import ROOT, assert_same, rows_of, state_of
from training.__main__ import main
from training.finetune import finetune
from training.finetuning.dense_shape import FinetuneDenseShape
from training.finetuning.recipe import FinetuneRecipe

pytestmark = pytest.mark.usefixtures("one_thread")


def cancel_at(monkeypatch: pytest.MonkeyPatch, output: Path, steps: int) -> None:
    """A front end makes the file ``cancel`` while that step is computed."""
    done = 0
    loss = FinetuneDenseShape.loss

    def counting(task: FinetuneDenseShape, *arguments: Any) -> Any:
        nonlocal done
        done += 1
        if done == steps:
            (output / "cancel").touch()
        return loss(task, *arguments)

    monkeypatch.setattr(FinetuneDenseShape, "loss", counting)


@pytest.mark.parametrize("steps", [1, 3, 6])
def test_a_run_that_is_cancelled_goes_on_as_if_it_never_had_been(
    corrected_chests: Annotator, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    output, versions = tmp_path / "run", tmp_path / "versions"
    with monkeypatch.context() as patch:
        cancel_at(patch, output, steps)
        assert not finetune(request_for(corrected_chests, output, data_folder=versions))
    assert state(output)["status"] == "cancelled"
    assert not list_versions(MODEL.name, versions)
    torch.manual_seed(99)
    assert finetune(request_for(corrected_chests, output, data_folder=versions, resume=True))
    assert_same(state_of(output), state_of(whole))
    assert [row["epoch"] for row in rows_of(output / "training.csv")] == [0, 1, 2]
    assert not (output / "cancel").exists()
    assert state(output)["status"] == "done"


def test_a_person_who_stops_it_by_the_keyboard_loses_no_epoch(
    corrected_chests: Annotator, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint of the epochs before is not written yet: the last one is less than a minute old."""
    output, versions = tmp_path / "run", tmp_path / "versions"
    with monkeypatch.context() as patch:
        loss, done = FinetuneDenseShape.loss, list[int]()

        def stopped(task: FinetuneDenseShape, *arguments: Any) -> Any:
            done.append(1)
            if len(done) == 4:
                raise KeyboardInterrupt
            return loss(task, *arguments)

        patch.setattr(FinetuneDenseShape, "loss", stopped)
        assert not finetune(request_for(corrected_chests, output, data_folder=versions))
    assert state_of(output)["epoch"] == 1
    assert state(output)["status"] == "cancelled"
    assert finetune(request_for(corrected_chests, output, data_folder=versions, resume=True))
    assert_same(state_of(output), state_of(whole))


def test_time_that_runs_out_loses_nothing(corrected_chests: Annotator, whole: Path, tmp_path: Path) -> None:
    asked = {"data_folder": tmp_path / "versions", "max_minutes": 0.0}
    assert not finetune(request_for(corrected_chests, tmp_path / "run", **asked))
    assert state_of(tmp_path / "run")["epoch"] == 1
    assert not finetune(request_for(corrected_chests, tmp_path / "run", **asked, resume=True))
    assert finetune(request_for(corrected_chests, tmp_path / "run", **asked, resume=True))
    assert_same(state_of(tmp_path / "run"), state_of(whole))


def test_a_process_that_is_killed_is_gone_on_with(corrected_chests: Annotator, whole: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    words = ["--model", str(corrected_chests.bundle), "--library", str(corrected_chests.library.folder)]
    words += ["--output", str(output), "--data-folder", str(tmp_path / "versions"), "--device", "cpu"]
    recipe = tmp_path / "few.toml"
    recipe.write_text("[finetune]\nsteps = 6\nepochs = 3\nema = 0.0\nlearning_rate_share = 0.3\n")
    # It hangs where a real one would compute for minutes: in the second epoch.
    slow = (
        "import sys, time; from training.finetuning.dense_shape import FinetuneDenseShape as F; import training.finetuning.learn as l;"
        "l.CHECKPOINT_EVERY_S = 0; b = F.batches; F.batches = lambda s, e: (time.sleep(60 if e > 1 else 0), b(s, e))[1];"
        "from training.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", slow, "finetune", *words, "--recipe", str(recipe)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while not (output / "checkpoint.pt").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert is_locked(output / "run.lock")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert state(output)["status"] == "training"
    assert not is_locked(output / "run.lock")
    asked = request_for(corrected_chests, output, data_folder=tmp_path / "versions", resume=True)
    assert finetune(asked)
    assert_same(state_of(output), state_of(whole))
    assert finetune(asked)  # it is done: nothing happens
    assert [one.version for one in list_versions(MODEL.name, tmp_path / "versions")] == ["1.0.0", "1.0.0+1"]


def test_a_run_lets_others_go_first_where_it_is_asked_to(tmp_path: Path) -> None:
    words = ["finetune", "--model", str(tmp_path), "--library", str(tmp_path), "--output", str(tmp_path / "run")]
    before, process = os.getpriority(os.PRIO_PROCESS, 0), os.fork()  # a process cannot go back
    if not process:
        try:
            main([*words, "--device", "cpu", "--low-priority"])  # there is no library: it ends at once
        finally:
            os._exit(os.getpriority(os.PRIO_PROCESS, 0))
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == min(before + 10, 19)


def test_one_that_was_killed_after_listing_its_version_does_not_list_it_twice(
    annotator: Annotator, tmp_path: Path
) -> None:
    output = run(annotator, tmp_path / "run")
    before = state(output)
    (output / "state.json").write_text(json.dumps({**before, "status": "comparing"}))
    assert finetune(request_for(annotator, output, resume=True))
    assert own_versions(annotator) == ["1.0.0", "1.0.0+1"]


def test_it_goes_on_with_the_revisions_that_it_began_with(
    annotator: Annotator, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "run"
    with monkeypatch.context() as patch:
        cancel_at(patch, output, 3)
        assert not finetune(request_for(annotator, output))
    session = reopened(annotator, case_ids(annotator.library)[0])
    session.accept_remaining()
    session.save()
    session.close()
    assert finetune(request_for(annotator, output, resume=True))
    assert_same(state_of(output), state_of(whole))


def test_another_run_is_not_gone_on_with(corrected_chests: Annotator, whole: Path) -> None:
    before = (whole / "checkpoint.pt").read_bytes()
    for options, resume, says in (
        (FEW_STEPS, False, "already holds a run"),
        (FinetuneRecipe(), True, "another options"),
    ):
        with pytest.raises(InputError, match=says):
            finetune(request_for(corrected_chests, whole, options, resume=resume))
    assert (whole / "checkpoint.pt").read_bytes() == before
    assert state(whole)["status"] == "done"


def test_two_processes_do_not_work_in_one_folder(annotator: Annotator, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / "run.lock").open("a+b") as lock:
        assert try_lock(lock)
        with pytest.raises(InputError, match="a run is under way"):
            finetune(request_for(annotator, tmp_path / "run"))
