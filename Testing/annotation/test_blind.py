"""Only what a person decided without a prediction in sight may say which model is better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.blind import left_to_place
from DenseLandmarksLib.annotation.case_state import CaseState, ModelAnswer
from DenseLandmarksLib.annotation.edits import (
    Absent,
    Accept,
    CorrectSpacing,
    Edit,
    Import,
    ImportedRow,
    Move,
    Paint,
    Place,
    Reset,
    StartBlind,
    TakePrediction,
    Unsure,
)
from DenseLandmarksLib.annotation.imports.imported_landmarks import ImportedLandmarks
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.annotation.sight import has_seen
from DenseLandmarksLib.annotation.worklist import has_open, open_landmarks
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.perfect_answer import chest_image, perfect_answer

A, B, C = "right_lung_10", "heart_03", "left_lung_10"
STRUCTURE = {A: "right_lung", B: "heart", C: "left_lung"}
TO_PLACE = tuple(STRUCTURE.items())
ONE = TO_PLACE[:1]
HERE, THERE = (40.0, 60.0, 0.0), (42.0, 61.0, 0.0)


@pytest.fixture(scope="module")
def film(chest_template: Template) -> MedicalImage:
    return chest_image(chest_template)


@pytest.fixture(scope="module")
def answer(chest_template: Template, film: MedicalImage) -> ModelAnswer:
    return perfect_answer(chest_template, film)


@pytest.fixture(scope="module")
def fresh(film: MedicalImage) -> CaseState:
    return CaseState(film.geometry)


@pytest.fixture(scope="module")
def take(film: MedicalImage, answer: ModelAnswer) -> TakePrediction:
    return TakePrediction(answer, film.geometry)


@pytest.fixture
def session(film: MedicalImage, tmp_path: Path) -> Session:
    sitk.WriteImage(film.volume, tmp_path / "film.nrrd")
    library = Library.create(tmp_path / "library", "chests")
    return Session(library.add(tmp_path / "film.nrrd"), "an annotator", data_folder=tmp_path / "user")


def after(state: CaseState, *edits: Edit) -> CaseState:
    for edit in edits:
        state = apply_edit(state, edit)
    return state


def place(name: str) -> Place:
    return Place(name, STRUCTURE[name], HERE)


def row(name: str, review: Review, presence: Presence = Presence.PRESENT) -> ImportedRow:
    return ImportedRow(name, STRUCTURE[name], presence, review, HERE if presence is Presence.PRESENT else None)


# ---- what is blind --------------------------------------------------------------------------------------------------


def test_what_is_placed_before_a_prediction_is_blind_and_stays_so_when_one_comes(
    fresh: CaseState, take: TakePrediction
) -> None:
    state = after(fresh, place(A), place(B))
    assert state.blind == {A, B}
    assert after(state, take).blind == {A, B}
    assert after(state, take, CorrectSpacing((0.5, 0.5, 1.0)), take).blind == {A, B}
    assert after(state, Move(((A, THERE),))).blind == {A, B}, "nothing was seen yet"


def test_a_landmark_called_absent_before_a_prediction_is_blind(fresh: CaseState) -> None:
    assert after(fresh, StartBlind(TO_PLACE), Absent((B,))).blind == {B}


@pytest.mark.parametrize(
    "touch", [Move(((A, THERE),)), Reset((A,)), Unsure((A,)), Absent((A,)), Import((row(A, Review.VERIFIED),))], ids=str
)
def test_what_is_touched_after_the_prediction_is_blind_no_more(
    fresh: CaseState, take: TakePrediction, touch: Edit
) -> None:
    seen = after(fresh, place(A), place(B), take)
    assert after(seen, touch).blind == {B}


def test_moving_a_landmark_away_and_back_does_not_make_it_blind_again(fresh: CaseState, take: TakePrediction) -> None:
    seen = after(fresh, place(A), take)
    assert after(seen, Move(((A, THERE),)), Move(((A, HERE),))).blind == frozenset()
    assert after(seen, Absent((A,)), place(A)).blind == frozenset()


def test_what_was_accepted_or_came_along_with_a_neighbour_is_never_blind(
    fresh: CaseState, take: TakePrediction
) -> None:
    predicted = after(fresh, take)
    i, j, k = predicted.index_ijk[predicted.landmarks.names.index(A)]
    state = after(predicted, Accept((C,)), Move(((A, (i + 4, j, k)),)), Absent((B,)))
    assert not np.array_equal(state.landmarks.points_lps_mm, predicted.landmarks.points_lps_mm)
    assert state.blind == frozenset()
    assert after(state, take).blind == frozenset()
    # Agreeing with what was placed before changes nothing about it.
    assert after(fresh, place(A), take, Accept((A, C))).blind == {A}


def test_of_a_file_only_what_somebody_placed_is_blind(fresh: CaseState, take: TakePrediction) -> None:
    rows = (row(A, Review.PLACED), row(B, Review.VERIFIED), row(C, Review.CORRECTED))
    assert after(fresh, Import(rows)).blind == {A}
    assert after(fresh, Import((row(A, Review.PREDICTED), row(B, Review.UNSURE)))).blind == frozenset()
    # A position that the file says a model gave was in sight.
    assert after(fresh, Import((row(A, Review.PREDICTED),)), Move(((A, THERE),))).blind == frozenset()
    assert after(fresh, take, Import((row(A, Review.PLACED),))).blind == frozenset()


def test_a_file_that_does_not_say_who_decided_is_from_outside(session: Session) -> None:
    points = session.state.geometry.index_to_lps_mm @ np.array(HERE) + session.state.geometry.origin_lps_mm
    imported = ImportedLandmarks((A,), ("right_lung",), points[None], (Presence.PRESENT,), (None,))
    session.import_landmarks(imported)
    assert session.state.blind == {A}


# ---- beginning blind ------------------------------------------------------------------------------------------------


def test_a_case_that_is_begun_blind_is_as_nobody_predicted_it(fresh: CaseState, take: TakePrediction) -> None:
    state = after(fresh, take, StartBlind(TO_PLACE))
    assert state.is_chosen_for_comparison
    assert (state.answer, state.structures, state.new_landmarks) == (None, (), ())
    assert dict(zip(state.landmarks.names, state.landmarks.structures, strict=True)) == STRUCTURE
    assert set(state.landmarks.presence) == {Presence.UNPLACED}
    assert np.isnan(state.landmarks.predicted_lps_mm).all()
    assert state.geometry == fresh.geometry
    assert after(state, StartBlind(TO_PLACE)) is state
    assert after(state, place(A)).blind == {A}


@pytest.mark.parametrize(
    "decision",
    [Accept((A,)), Unsure((A,)), Accept((), ("heart",)), Absent((A,)), Paint("heart", np.zeros((1, 128, 128), bool))],
    ids=str,
)
def test_a_case_in_which_somebody_decided_is_not_begun_blind(
    fresh: CaseState, take: TakePrediction, decision: Edit
) -> None:
    with pytest.raises(InputError, match="nobody decided anything") as told:
        after(fresh, take, decision, StartBlind(TO_PLACE))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("landmarks", [(), ((A, "x"), (A, "x")), (("", "x"),)], ids=str)
def test_what_is_to_be_placed_has_names(fresh: CaseState, landmarks: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(InputError, match=r"expected (landmarks to place|a name for the landmark)"):
        after(fresh, StartBlind(landmarks))


def test_a_prediction_waits_until_all_that_was_asked_for_is_decided(fresh: CaseState, take: TakePrediction) -> None:
    begun = after(fresh, StartBlind(TO_PLACE))
    for state, left in ((begun, 3), (after(begun, Unsure((A,))), 2), (after(begun, place(A), Absent((B,))), 1)):
        assert len(left_to_place(state)) == left
        with pytest.raises(InputError, match=f"got {left} of 3 that are not") as told:
            after(state, take)
        assert "\n" not in str(told.value)
    seen = after(begun, place(A), Absent((B,)), Unsure((C,)), take)
    assert seen.answer is not None
    assert seen.is_chosen_for_comparison
    assert seen.blind == {A, B}
    # Once it was seen, nothing is to be hidden any more.
    assert left_to_place(seen) == ()
    assert after(seen, Reset((A, C)), take).blind == {B}


def test_a_case_that_was_not_begun_blind_hides_nothing(fresh: CaseState, take: TakePrediction) -> None:
    from_outside = after(fresh, Import((row(A, Review.PLACED), row(B, Review.PREDICTED))))
    assert left_to_place(from_outside) == ()
    assert after(from_outside, take).blind == {A}


# ---- undo, crash, reading -------------------------------------------------------------------------------------------


def point(session: Session, index: tuple[float, float, float] = HERE) -> np.ndarray:
    geometry = session.state.geometry
    return np.array(geometry.origin_lps_mm) + geometry.index_to_lps_mm @ np.array(index)


def test_undo_brings_back_what_was_blind(session: Session, answer: ModelAnswer) -> None:
    session.place(A, point(session), "right_lung")
    session.take(answer, session.state.geometry)
    session.move({A: point(session, THERE)})
    assert session.state.blind == frozenset()
    session.undo()
    assert session.state.blind == {A}
    session.redo()
    assert session.state.blind == frozenset()


def test_who_saw_a_prediction_and_took_it_back_is_not_blind(
    session: Session, answer: ModelAnswer, tmp_path: Path
) -> None:
    session.start_blind(ONE)
    session.place(A, point(session))
    session.take(answer, session.state.geometry)
    session.undo()
    session.place(B, point(session), STRUCTURE[B])
    assert session.state.answer is None
    assert session.state.blind == {A}
    session.move({A: point(session, THERE)})
    assert session.state.blind == frozenset()
    session.close()
    again = Session(session.case, "an annotator", data_folder=tmp_path / "user")
    again.recover(again.recoverable[0])
    assert again.state.blind == frozenset()
    again.undo()
    assert again.state.blind == {A}


def test_who_saw_a_prediction_knows_it_in_earlier_revisions_too_and_nobody_else_does(
    session: Session, answer: ModelAnswer, tmp_path: Path
) -> None:
    session.start_blind(TO_PLACE[:2])
    session.place(A, point(session))
    session.save()
    session.mark_unsure(B)
    session.take(answer, session.state.geometry)
    session.save()
    session.close()
    for who, blind in (("an annotator", {A}), ("somebody else", {A, B})):
        again = Session(session.case, who, revision=1, data_folder=tmp_path / who)
        again.place(B, point(again))
        assert again.state.blind == blind
        again.close()
        recovered = Session(session.case, who, revision=1, data_folder=tmp_path / who)
        recovered.recover(recovered.recoverable[0])
        assert recovered.state.blind == blind
    anew = Session(session.case, "an annotator", revision=1, data_folder=tmp_path / "anew")
    anew.reset(A)
    anew.save()
    anew.close()
    anew = Session(session.case, "an annotator", data_folder=tmp_path / "anew")
    anew.start_blind(TO_PLACE)
    anew.place(C, point(anew))
    assert anew.state.blind == frozenset()


def test_work_that_goes_on_after_a_saved_prediction_is_recovered_as_it_was(
    session: Session, answer: ModelAnswer, tmp_path: Path
) -> None:
    session.start_blind(TO_PLACE)
    session.place(A, point(session))
    session.save()
    session.place(B, point(session))
    session.mark_unsure(C)
    session.take(answer, session.state.geometry)
    session.save()
    session.accept("left_lung_11")
    session.close()
    again = Session(session.case, "an annotator", data_folder=tmp_path / "user")
    again.recover(again.recoverable[0])
    assert again.state.blind == {A, B}
    again.move({B: point(again, THERE)})
    assert again.state.blind == {A}


def test_a_case_in_which_new_landmarks_were_looked_up_is_begun_blind(
    session: Session, answer: ModelAnswer, tmp_path: Path
) -> None:
    session.who = "a night's run"
    session.take(answer, session.state.geometry)
    session.save()
    session.close()
    again = Session(session.case, "an annotator", data_folder=tmp_path / "user")
    again.look_up(NewLandmark("hilum", "right_lung", (0.1, 0.1)))
    again.start_blind(TO_PLACE)
    again.place(A, point(again))
    assert again.state.blind == {A}


def test_who_took_a_prediction_back_does_not_begin_blind(session: Session, answer: ModelAnswer) -> None:
    session.take(answer, session.state.geometry)
    session.undo()
    session.start_blind(ONE)
    session.place(A, point(session))
    assert session.state.blind == frozenset()
    session.take(answer, session.state.geometry)  # what is decided is decided, though it is not blind


def test_who_says_who_they_are_later_knows_what_they_saw(session: Session, answer: ModelAnswer, tmp_path: Path) -> None:
    session.who = "An  Annotator"
    session.start_blind(ONE)
    session.place(A, point(session))
    session.save()
    session.take(answer, session.state.geometry)
    session.save()
    session.close()
    again = Session(session.case, "", revision=1, data_folder=tmp_path / "again")
    again.who = "An  Annotator"
    again.place(B, point(again), STRUCTURE[B])
    assert again.state.blind == {A}


def test_who_saved_a_prediction_knows_it_and_a_run_over_the_library_does_not(
    session: Session, answer: ModelAnswer, tmp_path: Path
) -> None:
    session.take(answer, session.state.geometry)
    session.case.save(session.state, "an annotator", 0, "predicted by a run, which nobody looked at")
    assert not session.case.was_shown_to("an annotator")
    session.save()
    session.close()
    assert session.case.was_shown_to("an  annotator")
    assert not session.case.was_shown_to("somebody else")
    again = Session(session.case, "an annotator", data_folder=tmp_path / "user")
    again.start_blind(ONE)
    again.place(A, point(again))
    assert again.state.blind == frozenset()


def test_what_was_seen_and_not_saved_is_known_as_long_as_a_journal_is_left(
    session: Session, answer: ModelAnswer, tmp_path: Path
) -> None:
    journals = tmp_path / "user" / "journals" / session.case.id

    def again() -> Session:
        return Session(session.case, "an annotator", data_folder=tmp_path / "user")

    session.start_blind(ONE)
    session.place(A, point(session))
    session.close()
    assert not has_seen(session.case, "an annotator", journals), "nobody predicted anything"
    going_on = again()
    going_on.recover(going_on.recoverable[0])
    going_on.take(answer, going_on.state.geometry)
    going_on.undo()
    going_on.close()
    assert has_seen(session.case, "an annotator", journals)
    leaving = again()
    leaving.discard(leaving.recoverable[0])
    assert has_seen(session.case, "an annotator", journals), "it was discarded, and seen"
    assert not has_seen(session.case, "an annotator", tmp_path / "elsewhere")
    next(journals.glob(".*/journal.jsonl")).write_bytes(b"damaged")
    assert has_seen(session.case, "an annotator", journals), "nobody knows what stood in it"


def test_what_is_blind_is_in_a_revision_and_in_its_summary(session: Session, tmp_path: Path) -> None:
    session.start_blind(TO_PLACE)
    session.place(A, point(session))
    session.save()
    state, info = session.case.load()
    assert (state.blind, state.is_chosen_for_comparison) == ({A}, True)
    assert info is not None
    assert info.is_chosen_for_comparison
    assert info.is_decided
    assert (info.reviewed, info.landmarks) == (1, 3)
    assert not info.is_reviewed


def test_what_is_to_be_placed_is_left_to_do_until_a_prediction_comes(fresh: CaseState, take: TakePrediction) -> None:
    begun = after(fresh, StartBlind(TO_PLACE))
    assert open_landmarks(begun) == tuple(STRUCTURE)
    assert begun.open_names() == ()
    assert not has_open(begun, STRUCTURE[A])
    some = after(begun, place(A), Unsure((B,)))
    assert open_landmarks(some) == (C,)
    seen = after(some, place(C), take)
    assert len(open_landmarks(seen)) == len(take.answer.prediction.landmarks) - 3


def test_a_case_begun_blind_survives_a_crash(session: Session, tmp_path: Path) -> None:
    session.start_blind(TO_PLACE)
    session.place(A, point(session))
    session.close()
    again = Session(session.case, "an annotator", data_folder=tmp_path / "user")
    again.recover(again.recoverable[0])
    assert (again.state.blind, again.state.is_chosen_for_comparison) == ({A}, True)
    again.undo()
    again.undo()
    assert not again.state.is_chosen_for_comparison
