"""Fine-tuning that is cancelled, killed, or cannot: nothing is lost, one line says why, and nothing half made is listed."""

from __future__ import annotations

import errno
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

import training.finetuning.learn
import training.trainer
from DenseLandmarksLib.annotation.file_lock import is_locked, try_lock
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.versions import list_versions
from Testing.training.finetuning.chest_library import (
    FEW_STEPS,
    MODEL,
    case_ids,
    corrected_library,
    reopened,
    request_for,
    run,
)
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.kept_state import ROOT, assert_same, rows_of, state_of
from training.dense_shape_task import DenseShapeTask
from training.finetune import finetune
from training.finetuning.dense_shape import FinetuneDenseShape
from training.finetuning.recipe import FinetuneRecipe
from training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def annotator(chest_bundle: Path, chest_template: Template, tmp_path: Path) -> Annotator:
    """A library of its own, with versions of its own."""
    return corrected_library(tmp_path / "own", chest_bundle, chest_template)


@pytest.fixture(scope="module")
def whole(corrected_chests: Annotator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nobody stopped."""
    return run(corrected_chests, tmp_path_factory.mktemp("runs") / "whole")


def own_versions(annotator: Annotator) -> list[str]:
    return [one.version for one in list_versions(MODEL.name, annotator.folder / "versions")]


def state(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "state.json").read_text())
    return content


def fails(annotator: Annotator, output: Path, options: FinetuneRecipe = FEW_STEPS, **changes: object) -> str:
    """The one line with which a run ends that cannot; no version more is listed."""
    before = own_versions(annotator)
    with pytest.raises(InputError) as caught:
        finetune(request_for(annotator, output, options, **changes))
    line = str(caught.value)
    assert "\n" not in line
    assert own_versions(annotator) == before
    if (output / "state.json").is_file():
        assert state(output)["status"] == "failed"
        assert state(output)["line"] == line
        assert not is_locked(output / "run.lock")
    return line


# ---- stopped and gone on with ---------------------------------------------------------------------------------------


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
    words += ["--output", str(output), "--data-folder", str(tmp_path / "versions"), "--device", "cpu", "--low-priority"]
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


def test_one_that_was_killed_after_listing_its_version_does_not_list_it_twice(
    annotator: Annotator, tmp_path: Path
) -> None:
    output = run(annotator, tmp_path / "run")
    before = state(output)
    (output / "state.json").write_text(json.dumps({**before, "status": "comparing"}))
    assert finetune(request_for(annotator, output, resume=True))
    assert own_versions(annotator) == ["1.0.0", "1.0.0+1"]


def test_it_goes_on_with_the_revisions_that_it_began_with(
    annotator: Annotator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(annotator, tmp_path / "whole")
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


# ---- what cannot be done --------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number(annotator: Annotator, tmp_path: Path) -> None:
    wild = FinetuneRecipe(**{**vars(FEW_STEPS), "learning_rate_share": 1e30})
    assert "expected a finite loss" in fails(annotator, tmp_path / "run", wild)


@pytest.mark.parametrize("name", ["checkpoint.pt", "model.safetensors", "report.md", "gate.json"])
def test_a_full_disk(annotator: Annotator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever is written last before the disk is full: a line, and room made, it goes on."""
    replace = Path.replace

    def full(path: Path, target: Path) -> Path:
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        listed_before = own_versions(annotator)
        with pytest.raises(InputError) as caught:
            finetune(request_for(annotator, tmp_path / "run"))
    assert "No space left" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert state(tmp_path / "run")["status"] == "failed"
    if name != "report.md":  # by then the version is whole, and listed
        assert own_versions(annotator) == listed_before
    assert finetune(request_for(annotator, tmp_path / "run", resume=True))
    assert own_versions(annotator) == ["1.0.0", "1.0.0+1"]
    assert not any(one.problem for one in list_versions(MODEL.name, annotator.folder / "versions"))


def test_a_disk_that_is_full_while_weights_are_written_is_told_by_torch(tmp_path: Path, chest_bundle: Path) -> None:
    """Torch has its own error for it; a limit on the size of files is a full disk that a test can have."""
    program = (
        "import resource, signal, sys, pathlib, torch; from training.trainer import write_checkpoint;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "write_checkpoint(pathlib.Path(sys.argv[1]), {'weights': torch.zeros(100000)})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "c.pt")], cwd=ROOT, capture_output=True, text=True
    )
    assert "OSError" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "c.pt").exists()


def test_a_missing_image_leaves_its_case_out(annotator: Annotator, tmp_path: Path) -> None:
    lost = annotator.library.case(case_ids(annotator.library)[0])
    lost.image_path.unlink()
    output = run(annotator, tmp_path / "run")
    lines = json.loads((output / "cases.json").read_text())["lines"]
    assert len([line for line in lines if lost.name in line]) == 1
    assert lost.name in (output / "report.md").read_text()
    descent = json.loads((output / "bundle" / "configs" / "metadata.json").read_text())["descent"]
    assert set(descent["revisions"]) == set(case_ids(annotator.library)) - {lost.id}


def test_no_image_at_all(annotator: Annotator, tmp_path: Path) -> None:
    for case_id in case_ids(annotator.library):
        annotator.library.case(case_id).image_path.unlink()
    assert "expected at least one case" in fails(annotator, tmp_path / "run")


def test_a_single_case_is_learned_from_and_told(chest_bundle: Path, chest_template: Template, tmp_path: Path) -> None:
    one = corrected_library(tmp_path / "own", chest_bundle, chest_template, cases=1)
    output = run(one, tmp_path / "run")
    assert "one case alone" in (output / "report.md").read_text()
    assert own_versions(one) == ["1.0.0", "1.0.0+1"]


def test_nothing_to_learn_from(chest_bundle: Path, tmp_path: Path) -> None:
    nobody = Annotator(Library.create(tmp_path / "library", "Empty"), chest_bundle, tmp_path)
    assert "expected a case in Empty" in fails(nobody, tmp_path / "run")


def test_a_revision_that_cannot_be_read_is_told_and_the_one_before_counts(annotator: Annotator, tmp_path: Path) -> None:
    session = reopened(annotator, case_ids(annotator.library)[0])
    session.accept_remaining()
    session.save()
    session.close()
    (session.case.revision_folder(2) / "sidecar.json").write_text("{")
    output = run(annotator, tmp_path / "run")
    cases = json.loads((output / "cases.json").read_text())
    assert len(cases["lines"]) == 1
    assert {case["id"]: case["revision"] for case in cases["cases"]}[session.case.id] == 1


def test_too_little_memory_on_the_card_halves_the_batch_once(
    annotator: Annotator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No card is needed: the error is raised where the card would."""
    monkeypatch.setattr(training.finetuning.learn, "CHECKPOINT_EVERY_S", 0.0)
    output, seen = tmp_path / "run", list[int]()

    def short(limit: int, after_steps: int, cancel_after: int = 0) -> None:
        seen.clear()

        def loss(task: FinetuneDenseShape, network: Any, batch: tuple[torch.Tensor, ...], progress: float) -> Any:
            seen.append(task.optimiser.batch)
            if task.optimiser.batch > limit and len(seen) > after_steps:
                raise torch.OutOfMemoryError("CUDA out of memory")
            if len(seen) == cancel_after:
                (output / "cancel").touch()
            return DenseShapeTask.loss(task, network, batch, progress)

        monkeypatch.setattr(FinetuneDenseShape, "loss", loss)

    short(limit=2, after_steps=3, cancel_after=7)
    assert not finetune(request_for(annotator, output))
    assert seen == [4] * 4 + [2] * 3
    assert finetune(request_for(annotator, output, resume=True))
    assert seen == [4] * 4 + [2] * 3 + [2] * 4
    assert json.loads((output / "recipe.json").read_text())["optimiser"]["batch"] == 2
    assert [row["epoch"] for row in rows_of(output / "training.csv")] == [0, 1, 2]
    short(limit=1, after_steps=0)
    assert "smaller" in fails(annotator, tmp_path / "other")
    assert seen == [4, 2]


def test_an_error_that_nobody_thought_of_is_one_line_too(
    annotator: Annotator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(trainer: Trainer, *arguments: Any) -> Any:
        raise ZeroDivisionError("division by\nzero")

    monkeypatch.setattr(training.finetuning.learn.Trainer, "run_epoch", broken)
    assert "ZeroDivisionError: division by zero" in fails(annotator, tmp_path / "run")
