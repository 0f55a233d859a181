"""Many files in one run: none stops another, nothing done is lost or done twice, and memory stays flat."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from DenseLandmarksLib import cli, predict_files
from DenseLandmarksLib.annotation.exports import overlay, results
from DenseLandmarksLib.annotation.exports.results import RESULT_ENDINGS
from DenseLandmarksLib.annotation.exports.summary import SUMMARY_FILE
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.models.prediction import Plausibility, Prediction
from DenseLandmarksLib.worker.blocking import WorkerPredictor
from Testing.geometry.dicom_files import write_dicom

ROOT = Path(__file__).resolve().parents[1]
Run = Callable[..., tuple[int, list[str], list[str]]]


def film(path: Path, seed: int = 0) -> Path:
    """A small picture that differs from those of other seeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (40, 36), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / SUMMARY_FILE).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def column(folder: Path, name: str) -> list[str]:
    return [row[name] for row in rows(folder)]


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if path.name != SUMMARY_FILE}


@pytest.fixture(autouse=True)
def _quick_overlay(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes ten times as long as everything else; its own tests say what it draws."""
    if "real_overlay" not in request.fixturenames:
        monkeypatch.setattr(results, "draw_overlay", lambda path, *_: film(path))


@pytest.fixture
def real_overlay() -> None:
    """Asked for by tests that need what drawing costs."""


@pytest.fixture
def run(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """``run(image, ..., "--option")``: exit status and lines of stdout and stderr; results go to ``tmp_path / "out"``."""

    def predict(*arguments: object) -> tuple[int, list[str], list[str]]:
        where = ["--model", str(tiny_bundle), "--output", str(tmp_path / "out"), "--device", "cpu"]
        status = cli.main(["predict", *where, *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err.splitlines()

    return predict


# ---- folders --------------------------------------------------------------------------------------------------------


def test_a_folder_is_searched_in_a_stable_order_and_other_files_are_counted(run: Run, tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    for i, name in enumerate(("b/2.png", "b/10.png", "a.png", ".hidden.png", ".git/x.png")):
        film(cohort / name, i)
    shutil.copy(cohort / "a.png", cohort / "without suffix")
    for name in ("README.txt", "b/landmarks.csv", "b/DICOMDIR"):
        (cohort / name).write_text("words")
    film(cohort / "old.overlay.png", 9)  # our own, as is what a run into this folder leaves
    (cohort / SUMMARY_FILE).write_text("old")
    status, out, err = run(cohort)
    assert (status, err) == (0, [])
    assert column(tmp_path / "out", "name") == ["a", "without suffix", "10", "2"]
    assert out[-1] == f"4 done, 3 other files passed over: {tmp_path / 'out' / SUMMARY_FILE}"


def test_a_damaged_image_in_a_folder_is_told_and_no_image_is_predicted_twice(run: Run, tmp_path: Path) -> None:
    good = film(tmp_path / "cohort" / "good.png")
    (tmp_path / "cohort" / "damaged.png").write_bytes(good.read_bytes()[:300])
    status, out, err = run(good, tmp_path / "cohort")
    assert (status, len(err)) == (2, 1)
    assert str(tmp_path / "cohort" / "damaged.png") in err[0]
    assert column(tmp_path / "out", "name") == ["good", "damaged"]
    assert out[-1].startswith("1 done, 1 failed: ")


def test_a_folder_without_images_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "README.txt").touch()
    status, out, err = run(tmp_path / "notes")
    assert (status, out) == (2, [])
    assert err == [
        f"error: expected images in {tmp_path / 'notes'}, got 1 other files. Name the folder that holds them."
    ]


# ---- the table and the names ----------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_each_image_in_the_given_order(run: Run, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("words " * 99)
    images = [film(tmp_path / "z.png", 1), tmp_path / "words.txt", film(tmp_path / "a.png", 2), tmp_path / "none.png"]
    status, _, err = run(*images, "--spacing", 0.5)
    assert (status, len(err)) == (2, 2)
    assert column(tmp_path / "out", "name") == ["z", "words.txt", "a", "none"]
    assert column(tmp_path / "out", "status") == ["done", "failed", "done", "failed"]
    done, words, _, missing = rows(tmp_path / "out")
    assert (done["unit"], done["spacing_x"], done["spacing_source"]) == ("mm", "0.5", "given")
    assert (done["width_px"], done["height_px"], done["landmarks"], done["structures"]) == ("36", "40", "154", "5")
    assert (done["model"], done["model_version"], done["device"]) == ("tiny", "1.0.0", "cpu")
    assert len(done["case_key"]) == 16
    assert float(done["seconds"]) > 0
    assert words["message"].startswith("words.txt: expected an image (")
    assert missing["message"].startswith("none: expected an image file, found nothing there")
    assert str(tmp_path) not in (tmp_path / "out" / SUMMARY_FILE).read_text()
    assert json.loads((tmp_path / "out" / "z.report.json").read_text())["image"]["case_key"] == done["case_key"]


def test_a_folder_with_a_short_name_does_not_hide_why_an_image_failed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    Path("a/film.png").touch()
    assert run("a/film.png")[0] == 2
    assert column(tmp_path / "out", "message") == [
        "film: expected an image, got an empty file; copy or export it again"
    ]


def test_images_of_one_name_get_results_of_their_own(run: Run, tmp_path: Path) -> None:
    first, second = film(tmp_path / "a" / "film.png", 1), film(tmp_path / "b" / "film.png", 2)
    copy = Path(shutil.copy(first, tmp_path / "FILM.png"))
    assert run(first, second, copy)[0] == 0
    keys = column(tmp_path / "out", "case_key")
    assert keys[0] == keys[2] != keys[1]
    names = [f"film-{keys[0][:8]}", f"film-{keys[1][:8]}", f"FILM-{keys[2][:8]}-2"]  # some file systems ignore case
    assert column(tmp_path / "out", "name") == names
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {SUMMARY_FILE, *(f"{name}{end}" for name in names for end in RESULT_ENDINGS)}
    assert run(first, second, copy, "--resume")[1][-1].startswith("3 done before")


def test_two_copies_of_one_image_are_two_rows_and_stay_two(run: Run, tmp_path: Path) -> None:
    first = film(tmp_path / "a" / "film.png")
    (tmp_path / "b").mkdir()
    copy = shutil.copy(first, tmp_path / "b" / "film.png")
    for more in ((), ("--resume",), ()):
        assert run(first, copy, *more)[0] == 0
        key = column(tmp_path / "out", "case_key")[0][:8]
        assert column(tmp_path / "out", "name") == [f"film-{key}", f"film-{key}-2"]


def test_a_later_run_into_the_same_folder_overwrites_no_other_image(run: Run, tmp_path: Path) -> None:
    first, second = film(tmp_path / "a" / "film.png", 1), film(tmp_path / "b" / "film.png", 2)
    run(first)
    before = stamps(tmp_path / "out")
    run(second)
    key = column(tmp_path / "out", "case_key")[1][:8]
    assert column(tmp_path / "out", "name") == ["film", f"film-{key}"]
    assert before.items() <= stamps(tmp_path / "out").items()
    run(first)  # the same image again has its old name
    assert column(tmp_path / "out", "name") == ["film", f"film-{key}"]


def test_an_image_that_cannot_be_read_any_more_does_not_take_the_row_of_its_results(run: Run, tmp_path: Path) -> None:
    path = film(tmp_path / "film.png")
    run(path)
    path.write_bytes(path.read_bytes()[:200])
    assert run(path)[0] == 2
    assert column(tmp_path / "out", "status") == ["done", "failed"]
    assert column(tmp_path / "out", "name")[0] == "film"


def test_a_doubtful_image_is_done_and_warned_of(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predict = WorkerPredictor.predict
    doubt = Plausibility(("the image looks mirrored",), {}, {"spread_mm": 1.0})

    def doubting(self: WorkerPredictor, image: MedicalImage, view: View | None = None) -> Prediction:
        return replace(predict(self, image, view), plausibility=doubt)

    monkeypatch.setattr(WorkerPredictor, "predict", doubting)
    status, out, err = run(film(tmp_path / "film.png"), film(tmp_path / "other.png", 1))
    assert status == 0
    assert err == ["warning: film: the image looks mirrored", "warning: other: the image looks mirrored"]
    assert column(tmp_path / "out", "status") == ["doubtful"] * 2
    assert out[-1].startswith("2 doubtful: ")


def test_a_mistake_of_the_program_in_one_image_does_not_cost_the_others(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    predict = WorkerPredictor.predict

    def fails_on_first(self: WorkerPredictor, image, view=None):
        if image.name == "first":
            raise ValueError("of ours")
        return predict(self, image, view)

    monkeypatch.setattr(WorkerPredictor, "predict", fails_on_first)
    status, _, err = run(film(tmp_path / "first.png"), film(tmp_path / "second.png", 1))
    assert status == 2
    assert "got an error of this program (ValueError)" in err[-1]
    assert "of ours" in caplog.text  # with the traceback that finds it
    assert column(tmp_path / "out", "status") == ["failed", "done"]


# ---- going on after a stop ------------------------------------------------------------------------------------------


def test_resume_passes_over_what_is_done_and_tries_again_what_failed(run: Run, tmp_path: Path) -> None:
    good, bad, new = film(tmp_path / "good.png", 1), film(tmp_path / "bad.png", 2), film(tmp_path / "new.png", 3)
    whole = bad.read_bytes()
    bad.write_bytes(whole[:200])
    assert run(bad, good)[0] == 2
    before, first_rows = stamps(tmp_path / "out"), rows(tmp_path / "out")
    bad.write_bytes(whole)
    status, out, err = run(bad, good, new, "--resume")
    assert (status, err) == (0, [])
    assert out[-1].startswith("2 done, 1 done before: ")
    assert column(tmp_path / "out", "name") == ["bad", "good", "new"]
    assert column(tmp_path / "out", "status") == ["done"] * 3
    assert rows(tmp_path / "out")[1] == first_rows[1]
    assert before.items() <= stamps(tmp_path / "out").items()


@pytest.mark.parametrize("ending", RESULT_ENDINGS)
def test_resume_predicts_again_when_a_result_is_missing_or_damaged(run: Run, tmp_path: Path, ending: str) -> None:
    image, result = film(tmp_path / "film.png"), tmp_path / "out" / f"film{ending}"
    run(image)
    whole = result.read_bytes()
    for damaged in (whole[: len(whole) // 2], b""):
        result.write_bytes(damaged)
        assert "ran on cpu" in run(image, "--resume")[1][0]
        assert len(result.read_bytes()) > len(whole) // 2
    result.unlink()
    assert "ran on cpu" in run(image, "--resume")[1][0]
    assert "was done before" in run(image, "--resume")[1][0]


def test_resume_predicts_again_when_pixels_options_or_model_are_others(
    run: Run, tmp_path: Path, tiny_bundle: Path
) -> None:
    image = film(tmp_path / "film.png")
    run(image)
    for more in (("--spacing", 0.5), ("--spacing", 0.4), (), ("--landmark", "apex=heart:0,0"), ()):
        assert "ran on cpu" in run(image, *more, "--resume")[1][0], more
        assert "was done before" in run(image, *more, "--resume")[1][0], more
    film(image, seed=8)  # other pixels: another case, and the results of the first stay
    assert "ran on cpu" in run(image, "--resume")[1][0]
    assert len(rows(tmp_path / "out")) == 2
    newer = Path(shutil.copytree(tiny_bundle, tmp_path / "newer"))
    metadata = newer / "configs/metadata.json"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | {"version": "2.0.0"}))
    assert "ran on cpu" in run(image, "--resume", "--model", newer)[1][0]
    assert column(tmp_path / "out", "model_version") == ["1.0.0", "2.0.0"]


def test_ctrl_c_leaves_whole_files_and_resume_goes_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [film(tmp_path / f"{i}.png", i) for i in range(4)]
    predict = WorkerPredictor.predict
    calls: list[str] = []

    def stopped(self: WorkerPredictor, image, view=None):
        calls.append(image.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return predict(self, image, view)

    monkeypatch.setattr(WorkerPredictor, "predict", stopped)
    status, _, err = run(*images)
    assert (status, err) == (130, ["stopped; what was written is whole, and --resume goes on from there"])
    assert column(tmp_path / "out", "name") == ["0", "1"]
    assert {path.name.split(".")[0] for path in (tmp_path / "out").iterdir()} == {"0", "1", "summary"}
    status, out, _ = run(*images, "--resume")
    assert status == 0
    assert out[-1].startswith("2 done, 2 done before: ")
    assert calls == ["0", "1", "2", "2", "3"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_program_that_is_killed_leaves_a_table_that_can_be_read(tmp_path: Path, tiny_bundle: Path) -> None:
    for i in range(40):
        film(tmp_path / "in" / f"{i:02}.png", i)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "DenseLandmarksLib", "predict", tmp_path / "in"]
    command += ["--model", tiny_bundle, "--output", out, "--device", "cpu"]
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (out / SUMMARY_FILE).exists():
        time.sleep(0.02)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = rows(out)
    assert 0 < len(done) < 40
    assert [row["name"] for row in done] == [f"{i:02}" for i in range(len(done))]
    for row in done:
        assert predict_files.results_are_whole(out, row["name"])


# ---- a thousand -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("real_overlay")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory in use from Linux")
def test_memory_stays_flat_over_many_images(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured from the 50th image on: until then caches fill. A figure that stays costs 18 MiB."""
    monkeypatch.setattr(overlay, "_LONG_SIDE", 450)  # small, for the time it takes
    source = film(tmp_path / "source.png").read_bytes()
    (tmp_path / "in").mkdir()
    count = 75
    for i in range(count):
        (tmp_path / "in" / f"{i:03}.png").write_bytes(source)
    used_mib: list[float] = []

    def measured(outcome: object, with_files: bool) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        used_mib.append(pages * os.sysconf("SC_PAGESIZE") / 2**20)

    monkeypatch.setattr(cli, "tell", measured)
    assert run(tmp_path / "in")[0] == 0
    assert len(used_mib) == count
    assert np.median(used_mib[-10:]) - np.median(used_mib[45:55]) < 30


class Terminal:
    """A standard error that is a terminal, as far as a program can tell."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


def test_a_bar_at_a_terminal_is_not_torn_by_lines(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    run(film(tmp_path / "a.png"), tmp_path / "none.png", film(tmp_path / "b.png", 1))
    assert "3/3" in terminal.text
    assert "image" in terminal.text
    (line,) = [line for line in terminal.text.replace("\r", "\n").splitlines() if line.startswith("error: ")]
    assert line.endswith("check the path")


def test_a_mirrored_film_is_told_with_what_to_type(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predict = WorkerPredictor.predict

    def noticing(self: WorkerPredictor, image: MedicalImage, view: View | None = None) -> Prediction:
        """The model, had it learned to notice: only one view is as it must be."""
        prediction = predict(self, image, view)
        right = prediction.view == View(90, flip=True)
        judgement = (
            Plausibility() if right else Plausibility(("the image looks odd",), suggested_view=View(90, flip=True))
        )
        return replace(prediction, plausibility=judgement)

    monkeypatch.setattr(WorkerPredictor, "predict", noticing)
    path = film(tmp_path / "film.png")
    status, _, err = run(path)
    assert status == 0
    assert err == ["warning: film: the image looks odd; it is plausible with --turn 90 --flip"]
    status, out, err = run(path, "--turn", 90, "--flip", "--resume")
    assert (status, err) == (0, [])
    assert "was done before" not in out[0]  # another view is another result
    assert "turned by 90 degrees clockwise and mirrored, as asked for" in out[0]
    assert column(tmp_path / "out", "status") == ["done"]


def test_what_a_clinic_s_export_holds_beside_its_images_is_passed_over(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    write_dicom(folder / "IM0001", PatientOrientation=["L", "F"])
    report = pydicom.dcmread(write_dicom(folder / "SR0001", "1.2.840.10008.5.1.4.1.1.88.11", Modality="SR"))
    for keyword in ("Rows", "Columns", "PixelData"):
        del report[keyword]
    report.save_as(folder / "SR0001")
    status, out, err = run(folder)
    assert (status, err) == (0, [])
    assert column(tmp_path / "out", "name") == ["IM0001"]
    assert "1 other files passed over" in out[-1]
