"""The report of a run says what was learned, from what, and what the comparison came to; no more and no less."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.descent import descent_of
from Testing.training.finetuning.chest_library import run
from Testing.training.finetuning.corrected_cases import Annotator
from Testing.training.finetuning.finished_runs import json_of
from Testing.training.finetuning.heatmap_cases import SPACING, correct_nose, lps, points_px, write_image
from training.finetuning.recipe import FinetuneRecipe

pytestmark = pytest.mark.usefixtures("one_thread")

FEW = FinetuneRecipe(steps=2, epochs=1, batch=2, ema=0.0)
ALONE = "it learns from one case alone"


def annotated(folder: Path, parent: Bundle, count: int) -> tuple[Annotator, list[str]]:
    """The nose is corrected in each case and an ear accepted, and somebody named a point that the model has not."""
    folder.mkdir()
    annotator = Annotator.begin(folder, parent.folder)

    def decide(seed: int, session: Session) -> None:
        correct_nose(seed)(session)
        session.accept("left_ear")
        session.mark_absent("chin")  # which this model's recipe does not teach
        session.place(f"clip {seed}", lps(session, points_px(seed)[0]), "")

    ids = [
        annotator.work_on(write_image(folder, seed), lambda session, seed=seed: decide(seed, session), SPACING)
        for seed in range(count)
    ]
    return annotator, ids


def report_of(output: Path) -> str:
    return (output / "report.md").read_text()


def test_only_what_was_learned_from_is_counted(heatmap_parent: Bundle, tmp_path: Path) -> None:
    annotator, ids = annotated(tmp_path / "own", heatmap_parent, 3)
    annotator.library.case(ids[0]).image_path.unlink()
    output = run(annotator, tmp_path / "run", FEW)
    assert "2 cases to learn from (2 corrected, 2 verified), 0 kept for comparison." in report_of(output)
    descent = descent_of(load_bundle(output / "bundle").metadata)
    assert descent is not None
    assert dict(descent.corrections) == {"corrected": 2, "placed": 0, "verified": 2, "absent": 0}
    # What a recipe gives no weight teaches nothing.
    nothing = run(annotator, tmp_path / "nothing", replace(FEW, verified_weight=0.0))
    assert "2 cases to learn from (2 corrected), 0 kept" in report_of(nothing)


@pytest.mark.parametrize(("count", "missing", "is_alone"), [(1, 0, True), (2, 1, True), (2, 0, False)])
def test_it_is_said_where_one_case_is_left(
    heatmap_parent: Bundle, tmp_path: Path, count: int, missing: int, is_alone: bool
) -> None:
    annotator, ids = annotated(tmp_path / "own", heatmap_parent, count)
    for case_id in ids[:missing]:
        annotator.library.case(case_id).image_path.unlink()
    assert (ALONE in report_of(run(annotator, tmp_path / "run", FEW))) is is_alone


def test_the_comparison_is_told_by_structure(heatmap_parent: Bundle, tmp_path: Path) -> None:
    annotator, _ = annotated(tmp_path / "own", heatmap_parent, 2)
    for seed in (7, 8):

        def decide(session: Session, seed: int = seed) -> None:
            session.start_blind([("nose", "head"), ("chin", "head")])
            for name, row in (("nose", 2), ("chin", 3)):
                session.place(name, lps(session, points_px(seed)[row]), "head")

        annotator.work_on(write_image(tmp_path, seed), decide, SPACING, is_predicted=False)
    output = run(annotator, tmp_path / "run", FEW)
    gate, report = json_of(output / "gate.json"), report_of(output)
    assert gate["line"] in report
    assert f"| head | 2 | 4 | {gate['before_mm']:.2f} | {gate['after_mm']:.2f} |" in report
    assert "Of 4 landmarks that people placed, the old version called" in report


def test_what_held_the_old_weights_is_what_did(heatmap_parent: Bundle, blob_radiographs: Path, tmp_path: Path) -> None:
    annotator, _ = annotated(tmp_path / "own", heatmap_parent, 2)
    for share, said in ((0.5, "8 original cases replayed (50% of each batch)"), (0.0, "pulled to its old weights")):
        asked = replace(FEW, replay_share=share)
        assert said in report_of(run(annotator, tmp_path / str(share), asked, replay=blob_radiographs))
    assert "nothing holds the old weights" in report_of(run(annotator, tmp_path / "anew", replace(FEW, anew=True)))
