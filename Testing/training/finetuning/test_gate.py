"""A new version takes the old one's place only where what people placed blind says that it is not worse."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.library.case import CASE_FILE
from DenseLandmarksLib.annotation.library.comparison import NEEDED
from DenseLandmarksLib.annotation.library.datalist import fold_of
from DenseLandmarksLib.annotation.library.decisions import Decisions, read_decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.models.bundle import Bundle, load_bundle
from DenseLandmarksLib.models.registry import open_bundle
from Testing.models.disc_finder import NAMES, lps_of, patient, write_hand
from Testing.training.finetuning.compared_hands import ALL, add_hand, hands_placed_blind, place_blind, version_of
from training.finetuning.compared_errors import CancelledComparisonError, CaseErrors, ComparedErrors
from training.finetuning.gate import Verdict, compare, verdict_of
from training.finetuning.gate_report import verdict_lines

COUNT = NEEDED + 1


@pytest.fixture(scope="module")
def old(heatmap_bundle: Path) -> Bundle:
    return load_bundle(heatmap_bundle)


@pytest.fixture(scope="module")
def worse(old: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Looks a few millimetres beside the discs."""
    return version_of(old, tmp_path_factory.mktemp("bundles") / "worse", "1.0.0+1", shift=1)


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """One more case for comparison than are needed. No test changes it."""
    return hands_placed_blind(tmp_path_factory.mktemp("hands"), COUNT)


@pytest.fixture(scope="module")
def decided(hands: Library) -> tuple[Decisions, ...]:
    return read(hands)


@pytest.fixture
def few(tmp_path: Path) -> Library:
    """Three hands, that a test may change."""
    return hands_placed_blind(tmp_path, 3)


def read(library: Library) -> tuple[Decisions, ...]:
    found, lines = read_decisions(library)
    assert lines == ()
    return found


def gate(before: Bundle, after: Bundle, library: Library, decisions: tuple[Decisions, ...] | None = None) -> Verdict:
    return compare(before, after, library, read(library) if decisions is None else decisions, "cpu")


# ---- the verdict ----------------------------------------------------------------------------------------------------


def test_a_version_that_is_really_worse_stays_out_and_the_better_one_goes_in(
    old: Bundle, worse: Bundle, hands: Library, decided: tuple[Decisions, ...]
) -> None:
    down = gate(old, worse, hands, decided)
    assert (down.cases, down.persons, down.landmarks) == (COUNT, COUNT, 3 * COUNT)
    assert (down.outcome, down.is_to_be_active) == ("worse", False)
    assert down.before_mm is not None
    assert down.after_mm is not None
    assert down.before_mm < 1 < down.after_mm < 6
    assert down.difference_mm is not None
    mean, low, high = down.difference_mm
    assert mean == pytest.approx(down.after_mm - down.before_mm)
    assert 0 < low < mean < high
    assert "the old version stays active" in down.line
    up = gate(worse, old, hands, decided)
    assert (up.outcome, up.is_to_be_active) == ("not worse", True)
    assert up.difference_mm is not None
    np.testing.assert_allclose(up.difference_mm, (-mean, -high, -low), atol=1e-6)
    assert up.line.startswith("Better: ")
    assert up == gate(worse, old, hands, decided), "the same bundles and decisions, the same verdict"


def test_the_same_model_again_is_not_worse(old: Bundle, hands: Library, decided: tuple[Decisions, ...]) -> None:
    verdict = gate(old, old, hands, decided)
    assert (verdict.outcome, verdict.difference_mm, verdict.margin_mm) == ("not worse", (0.0, 0.0, 0.0), 0.05)


def test_fewer_cases_than_needed_are_not_enough_evidence(
    old: Bundle, worse: Bundle, hands: Library, decided: tuple[Decisions, ...]
) -> None:
    verdict = gate(worse, old, hands, decided[: NEEDED - 1])
    assert (verdict.cases, verdict.outcome, verdict.is_to_be_active) == (19, "not enough evidence", False)
    assert verdict.before_mm is not None
    assert verdict.after_mm is not None
    assert verdict.before_mm > verdict.after_mm, "it is told all the same"
    assert "20 cases" in verdict.line
    assert "stays active" in verdict.line
    nothing = gate(worse, old, hands, ())
    assert (nothing.cases, nothing.before_mm, nothing.outcome) == (0, None, "not enough evidence")
    assert verdict_lines(nothing) == [nothing.line, ""]


def errors(differences: np.ndarray, persons: int, before_mm: float = 4.0) -> ComparedErrors:
    cases = tuple(
        CaseErrors(f"case-{n:03}", f"film {n}", f"person-{n % persons}", 5, before_mm, before_mm + difference)
        for n, difference in enumerate(differences)
    )
    return ComparedErrors(cases, (), (0, 0), ())


def test_many_images_of_few_patients_are_not_enough_evidence() -> None:
    better = np.full(60, -1.0)
    assert verdict_of(errors(better, persons=9)).outcome == "not enough evidence"
    assert verdict_of(errors(better, persons=60)).outcome == "not worse"


def test_images_of_one_patient_count_together_in_the_interval() -> None:
    of_person = np.random.default_rng(0).normal(0.0, 1.0, 12)
    together = verdict_of(errors(np.tile(of_person, 5), persons=12))
    alone = verdict_of(errors(np.tile(of_person, 5), persons=60))
    assert together.difference_mm is not None
    assert alone.difference_mm is not None
    assert together.difference_mm[0] == pytest.approx(alone.difference_mm[0])
    wide, narrow = (d[2] - d[1] for d in (together.difference_mm, alone.difference_mm))
    assert 1.7 < wide / narrow < 2.8  # sqrt(5)


@pytest.mark.parametrize(
    ("mean_mm", "spread_mm", "outcome"),
    [(0.0, 0.1, "not worse"), (0.1, 0.02, "not worse"), (0.5, 0.1, "worse"), (0.15, 1.0, "undecided")],
)
def test_the_margin_is_a_share_of_the_old_error(mean_mm: float, spread_mm: float, outcome: str) -> None:
    differences = mean_mm + spread_mm * np.tile([-1.0, 1.0], 15)
    verdict = verdict_of(errors(differences, persons=30))  # the margin is 0.05 * 4 mm
    assert verdict.margin_mm == pytest.approx(0.2)
    assert verdict.outcome == outcome
    assert verdict.is_to_be_active is (outcome == "not worse")
    assert ("stays active" in verdict.line) is not verdict.is_to_be_active


def test_a_verdict_comes_back_from_a_file_and_is_passed_on_without_cases(
    old: Bundle, worse: Bundle, hands: Library, decided: tuple[Decisions, ...]
) -> None:
    verdict = gate(old, worse, hands, decided[:2])
    back = Verdict.from_dict(json.loads(json.dumps(verdict.to_dict(), allow_nan=False)))
    assert back == verdict
    assert len(back.by_case) == 2
    passed_on = json.dumps(verdict.without_cases().to_dict())
    assert not any(case.name in passed_on or case.case_id in passed_on for case in verdict.by_case)
    assert Verdict.from_dict(json.loads(passed_on)).line == verdict.line
    with pytest.raises(ValueError, match="an outcome"):
        Verdict.from_dict(verdict.to_dict() | {"outcome": "good"})


def test_the_report_says_it_by_structure(
    old: Bundle, worse: Bundle, hands: Library, decided: tuple[Decisions, ...]
) -> None:
    verdict = gate(old, worse, hands, decided[:4])
    lines = verdict_lines(verdict)
    assert lines[0] == verdict.line
    assert f"| hand | 4 | 12 | {verdict.before_mm:.2f} | {verdict.after_mm:.2f} |" in lines


# ---- what is truth --------------------------------------------------------------------------------------------------


def predict(session: Session, bundle: Bundle) -> None:
    image, _ = session.case.read_image(session.state.geometry)
    answer = ModelAnswer(open_bundle(bundle, "cpu").predict(image), bundle.template, bundle.styles)
    session.take(answer, session.state.geometry)


def test_what_was_accepted_or_came_along_never_counts(old: Bundle, worse: Bundle, few: Library, tmp_path: Path) -> None:
    before = gate(old, worse, few)
    session = Session(add_hand(few, tmp_path / "images", 50), "an annotator", data_folder=tmp_path / "user")
    predict(session, worse)
    session.move({"palm": lps_of(patient(50))[NAMES.index("palm")]})
    session.accept_remaining()
    session.save()
    assert len(read(few)) == 4
    assert gate(old, worse, few) == before


def test_a_landmark_that_was_touched_after_the_prediction_is_no_truth_and_undo_makes_it_one_again(
    old: Bundle, worse: Bundle, few: Library, tmp_path: Path
) -> None:
    session = place_blind(add_hand(few, tmp_path / "images", 60), tmp_path / "user", 60)
    session.save()
    assert gate(old, worse, few).landmarks == 9 + 7
    predict(session, worse)
    session.move({"palm": lps_of(patient(60))[0]})
    session.save()
    after = gate(old, worse, few)
    assert (after.cases, after.landmarks) == (4, 9 + 6)
    session.undo()
    session.save()
    assert gate(old, worse, few).landmarks == 9 + 7


def test_only_landmarks_that_both_versions_know_count(old: Bundle, worse: Bundle, few: Library, tmp_path: Path) -> None:
    session = Session(add_hand(few, tmp_path / "images", 70), "an annotator", data_folder=tmp_path / "user")
    session.start_blind([("palm", "hand"), ("sesamoid", "hand")])
    for name in ("palm", "sesamoid"):
        session.place(name, lps_of(patient(70))[-1])
    session.save()
    assert gate(old, worse, few).landmarks == 9 + 1
    strange = [one for one in read(few) if one.case_id == session.case.id]
    (alone,) = (replace(one, landmarks=one.landmarks[1:], blind=frozenset({"sesamoid"})) for one in strange)
    verdict = gate(old, worse, few, (alone,))
    assert verdict.cases == 0
    assert "no landmark that both versions know" in verdict.notes[0]


def test_a_landmark_that_a_model_calls_absent_is_measured_at_its_best_guess(
    old: Bundle, worse: Bundle, tmp_path: Path
) -> None:
    library = Library.create(tmp_path / "library", "hands")
    session = place_blind(add_hand(library, tmp_path / "images", 3, lost=["thumb"]), tmp_path / "user", 3)
    session.save()
    verdict = gate(old, worse, library)
    assert verdict.landmarks == 7
    assert verdict.called_absent[0] == 1
    assert any("called 1 absent" in line for line in verdict_lines(verdict))
    assert verdict.before_mm is not None
    assert np.isfinite(verdict.before_mm)


def test_a_case_counts_when_all_that_was_asked_for_is_decided(
    old: Bundle, worse: Bundle, few: Library, tmp_path: Path
) -> None:
    """Else a person, or a model, might choose the landmark that it is judged by."""
    session = Session(add_hand(few, tmp_path / "images", 80), "an annotator", data_folder=tmp_path / "user")
    session.start_blind(ALL[:3])
    truth = lps_of(patient(80))
    session.place(ALL[0][0], truth[0])
    session.save()
    verdict = gate(old, worse, few)
    assert (verdict.cases, verdict.landmarks) == (3, 9)
    assert verdict.notes == (
        f"{session.case.name}: left out; 2 of the landmarks that were asked for are not decided yet",
    )
    session.mark_absent(ALL[1][0])
    session.mark_unsure(ALL[2][0])
    session.save()
    assert (gate(old, worse, few).cases, gate(old, worse, few).landmarks) == (4, 10)


def test_nobody_is_compared_on_of_whom_a_version_has_learnt(
    old: Bundle, worse: Bundle, few: Library, tmp_path: Path
) -> None:
    decisions = read(few)
    learnt, other, third = (one.case_id for one in decisions)
    before = version_of(old, tmp_path / "before", "1.0.0", descent={"trained_on": [learnt]})
    verdict = gate(before, worse, few)
    assert {case.case_id for case in verdict.by_case} == {other, third}
    assert verdict.notes == (f"{decisions[0].name}: left out; one of the versions learnt from an image of its patient",)
    taught = version_of(worse, tmp_path / "taught", "1.0.0+2", descent={"trained_on": [other]})
    assert {case.case_id for case in gate(old, taught, few).by_case} == {learnt, third}
    # All cases of a patient go out with one that taught.
    for case_id in (learnt, other):
        path = few.case(case_id).folder / CASE_FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | {"patient_key": "a patient"}))
    assert {case.case_id for case in gate(old, taught, few).by_case} == {third}


def test_a_patient_with_a_case_that_teaches_is_not_compared_on(old: Bundle, worse: Bundle, tmp_path: Path) -> None:
    """Two images of one patient out of a file, kept back by its fold, until somebody corrects a prediction in one."""
    library = Library.create(tmp_path / "library", "hands")
    cases = [add_hand(library, tmp_path / "images", seed) for seed in (0, 1)]
    kept_back = next(f"patient-{n}" for n in range(99) if fold_of(f"patient-{n}") == 0)
    for case in cases:
        path = case.folder / CASE_FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | {"patient_key": kept_back}))
    sessions = [Session(library.case(case.id), "an annotator", data_folder=tmp_path / "user") for case in cases]
    for seed, session in enumerate(sessions):
        session.place("palm", lps_of(patient(seed))[-1], "hand")
        session.save()
    assert gate(old, worse, library).cases == 2
    predict(sessions[0], worse)
    sessions[0].accept("wrist")
    sessions[0].save()
    assert gate(old, worse, library).cases == 0


# ---- what cannot be measured ----------------------------------------------------------------------------------------


def test_a_missing_image_is_told_and_the_others_are_compared(old: Bundle, worse: Bundle, few: Library) -> None:
    first = few.cases()[0]
    few.case(first.id).image_path.unlink()
    verdict = gate(old, worse, few)
    assert verdict.cases == 2
    (note,) = verdict.notes
    assert note.startswith(f"{first.name}: left out; expected the image of case {first.name}")
    assert "\n" not in note
    assert f"* {note}" in verdict_lines(verdict)


def test_without_a_known_spacing_there_are_no_millimetres(old: Bundle, worse: Bundle, few: Library) -> None:
    first, *others = read(few)
    unknown = replace(first, geometry=replace(first.geometry, spacing_source=SpacingSource.UNKNOWN))
    verdict = gate(old, worse, few, (unknown, *others))
    assert verdict.cases == 2
    assert "spacing of its image is unknown" in verdict.notes[0]


def test_a_radiograph_is_no_truth_about_a_model_for_volumes(volume_bundle: Path, few: Library) -> None:
    neck = load_bundle(volume_bundle)
    verdict = gate(neck, neck, few)
    assert (verdict.cases, len(verdict.notes)) == (0, 3)
    assert "expected a volume" in verdict.notes[0]


def test_it_says_how_far_it_is_and_can_be_given_up(old: Bundle, worse: Bundle, few: Library) -> None:
    told: list[tuple[int, int]] = []
    compare(old, worse, few, read(few), "cpu", progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 6) for done in range(1, 7)]
    with pytest.raises(CancelledComparisonError):
        compare(old, worse, few, read(few), "cpu", cancelled=lambda: True)


def test_the_truth_of_these_tests_is_where_the_discs_are(old: Bundle, tmp_path: Path) -> None:
    """Else the errors above would be those of the tests."""
    found = open_bundle(old, "cpu").predict(read_image(write_hand(tmp_path / "hand.nrrd", 9))).landmarks
    assert np.linalg.norm(found.points_lps_mm - lps_of(patient(9)), axis=1).max() < 1.0
