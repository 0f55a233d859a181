"""What people decided leaves the library whole, says what is absent and what is doubtful, and comes back the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.case_masks import structure_mask
from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Absent, Accept, Move, Paint, Place, Unsure
from DenseLandmarksLib.annotation.imports.read_landmarks import read_landmarks
from DenseLandmarksLib.annotation.imports.segmentation import read_segmentation
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.export import FORMATS, ExportFormat, export_library
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import ImageGeometry, SpacingSource
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.library.chests import after, predicted, write_chest
from Testing.annotation.test_imports import an_image

PAINTED = np.zeros((1, 128, 128), bool)
PAINTED[0, 60:90, 60:80] = True
FILE_OF = {"mrk.json": "{}.mrk.json", "csv": "{}.csv", "coco": "landmarks.coco.json", "seg.nrrd": "{}.seg.nrrd"}


@pytest.fixture
def decided(case: LibraryCase, state: CaseState) -> CaseState:
    """The newest revision of the case: its model found no heart; decisions of every kind."""
    state = after(
        state,
        Move((("right_lung_03", (30.5, 40.25, 0.0)),)),
        Accept(("left_lung_05", "heart_01"), ("right_lung",)),  # the heart is absent, and a person agrees
        Absent(("left_lung_07",)),
        Unsure(("left_lung_09",)),
        Place("heart_02", "heart", (70.0, 80.0, 0.0)),
        Place("by hand", "devices", (10.0, 12.5, 0.0)),
        Paint("devices", PAINTED),
    )
    case.save(state, "reader-1", 0)
    return state


def present(landmarks: LandmarkSet) -> Any:
    there = np.array([presence is Presence.PRESENT for presence in landmarks.presence])
    return np.where(there[:, None], landmarks.points_lps_mm, np.nan)


def assert_back(path: Path, landmarks: LandmarkSet, geometry: ImageGeometry, name: str) -> None:
    found = read_landmarks(path, geometry, name)
    assert set(found.names) == set(landmarks.names)
    order = [found.names.index(one) for one in landmarks.names]
    np.testing.assert_allclose(found.points_lps_mm[order], present(landmarks), rtol=0, atol=1e-4)
    assert tuple(found.presence[i] for i in order) == landmarks.presence
    assert tuple(found.review[i] for i in order) == landmarks.review
    assert tuple(found.structures[i] for i in order) == landmarks.structures


@pytest.mark.parametrize("file_format", ["mrk.json", "csv", "coco"])
def test_every_decision_comes_back_from_the_exported_file(
    library: Library, decided: CaseState, tmp_path: Path, file_format: ExportFormat
) -> None:
    exported = export_library(library, file_format, tmp_path / "out")
    path = tmp_path / "out" / FILE_OF[file_format].format("chest-0")
    assert (exported.written, exported.cases, exported.notes, exported.whole) == ((path,), 1, (), True)
    assert_back(path, decided.landmarks, decided.geometry, "chest-0")


@pytest.mark.parametrize("file_format", ["mrk.json", "csv", "coco"])
def test_reviewed_only_leaves_out_what_nobody_decided(
    library: Library, decided: CaseState, tmp_path: Path, file_format: ExportFormat, chest_template: Template
) -> None:
    unseen = library.add(write_chest(tmp_path / "images", chest_template, 1))
    unseen.save(predicted(unseen, chest_template), "reader-1", 0)
    library.add(write_chest(tmp_path / "images", chest_template, 2))
    exported = export_library(library, file_format, tmp_path / "out", reviewed_only=True)
    assert exported.cases == 1
    assert set(exported.notes) == {
        "1 case is left out: nobody reviewed anything there",
        "1 case is left out: nothing is saved there yet",
    }
    rows = [i for i, review in enumerate(decided.landmarks.review) if review is not Review.PREDICTED]
    assert len(rows) == 7
    (path,) = exported.written
    assert_back(path, decided.landmarks.rows(rows), decided.geometry, "chest-0")


@pytest.mark.parametrize("radiograph", [True, False], ids=["radiograph", "volume"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("file_format", ["mrk.json", "csv", "coco"])
def test_oblique_left_handed_and_anisotropic_images_come_back_to_a_tenth_of_a_micrometre(
    library: Library, tmp_path: Path, seed: int, radiograph: bool, file_format: ExportFormat
) -> None:
    volume = an_image(seed, radiograph).volume + 1
    volume[3, 4, 0] = 9
    sitk.WriteImage(volume, str(tmp_path / "film.nrrd"))
    case = library.add(tmp_path / "film.nrrd")
    np.testing.assert_allclose(case.geometry.index_to_lps_mm, an_image(seed, radiograph).geometry.index_to_lps_mm)
    random = np.random.default_rng(seed)
    places = [
        Place(f"point {i}", "bone", (*random.uniform(0, 39, 2), 0.0 if radiograph else random.uniform(0, 29)))
        for i in range(6)
    ]
    state = after(case.load()[0], *places, Absent(("point 2",)), Unsure(("point 4",)))
    case.save(state, "reader-1", 0)
    exported = export_library(library, file_format, tmp_path / "out")
    if file_format == "coco" and not radiograph:
        assert exported.written == ()
        assert exported.notes == ("1 case is left out: COCO has no third axis for volumes; export mrk.json or csv",)
        return
    assert_back(exported.written[0], state.landmarks, state.geometry, "film")


def test_masks_leave_with_names_voxels_and_reviews(
    library: Library, decided: CaseState, tmp_path: Path, read_in_slicer: Callable[[str, str, Path], Any]
) -> None:
    import vtk

    (path,) = export_library(library, "seg.nrrd", tmp_path / "out").written
    found = read_segmentation(path, decided.geometry)
    assert tuple(found) == decided.structures
    assert not found["heart"].any(), "absent: an empty segment"
    for name, mask in found.items():
        np.testing.assert_array_equal(mask, structure_mask(decided, name))
    node = read_in_slicer("vtkMRMLSegmentationNode", "vtkMRMLSegmentationStorageNode", path)
    said = {}
    for name in found:
        review, status = vtk.reference(""), vtk.reference("")
        segment = node.GetSegmentation().GetSegment(name)
        assert segment.GetTag("DenseLandmarks.Review", review)
        assert segment.GetTag("Segmentation.Status", status)
        said[name] = (str(review), str(status))
    assert said == {
        "right_lung": ("verified", "completed"),
        "left_lung": ("predicted", "notstarted"),
        "heart": ("predicted", "notstarted"),
        "right_clavicle": ("predicted", "notstarted"),
        "left_clavicle": ("predicted", "notstarted"),
        "devices": ("corrected", "completed"),
    }
    (path,) = export_library(library, "seg.nrrd", tmp_path / "reviewed", reviewed_only=True).written
    assert list(read_segmentation(path, decided.geometry)) == ["right_lung", "devices"]


def entry_of(library: Library, folder: Path, **options: Any) -> dict[str, Any]:
    export_library(library, "datalist", folder, **options)
    (entry,) = json.loads((folder / "datalist.json").read_text())["training"]
    assert isinstance(entry, dict)
    return entry


def test_training_learns_from_decisions_only(library: Library, decided: CaseState, tmp_path: Path) -> None:
    points = {point["name"]: point for point in entry_of(library, tmp_path / "out")["points"]}
    assert len(points) == len(decided.landmarks)
    assert {name: (point["presence"], point["review"]) for name, point in points.items() if point["teaches"]} == {
        "right_lung_03": ("present", "corrected"),
        "left_lung_05": ("present", "verified"),
        "heart_01": ("absent", "verified"),
        "left_lung_07": ("absent", "corrected"),
        "heart_02": ("present", "placed"),
        "by hand": ("present", "placed"),
    }
    assert (points["left_lung_09"]["review"], points["left_lung_09"]["teaches"]) == ("unsure", False)
    assert (points["heart_05"]["presence"], points["heart_05"]["teaches"]) == ("absent", False), (
        "only the model says so"
    )
    np.testing.assert_allclose(points["right_lung_03"]["index_ijk"], [30.5, 40.25, 0], atol=1e-6)
    row = decided.landmarks.names.index("right_lung_03")
    np.testing.assert_allclose(points["right_lung_03"]["lps_mm"], decided.landmarks.points_lps_mm[row], atol=1e-6)
    for name in ("heart_01", "heart_05", "left_lung_07"):
        assert points[name]["index_ijk"] is points[name]["lps_mm"] is None


def test_a_datalist_has_what_a_training_reader_needs(
    library: Library, case: LibraryCase, decided: CaseState, tmp_path: Path
) -> None:
    library.add_new_landmark(NewLandmark("apex", "heart", (0.3, 0.8)))
    out = tmp_path / "out"
    entry = entry_of(library, out)
    assert (out / entry["image"]).resolve() == case.image_path.resolve()
    assert not Path(entry["image"]).is_absolute()
    assert_back(out / entry["landmarks"], decided.landmarks, decided.geometry, "chest-0")
    assert tuple(read_segmentation(out / entry["label"], decided.geometry)) == decided.structures
    assert entry["structures"][0] == {"name": "right_lung", "review": "verified", "teaches": True}
    assert [one["name"] for one in entry["structures"] if one["teaches"]] == ["right_lung", "devices"]
    assert ImageGeometry.from_dict(entry["geometry"]) == decided.geometry
    assert (entry["case"], entry["name"], entry["revision"], entry["who"]) == (case.id, "chest-0", 1, "reader-1")
    assert entry["unit"] == "mm"
    document = json.loads((out / "datalist.json").read_text())
    assert [one["name"] for one in document["template_extension"]] == ["apex"]
    reviewed = entry_of(library, tmp_path / "reviewed", reviewed_only=True)
    assert len(reviewed["points"]) == 7
    assert len(reviewed["structures"]) == 2


def test_monai_reads_the_datalist(library: Library, case: LibraryCase, decided: CaseState, tmp_path: Path) -> None:
    from monai.data import load_decathlon_datalist

    export_library(library, "datalist", tmp_path / "out")
    (entry,) = load_decathlon_datalist(tmp_path / "out" / "datalist.json", True, "training")
    assert Path(entry["image"]).resolve() == case.image_path.resolve()
    assert Path(entry["label"]).is_file()


def test_all_images_of_a_patient_are_in_one_fold_whatever_else_there_is(library: Library, tmp_path: Path) -> None:
    from Testing.geometry.dicom_files import PIXELS, write_dicom

    def folds() -> dict[str, tuple[str, int]]:
        export_library(library, "datalist", tmp_path / "out")
        entries = json.loads((tmp_path / "out" / "datalist.json").read_text())["training"]
        return {entry["name"]: (entry["patient"], entry["fold"]) for entry in entries}

    def add(number: int, patient: int) -> None:
        path = write_dicom(tmp_path / f"film{number}.dcm", pixels=PIXELS + number, PatientID=f"ID-{patient}")
        case = library.add(path)
        case.save(after(case.load()[0], Place("tip", "bone", (1.0, 2.0, 0.0))), "reader-1", 0)

    for number in range(30):
        add(number, number // 2)
    before = folds()
    by_patient: dict[str, set[int]] = {}
    for patient, fold in before.values():
        by_patient.setdefault(patient, set()).add(fold)
    assert len(by_patient) == 15
    assert all(len(found) == 1 for found in by_patient.values())
    assert set.union(*by_patient.values()) <= set(range(5))
    assert len(set.union(*by_patient.values())) >= 3
    add(30, 99)
    now = folds()
    assert {name: now[name] for name in before} == before


def test_an_image_without_spacing_is_never_called_millimetres(library: Library, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray((np.arange(4800).reshape(60, 80) % 251).astype(np.uint8)).save(tmp_path / "foto.png")
    case = library.add(tmp_path / "foto.png")
    assert case.geometry.spacing_source is SpacingSource.UNKNOWN
    state = after(case.load()[0], Place("tip", "bone", (10.5, 20.25, 0.0)))
    case.save(state, "reader-1", 0)
    entry = entry_of(library, tmp_path / "out")
    assert entry["unit"] == "px"
    assert entry["points"][0]["lps_px"] == [10.5, 20.25, 0.0]
    assert "lps_mm" not in entry["points"][0]
    for file_format in ("mrk.json", "csv", "coco"):
        (path,) = export_library(library, file_format, tmp_path / file_format).written  # type: ignore[arg-type]
        assert_back(path, state.landmarks, state.geometry, "foto")


@pytest.mark.parametrize("file_format", FORMATS)
def test_two_cases_of_one_name_do_not_share_a_file(
    library: Library, decided: CaseState, tmp_path: Path, chest_template: Template, file_format: ExportFormat
) -> None:
    cases = [entry.id for entry in library.cases()]
    other = library.add(write_chest(tmp_path / "more", chest_template, 1, "CHEST-0"))
    other.save(predicted(other, chest_template), "reader-1", 0)
    exported = export_library(library, file_format, tmp_path / "out")
    names = {path.name.casefold() for path in exported.written}
    assert (exported.cases, len(names)) == (2, len(exported.written))
    if file_format == "coco":
        images = json.loads(exported.written[0].read_text())["images"]
        assert {image["file_name"] for image in images} == {f"chest-0-{cases[0]}", f"CHEST-0-{other.id}"}
    elif file_format != "datalist":
        assert names == {f"chest-0-{one}.{file_format}" for one in (*cases, other.id)}


def test_the_images_are_not_needed(library: Library, case: LibraryCase, decided: CaseState, tmp_path: Path) -> None:
    case.image_path.unlink()
    for file_format in FORMATS:
        assert export_library(library, file_format, tmp_path / file_format).cases == 1


def test_a_damaged_case_is_told_and_the_others_are_exported(
    library: Library, case: LibraryCase, decided: CaseState, tmp_path: Path, chest_template: Template
) -> None:
    other = library.add(write_chest(tmp_path / "images", chest_template, 1))
    other.save(predicted(other, chest_template), "reader-1", 0)
    (other.revision_folder(1) / "sidecar.json").write_text("{")
    exported = export_library(library, "csv", tmp_path / "out")
    assert [path.name for path in exported.written] == ["chest-0.csv"]
    (note,) = exported.notes
    assert note.startswith("chest-1 is left out: revision 1 of case chest-1 cannot be read")
    assert not exported.whole


def test_an_export_tells_how_far_it_is_and_stops_when_it_is_told_to(
    library: Library, decided: CaseState, tmp_path: Path, chest_template: Template
) -> None:
    other = library.add(write_chest(tmp_path / "images", chest_template, 1))
    other.save(predicted(other, chest_template), "reader-1", 0)
    heard: list[tuple[int, int]] = []
    export_library(library, "csv", tmp_path / "all", progress=lambda *how_far: heard.append(how_far))
    assert heard == [(0, 2), (1, 2), (2, 2)]
    asked = iter([False, True])
    exported = export_library(library, "csv", tmp_path / "some", cancelled=lambda: next(asked))
    assert ([path.name for path in exported.written], exported.whole) == (["chest-0.csv"], False)
    assert exported.notes == ("stopped after 1 of 2 cases; the others are not there",)


def test_what_cannot_be_written_is_told_in_one_line(library: Library, decided: CaseState, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for file_format in FORMATS:
        with pytest.raises(
            InputError, match=r"expected to write to .*file, got '(Not a directory|File exists)'"
        ) as told:
            export_library(library, file_format, tmp_path / "file")
        assert "\n" not in str(told.value)
    with pytest.raises(InputError, match=r"expected a format of mrk\.json, csv, coco, seg\.nrrd, datalist, got 'xlsx'"):
        export_library(library, "xlsx", tmp_path)  # type: ignore[arg-type]
