"""A library opens, is found out when it is none, and gives everybody the same case for the same image."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Accept
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.library.chests import after, predicted, write_chest
from Testing.geometry.dicom_files import PIXELS, write_ct_slices, write_dicom

ReadOnly = Callable[[Path], AbstractContextManager[Path]]


def test_a_library_opens_with_what_was_put_into_it(
    library: Library, case: LibraryCase, state: CaseState, chest_template: Template, tmp_path: Path
) -> None:
    case.save(after(state, Accept(state.landmarks.names[:10])), "reader-2", 0)
    library.add(write_chest(tmp_path / "images", chest_template, 1), who="reader-1")
    opened = Library.open(library.folder)
    assert (opened.id, opened.name) == (library.id, "Chests of ward 3")
    first, second = opened.cases()
    assert (first.id, first.name, first.damage) == (case.id, "chest-0", "")
    assert (second.name, second.newest) == ("chest-1", None)
    newest = first.newest
    assert newest is not None
    assert (newest.number, newest.who, newest.reviewed, newest.landmarks) == (1, "reader-2", 10, len(state.landmarks))
    assert newest.by_presence == {"present": 128, "absent": 26}
    assert newest.by_review == {"verified": 10, "predicted": len(state.landmarks) - 10}
    assert newest.model == "perfect 1"
    assert opened.case(case.id) == case


def test_the_same_pixels_are_the_same_case_whoever_adds_them_under_whatever_name(
    library: Library, case: LibraryCase, tmp_path: Path, chest_template: Template
) -> None:
    again = library.add(write_chest(tmp_path / "elsewhere", chest_template, 0, "film"), who="reader-2")
    assert again == case
    assert again.added_by == "reader-1"
    assert len(library.cases()) == 1


def test_two_people_who_add_the_same_images_at_once_get_the_same_cases(
    library: Library, tmp_path: Path, chest_template: Template
) -> None:
    paths = [write_chest(tmp_path / "images", chest_template, seed) for seed in range(4)]
    found: list[list[str]] = [[], [], [], []]
    start = threading.Barrier(4)

    def add_all(mine: list[str]) -> None:
        start.wait()
        for path in paths:
            mine.append(library.add(path, copy=True).id)

    people = [threading.Thread(target=add_all, args=(mine,)) for mine in found]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert found == [found[0]] * 4
    assert len(set(found[0])) == 4
    assert sorted(entry.id for entry in library.cases()) == sorted(found[0])
    assert not any(path.name.startswith(".") for path in (library.folder / "cases").iterdir())


def test_another_library_has_another_key_for_the_same_image(case: LibraryCase, tmp_path: Path) -> None:
    other = Library.create(tmp_path / "other", "Other")
    assert other.add(case.image_path).id != case.id


def test_a_dicom_case_keeps_what_the_image_shows_and_nothing_about_the_patient(
    library: Library, tmp_path: Path
) -> None:
    tags = {
        "PatientName": "Quixotek^Zebulon",
        "PatientID": "PID-774411",
        "ViewPosition": "PA",
        "BodyPartExamined": "CHEST",
        "Laterality": "R",
        "Modality": "DX",
        "ImagerPixelSpacing": [0.2, 0.1],
    }
    first = write_dicom(tmp_path / "Quixotek_chest.dcm", **tags)
    second = write_dicom(tmp_path / "film2.dcm", pixels=PIXELS + 1, **tags)
    other = write_dicom(tmp_path / "film3.dcm", pixels=PIXELS + 2, **(tags | {"PatientID": "PID-774412"}))
    unknown = write_dicom(tmp_path / "film4.dcm", pixels=PIXELS + 3)
    cases = [library.add(path, copy=True) for path in (first, second, other, unknown)]
    assert [case.name for case in cases] == [f"case-{cases[0].id}", "film2", "film3", "film4"]
    assert cases[0].patient_key == cases[1].patient_key != cases[2].patient_key
    assert len(cases[0].patient_key) == 16
    assert cases[3].patient_key == ""
    case = library.case(cases[0].id)
    assert (case.modality, case.body_part, case.view_position, case.laterality) == ("DX", "CHEST", "PA", "R")
    assert (case.geometry.spacing_mm[:2], case.geometry.spacing_source) == ((0.1, 0.2), SpacingSource.DETECTOR)
    for path in library.folder.rglob("*"):
        assert not any(word in path.name.lower() for word in ("quixotek", "zebulon", "774411"))
        if path.suffix == ".json":
            text = path.read_text().lower()
            assert not any(word in text for word in ("quixotek", "zebulon", "774411"))


def test_a_series_of_slices_is_one_case(library: Library, tmp_path: Path) -> None:
    write_ct_slices(tmp_path / "series", [0.0, 2.5, 5.0], PatientID="7")
    (tmp_path / "series" / ".DS_Store").write_bytes(b"x")
    case = library.add(tmp_path / "series", copy=True)
    shutil.rmtree(tmp_path / "series")
    image, notes = case.read_image()
    assert (image.geometry.size, notes) == ((48, 40, 3), ())
    assert case.patient_key
    assert case.name == "series"


def test_a_photograph_gets_the_spacing_that_a_person_gives(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "Foto.PNG"
    pixels = Image.fromarray((PIXELS >> 4).astype("uint8"))
    pixels.save(path, "PNG", pnginfo=PngInfo())
    case = library.add(path, spacing_mm=(0.3, 0.4))
    assert case.name == "Foto"
    assert case.geometry.spacing_mm[:2] == (0.3, 0.4)
    image, notes = case.read_image()
    assert (image.geometry, notes) == (case.geometry, ())


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "expected a case library in .*, found nothing there. Name the folder of a library, or create one there"),
        ("", "got a file that is cut off or damaged"),
        ('{"format": 1, "id": "a"', "got a file that is cut off or damaged"),
        ("[1]", "got JSON of another kind"),
        ('{"format": 1}', "got a file that is damaged. Restore it from a backup"),
        ('{"format": 1, "id": "a", "name": "b", "salt": "zz"}', "got a file that is damaged"),
        ('{"format": 1, "id": "a", "name": "b", "salt": "00"}', "got a file that is damaged"),
        ('{"format": 2, "id": "a"}', r"expected a library in format 1 in .*, got format '2'. Update this program"),
        ('{"format": "x"}', "got format 'x'. Restore library.json from a backup"),
    ],
)
def test_a_folder_that_is_no_library_is_told_in_one_line(tmp_path: Path, content: str | None, expected: str) -> None:
    if content is not None:
        (tmp_path / "library.json").write_text(content)
    with pytest.raises(InputError, match=expected) as told:
        Library.open(tmp_path)
    assert "\n" not in str(told.value)


def test_a_library_is_not_created_over_another(library: Library) -> None:
    before = (library.folder / "library.json").read_bytes()
    with pytest.raises(InputError, match="expected a folder without a library"):
        Library.create(library.folder, "Mine")
    with pytest.raises(InputError, match="expected a name for the library"):
        Library.create(library.folder / "in", "  ")
    assert (library.folder / "library.json").read_bytes() == before


@pytest.mark.parametrize("case_id", ["", "0" * 16, "..", "../../etc"])
def test_a_case_that_is_not_there_is_told_in_one_line(library: Library, case: LibraryCase, case_id: str) -> None:
    with pytest.raises(InputError, match="expected a case of the library Chests of ward 3, got"):
        library.case(case_id)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw.clear(),
        lambda raw: raw.update(format=2),
        lambda raw: raw.update(id="0" * 16),
        lambda raw: raw.update(name=3),
        lambda raw: raw["geometry"].update(spacing_mm=[0, 0, 0]),
        lambda raw: raw.update(image={}),
        lambda raw: raw.update(image=None),
        lambda raw: raw.pop("patient_key"),
    ],
)
def test_a_damaged_case_is_told_in_one_line_and_hides_no_other(
    library: Library,
    case: LibraryCase,
    tmp_path: Path,
    chest_template: Template,
    damage: Callable[[dict[str, Any]], object],
) -> None:
    library.add(write_chest(tmp_path / "images", chest_template, 1))
    path = case.folder / "case.json"
    raw = json.loads(path.read_text())
    damage(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(InputError, match=r"expected a case .*case\.json, got") as told:
        library.case(case.id)
    assert "\n" not in str(told.value)
    entries = {entry.id: entry for entry in library.cases()}
    assert entries.pop(case.id).damage == str(told.value)
    assert [(entry.name, entry.damage) for entry in entries.values()] == [("chest-1", "")]


def test_what_cannot_be_added_leaves_nothing_behind(library: Library, tmp_path: Path) -> None:
    (tmp_path / "words.png").write_text("This is no image.")
    with pytest.raises(InputError, match="expected an image"):
        library.add(tmp_path / "words.png", copy=True)
    with pytest.raises(InputError, match="found nothing there"):
        library.add(tmp_path / "missing.png")
    assert library.cases() == ()
    assert not list((library.folder / "cases").glob("*"))


def test_an_image_in_two_files_is_not_copied_by_half(library: Library, case: LibraryCase, tmp_path: Path) -> None:
    import SimpleITK as sitk

    sitk.WriteImage(sitk.ReadImage(str(case.image_path)) + 1, str(tmp_path / "two.mhd"))
    with pytest.raises(InputError, match=r"got one with its pixels in another file\. Convert it to one file"):
        library.add(tmp_path / "two.mhd", copy=True)
    assert len(library.cases()) == 1
    assert library.add(tmp_path / "two.mhd").read_image()[0].geometry.size == (128, 128, 1)


def test_a_library_that_may_only_be_read_can_be_read_and_says_so_when_written(
    library: Library, case: LibraryCase, state: CaseState, tmp_path: Path, read_only: ReadOnly
) -> None:
    case.save(state, "reader-1", 0)
    case.load()  # Python's own modules, where another user may not read them either
    with read_only(library.folder) as folder:
        copy = Library.open(folder)
        mine = copy.case(case.id)
        assert mine.load()[0].landmarks.names == state.landmarks.names
        assert len(copy.cases()) == 1
        with pytest.raises(InputError, match=r"expected to write .*, got 'Permission denied'") as told:
            mine.save(after(state, Accept(state.landmarks.names[:1])), "reader-2", 1)
        assert "\n" not in str(told.value)
        with pytest.raises(InputError, match="got 'Permission denied'"):
            Library.create(folder / "new", "New")
        assert mine.revision_numbers() == (1,)


def test_left_over_folders_of_killed_writers_are_no_cases_and_go_after_a_day(
    library: Library, case: LibraryCase, tmp_path: Path, chest_template: Template
) -> None:
    cases = library.folder / "cases"
    for name, age_h in (("old", 25), ("new", 23)):
        left = cases / f".writing-{name}"
        left.mkdir()
        (left / "case.json").write_text("{")
        then = case.folder.stat().st_mtime - 3600 * age_h
        os.utime(left, (then, then))
    library.add(write_chest(tmp_path / "images", chest_template, 1))
    assert len(library.cases()) == 2
    assert [path.name for path in cases.glob(".*")] == [".writing-new"]


def test_a_prediction_of_another_image_is_not_saved_into_the_case(
    library: Library, case: LibraryCase, tmp_path: Path, chest_template: Template
) -> None:
    other = library.add(write_dicom(tmp_path / "small.dcm"))
    with pytest.raises(InputError, match=r"whose image has \(48, 40, 1\) voxels, got one of \(128, 128, 1\)"):
        other.save(predicted(case, chest_template), "reader-1", 0)
