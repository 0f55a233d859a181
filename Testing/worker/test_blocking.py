"""A command line whose network runs in a worker: it reads like any other predictor, and one death costs one image."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from DenseLandmarksLib import cli
from DenseLandmarksLib.annotation.exports.summary import SUMMARY_FILE
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.models.prediction import Prediction, Predictor, do_nothing
from DenseLandmarksLib.models.registry import open_predictor
from DenseLandmarksLib.worker import keeper
from DenseLandmarksLib.worker.blocking import WorkerError, WorkerPredictor
from DenseLandmarksLib.worker.client import Client, Worker
from DenseLandmarksLib.worker.launch import ROOT
from Testing.models.same_prediction import assert_same
from Testing.worker.waiting import is_running, seconds_until


def film(path: Path, seed: int = 0) -> Path:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 36), np.uint8)).save(path)
    return path


def test_it_predicts_what_the_predictor_in_this_process_does(
    client: Client, tiny_bundle: Path, chest: MedicalImage
) -> None:
    predictor: Predictor = WorkerPredictor(client, tiny_bundle, "cpu")
    here = open_predictor(str(tiny_bundle), "cpu")
    volume = MedicalImage(sitk.Image((8, 8, 8), sitk.sitkInt16), SpacingSource.CALIBRATED, "thorax")
    got, wanted = predictor.predict(chest, View(180)), here.predict(chest, View(180))
    np.testing.assert_allclose(got.landmarks.points_lps_mm, wanted.landmarks.points_lps_mm, atol=1e-3)
    assert_same(got.grid, wanted.grid)
    with pytest.raises(InputError) as here_error:
        here.predict(volume)
    with pytest.raises(InputError) as there_error:
        predictor.predict(volume)
    assert str(there_error.value) == str(here_error.value)


def test_a_model_or_device_that_cannot_be_used_is_told_before_the_first_image(
    client: Client, tiny_bundle: Path
) -> None:
    assert WorkerPredictor(client, tiny_bundle, "cpu").load() == "cpu"
    with pytest.raises(InputError, match="expected the name of a model or a bundle folder, got 'no-such-model'"):
        WorkerPredictor(client, "no-such-model").load()
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="expected a CUDA device because --device cuda was asked for, found none"):
            WorkerPredictor(client, tiny_bundle, "cuda").load()


def test_a_mistake_of_ours_comes_with_the_workers_traceback(
    client: Client, tiny_bundle: Path, chest: MedicalImage
) -> None:
    with pytest.raises(WorkerError, match="got an error of this program") as error:
        WorkerPredictor(client, tiny_bundle, "quantum").predict(chest)
    assert "Traceback (most recent call last)" in error.value.__notes__[0]


def test_what_is_given_up_leaves_the_worker_to_the_next(
    warm_worker: Worker, client: Client, slow_bundle: Path, tiny_bundle: Path, chest: MedicalImage
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        WorkerPredictor(client, slow_bundle, "cpu").predict(chest, between_passes=stop)
    pid = warm_worker.pid
    WorkerPredictor(client, tiny_bundle, "cpu").predict(chest)
    assert warm_worker.pid == pid


def test_a_worker_that_dies_over_one_image_costs_this_one_alone(
    warm_worker: Worker,
    tiny_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(keeper, "DEATHS_LIMIT", 1)  # each further start takes seconds
    predict = WorkerPredictor.predict
    killed: list[int] = []

    def deadly(self: WorkerPredictor, image: MedicalImage, view: View | None = None) -> Prediction:
        def kill() -> None:
            pid = warm_worker.pid
            if pid is not None and not killed:  # once: the next one may be starting, which is another failure
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)

        return predict(self, image, view, between_passes=kill if image.name == "deadly" else do_nothing)

    monkeypatch.setattr(WorkerPredictor, "predict", deadly)
    images = [str(film(tmp_path / f"{name}.png", i)) for i, name in enumerate(("first", "deadly", "last"))]
    out = tmp_path / "out"
    assert cli.main(["predict", *images, "--model", str(tiny_bundle), "--output", str(out), "--device", "cpu"]) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "but the worker ended" in error
    assert "SIGKILL, perhaps not enough memory" in error
    with (out / SUMMARY_FILE).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["status"]) for row in rows] == [("first", "done"), ("deadly", "failed"), ("last", "done")]
    assert "SIGKILL" in rows[1]["message"]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for the worker in Linux's list of processes")
def test_ctrl_c_ends_the_program_and_its_worker(slow_bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "DenseLandmarksLib", "predict", str(film(tmp_path / "film.png"))]
    command += ["--model", str(slow_bundle), "--output", str(tmp_path / "out"), "--device", "cpu"]
    # A group of its own, to which the terminal sends Ctrl+C.
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell that starts the tests in the background has them, and what they start, ignore Ctrl+C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as program:
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
        seconds_until(lambda: bool(children.read_text()), 60)
        (worker,) = map(int, children.read_text().split())
        time.sleep(0.3)
        os.killpg(program.pid, signal.SIGINT)
        out, said = program.communicate(timeout=20)
    assert (program.returncode, out) == (130, "")
    assert said == "stopped; what was written is whole, and --resume goes on from there\n"
    seconds_until(lambda: not is_running(worker), 5)
