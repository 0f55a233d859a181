"""Fine-tuning that cannot be: nothing is lost, one line says why, and nothing half made is listed."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import AdamW

import training.finetuning.learn
import training.trainer
from DenseLandmarksLib.annotation.file_lock import is_locked
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
from Testing.training.finetuning.finished_runs import (
    own_versions,
    state,
)
from Testing.training.kept_state import assert_same, rows_of, state_of
from training.dense_shape_task import DenseShapeTask
from training.finetune import finetune
from training.finetuning.dense_shape import FinetuneDenseShape
from training.finetuning.recipe import FinetuneRecipe
from training.trainer import Trainer, write_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")


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


def test_a_loss_that_is_no_number(annotator: Annotator, tmp_path: Path) -> None:
    wild = FinetuneRecipe(**{**vars(FEW_STEPS), "learning_rate_share": 1e30})
    line = fails(annotator, tmp_path / "run", wild)
    assert "expected a finite loss" in line
    # A recipe of fine-tuning has no table [optimiser].
    assert "Lower finetune.learning_rate_share" in line
    assert "optimiser" not in line


class _Poisoned(torch.autograd.Function):
    """A number whose gradient is none."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * torch.nan


@pytest.mark.parametrize("step", [4, 6])
@pytest.mark.parametrize("what", ["gradient", "weights"])
def test_what_the_last_step_spoils_gets_into_no_checkpoint_and_no_version(
    annotator: Annotator, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, what: str
) -> None:
    """Step 4 is the last of its part, 6 of all: no loss is computed behind it that would show it."""
    monkeypatch.setattr(training.finetuning.learn, "CHECKPOINT_EVERY_S", 0.0)
    loss, go, done, stepped = FinetuneDenseShape.loss, AdamW.step, list[int](), list[int]()

    def poisoned(task: FinetuneDenseShape, *arguments: Any) -> Any:
        done.append(1)
        value, terms = loss(task, *arguments)
        return (_Poisoned.apply(value) if what == "gradient" and len(done) == step else value), terms

    def too_far(optimiser: AdamW, *arguments: Any) -> Any:
        stepped.append(1)
        result = go(optimiser, *arguments)
        if what == "weights" and len(stepped) == step:
            optimiser.param_groups[0]["params"][0].data.fill_(torch.inf)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneDenseShape, "loss", poisoned)
        patch.setattr(AdamW, "step", too_far)
        line = fails(annotator, tmp_path / "run")
    assert f"expected {'a finite gradient' if what == 'gradient' else 'finite weights'}" in line
    assert "Lower finetune.learning_rate_share" in line
    assert all(torch.isfinite(value).all() for value in state_of(tmp_path / "run")["network"].values())
    assert state_of(tmp_path / "run")["epoch"] == (step - 1) // 2
    assert finetune(request_for(annotator, tmp_path / "run", resume=True))
    assert_same(state_of(tmp_path / "run"), state_of(whole))


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


def test_a_disk_that_is_full_while_weights_are_written_is_told_by_torch(tmp_path: Path) -> None:
    """Torch has its own error for it; a limit on the size of files is a full disk that a test can have."""
    before, heard = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        with pytest.raises(OSError, match=r"c\.pt could not be written"):
            write_checkpoint(tmp_path / "c.pt", {"weights": torch.zeros(100000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, heard)
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


def test_a_folder_in_which_nothing_was_learned_yet_is_free_for_another_run(
    annotator: Annotator, chest_bundle: Path, tmp_path: Path
) -> None:
    nobody = Annotator(Library.create(tmp_path / "empty", "Empty"), chest_bundle, tmp_path)
    fails(nobody, tmp_path / "run")
    (tmp_path / "run" / "cancel").touch()  # and it was cancelled too late
    assert state(run(annotator, tmp_path / "run"))["status"] == "done"


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


def test_too_little_memory_for_a_run_that_goes_on_costs_it_nothing(
    annotator: Annotator, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else uses the card at the moment: the epochs that are done stay."""
    output = tmp_path / "run"
    assert not finetune(request_for(annotator, output, max_minutes=0.0))
    before = (output / "checkpoint.pt").read_bytes()

    def short(*arguments: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneDenseShape, "loss", short)
        assert "--resume" in fails(annotator, output, resume=True)
    assert (output / "checkpoint.pt").read_bytes() == before
    assert finetune(request_for(annotator, output, resume=True))
    assert_same(state_of(output), state_of(whole))


def test_an_error_that_nobody_thought_of_is_one_line_too(
    annotator: Annotator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(trainer: Trainer, *arguments: Any) -> Any:
        raise ZeroDivisionError("division by\nzero")

    monkeypatch.setattr(training.finetuning.learn.Trainer, "run_epoch", broken)
    assert "ZeroDivisionError: division by zero" in fails(annotator, tmp_path / "run")
