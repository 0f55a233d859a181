"""Landmarks that models are compared on are placed before anybody sees what a model says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.annotation.blind import left_to_place
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.library.comparison import next_for_comparison
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.workbench import Workbench
from Testing.scene.open_cases import chest_library, predict
from Testing.scene.saved_scene import read_scene, save_scene


@pytest.fixture
def library(tmp_path: Path, chest_template: Template) -> Library:
    return chest_library(tmp_path, chest_template, 3)


@pytest.fixture
def bench(scene: Any, user: Path, lines: list[str], library: Library) -> Iterator[Workbench]:
    bench = Workbench(scene, "an annotator", lines.append, data_folder=user)
    bench.open_library(library.folder)
    yield bench
    bench.close()


def state_of(bench: Workbench) -> CaseState:
    assert bench.state is not None
    return bench.state


def place_first(bench: Workbench) -> str:
    """The first landmark that is to be placed, somewhere in the image."""
    state = state_of(bench)
    name = next(
        name
        for name, presence in zip(state.landmarks.names, state.landmarks.presence, strict=True)
        if presence is Presence.UNPLACED
    )
    point = np.array(state.geometry.origin_lps_mm) + state.geometry.index_to_lps_mm @ np.array([50.0, 60.0, 0.0])
    assert bench.do(Session.place, name, point)
    return name


def decide_the_rest(bench: Workbench) -> None:
    """Nobody can tell where the landmarks are that are still to be placed."""
    assert bench.do(Session.mark_unsure, *left_to_place(state_of(bench)))


def until(bench: Workbench, done: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end, f"it never happened: {bench.predicting.log}"
        bench.poll()
        time.sleep(0.01)


def test_the_prediction_waits_until_all_is_decided_and_then_leaves_it_blind(
    bench: Workbench, library: Library, tiny_bundle: Path, lines: list[str]
) -> None:
    expected = next_for_comparison(library)
    opened = bench.annotate_blind(str(tiny_bundle))
    assert opened is bench.case is not None
    assert opened.session.case.id == expected
    state = state_of(bench)
    assert state.is_chosen_for_comparison
    assert len(state.landmarks) == len(bench.worklist.names) == 12
    assert len(set(state.landmarks.structures)) == 5
    assert "place these 12 landmarks" in lines[-1]
    placed = place_first(bench)
    with pytest.raises(InputError, match="got 11 of 12 that are not") as told:
        bench.predict(str(tiny_bundle), device="cpu")
    assert "\n" not in str(told.value)
    assert not bench.predicting.is_under_way
    decide_the_rest(bench)
    bench.predict(str(tiny_bundle), device="cpu")
    until(bench, lambda: not bench.predicting.is_under_way)
    state = state_of(bench)
    assert state.answer is not None
    assert state.blind == {placed}
    row = state.landmarks.names.index(placed)
    # So little that it turns nothing over, whatever a network that never learned says of the landmarks around.
    assert bench.do(Session.move, {placed: state.landmarks.points_lps_mm[row] + [0.01, 0.0, 0.0]}), lines[-1]
    assert state_of(bench).blind == frozenset()
    bench.undo()
    assert state_of(bench).blind == {placed}


def predict_all(library: Library, template: Template, user: Path) -> None:
    """A run over the whole library, at which nobody looks."""
    for entry in library.cases():
        session = Session(library.case(entry.id), "a night's run", data_folder=user)
        predict(session, template)
        session.save()
        session.close()


def test_nothing_of_an_earlier_prediction_is_in_the_scene(
    bench: Workbench, library: Library, chest_template: Template, tiny_bundle: Path, user: Path
) -> None:
    predict_all(library, chest_template, user)
    opened = bench.annotate_blind(str(tiny_bundle))
    assert opened is not None
    state = state_of(bench)
    assert (state.answer, state.structures) == (None, ())
    for node in opened.lists.nodes.values():
        assert node.GetNumberOfControlPoints() == node.GetNumberOfUndefinedControlPoints() > 0
    assert opened.segments.node is None or opened.segments.node.GetSegmentation().GetNumberOfSegments() == 0
    place_first(bench)
    assert len(state_of(bench).blind) == 1, "nobody had looked at the night's run"


def test_a_case_whose_prediction_is_in_sight_is_not_chosen(
    bench: Workbench, library: Library, chest_template: Template, tiny_bundle: Path
) -> None:
    case_id = next_for_comparison(library)
    assert case_id is not None
    predict(bench.open_case(case_id).session, chest_template)
    opened = bench.annotate_blind(str(tiny_bundle))
    assert opened is not None
    assert opened.session.case.id != case_id


def test_a_case_whose_prediction_was_seen_and_closed_is_not_chosen(
    bench: Workbench, library: Library, chest_template: Template, tiny_bundle: Path, user: Path, lines: list[str]
) -> None:
    """A run predicted the whole library; a person looked at two of the cases and changed nothing."""
    predict_all(library, chest_template, user)
    looked_at = next_for_comparison(library)
    assert looked_at is not None
    bench.open_case(looked_at)
    others = [entry.id for entry in library.cases() if entry.id != looked_at]
    bench.open_case(others[0])
    opened = bench.annotate_blind(str(tiny_bundle))
    assert opened is not None
    assert opened.session.case.id == others[1]
    decide_the_rest(bench)
    assert bench.annotate_blind(str(tiny_bundle)) is None
    assert "whose prediction you have not seen" in lines[-1]


def test_what_was_seen_before_the_program_was_started_anew_is_still_known(
    bench: Workbench, scene: Any, library: Library, chest_template: Template, tiny_bundle: Path, user: Path
) -> None:
    """Of somebody else who works on this computer nobody knows it."""
    predict_all(library, chest_template, user)
    looked_at = next_for_comparison(library)
    assert looked_at is not None
    bench.open_case(looked_at)
    bench.close()
    chosen = {}
    for who in ("an annotator", "somebody else"):
        later = Workbench(scene, who, lambda _: None, data_folder=user)
        later.open_library(library.folder)
        opened = later.annotate_blind(str(tiny_bundle))
        assert opened is not None
        chosen[who] = opened.session.case.id
        later.close()
    assert chosen["an annotator"] != looked_at
    assert chosen["somebody else"] == looked_at
    assert not any("annotator" in path.name for path in user.rglob("*"))


def test_a_prediction_is_known_also_where_that_cannot_be_written(
    bench: Workbench, library: Library, chest_template: Template, tiny_bundle: Path, user: Path
) -> None:
    user.mkdir(exist_ok=True)
    (user / "seen").write_text("a file where a folder should be")
    predict_all(library, chest_template, user)
    looked_at = next_for_comparison(library)
    assert looked_at is not None
    bench.open_case(looked_at)
    opened = bench.annotate_blind(str(tiny_bundle))
    assert opened is not None
    assert opened.session.case.id != looked_at


def test_a_prediction_that_was_saved_is_known_to_who_saved_it_in_another_window(
    bench: Workbench, library: Library, chest_template: Template, tiny_bundle: Path, tmp_path: Path
) -> None:
    case_id = next_for_comparison(library)
    assert case_id is not None
    session = Session(library.case(case_id), "an annotator", data_folder=tmp_path / "another window")
    predict(session, chest_template)
    session.save()
    session.close()
    opened = bench.annotate_blind(str(tiny_bundle))
    assert opened is not None
    assert opened.session.case.id != case_id


def test_what_was_decided_in_the_case_in_hand_is_saved_and_counts(
    bench: Workbench, library: Library, tiny_bundle: Path, lines: list[str]
) -> None:
    seen = set()
    for _ in range(3):
        opened = bench.annotate_blind(str(tiny_bundle))
        assert opened is not None
        seen.add(opened.session.case.id)
        place_first(bench)
        decide_the_rest(bench)
    assert seen == {entry.id for entry in library.cases()}
    assert bench.annotate_blind(str(tiny_bundle)) is None
    assert "no case is left for comparison" in lines[-1]
    infos = [entry.newest for entry in library.cases()]
    assert all(info is not None and info.is_chosen_for_comparison and info.reviewed == 12 for info in infos)


def test_a_case_that_was_begun_and_left_goes_on(
    bench: Workbench, library: Library, tiny_bundle: Path, lines: list[str]
) -> None:
    first = bench.annotate_blind(str(tiny_bundle))
    assert first is not None
    names = state_of(bench).landmarks.names
    again = bench.annotate_blind(str(tiny_bundle))
    assert again is first
    assert state_of(bench).landmarks.names == names
    assert library.case(first.session.case.id).revision_numbers() == (1,)
    placed = place_first(bench)
    other = next(entry.id for entry in library.cases() if entry.id != first.session.case.id)
    bench.open_case(other)
    again = bench.annotate_blind(str(tiny_bundle))
    assert again is not None
    assert again.session.case.id == first.session.case.id
    assert state_of(bench).blind == {placed}
    assert "place the 11 of 12 landmarks that are left" in lines[-1]


def test_lost_work_comes_first(bench: Workbench, library: Library, user: Path, tiny_bundle: Path) -> None:
    case_id = next_for_comparison(library)
    assert case_id is not None
    session = Session(library.case(case_id), "an annotator", data_folder=user)
    session.set_strength(0.5)
    session.close()
    with pytest.raises(InputError, match="expected a case without lost work"):
        bench.annotate_blind(str(tiny_bundle))
    assert bench.session is not None
    bench.session.discard(bench.session.recoverable[0])
    opened = bench.annotate_blind(str(tiny_bundle))
    assert opened is not None
    assert opened.session.case.id == case_id
    assert state_of(bench).is_chosen_for_comparison


def test_radiographs_are_not_offered_to_a_model_for_volumes(
    bench: Workbench, volume_bundle: Path, lines: list[str]
) -> None:
    assert bench.annotate_blind(str(volume_bundle)) is None
    assert "no case is left" in lines[-1]
    with pytest.raises(InputError, match="expected the name of a model"):
        bench.annotate_blind("giant")


def test_a_saved_scene_keeps_what_was_placed_blind(
    bench: Workbench, library: Library, scene: Any, tiny_bundle: Path, tmp_path: Path, user: Path, lines: list[str]
) -> None:
    bench.annotate_blind(str(tiny_bundle))
    placed = place_first(bench)
    bench.poll()
    path = save_scene(scene, tmp_path / "case.mrb")
    bench.close()
    other = Workbench(read_scene(path), "an annotator", lines.append, data_folder=user)
    other.open_library(library.folder)
    other.reopen()
    state = state_of(other)
    assert (state.blind, state.is_chosen_for_comparison, state.answer) == ({placed}, True, None)
    assert set(state.landmarks.review) == {Review.PLACED, Review.PREDICTED}
    other.close()
