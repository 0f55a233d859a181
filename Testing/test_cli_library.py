"""A library from the command line: images and landmarks go in, everything comes out, and mistakes are told in one line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib import cli
from DenseLandmarksLib.annotation.edits import Accept, Place, StartBlind
from DenseLandmarksLib.annotation.exports.coco import write_coco
from DenseLandmarksLib.annotation.exports.markups import write_markups
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.geometry.frames import index_from_lps_mm
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.library.chests import after, predicted, write_chest

Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, *arguments: object) -> tuple[int, list[str], list[str]]:
    """Exit status, and the lines of standard output and error."""
    status = cli.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out.splitlines(), said.err.splitlines()


@pytest.fixture
def images(tmp_path: Path, chest_template: Template) -> Path:
    """A folder of two films."""
    for seed, name in enumerate(("film a", "film b")):
        write_chest(tmp_path / "images", chest_template, seed, name)
    return tmp_path / "images"


def placed(library: Path, name: str) -> dict[str, tuple[Presence, Review, list[float]]]:
    """The landmarks in the newest revision of a case: presence, review, and pixel (x, y)."""
    opened = Library.open(library)
    (case_id,) = [entry.id for entry in opened.cases() if entry.name == name]
    state, _ = opened.case(case_id).load()
    landmarks = state.landmarks
    return {
        landmarks.names[i]: (landmarks.presence[i], landmarks.review[i], state.index_ijk[i, :2].round(4).tolist())
        for i in range(len(landmarks))
    }


def write_points(path: Path, **pixels: tuple[float, float]) -> None:
    """A table as somebody's script writes it."""
    path.write_text(
        "name,structure,x_px,y_px\n" + "".join(f"{name},heart,{x},{y}\n" for name, (x, y) in pixels.items())
    )


def test_images_and_landmarks_go_in_and_come_out_again(images: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "library"
    status, out, err = run(capsys, "import", folder, images, "--who", "reader-1")
    assert (status, err) == (0, [])
    assert out[0] == f"{folder}: a new library"
    assert [line.split(":")[0] for line in out[1:]] == ["film a", "film b"]
    write_points(tmp_path / "film a.csv", apex=(60.25, 70.5), base=(30, 31))
    status, out, err = run(capsys, "import", folder, tmp_path / "film a.csv", "--who", "reader-2")
    assert (status, out, err) == (0, ["film a: saved as revision 1"], [])
    assert placed(folder, "film a") == {
        "apex": (Presence.PRESENT, Review.PLACED, [60.25, 70.5]),
        "base": (Presence.PRESENT, Review.PLACED, [30, 31]),
    }
    status, out, err = run(capsys, "library", folder)
    assert (status, err) == (0, [])
    assert out[0].split() == ["case", "id", "revision", "reviewed", "model", "doubt", "who", "when"]
    entry = Library.open(folder).cases()[0]
    assert out[1].split()[:-1] == ["film", "a", entry.id, "1", "2", "of", "2", "reader-2"]
    assert out[2].split()[:2] == ["film", "b"]
    status, out, err = run(capsys, "export", folder, "--format", "csv", "--output", tmp_path / "out")
    assert (status, out) == (0, [f"1 cases, 1 files: {tmp_path / 'out'}"])
    assert err == ["warning: 1 case is left out: nothing is saved there yet"]
    rows = (tmp_path / "out" / "film a.csv").read_text().splitlines()
    assert rows[1].startswith("apex,heart,present,placed,,60.250000,70.500000,")


def test_what_was_exported_and_corrected_elsewhere_comes_back_as_a_new_revision(
    images: Path, tmp_path: Path, capsys: Capture, chest_template: Template
) -> None:
    folder = tmp_path / "library"
    run(capsys, "import", folder, images, "--copy", "--who", "reader-1")
    library = Library.open(folder)
    case = library.case(library.cases()[0].id)
    state = predicted(case, chest_template)
    case.save(state, "reader-1", 0)
    run(capsys, "export", folder, "--format", "mrk.json", "--output", tmp_path / "out")
    path = tmp_path / "out" / "film a.mrk.json"
    status, out, _ = run(capsys, "import", folder, path)
    assert (status, out) == (0, ["film a: nothing new in film a.mrk.json"])
    for name in ("csv", "coco"):
        run(capsys, "export", folder, "--format", name, "--output", tmp_path / name)
        (exported,) = (tmp_path / name).iterdir()
        assert run(capsys, "import", folder, exported)[1] == [f"film a: nothing new in {exported.name}"]
    document = json.loads(path.read_text())
    document["markups"][0]["controlPoints"][5]["position"][0] += 2.8
    path.write_text(json.dumps(document))
    status, out, _ = run(capsys, "import", folder, path)
    assert (status, out) == (0, ["film a: saved as revision 2"])
    name = state.landmarks.names[5]
    before = index_from_lps_mm(state.geometry, state.landmarks.points_lps_mm[[5]])[0, :2]
    presence, review, pixel = placed(folder, "film a")[name]
    assert (presence, review) == (Presence.PRESENT, Review.CORRECTED)
    np.testing.assert_allclose(pixel, before + np.array([1, 0]), atol=1e-3)
    info = case.info(2)
    assert (info.based_on, info.reviewed, info.why) == (1, 1, "landmarks imported from a file")


def test_an_old_export_does_not_undo_what_was_decided_since(
    images: Path, tmp_path: Path, capsys: Capture, chest_template: Template
) -> None:
    folder = tmp_path / "library"
    run(capsys, "import", folder, images)
    library = Library.open(folder)
    case = library.case(library.cases()[0].id)
    state = predicted(case, chest_template)
    case.save(state, "reader-1", 0)
    run(capsys, "export", folder, "--format", "mrk.json", "--output", tmp_path / "out")
    decided = after(state, Accept(state.landmarks.names[:50]))
    case.save(decided, "reader-2", 1)
    status, out, _ = run(capsys, "import", folder, tmp_path / "out" / "film a.mrk.json")
    assert (status, out) == (0, ["film a: nothing new in film a.mrk.json"])
    assert case.load()[0].landmarks.review == decided.landmarks.review


def test_a_file_of_another_name_goes_to_the_image_that_is_given(images: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "library"
    write_points(tmp_path / "points.csv", apex=(1, 2))
    status, _, err = run(capsys, "import", folder, images, tmp_path / "points.csv")
    assert status == 2
    assert err == [
        f"error: {tmp_path / 'points.csv'}: expected landmarks of one case of the library, got 0 cases called 'points'. "
        "Name the image that they belong to with --image."
    ]
    status, out, err = run(capsys, "import", folder, tmp_path / "points.csv", "--image", images / "film b.nrrd")
    assert (status, out, err) == (0, ["film b: saved as revision 1"], [])
    assert list(placed(folder, "film b")) == ["apex"]
    assert placed(folder, "film a") == {}


def test_an_image_that_is_named_for_its_landmarks_is_added(images: Path, tmp_path: Path, capsys: Capture) -> None:
    write_points(tmp_path / "points.csv", apex=(1, 2))
    status, _, err = run(
        capsys, "import", tmp_path / "library", tmp_path / "points.csv", "--image", images / "film a.nrrd"
    )
    assert (status, err) == (0, [])
    assert list(placed(tmp_path / "library", "film a")) == ["apex"]


def test_two_cases_of_one_name_are_told_apart_by_their_ids(images: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "library"
    run(capsys, "import", folder, images)
    (tmp_path / "more").mkdir()
    volume = sitk.ReadImage(str(images / "film a.nrrd"))
    sitk.WriteImage(volume + 1, str(tmp_path / "more" / "film a.nrrd"))
    run(capsys, "import", folder, tmp_path / "more")
    write_points(tmp_path / "film a.csv", apex=(1, 2))
    status, _, err = run(capsys, "import", folder, tmp_path / "film a.csv")
    assert status == 2
    assert "got 2 cases called 'film a'" in err[0]
    entry = Library.open(folder).cases()[0]
    for number, name in enumerate((entry.id, f"film a-{entry.id}"), start=1):
        write_points(tmp_path / f"{name}.csv", apex=(1, number))
        assert run(capsys, "import", folder, tmp_path / f"{name}.csv")[0] == 0
    assert Library.open(folder).case(entry.id).revision_numbers() == (1, 2)


def test_coco_keypoints_go_to_all_images_that_they_name(images: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "library"
    run(capsys, "import", folder, images)
    for name, x in (("film a", 10), ("film b", 20)):
        write_points(tmp_path / f"{name}.csv", apex=(x, 5))
        run(capsys, "import", folder, tmp_path / f"{name}.csv")
    run(capsys, "export", folder, "--format", "coco", "--output", tmp_path / "out")
    shutil.rmtree(folder)
    status, out, err = run(capsys, "import", folder, images, tmp_path / "out" / "landmarks.coco.json")
    assert (status, err) == (0, [])
    assert out[-2:] == ["film a: saved as revision 1", "film b: saved as revision 1"]
    assert placed(folder, "film a")["apex"][2] == [10, 5]
    assert placed(folder, "film b")["apex"][2] == [20, 5]


def test_a_foreign_coco_file_of_one_image_goes_to_the_case_of_that_name(
    images: Path, tmp_path: Path, capsys: Capture, chest_template: Template
) -> None:
    folder = tmp_path / "library"
    run(capsys, "import", folder, images)
    library = Library.open(folder)
    state = predicted(library.case(library.cases()[1].id), chest_template)
    write_coco(tmp_path / "annotations.json", [("film b.nrrd", state.geometry, state.landmarks)])
    status, out, err = run(capsys, "import", folder, tmp_path / "annotations.json")
    assert (status, out, err) == (0, ["film b: saved as revision 1"], [])


def test_mistakes_are_told_in_one_line_each_and_the_rest_goes_in(images: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "library"
    (tmp_path / "film a.fcsv").write_text("# CoordinateSystem = 7\n")
    (tmp_path / "words.png").write_text("no image")
    status, out, err = run(
        capsys,
        *("import", folder, tmp_path / "words.png", images, tmp_path / "film a.fcsv", tmp_path / "missing.csv"),
    )
    assert status == 2
    assert len(out) == 3
    assert [line.split(": expected")[0] for line in err] == [
        f"error: {tmp_path / name}" for name in ("words.png", "film a.fcsv", "missing.csv")
    ]
    for arguments in (
        ("library", tmp_path),
        ("export", tmp_path, "--format", "csv", "--output", tmp_path / "out"),
        ("import", folder, images, "--spacing", "-1"),
    ):
        status, out, err = run(capsys, *arguments)
        assert (status, out, len(err)) == (2, [], 1)
        assert err[0].startswith("error: expected ")


def test_a_damaged_case_is_told_and_the_exit_status_says_so(images: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "library"
    run(capsys, "import", folder, images)
    entry = Library.open(folder).cases()[0]
    (folder / "cases" / entry.id / "case.json").write_text("{")
    status, out, err = run(capsys, "library", folder)
    assert (status, len(out), len(err)) == (2, 3, 1)
    status, _, err = run(capsys, "export", folder, "--format", "datalist", "--output", tmp_path / "out")
    assert status == 2
    assert any(line.startswith(f"warning: case-{entry.id} is left out: expected a case in") for line in err)


def test_landmarks_of_another_image_do_not_get_in(
    images: Path, tmp_path: Path, capsys: Capture, chest_template: Template
) -> None:
    folder = tmp_path / "library"
    run(capsys, "import", folder, images)
    library = Library.open(folder)
    case = library.case(library.cases()[0].id)
    landmarks = predicted(case, chest_template).landmarks
    far = landmarks.points_lps_mm + np.array([0, 0, 50])
    write_markups(tmp_path / "film a.mrk.json", replace(landmarks, points_lps_mm=far), "mm")
    status, _, err = run(capsys, "import", folder, tmp_path / "film a.mrk.json")
    assert (status, len(err)) == (2, 1)
    assert "slices off it. Give the file that belongs to this image." in err[0]
    assert case.revision_numbers() == ()


def test_a_model_sees_all_cases_once_and_decisions_stay(
    capsys: Capture, tmp_path: Path, images: Path, tiny_bundle: Path
) -> None:
    library = tmp_path / "library"
    write_points(tmp_path / "film a.csv", heart_01=(20.5, 30.25))
    run(capsys, "import", library, images, tmp_path / "film a.csv")
    (images / "film b.nrrd").unlink()
    status, out, err = run(capsys, "predict-library", library, "--model", tiny_bundle)
    assert status == 2
    assert out == ["film a: saved as revision 2", "1 cases predicted, 1 failed, the others had been"]
    assert [line for line in err if line.startswith("error: film b: expected the image of case film b in")]
    points = placed(library, "film a")
    assert points["heart_01"] == (Presence.PRESENT, Review.PLACED, [20.5, 30.25])
    assert len(points) > 100
    status, out, _ = run(capsys, "predict-library", library, "--model", tiny_bundle)
    assert out[-1] == "0 cases predicted, 1 failed, the others had been"
    status, out, _ = run(capsys, "predict-library", library, "--model", tiny_bundle, "--again")
    assert out[0] == "film a: saved as revision 3"


def test_a_landmark_defined_in_one_case_is_looked_up_in_all(
    capsys: Capture, tmp_path: Path, images: Path, chest_template: Template
) -> None:
    folder = tmp_path / "library"
    run(capsys, "import", folder, images)
    library = Library.open(folder)
    status, _, err = run(capsys, "look-up", folder)
    assert status == 2
    assert "none yet" in err[0]
    for entry in library.cases():
        case = library.case(entry.id)
        case.save(predicted(case, chest_template), "reader-1", 0)
    first, second = (library.case(entry.id) for entry in library.cases())
    session = Session(first, "reader-1", data_folder=tmp_path / "user")
    session.define_landmark("hilum", session.state.landmarks.points_lps_mm[3])
    session.save()
    session.close()
    status, out, _ = run(capsys, "look-up", folder, "hilum", "--who", "reader-2")
    assert status == 0
    (line,) = out
    assert line.startswith(f"{second.name}: hilum by uv map, expected error ")
    assert line.endswith("saved as revision 2")
    assert second.info(2).who == "reader-2"
    assert run(capsys, "look-up", folder, "spleen")[0] == 2


def test_the_list_says_which_cases_models_are_compared_on(images: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "library"
    run(capsys, "import", folder, images)
    library = Library.open(folder)
    case = library.case(library.cases()[1].id)
    state, _ = case.load()
    edits = (StartBlind((("apex", "heart"), ("base", "heart"))), Place("apex", "heart", (60.0, 70.0, 0.0)))
    case.save(after(state, *edits), "reader-1", 0)
    _, (_, first, second), _ = run(capsys, "library", folder)
    assert "for comparison" not in first
    assert "1 of 2, for comparison" in second
