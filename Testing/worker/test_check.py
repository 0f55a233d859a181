"""Where a prediction does not run, one line says what is missing, and a text to copy says what is there."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from importlib import metadata
from pathlib import Path

import pytest

from DenseLandmarksLib import __version__
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.bundle import INFERENCE
from DenseLandmarksLib.worker import server_check, server_packages
from DenseLandmarksLib.worker.client import Client, Worker
from DenseLandmarksLib.worker.environment_report import EnvironmentReport
from DenseLandmarksLib.worker.events import Cancelled, Checked, Event, Failed, Loaded, Progress
from DenseLandmarksLib.worker.launch import ROOT, SERVER, Launch
from Testing.bare_environment import PRESENT
from Testing.test_bare_environment import link
from Testing.worker.waiting import answers, is_running, seconds_until, wait_for_progress

PYTHON = re.escape(f"the worker's Python {platform.python_version()}")
GONE_WITHIN_S = 10.0


def answer(worker: Worker, client: Client, request: int) -> Event:
    return answers(worker, client, to=[request])[request]


def has_ended(pid: int) -> bool:
    return not is_running(pid)


def report(worker: Worker, client: Client, model: str | Path, device: str = "cpu") -> EnvironmentReport:
    checked = answer(worker, client, client.check(model, device))
    assert isinstance(checked, Checked), checked
    return checked.report


# ---- a worker that runs ---------------------------------------------------------------------------------------------


def test_the_versions_the_accelerator_and_one_pass_are_told(warm_worker: Worker, client: Client) -> None:
    told = report(warm_worker, client, "chest-xray")
    assert told.problem == ""
    assert (told.device, told.text) == ("cpu", "\n".join(told.lines))
    assert told.pass_s is not None
    assert 0 < told.pass_s < 30
    assert told.lines[0] == f"DenseLandmarks {__version__}"
    for name in ("torch", "monai", "safetensors", "numpy", "scipy", "SimpleITK", "pydicom"):
        assert f"{name} {metadata.version(name)}" in told.lines
    assert [line for line in told.lines if line.startswith(f"Python {platform.python_version()} (")]
    assert len([line for line in told.lines if line.startswith("GPU: ")]) == 1
    assert re.fullmatch(r"chest-xray \S+ on cpu: opened in [\d.]+ s, one pass in [\d.]+ s", told.lines[-1])


def test_it_tells_what_it_does_and_the_model_stays_open(warm_worker: Worker, client: Client, slow_bundle: Path) -> None:
    request = client.check(slow_bundle, "cpu")
    said: list[Event] = []
    while not any(isinstance(event, Checked | Failed) for event in said):
        warm_worker.wait(1.0)
        said += client.events()
    assert [event.request_id for event in said] == [request] * len(said)
    assert "checking the environment" in [event.text for event in said if isinstance(event, Progress)]
    assert isinstance(answer(warm_worker, client, client.load(slow_bundle, "cpu")), Loaded)
    again = report(warm_worker, client, slow_bundle)
    assert re.search(r"opened in 0\.0\d s", again.lines[-1])


def test_a_check_can_be_cancelled(warm_worker: Worker, client: Client, slow_bundle: Path, chest: MedicalImage) -> None:
    running, waiting = client.request(chest, slow_bundle, device="cpu"), client.check(slow_bundle, "cpu")
    wait_for_progress(warm_worker, client, running)
    client.cancel(waiting)
    client.cancel(running)
    assert answers(warm_worker, client, to=[running, waiting]) == {
        running: Cancelled(running),
        waiting: Cancelled(waiting),
    }


def test_a_model_that_does_not_run_is_told_with_the_versions(
    warm_worker: Worker, client: Client, tiny_bundle: Path, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(tiny_bundle, tmp_path / "broken"))
    (broken / INFERENCE).write_text("{}")
    told = report(warm_worker, client, broken)
    assert told.problem.startswith(f"expected a model bundle in {broken}, but {INFERENCE} is not the file that was")
    assert (told.device, told.pass_s) == ("", None)
    assert told.text.splitlines() == [*told.lines, told.problem]
    assert f"torch {metadata.version('torch')}" in told.lines


def test_an_error_in_the_pass_is_told_with_what_to_do(warm_worker: Worker, client: Client, tiny_bundle: Path) -> None:
    told = report(warm_worker, client, tiny_bundle, "quantum")
    assert told.problem.startswith("expected one pass of the model on the device quantum, got RuntimeError: ")
    assert told.problem.endswith("Choose the device cpu, or install a torch that fits the graphics card.")
    assert "\n" not in told.problem
    assert "Traceback (most recent call last)" in warm_worker.log()


def test_a_wish_for_cuda_is_answered_by_the_machine(warm_worker: Worker, client: Client, tiny_bundle: Path) -> None:
    import torch

    told = report(warm_worker, client, tiny_bundle, "cuda")
    if torch.cuda.is_available():
        assert (told.problem, told.device) == ("", "cuda")
    else:
        assert told.problem.startswith("expected a CUDA device because --device cuda was asked for, found none.")


def test_an_unknown_model_is_told_without_a_worker(launch: Launch) -> None:
    with Worker(launch) as worker:
        client = worker.client()
        request = client.check("no-such-model")
        (failed,) = client.events()
        assert isinstance(failed, Failed)
        assert (failed.request_id, failed.kind) == (request, "model")
        assert worker.pid is None


def test_why_there_is_no_accelerator_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def too_old() -> bool:
        import warnings

        warnings.warn("CUDA initialization: The NVIDIA driver on\n your system is too old", stacklevel=1)
        return False

    def broken() -> bool:
        raise RuntimeError("CUDA unknown error")

    monkeypatch.setattr(torch.version, "cuda", None)
    assert server_check.accelerator_lines() == ["GPU: none, as this torch was built without CUDA"]
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert server_check.accelerator_lines() == ["GPU: none that CUDA 13.0 finds"]
    monkeypatch.setattr(torch.cuda, "is_available", too_old)
    (line,) = server_check.accelerator_lines()
    assert line.endswith("finds; CUDA initialization: The NVIDIA driver on your system is too old")
    monkeypatch.setattr(torch.cuda, "is_available", broken)
    assert server_check.accelerator_lines() == ["GPU: CUDA 13.0 cannot be asked; CUDA unknown error"]


def test_a_report_does_not_name_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "jane.doe")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "jane.doe" / "Slicer" / "bin" / "python-real"))
    (line,) = [line for line in server_packages.version_lines() if line.startswith("Python ")]
    assert "jane.doe" not in line
    assert line.endswith(f"({Path('~/Slicer/bin/python-real')})")


# ---- a worker without the packages ----------------------------------------------------------------------------------


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with the four packages that every Slicer has."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for name in PRESENT:
        link(folder, name)
    return folder


@pytest.fixture
def bare_worker(packages: Path) -> Iterator[Worker]:
    """A worker whose Python has these packages and no others."""
    path = os.pathsep.join((str(ROOT), str(packages)))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    # Without site there is no other folder of packages.
    with Worker(Launch((sys.executable, "-S", "-P", "-m", SERVER), environment)) as worker:
        yield worker


def test_missing_packages_are_told_in_one_line_with_the_versions_of_the_others(
    bare_worker: Worker, tiny_bundle: Path, chest: MedicalImage
) -> None:
    client = bare_worker.client()
    asked = [client.check(tiny_bundle), client.request(chest, tiny_bundle), client.load(tiny_bundle)]
    checked, *failed = answers(bare_worker, client, to=asked).values()
    assert isinstance(checked, Checked)
    told = checked.report
    assert re.fullmatch(
        rf"expected torch, monai and safetensors in {PYTHON}, found none\. Install what is missing; .+\.", told.problem
    )
    assert failed == [Failed(request, "worker", told.problem) for request in asked[1:]]
    assert [line for line in told.lines if line.endswith(": missing")] == [
        "torch: missing",
        "monai: missing",
        "safetensors: missing",
    ]
    assert f"SimpleITK {metadata.version('SimpleITK')}" in told.lines


def test_what_was_installed_meanwhile_is_seen_by_the_next_who_asks(
    bare_worker: Worker, packages: Path, tiny_bundle: Path
) -> None:
    client = bare_worker.client()
    assert "found none" in report(bare_worker, client, tiny_bundle).problem
    first = bare_worker.pid
    assert first is not None
    seconds_until(lambda: not is_running(first), GONE_WITHIN_S)
    for name in ("monai", "safetensors"):
        (packages / name).mkdir()
        (packages / name / "__init__.py").touch()
    (packages / "torch").mkdir()
    (packages / "torch" / "__init__.py").write_text("raise OSError('libcudart.so.13:\\n cannot open shared object')")
    told = report(bare_worker, client, tiny_bundle)
    assert re.fullmatch(
        rf"expected torch in {PYTHON}, got OSError: libcudart\.so\.13: cannot open shared object\. Remove it and .+\.",
        told.problem,
    )
    assert "torch: there, of an unknown version" in told.lines


def test_whoever_asks_while_it_ends_is_answered_by_the_next(bare_worker: Worker, tiny_bundle: Path) -> None:
    client = bare_worker.client()
    for _ in range(4):
        assert "found none" in report(bare_worker, client, tiny_bundle).problem
        pid = bare_worker.pid
        assert pid is not None
        # Nobody polls meanwhile: the next request is made before its end is noticed.
        seconds_until(partial(has_ended, pid), GONE_WITHIN_S)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (None, r"expected torch in {python}, got ImportError: a folder torch without the package\. Remove it"),
        (
            "import sympy_of_torch.core",
            r"expected sympy_of_torch, which torch needs, in {python}, found none\. Install",
        ),
        ("", r"expected torch and monai that fit each other in {python}, got \w+: .+\. Remove it and install"),
    ],
    ids=["left over", "needs another", "does not fit"],
)
def test_a_package_that_is_half_there_is_told(
    source: str | None, says: str, bare_worker: Worker, packages: Path, tiny_bundle: Path
) -> None:
    for name in ("torch", "monai", "safetensors"):
        (packages / name).mkdir()
        if name != "torch" or source is not None:
            (packages / name / "__init__.py").write_text(source or "")
    (packages / "torch" / "lib").mkdir()
    told = report(bare_worker, bare_worker.client(), tiny_bundle)
    assert re.match(says.replace("{python}", PYTHON), told.problem), told.problem
    assert "\n" not in told.problem
