"""A case finds its image again, knows it by its pixels, and keeps every point on its pixel."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import CorrectSpacing
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.library.chests import after, write_chest


def with_another(path: Path, spacing: tuple[float, float, float] | None = None, brighter: int = 0) -> None:
    volume = sitk.ReadImage(str(path))
    if spacing:
        volume.SetSpacing(spacing)
    sitk.WriteImage(volume + brighter, str(path))


def test_the_image_comes_back_with_its_pixels_and_its_name(case: LibraryCase, chest_template: Template) -> None:
    image, notes = case.read_image()
    np.testing.assert_array_equal(image.pixels_yx[None], sitk.GetArrayFromImage(sitk.ReadImage(str(case.image_path))))
    assert (image.geometry, image.name, notes) == (case.geometry, "chest-0", ())


def test_library_and_images_can_move_together(case: LibraryCase, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in ("library", "images"):
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / name)
    moved = Library.open(tmp_path / "elsewhere" / "library").case(case.id)
    assert moved.read_image()[0].geometry == case.geometry


def test_a_copy_stays_when_the_original_goes(library: Library, tmp_path: Path, chest_template: Template) -> None:
    path = write_chest(tmp_path / "images", chest_template)
    case = library.add(path, copy=True)
    path.unlink()
    assert case.image_path == case.folder / "image.nrrd"
    assert case.read_image()[0].geometry == case.geometry


def test_a_point_stays_on_its_pixel_when_the_file_now_states_another_spacing_and_that_is_told(
    case: LibraryCase, state: CaseState
) -> None:
    state = after(state, CorrectSpacing((0.5, 0.25, 1.0)))
    image, notes = case.read_image(state.geometry)
    assert image.geometry == state.geometry
    (note,) = notes
    assert note == (
        "chest-0: its file states a spacing of 2.8 x 2.8 mm (given), in this case it is 0.5 x 0.25 mm (given); "
        "every point stays on its pixel"
    )
    with_another(case.image_path, spacing=(0.7, 0.7, 1))
    image, (note,) = case.read_image()
    assert image.geometry == case.geometry
    assert "states a spacing of 0.7 x 0.7 mm (given), in this case it is 2.8 x 2.8 mm" in note
    with_another(case.image_path, spacing=(1, 1, 1))  # the formats' default says nothing
    assert case.read_image()[1] == ()
    assert case.read_image()[0].spacing_source is SpacingSource.GIVEN


def test_a_file_that_now_lies_elsewhere_in_space_is_told(case: LibraryCase) -> None:
    volume = sitk.ReadImage(str(case.image_path))
    volume.SetOrigin((1, 2, 3))
    sitk.WriteImage(volume, str(case.image_path))
    image, notes = case.read_image()
    assert notes == ("chest-0: its file now states another place in space; every point stays on its pixel",)
    assert image.geometry == case.geometry


def test_an_image_that_was_moved_says_what_to_do_and_is_found_again(case: LibraryCase, tmp_path: Path) -> None:
    old, new = case.image_path, tmp_path / "archive" / "film.nrrd"
    new.parent.mkdir()
    shutil.move(old, new)
    with pytest.raises(InputError, match=r"found nothing there\. Add the image again from where it is now") as told:
        case.read_image()
    assert "\n" not in str(told.value)
    case.relink(new, "reader-2")
    assert case.image_path == new
    assert case.read_image()[0].geometry == case.geometry
    shutil.move(new, old)
    case.relink(old)
    assert case.image_path == old
    assert sorted(path.name for path in case.folder.glob("image-*")) == ["image-0001.json", "image-0002.json"]


def test_adding_a_moved_image_again_finds_it_again(library: Library, case: LibraryCase, tmp_path: Path) -> None:
    new = tmp_path / "film.nrrd"
    shutil.move(case.image_path, new)
    assert library.add(new) == case
    assert library.case(case.id).image_path == new
    library.add(new)
    assert len(list(case.folder.glob("image-*"))) == 1


def test_another_image_is_not_taken_for_that_of_the_case(
    case: LibraryCase, tmp_path: Path, chest_template: Template
) -> None:
    other = write_chest(tmp_path / "images", chest_template, 1)
    with pytest.raises(InputError, match=r"got one with other pixels\. Name the file that the case was made from"):
        case.relink(other)
    with pytest.raises(InputError, match="found nothing there"):
        case.relink(tmp_path / "missing.png")
    assert not list(case.folder.glob("image-*"))
    with_another(case.image_path, brighter=1)
    with pytest.raises(InputError, match="got one with other pixels"):
        case.read_image()


@pytest.mark.parametrize("content", ["", "{}", '{"path": 3, "is_copy": false}', "[]"])
def test_a_damaged_note_of_the_place_is_told_in_one_line(case: LibraryCase, content: str) -> None:
    case.relink(case.image_path)
    (note,) = case.folder.glob("image-*")
    note.write_text(content)
    with pytest.raises(InputError, match=r"expected the place of an image in .*image-0001\.json, got") as told:
        case.read_image()
    assert "\n" not in str(told.value)
