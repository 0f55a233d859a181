"""What a case asks when it is opened, and what both answers do to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.open_question import LostWorkQuestion, TwoStatesQuestion, open_question
from DenseLandmarksLib.scene.workbench import Workbench
from Testing.scene.open_cases import predict
from Testing.scene.saved_scene import read_scene, save_scene


@pytest.fixture
def bench(scene: Any, library: Library, chest_template: Template, user: Path, lines: list[str]) -> Iterator[Workbench]:
    """chest-0 in hand, predicted and saved."""
    bench = Workbench(scene, "anna", lines.append, data_folder=user)
    bench.open_library(library.folder)
    predict(bench.open_case(library.cases()[0].id).session, chest_template)
    bench.save()
    yield bench
    bench.close()


def reviews(bench: Workbench) -> set[Review]:
    assert bench.state is not None
    return set(bench.state.landmarks.review)


def with_lost_work(bench: Workbench) -> LostWorkQuestion:
    """The case open anew after work on it ended without a save."""
    bench.do(Session.accept_remaining)
    assert bench.case is not None
    case_id = bench.case.session.case.id
    bench.case.close()
    bench.poll()
    bench.open_case(case_id)
    question = open_question(bench)
    assert isinstance(question, LostWorkQuestion)
    assert question.work.header.who == "anna"
    return question


def with_two_states(bench: Workbench, folder: Path) -> tuple[Workbench, TwoStatesQuestion]:
    """A scene that was saved before all was accepted, opened again after that was saved in the library."""
    path = save_scene(bench.desk._scene, folder / "scene.mrb")
    bench.do(Session.accept_remaining)
    bench.save()
    bench.close()
    again = Workbench(read_scene(path), "anna", lambda line: None, data_folder=folder / "user")
    again.reopen()
    question = open_question(again)
    assert isinstance(question, TwoStatesQuestion)
    return again, question


def test_a_case_that_nobody_left_half_done_asks_nothing(bench: Workbench) -> None:
    assert open_question(bench) is None
    bench.close()
    assert open_question(bench) is None


def test_lost_work_goes_on_and_can_be_taken_back(bench: Workbench) -> None:
    with_lost_work(bench).yes()
    assert reviews(bench) == {Review.VERIFIED}
    assert open_question(bench) is None
    bench.undo()
    assert reviews(bench) == {Review.PREDICTED}


def test_lost_work_that_is_discarded_is_never_offered_again(bench: Workbench) -> None:
    with_lost_work(bench).no()
    assert reviews(bench) == {Review.PREDICTED}
    assert open_question(bench) is None
    assert bench.session is not None
    assert bench.session.recoverable == ()


def test_work_that_began_meanwhile_is_not_mixed_with_lost_work(bench: Workbench) -> None:
    with_lost_work(bench)
    bench.do(Session.accept_remaining)
    assert open_question(bench) is None
    bench.undo()
    assert open_question(bench) is None


@pytest.mark.parametrize(("answer", "review"), [("yes", Review.VERIFIED), ("no", Review.PREDICTED)])
def test_of_two_states_the_one_that_is_chosen_stays(
    bench: Workbench, tmp_path: Path, answer: str, review: Review
) -> None:
    again, question = with_two_states(bench, tmp_path)
    assert "Both are shown" in question.two_states.line
    getattr(question, answer)()
    assert reviews(again) == {review}
    assert open_question(again) is None
    again.close()
