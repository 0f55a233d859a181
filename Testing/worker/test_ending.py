"""Whatever becomes of the worker, whoever waits gets an answer; whatever becomes of us, no worker stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.worker import keeper
from DenseLandmarksLib.worker.client import Client, Worker
from DenseLandmarksLib.worker.events import Cancelled, Done, Failed
from DenseLandmarksLib.worker.launch import ROOT, Launch
from Testing.worker.conftest import SLOW_GRID, write_untrained
from Testing.worker.waiting import answers, is_running, seconds_until, wait_for_progress

GONE_WITHIN_S = 5.0


def kill(worker: Worker, number: signal.Signals = signal.SIGKILL) -> int:
    pid = worker.pid
    assert pid is not None
    os.kill(pid, number)
    return pid


# ---- the worker ends ------------------------------------------------------------------------------------------------


def test_a_worker_that_dies_is_started_again_and_everything_is_answered(
    warm_worker: Worker, client: Client, slow_bundle: Path, tiny_bundle: Path, chest: MedicalImage
) -> None:
    other = warm_worker.client()
    slow = client.request(chest, slow_bundle, device="cpu")
    wait_for_progress(warm_worker, client, slow)
    waiting = [other.request(chest, tiny_bundle, device="cpu") for _ in range(3)]
    dead = kill(warm_worker)
    last = answers(warm_worker, client, other, to=[slow, *waiting])
    assert all(isinstance(event, Done) for event in last.values())
    assert warm_worker.pid not in (dead, None)
    other.close()


def test_a_request_that_two_workers_died_of_fails_and_the_others_are_answered(
    warm_worker: Worker, client: Client, slow_bundle: Path, tiny_bundle: Path, chest: MedicalImage
) -> None:
    other = warm_worker.client()
    slow = client.request(chest, slow_bundle, device="cpu")
    waiting = [other.request(chest, tiny_bundle, device="cpu") for _ in range(3)]
    wait_for_progress(warm_worker, client, slow)
    dead = kill(warm_worker)
    while warm_worker.pid == dead:
        warm_worker.poll()
    client.events()  # what the first one said last is not said by the second
    wait_for_progress(warm_worker, client, slow)
    kill(warm_worker)
    last = answers(warm_worker, client, other, to=[slow, *waiting])
    failed = last[slow]
    assert isinstance(failed, Failed)
    assert failed.kind == "worker"
    assert failed.message == (
        f"expected a prediction of {chest.name}, but the worker ended 2 times over it: it ended with signal SIGKILL, "
        "perhaps not enough memory. Give a smaller image, or report it with the worker's log."
    )
    assert all(isinstance(last[request], Done) for request in waiting)
    other.close()


def test_a_worker_that_does_not_give_up_is_ended_and_the_others_are_answered(
    warm_worker: Worker,
    client: Client,
    slow_bundle: Path,
    tiny_bundle: Path,
    chest: MedicalImage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeper, "CANCEL_LIMIT_S", 1.0)
    other = warm_worker.client()
    slow = client.request(chest, slow_bundle, device="cpu")
    wait_for_progress(warm_worker, client, slow)
    waiting = [other.request(chest, tiny_bundle, device="cpu") for _ in range(2)]
    hung = kill(warm_worker, signal.SIGSTOP)
    client.cancel(slow)
    last = answers(warm_worker, client, other, to=[slow, *waiting])
    assert last[slow] == Cancelled(slow)
    assert next(iter(last)) == slow
    assert all(isinstance(last[request], Done) for request in waiting)
    assert not is_running(hung)
    other.close()


def test_a_worker_that_died_while_nobody_asked_is_not_missed(
    warm_worker: Worker, client: Client, tiny_bundle: Path, chest: MedicalImage
) -> None:
    request = client.request(chest, tiny_bundle, device="cpu")
    answers(warm_worker, client, to=[request])
    dead = kill(warm_worker)
    seconds_until(lambda: not is_running(dead), GONE_WITHIN_S)

    def is_noticed() -> bool:
        warm_worker.poll()
        return warm_worker.pid is None

    # A process is gone a moment before the last of its threads, which holds the connection.
    seconds_until(is_noticed, GONE_WITHIN_S)
    request = client.request(chest, tiny_bundle, device="cpu")
    assert isinstance(answers(warm_worker, client, to=[request])[request], Done)


# ---- the worker starts ----------------------------------------------------------------------------------------------


def test_files_in_a_persons_folder_do_not_become_part_of_the_worker(tmp_path: Path) -> None:
    for name in ("socket.py", "threading.py", "numpy.py"):
        (tmp_path / name).write_text("raise SystemExit('not the one that was meant')")
    launch = Launch.with_interpreter(cwd=tmp_path)
    run = subprocess.run(
        launch.command, env=launch.environment, cwd=launch.cwd, input="", capture_output=True, text=True
    )
    assert "not the one that was meant" not in run.stderr
    assert run.stderr.splitlines()[-1].startswith("json.decoder.JSONDecodeError")  # nobody told it where to call back


# ---- the worker does not start ----------------------------------------------------------------------------------------


def fails_with(command: tuple[str, ...], chest: MedicalImage) -> tuple[str, str]:
    """What two requests are told, and the log."""
    with Worker(Launch(command)) as worker:
        client = worker.client()
        asked = [client.request(chest, "chest-xray") for _ in range(2)]
        messages = set()
        for failed in answers(worker, client, to=asked).values():
            assert isinstance(failed, Failed)
            assert failed.kind == "worker"
            messages.add(failed.message)
        (message,) = messages
        assert worker.pid is None
        return message, worker.log()


def test_a_worker_that_cannot_start_is_told_with_its_last_words_and_not_tried_for_ever(chest: MedicalImage) -> None:
    code = "import sys; print('first line'); import a_module_that_is_not_here"
    message, log = fails_with((sys.executable, "-c", code), chest)
    assert message == (
        "expected a worker that runs, but it ended with exit status 1 and said: ModuleNotFoundError: No module named "
        "'a_module_that_is_not_here'. Repair the installation; its log says more."
    )
    assert log.count("first line") == 1


def test_a_worker_that_is_killed_at_its_start_is_tried_once_more(chest: MedicalImage) -> None:
    code = "import os, sys; print('try', flush=True); os.kill(os.getpid(), 9)"
    message, log = fails_with((sys.executable, "-c", code), chest)
    assert message.startswith("expected a worker that runs, but it ended with signal SIGKILL, perhaps not enough mem")
    assert log.count("try") == 2


def test_a_command_that_is_not_there_is_told(chest: MedicalImage, tmp_path: Path) -> None:
    message, log = fails_with((str(tmp_path / "PythonSlicer"),), chest)
    assert message.startswith(f"expected a worker started with {tmp_path / 'PythonSlicer'}, but [Errno 2]")
    assert log == ""


# ---- we end ---------------------------------------------------------------------------------------------------------

PARENT = """
import sys
import SimpleITK as sitk
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.worker.client import Worker
worker = Worker()
client = worker.client()
image = MedicalImage(sitk.GaussianSource(sitk.sitkUInt8, (64, 64, 1)), SpacingSource.UNKNOWN)
requests = [client.request(image, model, device="cpu") for model in sys.argv[2:]]
told = False
while True:
    worker.wait(1)
    happened = [(event.request_id, getattr(event, "text", "")) for event in client.events()]
    if not told and (requests[-1], sys.argv[1]) in happened:
        print(worker.pid, sorted({"torch", "monai", "torchvision"} & set(sys.modules)), flush=True)
        told = True
"""


def test_no_worker_outlives_a_parent_that_was_killed_while_it_loads(tmp_path: Path, tiny_bundle: Path) -> None:
    assert is_gone_after_its_parent("waiting for the worker", tmp_path, tiny_bundle) < GONE_WITHIN_S


def test_no_worker_outlives_a_parent_that_was_killed_while_it_predicts(tmp_path: Path, tiny_bundle: Path) -> None:
    """The parent got one answer and has not loaded torch for it; the next pass takes longer than we wait."""
    endless = tmp_path / "endless"
    write_untrained(endless, tiny_bundle, (384, 384), SLOW_GRID)
    assert is_gone_after_its_parent("predicting", tmp_path, tiny_bundle, endless) < GONE_WITHIN_S


def is_gone_after_its_parent(doing: str, folder: Path, *bundles: Path) -> float:
    """Seconds that the worker lives on when its parent is killed while it is at the last bundle."""
    environment = {**os.environ, "TMPDIR": str(folder)}  # whoever is killed does not tidy up
    command = [sys.executable, "-c", PARENT, doing, *map(str, bundles)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, heavy = parent.stdout.readline().split(maxsplit=1)
        assert is_running(int(pid))
        assert heavy == "[]\n"
        parent.kill()
    return seconds_until(lambda: not is_running(int(pid)), GONE_WITHIN_S)


def test_the_last_client_takes_the_worker_along(launch: Launch, tiny_bundle: Path, chest: MedicalImage) -> None:
    with Worker(launch) as worker:
        one, other = worker.client(), worker.client()
        worker.start(tiny_bundle, "cpu")
        one.request(chest, tiny_bundle, device="cpu")
        pid = worker.pid
        assert pid is not None
        one.close()
        one.close()
        worker.wait(0.1)
        assert is_running(pid)
        other.close()
        seconds_until(lambda: not is_running(pid), GONE_WITHIN_S)
        assert worker.pid is None


def test_a_worker_ends_by_itself_when_its_connection_does(launch: Launch, tiny_bundle: Path) -> None:
    """Nobody kills it here: what ends it has to be the worker itself."""
    worker = Worker(launch)
    worker.client()
    worker.start(tiny_bundle, "cpu")
    while (connection := worker._keeper.connection) is None:
        worker.wait(0.01)
    pid = worker.pid
    assert pid is not None
    connection.close()
    seconds_until(lambda: not is_running(pid), GONE_WITHIN_S)
    worker.close()


def test_ctrl_c_in_the_terminal_does_not_reach_the_worker(
    warm_worker: Worker, client: Client, tiny_bundle: Path, chest: MedicalImage
) -> None:
    answers(warm_worker, client, to=[client.load(tiny_bundle, "cpu")])
    pid = kill(warm_worker, signal.SIGINT)
    assert os.getpgid(pid) != os.getpgid(0)
    request = client.request(chest, tiny_bundle, device="cpu")
    assert isinstance(answers(warm_worker, client, to=[request])[request], Done)
    assert warm_worker.pid == pid
