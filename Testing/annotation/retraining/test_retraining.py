"""A retraining that is started, watched, cancelled, killed and gone on with: by its folder alone, whoever looks."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.retraining import retraining as retraining_module
from DenseLandmarksLib.annotation.retraining.retraining import Retraining, new_run_folder
from DenseLandmarksLib.annotation.retraining.run_status import Phase
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.descent import descent_of
from DenseLandmarksLib.models.versions import list_versions
from DenseLandmarksLib.worker.launch import Launch
from Testing.annotation.retraining.runs import launch, until
from Testing.annotation.retraining.stand_in import EPOCHS
from Testing.scene.open_cases import chest_library


@pytest.fixture
def library(tmp_path: Path, chest_template: object) -> Library:
    return chest_library(tmp_path, chest_template, 1)  # type: ignore[arg-type]


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Path]:
    """While it is there the process waits after an epoch."""
    path = tmp_path / "hold"
    path.touch()
    yield path
    path.unlink(missing_ok=True)


def begin(library: Library, hold: Path, user: Path, model: Path) -> Retraining:
    return Retraining.start(launch(hold), str(model), library, new_run_folder(str(model), user), user)


def test_it_runs_to_its_end_and_another_window_finds_it(
    library: Library, hold: Path, tmp_path: Path, tiny_bundle: Path
) -> None:
    user = tmp_path / "user"
    run = begin(library, hold, user, tiny_bundle)
    assert run.status.phase is Phase.STARTING
    until(lambda: run.curves.loss)
    found = Retraining.find(library.id, user)
    assert found is not None
    assert found.folder == run.folder
    assert found.status.phase is run.status.phase is Phase.TRAINING
    assert found.status.line == "epoch 1 of 4"
    assert (found.status.fraction, found.status.epochs, found.status.minutes_left) == (0, EPOCHS, 2.0)
    hold.unlink()
    until(lambda: not found.status.phase.is_under_way)
    assert found.status.phase is run.status.phase is Phase.DONE
    assert [epoch for epoch, _ in found.curves.loss] == [0, 1, 2, 3]
    assert found.curves.error_mm[-1] == (3, 2)
    compared = found.comparison
    assert compared is not None
    assert (compared.before_mm, compared.after_mm, compared.difference_mm) == (2.5, 2.25, (-0.25, -0.5, 0.125))
    assert (compared.called_absent, compared.structures[0].name) == ((2, 1), "heart")
    named = found.new_version
    assert named is not None
    (version,) = list_versions(named[0], user)
    assert version.version == f"{found.parent_version}+1"
    assert descent_of(version.metadata).run == named[1]  # type: ignore[union-attr]


def test_whoever_ends_the_window_does_not_end_it(
    library: Library, hold: Path, tmp_path: Path, tiny_bundle: Path
) -> None:
    """The process that started it is killed with its whole session."""
    code = f"""
import sys, time
from pathlib import Path
from DenseLandmarksLib.annotation.library.library import Library
from Testing.annotation.retraining.test_retraining import begin
run = begin(Library.open(Path({str(library.folder)!r})), Path({str(hold)!r}), Path({str(tmp_path / "user")!r}), Path({str(tiny_bundle)!r}))
print(run.folder, flush=True)
time.sleep(60)
"""
    import subprocess

    window = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert window.stdout is not None
    folder = Path(window.stdout.readline().strip())
    os.killpg(window.pid, signal.SIGKILL)
    window.wait()
    window.stdout.close()
    run = until(lambda: Retraining.find(library.id, tmp_path / "user"))
    assert run.folder == folder
    hold.unlink()
    until(lambda: run.status.phase is Phase.DONE)


def test_it_is_cancelled_and_goes_on(library: Library, hold: Path, tmp_path: Path, tiny_bundle: Path) -> None:
    run = begin(library, hold, tmp_path / "user", tiny_bundle)
    until(lambda: run.curves.loss)
    run.cancel()
    assert run.status.is_cancelling or run.status.phase is Phase.CANCELLED
    until(lambda: run.status.phase is Phase.CANCELLED)
    assert not run.status.is_cancelling
    hold.unlink()
    again = Retraining.find(library.id, tmp_path / "user")
    assert again is not None
    again.go_on(launch(hold))
    assert again.status.phase.is_under_way
    until(lambda: again.status.phase is Phase.DONE)
    assert [epoch for epoch, _ in again.curves.loss] == [0, 1, 2, 3]
    with pytest.raises(InputError, match="got one that is done"):
        again.go_on(launch(hold))


def test_one_that_was_killed_is_told_and_goes_on(
    library: Library, hold: Path, tmp_path: Path, tiny_bundle: Path
) -> None:
    run = begin(library, hold, tmp_path / "user", tiny_bundle)
    until(lambda: run.curves.loss)
    assert run._process is not None
    os.kill(run._process.pid, signal.SIGKILL)
    run._process.wait()
    for one in (run, Retraining.find(library.id, tmp_path / "user")):
        assert one is not None
        assert one.status.phase is Phase.INTERRUPTED
        assert one.status.line.startswith("interrupted: the process ended without a word")
        assert one.status.minutes_left is None
    hold.unlink()
    run.go_on(launch(hold))
    until(lambda: run.status.phase is Phase.DONE)


def test_one_that_never_began_says_what_its_process_said(library: Library, tmp_path: Path, tiny_bundle: Path) -> None:
    broken = Launch.with_interpreter(module="no_such_module")
    user = tmp_path / "user"
    run = Retraining.start(broken, str(tiny_bundle), library, new_run_folder("tiny", user), user)
    status = until(lambda: run.status if not run.status.phase.is_under_way else None)
    assert status.phase is Phase.INTERRUPTED
    assert status.line.endswith("No module named no_such_module")
    assert "\n" not in status.line


def test_one_that_another_window_has_just_started_is_starting(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = tmp_path / "user"
    Retraining.start(
        Launch.with_interpreter(module="no_such_module"), "tiny", library, new_run_folder("tiny", user), user
    )
    found = Retraining.find(library.id, user)
    assert found is not None
    assert found.status.phase is Phase.STARTING
    monkeypatch.setattr(retraining_module, "STARTS_WITHIN_S", 0.0)
    assert found.status.phase is Phase.INTERRUPTED


def test_a_program_that_is_not_there_is_one_line_and_leaves_nothing(library: Library, tmp_path: Path) -> None:
    user = tmp_path / "user"
    with pytest.raises(InputError, match="expected to start /no/python, got 'No such file or directory'"):
        Retraining.start(Launch(("/no/python",)), "tiny", library, new_run_folder("tiny", user), user)
    assert Retraining.find(library.id, user) is None
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="expected to write to"):
        Retraining.start(Launch(("/no/python",)), "tiny", library, tmp_path / "file" / "run", user)


def test_the_newest_of_the_library_is_found_and_damaged_ones_are_not(library: Library, tmp_path: Path) -> None:
    user = tmp_path / "user"

    def write(name: str, library_id: str, when: str) -> Path:
        folder = user / "retraining" / "tiny" / name
        folder.mkdir(parents=True)
        request = {"when": when, "model": "tiny", "library": {"id": library_id}, "arguments": []}
        (folder / "request.json").write_text(json.dumps(request))
        return folder

    newest = write("b", library.id, "2026-01-02")
    write("a", library.id, "2026-01-01")
    write("c", "another", "2026-01-03")
    damaged = write("d", library.id, "2026-01-04") / "request.json"
    for text in ("", "{", "[]", '{"when": "x"}', '{"when": 1, "model": 2, "library": 3, "arguments": 4}'):
        damaged.write_text(text)
        found = Retraining.find(library.id, user)
        assert found is not None
        assert found.folder == newest


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    folders = []
    for _ in range(3):
        folders.append(new_run_folder("/somewhere/tiny", tmp_path))
        folders[-1].mkdir(parents=True)
    assert len(set(folders)) == 3
    assert {folder.parent.name for folder in folders} == {"tiny"}
