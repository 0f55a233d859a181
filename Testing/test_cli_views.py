"""Films that lie on their side, mirrored films and right hands: seen as the model knows them, answered as they are stored."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from DenseLandmarksLib import cli
from DenseLandmarksLib.geometry.view import VIEWS, View
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import load_bundle, save_bundle
from DenseLandmarksLib.models.expectation import Expectation, view_between
from Testing.geometry.dicom_files import write_dicom
from Testing.models.disc_finder import SPACING_MM, marked_hand, patient, write_disc_finder, write_hand
from training.phantoms import DEMO_SEEDS, draw_phantom

# Every orientation that a frontal film can have: where its rows and its columns run to.
ORIENTATIONS = {(a, b): view_between((a, b), ("L", "F")) for a, b in ("LF", "RF", "LH", "RH", "FL", "FR", "HL", "HR")}


@pytest.fixture(scope="module")
def film(chest_template: Template) -> NDArray[np.uint16]:
    """Pixels (128, 128) of an upright phantom."""
    return np.round(draw_phantom(chest_template, DEMO_SEEDS[6], (128, 128)).pixels * 4095).astype(np.uint16)


def bundle_that_expects(source: Path, folder: Path, expectation: Expectation) -> Path:
    bundle = load_bundle(source)
    inference = {**bundle.inference, "expects": asdict(expectation)}
    save_bundle(folder, bundle.metadata, inference, bundle.family_files(), dict(bundle.weights), "", "")
    return folder


@pytest.fixture(scope="module")
def chest(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_that_expects(
        tiny_bundle, tmp_path_factory.mktemp("chest"), Expectation(("CHEST",), ("PA",), ("L", "F"))
    )


@pytest.fixture(scope="module")
def left_only(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle_that_expects(tiny_bundle, tmp_path_factory.mktemp("left"), Expectation(laterality="L"))


def pixels_of(output: Path, name: str) -> NDArray[np.float64]:
    report = json.loads((output / f"{name}.report.json").read_text())
    return np.array([entry["pixel"] or entry["best_guess_pixel"] for entry in report["landmarks"]])


def row_of(output: Path, name: str) -> dict[str, str]:
    with (output / "summary.csv").open(newline="") as file:
        return next(row for row in csv.DictReader(file) if row["name"] == name)


def predict(model: Path, output: Path, *arguments: object) -> int:
    return cli.main(
        ["predict", "--model", str(model), "--output", str(output), "--device", "cpu", *map(str, arguments)]
    )


def test_the_orientations_are_all_eight() -> None:
    assert set(ORIENTATIONS.values()) == set(VIEWS)


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids="".join)
def test_a_film_that_states_how_it_lies_gets_the_landmarks_of_the_upright_one(
    orientation: tuple[str, str], chest: Path, film: NDArray[np.uint16], tmp_path: Path
) -> None:
    view = ORIENTATIONS[orientation]
    assert view is not None
    stored = np.ascontiguousarray(view.inverse.see(film))
    upright = write_dicom(tmp_path / "upright.dcm", pixels=film, ImagerPixelSpacing=[2.8, 2.8])
    lying = write_dicom(
        tmp_path / "lying.dcm", pixels=stored, ImagerPixelSpacing=[2.8, 2.8], PatientOrientation=list(orientation)
    )
    assert predict(chest, tmp_path / "out", upright, lying) == 0
    expected = view.to_stored(pixels_of(tmp_path / "out", "upright"), stored.shape)
    np.testing.assert_allclose(pixels_of(tmp_path / "out", "lying"), expected, atol=0.05)
    row = row_of(tmp_path / "out", "lying")
    assert row["view"] == str(view)
    assert ("states" in row["view_reason"]) == (view != View())


@pytest.mark.parametrize(
    ("options", "view"),
    [
        (["--turn", 90], View(90)),
        (["--flip"], View(flip=True)),
        (["--turn", 270, "--flip"], View(270, flip=True)),
        (["--laterality", "R"], View()),  # a chest has both sides
    ],
)
def test_a_person_can_say_how_a_picture_lies(
    options: list[object], view: View, chest: Path, film: NDArray[np.uint16], tmp_path: Path
) -> None:
    stored = np.ascontiguousarray(view.inverse.see(film))
    Image.fromarray(film).save(tmp_path / "upright.png")
    Image.fromarray(stored).save(tmp_path / "lying.png")
    assert predict(chest, tmp_path / "out", tmp_path / "upright.png") == 0
    assert predict(chest, tmp_path / "out", tmp_path / "lying.png", *options) == 0
    expected = view.to_stored(pixels_of(tmp_path / "out", "upright"), stored.shape)
    np.testing.assert_allclose(pixels_of(tmp_path / "out", "lying"), expected, atol=0.05)


def test_a_person_overrules_the_file(chest: Path, film: NDArray[np.uint16], tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "film.dcm", pixels=film, PatientOrientation=["R", "F"])
    assert predict(chest, tmp_path / "believed", path) == 0
    assert predict(chest, tmp_path / "overruled", path, "--no-flip") == 0
    assert row_of(tmp_path / "believed", "film")["view"] == "mirrored"
    assert row_of(tmp_path / "overruled", "film")["view"] == "as stored"


@pytest.mark.parametrize("how", ["the file", "the person"])
def test_a_right_hand_is_shown_as_a_left_one_and_gets_its_own_landmarks(
    how: str, left_only: Path, film: NDArray[np.uint16], tmp_path: Path
) -> None:
    mirrored = np.ascontiguousarray(film[:, ::-1])
    left = write_dicom(tmp_path / "left.dcm", pixels=film, ImageLaterality="L")
    right = write_dicom(tmp_path / "right.dcm", pixels=mirrored, **({"Laterality": "R"} if how == "the file" else {}))
    assert predict(left_only, tmp_path / "out", left) == 0
    assert predict(left_only, tmp_path / "out", right, *(["--laterality", "R"] if how == "the person" else [])) == 0
    expected = View(flip=True).to_stored(pixels_of(tmp_path / "out", "left"), film.shape)
    np.testing.assert_allclose(pixels_of(tmp_path / "out", "right"), expected, atol=0.05)
    assert "right side" in row_of(tmp_path / "out", "right")["view_reason"]


def test_what_the_file_says_about_its_picture_is_held_against_the_model(
    chest: Path, film: NDArray[np.uint16], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_dicom(tmp_path / "film.dcm", pixels=film, BodyPartExamined="HAND", ViewPosition="LL")
    assert predict(chest, tmp_path / "out", path) == 0
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: film: ")
    assert "HAND" in warning
    assert "LL" in warning
    assert warning.endswith("; its body part is known to --model hand-xray")
    assert row_of(tmp_path / "out", "film")["status"] == "doubtful"
    report = json.loads((tmp_path / "out" / "film.report.json").read_text())
    assert report["plausibility"]["plausible"] is False
    assert {entry["confidence"] for entry in report["landmarks"]} == {0.0}
    assert all(entry["pixel"] or entry["best_guess_pixel"] for entry in report["landmarks"])  # nothing is hidden


def test_a_model_that_knows_either_side_says_which_it_saw_unless_it_is_told(tmp_path: Path) -> None:
    model = write_disc_finder(tmp_path / "finder", either_side=True)
    files = [write_hand(tmp_path / f"{side}.nrrd", 1, is_mirrored=side == "right") for side in ("left", "right")]
    assert predict(model, tmp_path / "out", *files) == 0
    left, right = (row_of(tmp_path / "out", side) for side in ("left", "right"))
    assert (left["view"], left["view_reason"], left["status"]) == ("as stored", "", "done")
    assert (right["view"], right["view_reason"], right["status"]) == (
        "mirrored",
        "as that side looks better",
        "done",
    )
    assert predict(model, tmp_path / "told", "--no-flip", files[1]) == 0
    told = row_of(tmp_path / "told", "right")
    assert (told["view"], told["suggested_view"], told["status"]) == ("as stored", "mirrored", "doubtful")


@pytest.mark.parametrize("is_loose", [True, False])
def test_a_side_that_the_file_states_is_believed_and_doubted_only_by_what_is_seen(
    is_loose: bool, tmp_path: Path
) -> None:
    limits = {"plausibility": {"limits": {"shape_residual_mm": 900.0}}} if is_loose else {}
    model = write_disc_finder(tmp_path / "finder", either_side=True, expects={"laterality": "L"}, **limits)
    pixels = marked_hand(patient(1)).pixels_yx
    spacing = {"ImagerPixelSpacing": [SPACING_MM, SPACING_MM]}
    right = write_dicom(tmp_path / "right.dcm", pixels=np.ascontiguousarray(pixels[:, ::-1]), Laterality="R", **spacing)
    wrong = write_dicom(tmp_path / "wrong.dcm", pixels=pixels, Laterality="R", **spacing)
    assert predict(model, tmp_path / "out", right, wrong) == 0
    believed = row_of(tmp_path / "out", "right")
    assert (believed["view"], believed["view_reason"], believed["status"]) == ("mirrored", "for the right side", "done")
    doubted = row_of(tmp_path / "out", "wrong")
    said = ("", "done") if is_loose else ("as stored", "doubtful")
    assert (doubted["view"], doubted["suggested_view"], doubted["status"]) == ("mirrored", *said)
