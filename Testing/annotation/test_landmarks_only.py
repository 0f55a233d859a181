"""A volume whose model finds landmarks only is worked on, kept and exported as a chest is."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from DenseLandmarksLib.annotation.case_state import ModelAnswer
from DenseLandmarksLib.annotation.exports.report import report
from DenseLandmarksLib.annotation.exports.results import results_are_whole, write_results
from DenseLandmarksLib.annotation.exports.summary import SUMMARY_FILE
from DenseLandmarksLib.annotation.find_files import GivenFile, find_files
from DenseLandmarksLib.annotation.library.export import export_library
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.predict_cases import predict_cases
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.annotation.worklist import Worklist, has_open
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.frames import index_from_lps_mm
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.models.bundle import load_bundle, read_description
from DenseLandmarksLib.models.demonstration import SYNTHETIC
from DenseLandmarksLib.models.prediction import Prediction
from DenseLandmarksLib.predict_files import predict_files
from Testing.geometry.dicom_files import write_ct_slices
from Testing.models.same_prediction import assert_same
from Testing.models.volume_model import (
    NAMES,
    PerfectVolumeModel,
    neck_volume,
    perfect_landmarks,
    write_volume_bundle,
)

LEFT, RIGHT, SPINE, HYOID = NAMES


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library.create(tmp_path / "library", "necks")


@pytest.fixture
def session(library: Library, tmp_path: Path) -> Session:
    """A volume that was predicted; no revision holds it yet."""
    return opened(library, tmp_path)


def write_volume(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(neck_volume(seed).volume, str(path))
    return path


def opened(library: Library, folder: Path, seed: int = 0) -> Session:
    case = library.add(write_volume(folder / f"neck-{seed}.nrrd", seed))
    session = Session(case, "an annotator", data_folder=folder / "user")
    image, _ = case.read_image()
    session.take(ModelAnswer(PerfectVolumeModel().predict(image), None, ()), image.geometry)
    return session


def point(session: Session, name: str) -> np.ndarray:
    landmarks = session.state.landmarks
    return landmarks.points_lps_mm[landmarks.names.index(name)].copy()


def decided(session: Session, name: str) -> tuple[Presence, Review]:
    landmarks = session.state.landmarks
    row = landmarks.names.index(name)
    return landmarks.presence[row], landmarks.review[row]


# ---- at work --------------------------------------------------------------------------------------------------------


def test_a_correction_moves_nobody_else(session: Session) -> None:
    before = session.state.landmarks.points_lps_mm.copy()
    target = point(session, LEFT) + [6, -3, 2]
    preview = session.preview({LEFT: target})
    session.move({LEFT: target})
    np.testing.assert_array_equal(preview.landmarks.points_lps_mm, session.state.landmarks.points_lps_mm)
    np.testing.assert_allclose(point(session, LEFT), target, atol=1e-9)
    np.testing.assert_array_equal(session.state.landmarks.points_lps_mm[1:], before[1:])
    session.set_strength(0.5)
    np.testing.assert_array_equal(session.state.landmarks.points_lps_mm[1:], before[1:])


def test_everything_that_is_done_to_a_chest_is_done_to_it(session: Session) -> None:
    states = [session.state]
    session.watch(states.append)
    session.move({LEFT: point(session, LEFT) + [2, 0, 0]})
    session.accept(RIGHT)
    session.mark_absent(SPINE)
    session.place(HYOID, point(session, HYOID) + [0, 1, 0])
    session.place("chin", point(session, HYOID) + [0, -5, 3], "neck")
    session.mark_unsure("chin")
    session.reset(LEFT)
    assert decided(session, LEFT) == (Presence.PRESENT, Review.PREDICTED)
    np.testing.assert_array_equal(point(session, LEFT), perfect_landmarks(session.state.geometry).points_lps_mm[0])
    session.reset(HYOID)
    assert decided(session, HYOID) == (Presence.ABSENT, Review.PREDICTED)
    assert decided(session, SPINE) == (Presence.ABSENT, Review.CORRECTED)
    assert decided(session, "chin") == (Presence.PRESENT, Review.UNSURE)
    done = list(states)
    for before in reversed(done[:-1]):
        session.undo()
        assert session.state is before
    for after in done[1:]:
        session.redo()
        assert session.state is after


def test_what_is_open_is_found_and_accepted(session: Session) -> None:
    assert Worklist.of(session.state).names[0] == HYOID
    assert has_open(session.state, "carotids")
    session.accept_structure("carotids")
    assert not has_open(session.state, "carotids")
    assert {decided(session, name)[1] for name in (LEFT, RIGHT)} == {Review.VERIFIED}
    session.accept_remaining()
    assert {review for _, review in (decided(session, name) for name in NAMES)} == {Review.VERIFIED}
    assert session.state.structures == ()


def test_a_painted_structure_is_the_persons_alone(session: Session) -> None:
    mask = np.zeros(session.state.geometry.size[::-1], bool)
    mask[3:6, 4:9, 5:8] = True
    session.paint("thyroid", mask)
    assert session.state.structures == ("thyroid",)
    session.move({LEFT: point(session, LEFT) + [1, 0, 0]})
    session.unpaint("thyroid")
    assert session.state.structures == ()


def test_a_new_landmark_is_one_of_this_image(session: Session, library: Library) -> None:
    before = session.state
    with pytest.raises(InputError, match=r"finds landmarks only\. Place the landmark in this image"):
        session.define_landmark("apex", point(session, LEFT))
    with pytest.raises(InputError, match="expected a landmark on a structure of this case's model"):
        session.look_up(NewLandmark("apex", "carotids", (0.1, 0.2)))
    assert session.state is before
    assert library.new_landmarks() == ()


def test_another_spacing_leaves_each_landmark_on_its_voxel(session: Session) -> None:
    before = session.state
    session.correct_spacing((0.5, 0.5, 1.5))
    np.testing.assert_allclose(session.state.index_ijk, before.index_ijk, atol=1e-9)
    assert session.state.answer is not None
    assert before.answer is not None
    assert session.state.answer.prediction.masks is before.answer.prediction.masks
    session.undo()
    assert session.state is before


# ---- kept -----------------------------------------------------------------------------------------------------------


def test_a_saved_case_is_read_again(session: Session, tmp_path: Path) -> None:
    session.move({LEFT: point(session, LEFT) + [2, 0, 0]})
    session.mark_absent(SPINE)
    session.save("first look")
    session.close()
    again = Session(session.case, "a colleague", data_folder=tmp_path / "other")
    assert_same(again.state.landmarks, session.state.landmarks)
    assert_same(again.state.answer, session.state.answer)
    assert again.state.propagation is None
    again.reset(LEFT)
    assert decided(again, LEFT) == (Presence.PRESENT, Review.PREDICTED)


def test_what_no_revision_holds_is_recovered(session: Session, tmp_path: Path) -> None:
    session.move({LEFT: point(session, LEFT) + [2, 0, 0]})
    session.mark_unsure(SPINE)
    session.close()
    again = Session(session.case, "an annotator", data_folder=tmp_path / "user")
    again.recover(again.recoverable[0])
    assert_same(again.state.landmarks, session.state.landmarks)
    assert_same(again.state.answer, session.state.answer)
    again.undo()
    again.undo()
    again.undo()
    assert again.state.answer is None


# ---- given to others ------------------------------------------------------------------------------------------------


@pytest.fixture
def reviewed(session: Session, library: Library) -> Library:
    session.move({LEFT: point(session, LEFT) + [2, 0, 0]})
    session.save()
    session.close()
    return library


def test_markups_and_tables_hold_it(reviewed: Library, session: Session, tmp_path: Path) -> None:
    (markups,) = export_library(reviewed, "mrk.json", tmp_path / "out").written
    points = json.loads(markups.read_text())["markups"][0]["controlPoints"]
    assert [one["label"] for one in points] == list(NAMES)
    (table,) = export_library(reviewed, "csv", tmp_path / "out").written
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    at = [float(rows[0][column]) for column in rows[0] if column.endswith("lps_mm")]
    np.testing.assert_allclose(at, point(session, LEFT), atol=1e-4)


def test_a_datalist_holds_it_for_training(reviewed: Library, session: Session, tmp_path: Path) -> None:
    written = export_library(reviewed, "datalist", tmp_path / "out").written
    (entry,) = json.loads(written[-1].read_text())["training"]
    assert (entry["structures"], "label" in entry, entry["unit"]) == ([], False, "mm")
    assert [one["teaches"] for one in entry["points"]] == [True, False, False, False]
    np.testing.assert_allclose(entry["points"][0]["index_ijk"], session.state.index_ijk[0], atol=1e-5)


@pytest.mark.parametrize(
    ("file_format", "why"),
    [("coco", "COCO has no third axis for volumes; export mrk.json or csv"), ("seg.nrrd", "nothing of that kind")],
)
def test_formats_that_cannot_hold_it_say_so(reviewed: Library, tmp_path: Path, file_format: str, why: str) -> None:
    exported = export_library(reviewed, file_format, tmp_path / "out")  # type: ignore[arg-type]
    assert (exported.written, exported.cases) == ((), 0)
    assert exported.notes[0].startswith("1 case is left out: ")
    assert why in exported.notes[0]


# ---- without a screen -----------------------------------------------------------------------------------------------


def test_a_report_has_three_numbers_for_each_place() -> None:
    image = neck_volume()
    said = report(image, PerfectVolumeModel().predict(image), case_key="0" * 16)
    assert said["image"]["size_px"] == list(image.volume.GetSize())
    assert said["image"]["spacing"] == [1.0, 1.25, 2.0]
    assert (said["structures"], said["view"], said["plausibility"]["plausible"]) == ([], "as stored", None)
    index = index_from_lps_mm(image.geometry, perfect_landmarks(image.geometry).points_lps_mm)
    np.testing.assert_allclose(said["landmarks"][0]["pixel"], index[0], atol=0.01)
    assert said["landmarks"][3]["pixel"] is None
    np.testing.assert_allclose(said["landmarks"][3]["best_guess_pixel"], index[3], atol=0.01)
    assert "(x, y, z)" in said["frame"]
    json.dumps(said, allow_nan=False)


def test_results_of_a_volume_are_whole_without_a_segmentation(tmp_path: Path) -> None:
    image = neck_volume(name="scan")
    prediction = PerfectVolumeModel(is_demonstration=True).predict(image)
    (tmp_path / "scan.seg.nrrd").write_text("of another model")
    written = write_results(tmp_path, image, prediction, ())
    assert [path.name for path in written] == ["scan.overlay.png", "scan.mrk.json", "scan.report.json"]
    assert not (tmp_path / "scan.seg.nrrd").exists()
    assert results_are_whole(tmp_path, "scan")
    doubts = json.loads(written[2].read_text())["plausibility"]["doubts"]
    assert doubts == [SYNTHETIC]
    written[1].write_text("{")
    assert not results_are_whole(tmp_path, "scan")


def test_the_overlay_of_a_volume_marks_each_landmark_where_it_lies(tmp_path: Path) -> None:
    """A volume without contrast: whatever has a colour is a mark."""
    image = neck_volume(name="scan")
    flat = sitk.Image(image.volume)
    flat = flat * 0
    flat.CopyInformation(image.volume)
    plain = type(image)(flat, image.spacing_source, "scan")
    path = write_results(tmp_path, plain, PerfectVolumeModel().predict(plain), ())[0]
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    colourful = np.ptp(picture, axis=2) > 60
    assert picture.shape[1] > 1500
    for column in range(3):
        third = colourful[:520, column * 528 + 8 : (column + 1) * 528]
        assert third.sum() > 60, "each projection has marks"
        assert third.sum() < 0.2 * third.size


def test_files_are_predicted_and_resumed(tmp_path: Path, tiny_bundle: Path) -> None:
    bundle = load_bundle(write_volume_bundle(tmp_path / "perfect-neck"))
    files = [GivenFile(write_volume(tmp_path / "in" / "a.nrrd"), None)]
    out = tmp_path / "out"
    salt = bytes(16)
    (outcome,) = predict_files(files, bundle, PerfectVolumeModel(), out, salt)
    row = outcome.row
    assert (row.status, row.landmarks_present, row.landmarks, row.structures) == ("done", "3", "4", "0")
    assert (row.slices, row.spacing_x, row.spacing_z, row.view) == ("18", "1", "2", "as stored")
    (again,) = predict_files(files, bundle, PerfectVolumeModel(), out, salt, resume=True)
    assert again.was_done
    (outcome.written[1]).unlink()
    (again,) = predict_files(files, bundle, PerfectVolumeModel(), out, salt, resume=True)
    assert not again.was_done
    # A model for radiographs is not even asked.
    (refused,) = predict_files(files, load_bundle(tiny_bundle), PerfectVolumeModel(), tmp_path / "other", salt)
    assert refused.row.status == "failed"
    assert "expected a radiograph (one slice) for the model tiny" in refused.error


def test_a_folder_of_slices_is_predicted_as_one_volume_under_a_name_that_tells_nothing(tmp_path: Path) -> None:
    bundle = load_bundle(write_volume_bundle(tmp_path / "perfect-neck"))
    (tmp_path / "in").mkdir()
    for name, patient in (("neck", "7"), ("0815 neck", "0815")):
        write_ct_slices(tmp_path / "in" / name, [0.0, 2.5, 5.0], PatientID=patient)
    write_ct_slices(tmp_path / "in" / "torn", [0.0, 2.5, 7.5])
    for uid, patient in (("1.2.3", "Meier"), ("1.2.4", "Schulz")):
        write_ct_slices(tmp_path / "in" / "Schulz", [0.0, 2.5], series=uid, PatientName=patient)
    files, _ = find_files([tmp_path / "in"])
    hidden, two, plain, torn = predict_files(files, bundle, PerfectVolumeModel(), tmp_path / "out", bytes(16))
    assert hidden.row.name == f"case-{hidden.row.case_key}"
    assert (plain.row.name, plain.row.status, plain.row.slices) == ("neck", "done", "3")
    assert torn.row.name == "torn"
    assert "schulz" not in (tmp_path / "out" / SUMMARY_FILE).read_text().lower()
    assert "move each series into a folder of its own" in two.error
    assert torn.error.startswith(f"{tmp_path / 'in' / 'torn'}: expected parallel slices at equal distances")


def test_a_library_is_predicted(library: Library, tmp_path: Path, tiny_bundle: Path) -> None:
    library.add(write_volume(tmp_path / "neck.nrrd"))
    model = read_description(write_volume_bundle(tmp_path / "perfect-neck"))
    (done,) = predict_cases(library, model, PerfectVolumeModel(), "a script")
    assert (done.revision, done.problem) == (1, "")
    (entry,) = library.cases()
    assert entry.newest is not None
    assert entry.newest.model == "perfect-neck 1.0.0"
    assert list(predict_cases(library, model, PerfectVolumeModel(), "a script")) == []
    (refused,) = predict_cases(library, read_description(tiny_bundle), PerfectVolumeModel(), "a script")
    assert "expected a radiograph (one slice)" in refused.problem


def test_a_radiograph_whose_model_has_no_structures_is_written_too(
    tmp_path: Path, radiograph: MedicalImage, prediction: Prediction
) -> None:
    points_only = replace(prediction, structures=(), masks=np.zeros((0, 64, 64), bool))
    written = write_results(tmp_path, replace(radiograph, name="hand"), points_only, ())
    assert [path.name for path in written] == ["hand.overlay.png", "hand.mrk.json", "hand.report.json"]
    said = json.loads(written[2].read_text())
    assert (said["structures"], len(said["landmarks"][0]["pixel"])) == ([], 2)
    assert results_are_whole(tmp_path, "hand")
