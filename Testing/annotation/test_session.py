"""A person at work on a case: nothing is lost, everything can be taken back, colleagues are told."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.case_masks import structure_mask
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.exports.markups import write_markups
from DenseLandmarksLib.annotation.fold_over import fold_of
from DenseLandmarksLib.annotation.imports.read_landmarks import read_landmarks
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.look_up_everywhere import look_up_everywhere
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.look_up import Method
from Testing.annotation.perfect_answer import chest_image, perfect_answer

ROOT = Path(__file__).parents[2]
A = "right_lung_10"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library.create(tmp_path / "library", "chests")


def open_session(
    library: Library, template: Template, folder: Path, seed: int = 0, who: str = "an annotator"
) -> Session:
    """A session of a case that a model predicted, which no revision holds yet."""
    image = chest_image(template, seed=seed)
    film = folder / f"film-{seed}.nrrd"
    sitk.WriteImage(image.volume, film)
    session = Session(library.add(film), who, data_folder=folder / "user")
    session.take(perfect_answer(template, image, shift_px=(2.0 * seed, 0.0)), session.state.geometry)
    return session


@pytest.fixture
def session(library: Library, chest_template: Template, tmp_path: Path) -> Session:
    return open_session(library, chest_template, tmp_path)


def point(session: Session, name: str = A) -> np.ndarray:
    landmarks = session.state.landmarks
    return landmarks.points_lps_mm[landmarks.names.index(name)].copy()


def review(session: Session, name: str = A) -> Review:
    return session.state.landmarks.review[session.state.landmarks.names.index(name)]


def test_a_dragged_landmark_can_be_put_back_and_forth(session: Session) -> None:
    seen: list[CaseState] = []
    session.watch(seen.append)
    before = session.state
    target = point(session) + np.array([5, 0, 0])
    session.move({A: target})
    np.testing.assert_allclose(point(session), target, atol=1e-9)
    after = session.state
    session.undo()
    assert session.state is before
    session.redo()
    assert session.state is after
    assert seen == [after, before, after]
    session.undo()
    session.mark_unsure(A)
    assert not session.can_redo


def test_an_edit_takes_the_place_of_all_that_was_undone(session: Session) -> None:
    for name in (A, "heart_01", "heart_02", "heart_03"):
        session.mark_unsure(name)
    for _ in range(3):
        session.undo()
    session.mark_absent("left_lung_01")
    assert not session.can_redo
    session.redo()
    assert review(session, "heart_03") is Review.PREDICTED


def test_undo_and_redo_end_where_there_is_nothing_left(session: Session) -> None:
    session.undo()
    assert not session.can_undo
    first = session.state
    session.undo()
    assert session.state is first
    session.redo()
    session.redo()
    assert session.state.answer is not None


def test_dragging_shows_what_would_be_and_records_nothing(session: Session) -> None:
    before, edits = session.state, len(session._history.edits)
    would_be = session.preview({A: point(session) + np.array([5, 0, 0])})
    assert would_be.landmarks.points_lps_mm[9, 0] != before.landmarks.points_lps_mm[9, 0]
    assert session.state is before
    assert len(session._history.edits) == edits


def test_accepting_what_is_left_leaves_nothing_open(session: Session) -> None:
    session.move({A: point(session) + np.array([5, 0, 0])})
    session.mark_unsure("heart_01")
    session.accept_structure("heart")
    assert review(session, "heart_01") is Review.UNSURE
    assert review(session, "heart_02") is Review.VERIFIED
    assert session.state.structure_review("heart") is Review.VERIFIED
    assert review(session, "left_lung_01") is Review.PREDICTED
    session.accept_remaining()
    assert Review.PREDICTED not in session.state.landmarks.review
    assert review(session) is Review.CORRECTED
    assert {session.state.structure_review(name) for name in session.state.structures} == {Review.VERIFIED}


def test_the_mask_follows_a_dragged_contour_and_comes_back_with_undo(session: Session) -> None:
    before, heart = structure_mask(session.state, "right_lung"), structure_mask(session.state, "heart")
    i, j, _ = np.rint(session.state.index_ijk[session.state.landmarks.names.index(A)]).astype(int)
    outward = np.sign(i - np.argwhere(before[0]).mean(axis=0)[1])
    edge = int(i + outward * 2)
    assert not before[0, j, edge]
    session.move({A: point(session) + np.array([outward * 4 * session.state.geometry.spacing_mm[0], 0, 0])})
    assert structure_mask(session.state, "right_lung")[0, j, edge]
    np.testing.assert_array_equal(structure_mask(session.state, "heart"), heart)
    session.undo()
    np.testing.assert_array_equal(structure_mask(session.state, "right_lung"), before)


def test_what_a_person_painted_wins_over_the_warp(session: Session) -> None:
    mask = np.zeros(session.state.geometry.size[::-1], bool)
    mask[0, 30:60, 20:50] = True
    session.paint("right_lung", mask)
    session.move({A: point(session) + np.array([5, 0, 0])})
    np.testing.assert_array_equal(structure_mask(session.state, "right_lung"), mask)
    session.unpaint("right_lung")
    assert structure_mask(session.state, "right_lung").sum() != mask.sum()


def test_a_correction_that_turns_a_structure_over_is_refused_in_one_line(session: Session) -> None:
    before, landmarks = session.state, session.state.landmarks
    rows = landmarks.of_structure("right_lung")
    # Both ends of the lung change places.
    one, other = rows[0], rows[len(rows) // 2]
    swapped = {
        landmarks.names[one]: landmarks.points_lps_mm[other],
        landmarks.names[other]: landmarks.points_lps_mm[one],
    }
    with pytest.raises(InputError, match="right_lung can follow") as told:
        session.move(swapped)
    assert "\n" not in str(told.value)
    assert session.state is before
    # Whoever means it paints the structure; then no mask has to follow.
    session.paint("right_lung", structure_mask(session.state, "right_lung"))
    session.move(swapped)
    assert review(session, landmarks.names[one]) is Review.CORRECTED


def test_what_a_prediction_turned_over_can_be_corrected(session: Session) -> None:
    landmarks = session.state.landmarks
    rows = landmarks.of_structure("right_lung")
    one, other = rows[0], rows[len(rows) // 2]
    # Somebody decided before they saw the prediction, and it says something else.
    whole = structure_mask(session.state, "right_lung")
    session.paint("right_lung", whole)
    session.move({landmarks.names[one]: landmarks.points_lps_mm[other]})
    session.unpaint("right_lung")
    fold = fold_of(session.state, "right_lung")
    assert fold is not None
    assert fold.share > 0.05
    for step in ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-1.0, -1.0, 0.0]):
        landmarks = session.state.landmarks
        session.move({landmarks.names[one]: landmarks.points_lps_mm[one] + step})
    # The whole lung upside down is another thing.
    ends = landmarks.points_lps_mm[rows]
    upside_down = dict(
        zip([landmarks.names[i] for i in rows], ends * [1, -1, 1] + [0, 2 * ends[:, 1].mean(), 0], strict=True)
    )
    with pytest.raises(InputError, match="right_lung can follow"):
        session.move(upside_down)


def test_a_large_but_sound_correction_is_not_refused(session: Session) -> None:
    session.move({A: point(session) + np.array([12, 6, 0])})
    fold = fold_of(session.state, "right_lung")
    assert fold is None or fold.share < 0.05


def test_correcting_the_spacing_moves_everything_together_and_back(session: Session) -> None:
    before = session.state
    mask = structure_mask(before, "heart")
    x, y, z = before.geometry.spacing_mm
    session.move({A: point(session) + np.array([5, 0, 0])})
    moved = session.state
    session.correct_spacing((x / 2, y / 2, z))
    after = session.state
    np.testing.assert_allclose(after.index_ijk, moved.index_ijk, atol=1e-9)
    np.testing.assert_array_equal(structure_mask(after, "heart"), mask)
    np.testing.assert_array_equal(structure_mask(after, "right_lung"), structure_mask(moved, "right_lung"))
    session.undo()
    assert session.state is moved


def test_a_saved_case_opens_as_it_was(session: Session) -> None:
    session.move({A: point(session) + np.array([5, 0, 0])})
    session.mark_absent("heart_01")
    saved = session.save("first look")
    assert saved.message == "saved as revision 1"
    assert not session.unsaved
    again = Session(session.case, "somebody else", data_folder=session._journals.parent)
    np.testing.assert_array_equal(again.state.landmarks.points_lps_mm, session.state.landmarks.points_lps_mm)
    assert again.state.landmarks.review == session.state.landmarks.review
    assert (again.revision, again.recoverable, again.can_undo) == (1, (), False)


def test_two_who_save_are_told_of_each_other_and_both_stand(session: Session, tmp_path: Path) -> None:
    session.save()
    mine = Session(session.case, "one", data_folder=tmp_path / "one")
    theirs = Session(session.case, "other", data_folder=tmp_path / "other")
    mine.mark_absent(A)
    theirs.mark_unsure(A)
    assert mine.save().others == ()
    said = theirs.save()
    assert (said.number, [info.who for info in said.others]) == (3, ["one"])
    assert "one saved revision 2" in said.message
    assert [info.number for info in theirs.save().others] == []
    states = [session.case.load(number)[0].landmarks.review[9] for number in (2, 3)]
    assert states == [Review.CORRECTED, Review.UNSURE]


def test_an_older_revision_can_be_restored_and_that_taken_back(session: Session) -> None:
    session.save()
    session.mark_absent(A)
    session.save()
    newest = session.state
    session.restore(session.case.load(1)[0])
    assert review(session) is Review.PREDICTED
    session.undo()
    assert session.state is newest


def test_closing_keeps_what_was_not_saved(session: Session, tmp_path: Path) -> None:
    session.move({A: point(session) + np.array([5, 0, 0])})
    session.undo()
    session.mark_unsure(A)
    session.move({A: point(session) + np.array([3, 0, 0])})
    session.undo()
    state = session.state
    session.close()
    again = Session(session.case, "an annotator", data_folder=tmp_path / "user")
    assert len(again.recoverable) == 1
    again.recover(again.recoverable[0])
    np.testing.assert_array_equal(again.state.landmarks.points_lps_mm, state.landmarks.points_lps_mm)
    assert review(again) is Review.UNSURE
    again.redo()
    assert review(again) is Review.CORRECTED
    again.save()
    again.close()
    assert not list((tmp_path / "user" / "journals" / session.case.id).iterdir())


def test_work_can_be_discarded_and_is_never_offered_again(session: Session, tmp_path: Path) -> None:
    session.close()
    again = Session(session.case, "an annotator", data_folder=tmp_path / "user")
    again.discard(again.recoverable[0])
    assert again.recoverable == ()
    assert Session(session.case, "an annotator", data_folder=tmp_path / "user").recoverable == ()


def test_recovering_comes_before_anything_else(session: Session, tmp_path: Path) -> None:
    session.close()
    again = Session(session.case, "an annotator", data_folder=tmp_path / "user")
    again.set_strength(0.5)
    with pytest.raises(InputError, match="Open it again"):
        again.recover(again.recoverable[0])


def test_a_window_that_is_open_is_not_offered_as_lost_work(session: Session, tmp_path: Path) -> None:
    session.mark_unsure(A)
    assert Session(session.case, "an annotator", data_folder=tmp_path / "user").recoverable == ()


def test_a_crash_right_after_saving_offers_nothing(session: Session, tmp_path: Path) -> None:
    session.mark_unsure(A)
    journal = session._writing()
    before = journal.size
    session.save()
    # As if the process had ended before it could write down that it saved.
    journal._file.truncate(before)
    journal.close()
    assert Session(session.case, "an annotator", data_folder=tmp_path / "user").recoverable == ()


def test_a_full_disk_leaves_the_case_as_it_was(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session.mark_unsure(A)
    journal = session._writing()
    journal._file.close()  # any disk that refuses to write
    journal._file = open("/dev/full", "ab", buffering=0)  # type: ignore[assignment]  # noqa: SIM115
    before = session.state
    with pytest.raises(InputError, match="Nothing was changed"):
        session.mark_absent(A)
    assert session.state is before
    journal._file.close()


def test_a_new_landmark_is_found_in_every_case(library: Library, chest_template: Template, tmp_path: Path) -> None:
    sessions = [open_session(library, chest_template, tmp_path, seed) for seed in (1, 2, 3)]
    for one in sessions[1:]:
        one.save()
    first = sessions[0]
    middle = np.rint(np.argwhere(structure_mask(first.state, "left_lung")[0]).mean(axis=0))[::-1]
    here = first.state.geometry.index_to_lps_mm @ [*middle, 0] + np.array(first.state.geometry.origin_lps_mm)
    definition = first.define_landmark("hilum", here, description="where the vessels enter")
    assert (definition.structure, definition.method) == ("left_lung", Method.UV_MAP)
    assert library.new_landmarks() == ()
    first.save()
    (hilum,) = library.new_landmarks()
    assert hilum.description == "where the vessels enter"
    results = {result.name: result for result in look_up_everywhere(library, "an annotator")}
    assert results["film-1"].landmarks == ()
    for seed in (2, 3):
        result = results[f"film-{seed}"]
        assert result.found is not None
        assert result.found.method == (Method.UV_MAP,)
        assert 0 < result.found.error_mm[0] < 20
        state, info = library.case(result.case).load()
        assert info is not None
        assert info.number == result.revision == 2
        row = state.landmarks.names.index("hilum")
        assert state.landmarks.review[row] is Review.PREDICTED
        np.testing.assert_allclose(state.index_ijk[row][:2], middle + np.array([2 * (seed - 1), 0]), atol=0.3)
    assert all(not result.revision for result in look_up_everywhere(library, "an annotator"))


def test_a_name_that_the_library_has_is_refused_and_a_late_conflict_told(
    library: Library, chest_template: Template, tmp_path: Path
) -> None:
    one, other = (open_session(library, chest_template, tmp_path, seed) for seed in (1, 2))
    one.define_landmark("hilum", point(one, "heart_01"))
    other.define_landmark("hilum", point(other, "left_lung_10"))
    one.save()
    said = other.save()  # the work stands, the name does not
    assert said.number == 1
    assert "'hilum'" in said.message
    assert len(library.new_landmarks()) == 1
    third = open_session(library, chest_template, tmp_path, 3)
    with pytest.raises(InputError, match="new in the library"):
        third.define_landmark("hilum", point(third, "heart_01"))
    third.look_up(*third.landmarks_of_library())
    assert third.state.landmarks.presence[-1] is Presence.PRESENT


def test_looking_up_stops_when_it_is_cancelled(library: Library, chest_template: Template, tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        open_session(library, chest_template, tmp_path, seed).save()
    looked = look_up_everywhere(library, "an annotator", cancelled=lambda: True)
    assert list(looked) == []


def test_a_case_without_a_prediction_cannot_define_and_is_told_apart(
    library: Library, chest_template: Template, tmp_path: Path
) -> None:
    one = open_session(library, chest_template, tmp_path, 1)
    one.define_landmark("hilum", point(one, "heart_01"))
    one.save()
    film = tmp_path / "new.nrrd"
    sitk.WriteImage(chest_image(chest_template, seed=9).volume, film)
    bare = Session(library.add(film), "an annotator", data_folder=tmp_path / "user")
    with pytest.raises(InputError, match="Run a model first"):
        bare.define_landmark("x", (0, 0, 0))
    problems = {result.name: result.problem for result in look_up_everywhere(library, "an annotator")}
    assert problems["film-1"] == ""
    assert "Predict the case" in problems["new"]


def test_a_file_of_landmarks_comes_in_as_one_edit(session: Session, tmp_path: Path) -> None:
    theirs = session.state.landmarks
    shifted = replace(
        theirs, points_lps_mm=theirs.points_lps_mm + np.array([1.0, 2.0, 0.0]), review=(Review.CORRECTED,) * len(theirs)
    )
    write_markups(tmp_path / "a.mrk.json", shifted, "mm")
    before = session.state
    session.import_landmarks(read_landmarks(tmp_path / "a.mrk.json", before.geometry))
    np.testing.assert_allclose(session.state.landmarks.points_lps_mm, shifted.points_lps_mm, atol=1e-4)
    assert set(session.state.landmarks.review) == {Review.CORRECTED}
    session.undo()
    assert session.state is before


def test_an_old_export_neither_undoes_decisions_nor_replaces_predictions(session: Session, tmp_path: Path) -> None:
    write_markups(tmp_path / "before.mrk.json", session.state.landmarks, "mm")
    session.move({A: point(session) + np.array([5, 0, 0])})
    after = session.state
    session.import_landmarks(read_landmarks(tmp_path / "before.mrk.json", after.geometry))
    assert session.state is after


@pytest.mark.timed
def test_a_command_returns_at_once_with_its_edit_on_the_disk(session: Session) -> None:
    taken = []
    start = point(session)
    for i in range(60):
        before = time.perf_counter()
        session.move({A: start + np.array([(i % 7) - 3, (i % 5) - 2, 0.1 * i])})
        taken.append(time.perf_counter() - before)
    assert np.percentile(taken, 95) < 0.1  # ten times the figure of the benchmark: for busy machines


def test_the_session_stays_a_facade() -> None:
    source = (ROOT / "DenseLandmarksLib/annotation/session.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 300
