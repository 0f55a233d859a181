"""The command line: a good image is written, a bad one is told in one line, and never half of a file is left."""

from __future__ import annotations

import gzip
import json
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from DenseLandmarksLib import cli
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models import versions
from DenseLandmarksLib.models.bundle import METADATA, WEIGHTS
from DenseLandmarksLib.models.manage_versions import add_version, set_active
from Testing.geometry.dicom_files import write_dicom
from Testing.models.volume_model import write_volume_bundle
from training.__main__ import main as training_main
from training.phantoms import DEMO_SEEDS, draw_phantom

ROOT = Path(__file__).resolve().parents[1]
RESULTS = (".overlay.png", ".mrk.json", ".seg.nrrd", ".report.json")
CHEST = sorted([*(f"chest{end}" for end in RESULTS), "summary.csv"])


@pytest.fixture(scope="module")
def chest_png(tmp_path_factory: pytest.TempPathFactory, chest_template: Template) -> Path:
    """A phantom as a person might have it: a PNG."""
    path = tmp_path_factory.mktemp("image") / "chest.png"
    phantom = draw_phantom(chest_template, DEMO_SEEDS[5], (128, 128))
    Image.fromarray(np.round(phantom.pixels * 255).astype(np.uint8)).save(path)
    return path


def bad_images(folder: Path, good: Path) -> dict[str, Path]:
    """Files that are no usable radiograph, each under the name of what is wrong with it."""
    whole = good.read_bytes()
    contents = {
        "empty.png": b"",
        "truncated.png": whole[: len(whole) // 2],
        "text.png": b"This is not an image.\n" * 20,
        "words.txt": b"patient, landmark\n1, 2\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    Image.new("L", (200, 200), 7).save(folder / "constant.png")
    Image.new("L", (1, 1), 7).save(folder / "one_pixel.png")
    return {path.name: path for path in sorted(folder.iterdir())} | {"missing.png": folder / "missing.png"}


BAD = ("empty.png", "truncated.png", "text.png", "words.txt", "constant.png", "one_pixel.png", "missing.png")


def predict(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, list[str]]:
    """Exit status, standard output and the lines of standard error of ``dense-landmarks predict``."""
    status = cli.main(["predict", *map(str, arguments), "--device", "cpu"])
    captured = capsys.readouterr()
    return status, captured.out, captured.err.splitlines()


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


# ---- what works -----------------------------------------------------------------------------------------------------


def test_a_prediction_is_four_files_that_say_what_they_are(
    tiny_bundle: Path, chest_png: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = predict(capsys, chest_png, "--model", tiny_bundle, "--output", tmp_path / "out")
    assert (status, err) == (0, [])
    assert left_behind(tmp_path / "out") == CHEST
    assert "ran on cpu" in out
    assert re.search(r"chest: \d+ of 154 landmarks", out)
    assert "the spacing is unknown" in out  # a PNG has none: its lengths are pixels
    assert all(f"chest{end}" in out for end in RESULTS)
    assert "px" in (tmp_path / "out" / "chest.report.json").read_text()


def test_a_given_spacing_makes_millimetres(
    tiny_bundle: Path, chest_png: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = predict(capsys, chest_png, "--model", tiny_bundle, "--output", tmp_path, "--spacing", 2.8)
    assert status == 0
    assert "mm, spacing given" in out
    points = json.loads((tmp_path / "chest.mrk.json").read_text())["markups"][0]["controlPoints"]
    assert max(abs(x) for point in points for x in point["position"]) > 150  # 128 pixels are 358 mm


def test_a_new_landmark_is_looked_up_and_a_mistake_in_it_is_told(
    tiny_bundle: Path, chest_png: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = (chest_png, "--model", tiny_bundle, "--output", tmp_path / "out")
    status, out, _ = predict(capsys, *where, "--landmark", "apex=heart:0.3,-0.8")
    assert status == 0
    assert "of 155 landmarks" in out
    assert '"apex"' in (tmp_path / "out" / "chest.mrk.json").read_text()
    for mistake in ("apex", "apex=heart", "apex=heart:0.3", "apex=heart:a,b", "apex=heart:nan,0", "=heart:0,0"):
        status, _, err = predict(capsys, *where, "--landmark", mistake)
        assert status == 2
        assert err == [
            f"error: expected --landmark NAME=STRUCTURE:U,V such as apex=heart:0.3,0.8, got {mistake!r}. Write it so."
        ]
    for mistake in ("dome=liver:0,0", "heart_01=heart:0,0"):
        status, _, (line,) = predict(capsys, *where, "--landmark", mistake)
        assert status == 2
        assert line.startswith("error: expected a new landmark on a structure of tiny:")


def test_models_are_listed_with_what_they_were_measured_at(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = Path(shutil.copytree(tiny_bundle, tmp_path / "measured"))
    metadata = json.loads((measured / METADATA).read_text())
    average = {
        key: {"mean": mean, "sd": 0.5} for key, mean in (("dsc", 94.5), ("tre_mm", 5.1), ("asd_one_sided_mm", 2.3))
    }
    metadata |= {"name": "measured", "measured": {"cases": 40, "data": "jsrt", "split": "test", "average": average}}
    (measured / METADATA).write_text(json.dumps(metadata))
    shutil.copytree(tiny_bundle, tmp_path / "tiny")
    monkeypatch.setattr(versions, "SHIPPED", tmp_path)
    assert cli.main(["models"]) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split("  ")[0] == "model"
    assert first.startswith("measured 1.0.0")
    for part in ("5 structures, 154 landmarks", "40 cases of jsrt test", "94.50 ± 0.50", "5.10 ± 0.50", "2.30 ± 0.50"):
        assert part in first
    assert second.startswith("tiny 1.0.0")
    assert "not measured" in second
    assert [line.split()[-1] for line in (header, first, second)] == ["where", "shipped", "shipped"]


def test_versions_of_a_model_are_listed_with_the_active_one_and_where_they_are(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "shipped" / "tiny")
    monkeypatch.setattr(versions, "SHIPPED", tmp_path / "shipped")
    for variable in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "data"))
    metadata = json.loads((tiny_bundle / METADATA).read_text())
    trained = Path(shutil.copytree(tiny_bundle, tmp_path / "trained"))
    for version in ("1.1.0", "1.2.0"):
        (trained / METADATA).write_text(json.dumps({**metadata, "version": version}))
        added = add_version(trained).folder
    set_active("tiny", "1.1.0")
    (added / METADATA).unlink()
    assert cli.main(["models"]) == 0
    _, shipped, active, broken = capsys.readouterr().out.splitlines()
    assert (shipped.split()[:3], shipped.split()[-1]) == (["tiny", "1.0.0", "no"], "shipped")
    assert (active.split()[:3], active.split()[-1]) == (["tiny", "1.1.0", "yes"], str(added.with_name("1.1.0")))
    assert broken.startswith(
        f"tiny 1.2.0 cannot be used: expected a model bundle in {added}, but {METADATA} is missing"
    )


# ---- what a person may get wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_one_line_and_a_good_one_beside_it_is_still_written(
    name: str, tiny_bundle: Path, chest_png: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    bad, out = bad_images(tmp_path / "in", chest_png)[name], tmp_path / "out"
    status, said, err = predict(capsys, bad, chest_png, "--model", tiny_bundle, "--output", out)
    assert status == 2
    assert len(err) == 1
    # What was expected, what came, and what to do.
    assert re.fullmatch(rf"error: .*{name}: expected .+, (got|found) .+; .+", err[0])
    assert "chest: " in said
    assert left_behind(out) == CHEST


def test_only_bad_images_leave_only_the_table_that_says_so(
    tiny_bundle: Path, chest_png: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    images = bad_images(tmp_path / "in", chest_png).values()
    status, out, err = predict(capsys, *images, "--model", tiny_bundle, "--output", tmp_path / "out")
    assert status == 2
    assert out == f"{len(BAD)} failed: {tmp_path / 'out' / 'summary.csv'}\n"
    assert len(err) == len(BAD)
    assert left_behind(tmp_path / "out") == ["summary.csv"]


def test_a_model_that_cannot_be_used_is_one_line_and_writes_nothing(
    tiny_bundle: Path, chest_png: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    no_weights = Path(shutil.copytree(tiny_bundle, tmp_path / "no_weights"))
    (no_weights / WEIGHTS).unlink()
    pickled = Path(shutil.copytree(tiny_bundle, tmp_path / "pickled"))
    (pickled / WEIGHTS).write_bytes(pickle.dumps({"weight": 1}))
    for model, says in (
        ("no-such-model", "got 'no-such-model'. Models here:"),
        (no_weights, f"{WEIGHTS} is missing"),
        (pickled, "is a pickle"),
        (tmp_path, f"{METADATA} is missing"),
    ):
        status, out, err = predict(capsys, chest_png, "--model", model, "--output", tmp_path / "out")
        assert (status, out, len(err)) == (2, "", 1)
        assert err[0].startswith("error: expected ")
        assert says in err[0]
    assert left_behind(tmp_path / "out") == []


def test_an_output_that_cannot_be_written_is_one_line(
    tiny_bundle: Path, chest_png: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    status, _, err = predict(capsys, chest_png, "--model", tiny_bundle, "--output", tmp_path / "file")
    assert (status, len(err)) == (2, 1)
    assert err[0].startswith("error: expected ")
    assert str(tmp_path / "file") in err[0]
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("spacing", ["0", "-0.7", "nan", "inf"])
def test_a_spacing_that_is_none_is_told(
    spacing: str, tiny_bundle: Path, chest_png: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--model", tiny_bundle, "--output", tmp_path / "out", f"--spacing={spacing}")
    status, _, err = predict(capsys, chest_png, *where)
    assert status == 2
    assert len(err) == 1
    assert "expected --spacing to be a positive number of mm, got" in err[0]
    assert left_behind(tmp_path / "out") == []


def test_a_full_disk_leaves_no_half_of_a_file(
    tiny_bundle: Path,
    chest_png: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def no_room(*_: object, **__: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gzip, "compress", no_room)  # when the segmentation's header is already written
    status, _, err = predict(capsys, chest_png, "--model", tiny_bundle, "--output", tmp_path)
    assert (status, len(err)) == (2, 1)
    assert "No space left on device" in err[0]
    assert set(left_behind(tmp_path)) <= {"chest.overlay.png", "chest.mrk.json"}  # whole, or not there


def test_as_a_program_it_says_one_line_and_ends_with_2(tmp_path: Path, tiny_bundle: Path) -> None:
    (tmp_path / "empty.png").touch()
    where = ["--model", str(tiny_bundle), "--output", str(tmp_path / "out")]
    run = subprocess.run(
        [sys.executable, "-m", "DenseLandmarksLib", "predict", str(tmp_path / "empty.png"), *where],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 2
    assert run.stdout == ""
    assert len(run.stderr.splitlines()) == 1
    assert run.stderr.startswith("error: ")
    assert "empty.png" in run.stderr
    assert left_behind(tmp_path / "out") == ["summary.csv"]


# ---- the demonstration, with the model that is shipped ----------------------------------------------------------------


def test_the_demonstration_shows_the_shipped_model_at_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Needs ``Resources/Models/chest-xray``: a clone without it has lost its model."""
    assert training_main(["demo", "--output", str(tmp_path), "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "synthetic: shows that it runs, not how accurate it is" in out
    rows = re.findall(r"^  (\w+) +([\d.]+) +([\d.]+)$", out, re.MULTILINE)
    assert [row[0] for row in rows] == ["right_lung", "left_lung", "heart", "right_clavicle", "left_clavicle"]
    for structure, dice, error_mm in rows:
        assert float(dice) > 80, structure
        assert float(error_mm) < 8, structure
    new = re.search(r"new landmark heart_centre, looked up without training: error ([\d.]+) mm", out)
    assert new is not None
    assert float(new[1]) < 12
    stem = f"phantom-{DEMO_SEEDS[0]}"
    assert left_behind(tmp_path) == sorted([f"{stem}.nrrd", *(f"{stem}{end}" for end in RESULTS)])
    assert all(str(path) in out for path in tmp_path.iterdir())


def test_the_demonstration_takes_a_persons_own_image(
    tiny_bundle: Path, chest_png: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["demo", "--model", str(tiny_bundle), "--output", str(tmp_path), "--device", "cpu", "--image"]
    assert training_main([*command, str(chest_png)]) == 0
    assert left_behind(tmp_path) == CHEST
    assert "heart_centre" in (tmp_path / "chest.mrk.json").read_text()
    capsys.readouterr()
    assert training_main([*command, str(tmp_path / "nothing.dcm")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_demonstration_takes_the_model_that_knows_what_the_file_states(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    film = write_dicom(tmp_path / "film.dcm", BodyPartExamined="HAND")
    assert training_main(["demo", "--output", str(tmp_path), "--device", "cpu", "--image", str(film)]) == 0
    assert "of 37 landmarks" in capsys.readouterr().out
    assert training_main(["demo", "--output", str(tmp_path), "--image", str(tmp_path / "no.dcm")]) == 2
    assert "no.dcm" in capsys.readouterr().err


def test_demonstrations_are_listed_last_and_as_such(
    capsys: pytest.CaptureFixture[str], tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "shipped" / "tiny")
    write_volume_bundle(tmp_path / "shipped" / "a-phantom", demonstration=True)
    monkeypatch.setattr(versions, "SHIPPED", tmp_path / "shipped")
    assert cli.main(["models"]) == 0
    _, tiny, demonstration = capsys.readouterr().out.splitlines()
    assert tiny.startswith("tiny 1.0.0")
    assert "5 structures, " in tiny
    assert re.match(r"a-phantom 1\.0\.0 +yes +4 landmarks \(demonstration\) +not measured", demonstration)


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--turn", 90), "expected a model for radiographs for --turn, --flip and --laterality, got neck"),
        (("--no-flip",), "expected a model for radiographs for --turn, --flip and --laterality, got neck"),
        (("--landmark", "apex=heart:0.3,0.8"), "expected a model with structures for --landmark, got neck"),
    ],
)
def test_what_a_model_for_volumes_cannot_do_is_told_before_a_worker_starts(
    capsys: pytest.CaptureFixture[str], chest_png: Path, tmp_path: Path, option: tuple[object, ...], told: str
) -> None:
    neck = write_volume_bundle(tmp_path / "neck")
    status, out, err = predict(capsys, chest_png, "--model", neck, "--output", tmp_path / "out", *option)
    assert (status, out, len(err)) == (2, "", 1)
    assert told in err[0]
    assert not (tmp_path / "out").exists()
