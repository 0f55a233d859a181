"""A whole run of fine-tuning, from the library to the new version: what it leaves for people, front ends and its children."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import training.finetuning.finish
from DenseLandmarksLib.annotation.file_lock import is_locked
from DenseLandmarksLib.annotation.library.decisions import read_decisions
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.descent import descent_of
from DenseLandmarksLib.models.manage_versions import add_version
from DenseLandmarksLib.models.registry import open_predictor
from DenseLandmarksLib.models.versions import ModelVersion, list_versions
from Testing.training.finetuning.chest_library import FEW_STEPS, LEARN, MODEL, case_ids, run
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.finetuning.finished_runs import (
    assert_same_weights,
    differ,
    json_of,
    own_versions,
)
from Testing.training.kept_state import rows_of
from training.__main__ import main
from training.recipe import recipe_from_dict
from training.rewrite_bundle import rewrite_bundle

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_error_at_corrected_points_falls(learned: Path) -> None:
    curve = rows_of(learned / "validation.csv")
    assert curve[0]["epoch"] == 0
    assert curve[-1]["epoch"] == 3
    assert curve[-1]["error_mm"] < 0.8 * curve[0]["error_mm"]
    assert [row["epoch"] for row in rows_of(learned / "training.csv")] == [0, 1, 2]


def test_a_new_version_is_listed_says_where_it_comes_from_and_is_not_active(learned: Path, library: Annotator) -> None:
    versions = {one.version: one for one in list_versions(MODEL.name, learned.parent / "versions")}
    assert list(versions) == ["1.0.0", "1.0.0+1"]
    assert versions["1.0.0"].active
    assert not versions["1.0.0+1"].problem
    descent = descent_of(versions["1.0.0+1"].metadata)
    assert descent is not None
    assert descent.parent == "small-chest 1.0.0"
    assert (descent.library_id, descent.library_name) == (library.library.id, library.library.name)
    assert dict(descent.revisions) == dict.fromkeys(case_ids(library.library), 1)
    decided = [row for one in read_decisions(library.library)[0] for row in one.landmarks]
    assert descent.corrections["corrected"] + descent.corrections["placed"] == len(decided)
    assert descent.outcome == "not enough evidence"
    assert descent.trained_on == set(case_ids(library.library))


def test_the_run_folder_holds_what_front_ends_read(learned: Path, library: Annotator) -> None:
    state = json_of(learned / "state.json")
    assert state["status"] == "done"
    assert state["fraction"] == 1
    assert "1.0.0+1" in state["line"]
    assert not is_locked(learned / "run.lock")
    about = json_of(learned / "run.json")
    assert about["parent"] == "small-chest 1.0.0"
    assert about["library"] == {
        "id": library.library.id,
        "name": library.library.name,
        "folder": str(library.library.folder.resolve()),
    }
    assert json_of(learned / "gate.json")["outcome"] == "not enough evidence"
    cases = json_of(learned / "cases.json")["cases"]
    assert {case["id"] for case in cases} == set(case_ids(library.library))
    assert {case["role"] for case in cases} == {"training"}
    assert sum(case["decisions"]["corrected"] for case in cases) > 0
    assert recipe_from_dict(json_of(learned / "recipe.json")).optimiser.steps == LEARN.steps
    report = (learned / "report.md").read_text()
    assert "small-chest 1.0.0+1" in report
    assert json_of(learned / "gate.json")["line"] in report
    assert "listed and not active" in report


def test_the_new_version_predicts_and_its_child_learns_as_fast_as_it_did(
    learned: Path, library: Annotator, chest_bundle: Path, tmp_path: Path
) -> None:
    child = load_bundle(learned / "bundle")
    assert child.version == "1.0.0+1"
    prediction = open_predictor(str(learned / "bundle"), "cpu")
    assert prediction.template.landmark_names == load_bundle(chest_bundle).landmark_names
    grown = Annotator(library.library, learned / "bundle", tmp_path)
    output = run(grown, tmp_path / "run", FEW_STEPS)
    rate = MODEL.optimiser.learning_rate * FEW_STEPS.learning_rate_share
    assert recipe_from_dict(json_of(output / "recipe.json")).optimiser.learning_rate == pytest.approx(rate)
    assert load_bundle(output / "bundle").version == "1.0.0+2"


def test_two_runs_that_end_at_the_same_time_are_both_listed(
    annotator: Annotator, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each version is there already when this run comes to add it, the parent's too: another run was a moment earlier."""
    output, added = Path(shutil.copytree(whole, tmp_path / "run")), list[str]()
    (output / "state.json").write_text(json.dumps({**json_of(output / "state.json"), "status": "comparing"}))

    def late(folder: Path, data_folder: Path) -> ModelVersion:
        version = load_bundle(folder).version
        added.append(version)
        if version in ("1.0.0", "1.0.0+1"):
            other = Path(shutil.copytree(folder, tmp_path / f"other-{version}"))
            rewrite_bundle(load_bundle(other), metadata={"descent": None})
            add_version(other, data_folder)
        return add_version(folder, data_folder)

    monkeypatch.setattr(training.finetuning.finish, "add_version", late)
    run(annotator, output, resume=True)
    assert added == ["1.0.0", "1.0.0+1", "1.0.0+2"]
    assert own_versions(annotator) == added
    assert load_bundle(output / "bundle").version == "1.0.0+2"
    assert "small-chest 1.0.0+2" in (output / "report.md").read_text()


def test_the_command_does_it_too_and_the_same_seed_gives_the_same_weights(
    library: Annotator, chest_bundle: Path, whole: Path, tmp_path: Path
) -> None:
    toml = tmp_path / "few.toml"
    toml.write_text("[finetune]\nepochs = 3\nema = 0.0\nlearning_rate_share = 0.3\nsteps = 600\n")
    words = ["finetune", "--model", str(chest_bundle), "--library", str(library.library.folder), "--recipe", str(toml)]
    words += ["--steps", "6", "--device", "cpu", "--data-folder", str(tmp_path / "versions")]
    assert main([*words, "--output", str(tmp_path / "one")]) == 0
    assert main([*words, "--output", str(tmp_path / "other"), "--seed", "1"]) == 0
    assert_same_weights(tmp_path / "one", whole)
    assert differ(tmp_path / "one", tmp_path / "other")
    versions = [one.version for one in list_versions(MODEL.name, tmp_path / "versions")]
    assert versions == ["1.0.0", "1.0.0+1", "1.0.0+2"]
