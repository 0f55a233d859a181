"""What one person works on, as every front end shows it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.annotation.worklist import open_landmarks
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.scene.volume_node import add_volume_node
from DenseLandmarksLib.scene.workbench import OWN_LIBRARY, Workbench
from Testing.annotation.perfect_answer import chest_image
from Testing.scene.open_cases import edits_on_disk, predict
from Testing.scene.saved_scene import read_scene, save_scene


@pytest.fixture
def bench(scene: Any, user: Path, lines: list[str]) -> Iterator[Workbench]:
    """An annotator at work."""
    bench = Workbench(scene, "an annotator", lines.append, data_folder=user)
    yield bench
    bench.close()


@pytest.fixture
def at_work(bench: Workbench, library: Library) -> Workbench:
    """With the first case of the library in hand."""
    bench.open_library(library.folder)
    bench.open_case(library.cases()[0].id)
    return bench


def until(bench: Workbench, done: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end, f"it never happened: {bench.predicting.log}"
        bench.poll()
        time.sleep(0.01)


def test_a_prediction_arrives_in_the_case_in_hand(at_work: Workbench, tiny_bundle: Path) -> None:
    shown = at_work.version
    at_work.predict(str(tiny_bundle), device="cpu")
    assert at_work.predicting.is_under_way
    assert at_work.version > shown
    with pytest.raises(InputError, match="one prediction at a time"):
        at_work.predict(str(tiny_bundle))
    until(at_work, lambda: not at_work.predicting.is_under_way)
    assert at_work.predicting.run is not None
    assert not at_work.predicting.run.status.problem
    assert at_work.state is not None
    assert at_work.state.answer is not None
    assert len(at_work.worklist.names) == len(at_work.state.landmarks) > 0
    took_s = at_work.predicting.run.elapsed_s
    time.sleep(0.02)
    assert at_work.predicting.run.elapsed_s == took_s > 0
    # A second one finds the worker warm.
    pid = at_work.predicting.worker.pid
    at_work.predict(str(tiny_bundle), device="cpu")
    until(at_work, lambda: not at_work.predicting.is_under_way)
    assert at_work.predicting.worker.pid == pid


def test_a_cancelled_prediction_leaves_the_case_as_it_was(at_work: Workbench, tiny_bundle: Path, user: Path) -> None:
    at_work.predict(str(tiny_bundle), device="cpu")
    at_work.predicting.cancel()
    until(at_work, lambda: not at_work.predicting.is_under_way)
    assert at_work.predicting.run is not None
    assert at_work.predicting.run.status.problem == ""
    assert at_work.state is not None
    assert at_work.state.answer is None
    assert edits_on_disk(user) == []


@pytest.mark.parametrize("how", ["close the scene", "delete the image"])
def test_nothing_is_written_into_a_case_that_was_closed_in_mid_prediction(
    at_work: Workbench, tiny_bundle: Path, user: Path, scene: Any, lines: list[str], how: str
) -> None:
    at_work.predict(str(tiny_bundle), device="cpu")
    assert at_work.case is not None
    if how == "close the scene":
        scene.Clear(False)
    else:
        scene.RemoveNode(at_work.case.image.volume)
    until(at_work, lambda: not at_work.predicting.is_under_way)
    assert at_work.case is None
    assert at_work.predicting.run is not None
    assert "closed" in at_work.predicting.run.status.problem
    assert edits_on_disk(user) == []
    assert any("Open the case again" in line for line in lines)


def test_the_worklist_stays_until_another_prediction_comes(at_work: Workbench, chest_template: Template) -> None:
    session = at_work.session
    assert session is not None
    predict(session, chest_template)
    first = at_work.worklist
    assert len(first.names) == len(session.state.landmarks)
    at_work.do(Session.accept, first.names[3])
    at_work.do(Session.mark_absent, first.names[5])
    assert at_work.worklist == first, "a row jumps under the mouse"
    session.place("clip", session.state.landmarks.points_lps_mm[0])
    assert at_work.worklist.names == (*first.names, "clip")
    predict(session, chest_template, lost=("heart",))
    assert at_work.worklist.names[0].startswith("heart"), "a structure that was lost is the most doubtful"


def test_a_command_that_cannot_be_done_is_told_in_one_line(
    bench: Workbench, library: Library, lines: list[str]
) -> None:
    assert not bench.do(Session.accept, "carina")
    bench.open_library(library.folder)
    bench.open_case(library.cases()[0].id)
    assert not bench.do(Session.accept, "carina")
    assert len(lines) == 2
    assert all(line.startswith("expected") and "\n" not in line for line in lines)


def test_going_to_another_case_saves_the_one_in_hand(
    at_work: Workbench, library: Library, chest_template: Template, scene: Any
) -> None:
    first = at_work.session
    assert first is not None
    predict(first, chest_template)
    second = library.cases()[1]
    at_work.open_case(second.id)
    assert at_work.session is not None
    assert at_work.session.case.id == second.id
    assert library.case(first.case.id).newest()[0] is not None
    assert len(at_work.desk.cases) == 1
    at_work.open_next()
    assert at_work.session.case.id == first.case.id


def test_a_person_who_only_looks_at_an_image_leaves_no_trace(
    bench: Workbench, scene: Any, user: Path, chest_template: Template
) -> None:
    volume = add_volume_node(scene, chest_image(chest_template, 64, 9))
    bench.need_library()
    assert bench.take_volume(volume) is None
    assert bench.library is not None
    assert bench.library.cases() == ()
    case = bench.need_case(volume, "film")
    assert case is bench.case
    assert [entry.name for entry in bench.library.cases()] == ["film"]
    assert bench.library.folder == user / OWN_LIBRARY
    bench.take_volume(None)
    assert bench.case is None
    assert bench.take_volume(volume) is case, "the open case of an image is not found again"


def test_an_image_of_an_earlier_day_brings_its_case_along(
    bench: Workbench, scene: Any, user: Path, chest_template: Template
) -> None:
    volume = add_volume_node(scene, chest_image(chest_template, 64, 9))
    case = bench.need_case(volume, "film")
    predict(case.session, chest_template)
    names = case.session.state.landmarks.names
    bench.do(Session.accept, names[0])
    assert bench.save("first look")
    scene.Clear(False)
    bench.poll()
    again = add_volume_node(scene, chest_image(chest_template, 64, 9))
    found = bench.take_volume(again)
    assert found is not None
    assert len(open_landmarks(found.session.state)) == len(names) - 1


def test_what_is_missing_is_known_beforehand(
    bench: Workbench, scene: Any, tiny_bundle: Path, chest_template: Template
) -> None:
    film = add_volume_node(scene, chest_image(chest_template, 64, 9))
    assert bench.predicting.missing(film, str(tiny_bundle)) == ""
    assert bench.predicting.missing(film, "chest-xray") == ""
    assert "Load one" in bench.predicting.missing(None, "chest-xray")
    assert "no-such-model" in bench.predicting.missing(film, "no-such-model")
    stack = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "stack")
    assert "grey values" in bench.predicting.missing(stack, "chest-xray")
    from slicer.util import updateVolumeFromArray

    updateVolumeFromArray(stack, np.zeros((5, 8, 8), np.int16))
    assert "5 slices" in bench.predicting.missing(stack, "chest-xray")


def test_the_name_of_the_person_stands_in_what_is_saved_next(at_work: Workbench, library: Library) -> None:
    assert at_work.session is not None
    at_work.who = "somebody else"
    at_work.session.place("clip", (0.0, 0.0, 0.0))
    assert at_work.save()
    info, _ = library.case(at_work.session.case.id).newest()
    assert info is not None
    assert info.who == "somebody else"


def test_a_worker_that_is_started_anew_goes_on_predicting(at_work: Workbench, tiny_bundle: Path) -> None:
    at_work.predict(str(tiny_bundle), device="cpu")
    until(at_work, lambda: at_work.predicting.worker.pid is not None)
    pid = at_work.predicting.worker.pid
    at_work.restart_worker()
    assert not at_work.predicting.is_under_way
    at_work.predict(str(tiny_bundle), device="cpu")
    until(at_work, lambda: not at_work.predicting.is_under_way)
    assert at_work.predicting.run is not None
    assert not at_work.predicting.run.status.problem
    assert at_work.predicting.worker.pid != pid


def test_only_the_case_in_hand_is_seen(
    bench: Workbench, scene: Any, chest_template: Template, tmp_path: Path, library: Library
) -> None:
    """Two films of the same size lie in the same place: their landmarks would be seen on each other."""

    def seen(case: Any) -> set[bool]:
        nodes = [*case.lists.nodes.values(), case.segments.node, case.ellipses.node]
        return {bool(node.GetDisplayNode().GetVisibility()) for node in nodes}

    films = [add_volume_node(scene, chest_image(chest_template, 64, seed)) for seed in (8, 9)]
    cases = []
    for film in films:
        cases.append(bench.need_case(film, f"film-{len(cases)}"))
        predict(cases[-1].session, chest_template)
    assert [seen(case) for case in cases] == [{False}, {True}]
    cases[1].lists.nodes["heart"].GetDisplayNode().SetVisibility(False)
    bench.take_volume(films[0])
    assert [seen(case) for case in cases] == [{True}, {False}]
    cases[1].session.mark_absent(cases[1].session.state.landmarks.names[0])
    assert seen(cases[1]) == {False}, "an edit brought it back into sight"
    bench.take_volume(films[1])
    assert seen(cases[0]) == {False}
    assert seen(cases[1]) == {True, False}, "what the person hid came back"
    # What is out of sight when a scene is saved is seen again when it is opened.
    path = save_scene(scene, tmp_path / "two.mrb")
    scene.Clear(False)
    bench.poll()
    read_scene(path, scene)
    bench.reopen()
    assert bench.case is not None
    for case in bench.desk.cases:
        assert (True in seen(case)) == (case is bench.case)
