"""The workbench's retraining: what it reads, how often, and of which library."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.retraining.retraining import BUNDLE, REQUEST, RUNS, Retraining, new_run_folder
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import METADATA, read_metadata
from DenseLandmarksLib.models.manage_versions import add_version
from DenseLandmarksLib.models.versions import list_versions
from DenseLandmarksLib.scene import retraining as retraining_module
from DenseLandmarksLib.scene.curve_nodes import ERROR, LOSS, CurveNodes
from DenseLandmarksLib.scene.retraining import LibraryRetraining
from Testing.annotation.retraining.runs import launch, taught_library, until
from Testing.scene.open_cases import chest_library
from Testing.scene.saved_scene import new_scene, nodes_of
from Testing.training.blob_radiographs import write_blob_radiographs


@pytest.fixture
def library(tmp_path: Path, chest_template: Template) -> Library:
    return chest_library(tmp_path, chest_template, 1)


def done(library: Library, user: Path, model: Path, hold: Path) -> Retraining:
    run = Retraining.start(launch(hold), str(model), library, new_run_folder(model.name, user), user)
    until(lambda: run.status.phase == "done")
    return run


def test_files_are_read_once_a_second_however_often_it_is_asked(
    library: Library, tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(library, tmp_path / "user", tiny_bundle, tmp_path / "none")
    read = []
    before = Retraining.status.fget  # type: ignore[attr-defined]
    monkeypatch.setattr(Retraining, "status", property(lambda run: read.append(1) or before(run)))
    clock = [100.0]
    monkeypatch.setattr(retraining_module.time, "monotonic", lambda: clock[0])
    watched = LibraryRetraining(lambda: launch(tmp_path / "none"), tmp_path / "user")
    news = [watched.poll(library, None)[0] for _ in range(40)]
    assert news == [True] + 39 * [False]
    so_far = len(read)
    clock[0] += 1.0
    for _ in range(40):
        watched.poll(library, None)
    assert len(read) == so_far + 1


def test_what_another_window_started_is_found_and_one_of_another_library_is_not(
    library: Library, tmp_path: Path, tiny_bundle: Path, chest_template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retraining_module, "LOOK_EVERY_S", 0.0)
    user = tmp_path / "user"
    watched = LibraryRetraining(lambda: launch(tmp_path / "none"), user)
    assert watched.poll(library, None) == (True, "")
    assert watched.run is None
    (tmp_path / "other").mkdir()
    done(chest_library(tmp_path / "other", chest_template), user, tiny_bundle, tmp_path / "none")
    watched.poll(library, None)
    assert watched.run is None
    run = done(library, user, tiny_bundle, tmp_path / "none")
    assert watched.poll(library, None)[0]
    assert watched.run is not None
    assert watched.run.folder == run.folder
    assert watched.new_version() is not None


def test_a_version_of_the_same_number_that_another_run_made_is_not_offered(
    library: Library, tmp_path: Path, tiny_bundle: Path, chest_template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed before its version was listed has a bundle whose number another run's version takes then."""
    monkeypatch.setattr(retraining_module, "LOOK_EVERY_S", 0.0)
    user = tmp_path / "user"
    (tmp_path / "other").mkdir()
    theirs = done(chest_library(tmp_path / "other", chest_template), user, tiny_bundle, tmp_path / "none")
    mine = done(library, user, tiny_bundle, tmp_path / "none")
    assert mine.new_version is not None
    assert theirs.new_version is not None
    name, run = mine.new_version
    own = next(one for one in list_versions(name, user) if one.metadata["descent"]["run"] == run)
    shutil.rmtree(own.folder)
    number = next(one.version for one in list_versions(name, user) if one.metadata["descent"]["run"] != run)
    metadata = read_metadata(mine.folder / BUNDLE)
    (mine.folder / BUNDLE / METADATA).write_text(json.dumps({**metadata, "version": number}))
    watched = LibraryRetraining(lambda: launch(tmp_path / "none"), user)
    watched.poll(library, None)
    assert watched.run is not None
    assert watched.run.folder == mine.folder
    assert watched.new_version() is None
    with pytest.raises(InputError, match="expected a version that a retraining made"):
        watched.make_active()


def test_two_at_a_time_are_refused_whoever_started_the_first(
    library: Library, tmp_path: Path, tiny_bundle: Path
) -> None:
    hold, user = tmp_path / "hold", tmp_path / "user"
    hold.touch()
    one, other = (LibraryRetraining(lambda: launch(hold), user) for _ in range(2))
    one.start(library, str(tiny_bundle))
    with pytest.raises(InputError, match="expected one retraining of a library at a time"):
        other.start(library, str(tiny_bundle))
    assert other.is_under_way, "the first is what both show"
    other.cancel()
    hold.unlink()
    until(lambda: one.poll(library, None) and not one.run.status.phase.is_under_way)  # type: ignore[union-attr]


def test_cases_are_read_one_at_a_time_and_only_in_sight(tmp_path: Path, chest_template: Template) -> None:
    library = taught_library(tmp_path, chest_template, 2)
    watched = LibraryRetraining(lambda: launch(tmp_path / "none"), tmp_path / "user")
    for _ in range(10):
        watched.poll(library, 1)
    assert watched.lessons is None
    watched.is_in_sight = True
    assert [watched.poll(library, 1)[0] for _ in range(4)] == [False, False, True, False]
    assert watched.lessons is not None
    assert watched.lessons.cases == 2


def test_nodes_of_curves_are_mended_and_go_without_a_trace(tmp_path: Path) -> None:
    from DenseLandmarksLib.annotation.retraining.curves import Curves

    scene = new_scene()
    before = scene.GetNumberOfNodes()
    nodes = CurveNodes(scene)
    nodes.show(Curves())
    assert nodes.chart(LOSS).GetNumberOfPlotSeriesNodes() == 0, "VTK complains of an empty table"
    nodes.show(Curves(((0, 1.0), (1, 0.5)), ((0, 3.0),)))
    assert nodes.chart(LOSS).GetNthPlotSeriesNode(0).GetTableNode().GetTable().GetNumberOfRows() == 2
    scene.RemoveNode(nodes.chart(ERROR))
    nodes.show(Curves(((0, 1.0), (1, 0.5)), ((0, 3.0),)))
    assert nodes.chart(ERROR).GetNumberOfPlotSeriesNodes() == 1
    assert nodes.chart(ERROR).GetYAxisRange() == pytest.approx((0.0, 3.3)), "an error has a zero"
    assert not nodes.chart(ERROR).GetYAxisRangeAuto()
    assert nodes.chart(LOSS).GetYAxisRangeAuto()
    assert not any(node.GetSaveWithScene() for node in nodes_of(scene, "vtkMRMLTableNode"))
    nodes.remove()
    assert scene.GetNumberOfNodes() == before


def replayed(run: Retraining | None) -> str | None:
    """The folder that the process was told to replay."""
    assert run is not None
    arguments = json.loads((run.folder / REQUEST).read_text())["arguments"]
    return arguments[arguments.index("--replay") + 1] if "--replay" in arguments else None


def test_original_cases_are_replayed_by_whoever_retrains_next_whether_by_name_or_by_folder(
    library: Library, tmp_path: Path, tiny_bundle: Path
) -> None:
    hold, user = tmp_path / "hold", tmp_path / "user"
    hold.touch()
    add_version(tiny_bundle, user)
    cases = write_blob_radiographs(tmp_path / "data", 1, 0)
    one = LibraryRetraining(lambda: launch(hold), user)
    assert one.original_cases("tiny") == (None, False)
    one.choose_original_cases(str(tiny_bundle), cases)
    other = LibraryRetraining(lambda: launch(hold), user)
    assert other.original_cases("tiny") == other.original_cases(str(tiny_bundle)) == (cases, True)
    other.start(library, "tiny")
    assert replayed(other.run) == str(cases)
    until(lambda: other.run.curves.loss)  # type: ignore[union-attr]
    other.cancel()
    until(lambda: other.poll(library, None) and other.can_go_on)
    other.forget_original_cases("tiny")
    hold.unlink()
    other.go_on()
    until(lambda: other.run.status.phase == "done")  # type: ignore[union-attr]
    assert replayed(other.run) == str(cases), "it goes on as it was started"


def test_original_cases_that_are_gone_end_a_start_before_there_is_a_process(
    library: Library, tmp_path: Path, tiny_bundle: Path
) -> None:
    user, started = tmp_path / "user", []
    add_version(tiny_bundle, user)
    cases = write_blob_radiographs(tmp_path / "data", 1, 0)
    watched = LibraryRetraining(lambda: started.append(1) or launch(tmp_path / "none"), user)  # type: ignore[func-returns-value]
    watched.choose_original_cases("tiny", cases)
    assert watched.original_cases("tiny") == (cases, True)
    cases.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"expected the cases that tiny was trained on in .*, found none there"):
        watched.start(library, "tiny")
    assert watched.original_cases("tiny") == (cases, False)
    assert (watched.run, started) == (None, [])
    assert not (user / RUNS).exists()
    watched.forget_original_cases("tiny")
    watched.start(library, "tiny")
    assert replayed(watched.run) is None
    until(lambda: watched.run.status.phase == "done")  # type: ignore[union-attr]


def test_original_cases_of_a_model_that_nobody_has_are_refused(tmp_path: Path) -> None:
    watched = LibraryRetraining(lambda: launch(tmp_path / "none"), tmp_path / "user")
    with pytest.raises(InputError, match="expected the name of a model or a bundle folder, got 'nobody'"):
        watched.choose_original_cases("nobody", write_blob_radiographs(tmp_path / "data", 1, 0))
