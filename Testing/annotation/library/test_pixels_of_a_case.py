"""The case of an image that is in memory: found by its pixels, made with a copy of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.geometry.read_image import read_image
from Testing.geometry.dicom_files import PIXELS, write_dicom


def in_memory(pixels: np.ndarray = PIXELS, **about: object) -> MedicalImage:
    volume = sitk.GetImageFromArray(pixels[None])
    volume.SetSpacing((0.143, 0.139, 1))
    volume.SetOrigin((3, 4, 5))
    return replace(MedicalImage(volume, SpacingSource.CALIBRATED), **about)  # type: ignore[arg-type]


def test_a_case_is_found_by_its_pixels_and_nothing_is_made(library: Library, case: LibraryCase) -> None:
    image = read_image(case.image_path)
    assert library.find(image) == case
    elsewhere = sitk.Image(image.volume)
    elsewhere.SetSpacing((3, 2, 1))
    elsewhere.SetOrigin((1, 2, 3))
    assert library.find(MedicalImage(elsewhere, SpacingSource.UNKNOWN, "otherwise")) == case
    before = sorted(library.folder.rglob("*"))
    assert library.find(MedicalImage(image.volume + 1, SpacingSource.UNKNOWN)) is None
    assert sorted(library.folder.rglob("*")) == before
    (case.folder / "case.json").write_text("{")
    with pytest.raises(InputError, match="expected a case in"):
        library.find(image)


def test_an_image_in_memory_becomes_a_case_that_keeps_all_that_is_known(library: Library) -> None:
    known = Acquisition("DX", "CHEST", "PA", "L", ("L", "F"))
    image = in_memory(acquisition=known, window=(100.5, 2000.0), spacing_source=SpacingSource.CALIBRATED)
    case = library.add_pixels(image, "chest", "reader-1")
    assert (case.name, case.added_by, case.geometry, case.patient_key) == ("chest", "reader-1", image.geometry, "")
    again, notes = Library.open(library.folder).case(case.id).read_image()
    assert (again.geometry, again.acquisition, again.window, notes) == (image.geometry, known, (100.5, 2000.0), ())
    np.testing.assert_array_equal(again.pixels_yx, PIXELS)
    assert library.find(image) == library.add_pixels(image, "another name") == case
    assert case.image_path == case.folder / "image.nrrd"
    assert [path.name for path in (library.folder / "cases").iterdir()] == [case.id]


def test_the_file_that_it_came_from_says_who_and_leaves_no_trace(library: Library, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "film.dcm", PatientName="Quixotek^Zebulon", PatientID="PID-774411")
    other = write_dicom(tmp_path / "other.dcm", pixels=PIXELS + 1, PatientID="PID-774411")
    case = library.add_pixels(read_image(path), "film", origin=path)
    assert case.patient_key
    assert case.patient_key == library.add(other).patient_key
    assert library.add(path) == case, "the same pixels, in memory or in a file"
    for written in case.folder.rglob("*"):
        content = written.read_bytes().lower() if written.is_file() else b""
        assert not any(word in content for word in (b"quixotek", b"774411", b"film.dcm"))


@pytest.mark.parametrize("name", ["../../outside", "a\\b", "...", "", "x" * 300])
def test_a_name_is_fit_for_a_file(library: Library, name: str) -> None:
    case = library.add_pixels(in_memory(), name)
    assert case.name
    assert len(case.name) <= 80
    assert not set(case.name) & set("/\\")
    assert not case.name.startswith(".")


def test_an_image_that_has_gone_is_kept_as_a_copy_from_now_on(library: Library, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "film.dcm", ImagerPixelSpacing=[0.2, 0.1])
    case = library.add(path)
    image = read_image(path)
    path.unlink()
    with pytest.raises(InputError, match="found nothing there"):
        case.read_image()
    assert library.add_pixels(image) == case
    assert case.folder in case.image_path.parents
    assert case.read_image()[0].geometry == image.geometry
    library.add_pixels(image)
    assert len(list(case.folder.glob("image-*.json"))) == 1
    # Gone once more, it is written beside what is left: nothing is replaced.
    case.image_path.unlink()
    library.add_pixels(image)
    assert case.read_image()[0].geometry == image.geometry


def test_a_moved_image_is_copied_where_that_is_asked(library: Library, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "film.dcm")
    case = library.add(path)
    moved = path.rename(tmp_path / "moved.dcm")
    library.add(moved, copy=True)
    moved.unlink()
    assert case.read_image()[0].geometry.size == (48, 40, 1)


def test_an_image_without_any_grey_is_refused_in_one_line(library: Library) -> None:
    with pytest.raises(InputError, match=r"^film: expected a radiograph, got a constant image"):
        library.add_pixels(in_memory(PIXELS * 0), "film")
    assert library.cases() == ()


def test_a_case_of_before_has_no_orientation_and_a_wrong_one_is_damage(library: Library) -> None:
    case = library.add_pixels(in_memory(acquisition=Acquisition(patient_orientation=("L", "F"))))
    path = case.folder / "case.json"
    raw = json.loads(path.read_text())
    assert raw["patient_orientation"] == ["L", "F"]
    path.write_text(json.dumps(raw | {"patient_orientation": ["sideways", 3]}))
    with pytest.raises(InputError, match="damaged"):
        library.case(case.id)
    del raw["patient_orientation"]
    path.write_text(json.dumps(raw))
    assert library.case(case.id).read_image()[0].acquisition == Acquisition()
