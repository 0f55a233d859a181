"""Fine-tuning that is cancelled, killed or out of time goes on as if it had never been stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import training.finetuning.validation
from DenseLandmarksLib.annotation.file_lock import is_locked, try_lock
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.decisions import read_decisions
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.registry import open_bundle
from DenseLandmarksLib.models.versions import list_versions
from Testing.training.finetuning import heatmap_cases, volume_cases
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
from training.finetuning import dense_shape, heatmap, volumes
from training.finetuning.blind_truth import truth_of
from training.finetuning.dense_shape import FinetuneDenseShape
from training.finetuning.recipe import FinetuneRecipe, finetuned, recipe_of
from training.finetuning.run_folder import CancelledError
from training.finetuning.validation import Validation

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


def test_a_run_that_is_cancelled_while_images_are_read_reads_no_more(
    corrected_chests: Annotator, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, versions = tmp_path / "run", tmp_path / "versions"
    read, seen = LibraryCase.read_image, list[str]()

    def cancelling(case: LibraryCase, *arguments: Any) -> Any:
        seen.append(case.id)
        (output / "cancel").touch()
        return read(case, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(LibraryCase, "read_image", cancelling)
        assert not finetune(request_for(corrected_chests, output, data_folder=versions))
    assert len(seen) == 1
    assert state(output)["status"] == "cancelled"
    assert finetune(request_for(corrected_chests, output, data_folder=versions, resume=True))
    assert_same(state_of(output), state_of(whole))


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_a_run_that_is_cancelled_while_it_is_measured_measures_no_more_and_loses_no_epoch(
    corrected_chests: Annotator, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    """Of the last epoch all is done again, so that the curve has an end."""
    output, versions = tmp_path / "run", tmp_path / "versions"
    measure, done = FinetuneDenseShape.validate, list[int]()

    def cancelling(task: FinetuneDenseShape, *arguments: Any) -> Any:
        done.append(1)
        if len(done) == epoch + 1:
            (output / "cancel").touch()
        return measure(task, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneDenseShape, "validate", cancelling)
        patch.setattr(training.finetuning.validation, "SHARE_OF_TIME", 1e9)  # after each epoch
        assert not finetune(request_for(corrected_chests, output, data_folder=versions))
    assert len(done) == epoch + 1
    assert (state_of(output)["epoch"] if (output / "checkpoint.pt").exists() else 0) == min(epoch, 2)
    assert finetune(request_for(corrected_chests, output, data_folder=versions, resume=True))
    assert_same(state_of(output), state_of(whole))
    curve, uncut = rows_of(output / "validation.csv"), rows_of(whole / "validation.csv")
    assert (curve[0], curve[-1]) == (uncut[0], uncut[-1])


def test_measuring_cases_for_comparison_looks_before_each_case_and_pass(
    corrected_chests: Annotator, chest_bundle: Path, tmp_path: Path
) -> None:
    decisions, _ = read_decisions(corrected_chests.library)
    known = load_bundle(chest_bundle).landmark_names
    blind = [truth_of(replace(one, blind=frozenset(row.name for row in one.landmarks)), known) for one in decisions]
    looks = list[int]()

    def look() -> None:
        looks.append(1)
        if len(looks) == 2:
            raise CancelledError("cancelled")

    task: Any = None  # nobody asks it where there are cases for comparison
    start = load_bundle(chest_bundle)
    predictor: Any = open_bundle(start, "cpu")
    network = predictor.network
    validation = Validation(task, start, corrected_chests.library, blind, tmp_path, "cpu", look)
    with pytest.raises(CancelledError):
        validation.error_mm(network)
    assert validation.error_mm(network) is not None
    assert len(looks) >= 2 + 2 * len(blind)


@pytest.mark.parametrize("family", ["dense_shape", "heatmap", "volumes"])
def test_reading_looks_before_each_case_and_each_old_one(
    family: str,
    corrected_chests: Annotator,
    chest_bundle: Path,
    heatmap_parent: Bundle,
    multi_scale: Bundle,
    phantom_folder: Path,
    blob_radiographs: Path,
    blob_volumes: Path,
    tmp_path: Path,
) -> None:
    finetune_task: Any
    if family == "dense_shape":
        finetune_task, parent, data = dense_shape.finetune_task, load_bundle(chest_bundle), phantom_folder
        library, old = corrected_chests.library, 10 + 3 + 8  # all are read, and of those that teach the maps are drawn
    elif family == "heatmap":
        finetune_task, parent, data = heatmap.finetune_task, heatmap_parent, blob_radiographs
        library, old = heatmap_cases.annotated(tmp_path, parent, heatmap_cases.correct_nose, 3), 10
    else:
        finetune_task, parent, data = volumes.finetune_task, multi_scale, blob_volumes
        library, old = volume_cases.annotated(tmp_path, parent, volume_cases.correct_chin, 3), 5
    decisions, _ = read_decisions(library)
    recipe, looks = finetuned(recipe_of(parent), FEW_STEPS), list[int]()
    finetune_task(recipe, decisions, library, data, parent, FEW_STEPS, "cpu", lambda: looks.append(1))
    assert len(looks) == 3 + old


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
