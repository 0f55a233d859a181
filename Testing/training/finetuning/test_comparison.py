"""Cases that people placed blind are there for comparison: nobody learns from them, and they say what becomes active."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import DenseLandmarksLib.models.versions
import training.finetuning.request
from DenseLandmarksLib.annotation.library.decisions import Decisions, read_decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import load_bundle
from DenseLandmarksLib.models.descent import descent_of
from DenseLandmarksLib.models.manage_versions import add_version, set_active
from DenseLandmarksLib.models.versions import list_versions
from Testing.training.finetuning.chest_library import (
    LEARN,
    MODEL,
    every_third,
    phantom_of,
    run,
    truth_of,
    write_phantom,
)
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.finetuning.finished_runs import (
    assert_same_weights,
    json_of,
    state,
)
from Testing.training.kept_state import rows_of
from training.phantoms import Phantom
from training.rewrite_bundle import rewrite_bundle

pytestmark = pytest.mark.usefixtures("one_thread")


def test_nobody_learns_from_a_case_that_is_there_for_comparison(
    annotator: Annotator, chest_bundle: Path, whole: Path, tmp_path: Path
) -> None:
    template = load_bundle(chest_bundle).need_template()
    phantom = phantom_of(template, 7)
    names = every_third(template)[:5]
    owner = {name: s.name for s in template.structures for name in s.landmark_names}

    def decide(session: Session) -> None:
        session.start_blind([(name, owner[name]) for name in names])
        truth = truth_of(session, phantom)
        for name in names:
            session.place(name, truth[name], owner[name])

    blind = annotator.work_on(write_phantom(tmp_path / "images", phantom), decide, is_predicted=False)
    after = run(annotator, tmp_path / "after")
    assert_same_weights(whole, after)
    roles = {case["id"]: case["role"] for case in json_of(after / "cases.json")["cases"]}
    assert roles.pop(blind) == "comparison"
    assert set(roles.values()) == {"training"}
    descent = descent_of(load_bundle(after / "bundle").metadata)
    assert descent is not None
    assert blind not in descent.trained_on
    assert json_of(after / "gate.json")["cases"] == 1
    # The curve is that of the blind landmarks of this case, as the comparison measures them.
    gate = json_of(after / "gate.json")
    curve = rows_of(after / "validation.csv")
    assert curve[0]["error_mm"] == pytest.approx(gate["before_mm"], rel=1e-3)
    assert curve[-1]["error_mm"] == pytest.approx(gate["after_mm"], rel=1e-3)


def test_a_version_that_is_better_on_twenty_blind_cases_becomes_active_unless_asked_not_to(
    annotator: Annotator,
    chest_template: Template,
    phantom_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = every_third(chest_template)[::4]
    owner = {name: s.name for s in chest_template.structures for name in s.landmark_names}
    for number in range(20):
        phantom = phantom_of(chest_template, 10 + number)

        def decide(session: Session, phantom: Phantom = phantom) -> None:
            session.start_blind([(name, owner[name]) for name in names])
            truth = truth_of(session, phantom)
            for name in names:
                session.place(name, truth[name], owner[name])

        annotator.work_on(write_phantom(tmp_path / "images", phantom), decide, is_predicted=False)
    some = replace(LEARN, steps=24, epochs=1)
    for activate in (True, False):
        output, versions = tmp_path / str(activate), tmp_path / f"versions-{activate}"
        if not activate:  # what was learned is the same: it is compared and listed again
            shutil.copytree(tmp_path / "True", output)
            (output / "state.json").write_text(json.dumps({**state(output), "status": "comparing"}))
        asked = {"replay": phantom_folder, "data_folder": versions, "activate": activate, "resume": not activate}
        run(annotator, output, some, **asked)
        gate = json_of(output / "gate.json")
        assert (gate["cases"], gate["outcome"]) == (20, "not worse")
        assert gate["after_mm"] < gate["before_mm"]
        active = [one.version for one in list_versions(MODEL.name, versions) if one.active]
        assert active == ["1.0.0+1" if activate else "1.0.0"]
        report = (output / "report.md").read_text()
        assert f"The new version is {'active' if activate else 'listed and not active'}." in report
    # What was learned is compared and listed once more, in other places.
    again = {"replay": phantom_folder, "resume": True}

    def copied(name: str) -> Path:
        output = Path(shutil.copytree(tmp_path / "True", tmp_path / name))
        (output / "state.json").write_text(json.dumps({**state(output), "status": "comparing"}))
        return output

    # Whoever made another version active meanwhile keeps it: nobody compared with that one.
    output, versions = copied("late"), tmp_path / "versions-late"
    other = shutil.copytree(annotator.bundle, tmp_path / "other")
    rewrite_bundle(load_bundle(other), metadata={"version": "1.1.0"})
    add_version(annotator.bundle, versions)
    add_version(other, versions)
    set_active(MODEL.name, "1.1.0", versions)
    run(annotator, output, some, **again, data_folder=versions)
    assert json_of(output / "gate.json")["is_to_be_active"]
    listed = {one.version: one.active for one in list_versions(MODEL.name, versions)}
    assert listed == {"1.0.0": False, "1.0.0+1": False, "1.1.0": True}
    said = "Version 1.1.0 is active, with which it was not compared, so that one stays."
    assert state(output)["line"].endswith(said)
    assert f"The new version is listed and not active. {said}" in (output / "report.md").read_text()
    # One that was killed after it was made active is not another one.
    run(annotator, copied("killed"), some, **again, data_folder=tmp_path / "versions-True")
    assert "The new version is active." in (tmp_path / "killed" / "report.md").read_text()
    # The shipped version is the parent where nobody made another one active.
    monkeypatch.setattr(DenseLandmarksLib.models.versions, "SHIPPED", tmp_path / "shipped")
    shutil.copytree(annotator.bundle, tmp_path / "shipped" / MODEL.name)
    run(annotator, copied("of-shipped"), some, **again, data_folder=tmp_path / "versions-of-shipped")
    listed = {one.version: one.active for one in list_versions(MODEL.name, tmp_path / "versions-of-shipped")}
    assert listed == {"1.0.0": False, "1.0.0+1": True}


def test_the_curve_of_cases_that_it_learned_from_is_not_called_one_of_the_comparison(
    annotator: Annotator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A case is there for comparison, and all of its landmarks were decided with a prediction in sight."""

    def with_one_for_comparison(library: Library) -> tuple[tuple[Decisions, ...], tuple[str, ...]]:
        (*others, last), lines = read_decisions(library)
        return (*others, replace(last, is_chosen_for_comparison=True, blind=frozenset())), lines

    monkeypatch.setattr(training.finetuning.request, "read_decisions", with_one_for_comparison)
    report = (run(annotator, tmp_path / "run") / "report.md").read_text()
    assert "2 cases to learn from" in report
    assert "1 kept for comparison" in report
    assert "Mean error on the cases that it learned from: " in report
