"""Which images a person means who names files and folders: slices of one series are one volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from DenseLandmarksLib.annotation import find_files as module
from DenseLandmarksLib.annotation.find_files import GivenFile, find_files
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.read_image import read_image
from Testing.geometry.dicom_files import CR, write_ct_slices, write_dicom

HEIGHTS_MM = [0.0, 2.5, 5.0]


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    """A patient's export: two series in folders of their own, a radiograph, and something that is no image."""
    folder = tmp_path / "patient"
    folder.mkdir()
    write_ct_slices(folder / "a neck", HEIGHTS_MM, series="1.2.3")
    write_ct_slices(folder / "b neck", HEIGHTS_MM, series="1.2.4")
    write_dicom(folder / "chest.dcm", CR)
    (folder / "README").write_text("words")
    return folder


def test_the_slices_of_a_series_in_a_folder_of_its_own_are_one_volume(patient: Path) -> None:
    found, others = find_files([patient])
    assert found == [
        GivenFile(patient / "chest.dcm", patient),
        GivenFile(patient / "a neck", patient),
        GivenFile(patient / "b neck", patient),
    ]
    assert others == 1
    # The folder itself, and all of its slices by name, mean the same.
    neck = patient / "a neck"
    assert find_files([neck]) == ([GivenFile(neck)], 0)
    assert find_files(sorted(neck.iterdir())) == ([GivenFile(neck)], 0)


def test_slices_that_are_named_without_the_others_stay_slices(patient: Path) -> None:
    two = sorted((patient / "a neck").iterdir())[:2]
    assert find_files(two) == ([GivenFile(path) for path in two], 0)


def test_what_is_no_slice_of_a_body_stays_an_image_of_its_own(tmp_path: Path) -> None:
    """Radiographs of one series, a single slice, and slices that do not say where they lie."""
    films = [write_dicom(tmp_path / f"film-{i}", CR, SeriesInstanceUID="1.2.3") for i in range(2)]
    alone = write_ct_slices(tmp_path, [0.0], series="1.2.4")
    nowhere = write_ct_slices(tmp_path, [0.0, 2.5], series="1.2.5", ImagePositionPatient=None)
    found, _ = find_files([tmp_path])
    assert found == [GivenFile(path, tmp_path) for path in sorted([*films, *alone, *nowhere])]


def test_scouts_stay_images_of_their_own_beside_a_volume_and_alone(tmp_path: Path) -> None:
    axial = write_ct_slices(tmp_path / "neck", HEIGHTS_MM)
    flagged = write_ct_slices(tmp_path / "neck", [0.0], series="1.2.9", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    across = [[1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1]]
    (tmp_path / "scouts").mkdir()
    scouts = [
        write_ct_slices(tmp_path, [0.0], series="1.2.4", ImageOrientationPatient=axes)[0].rename(
            tmp_path / "scouts" / str(number)
        )
        for number, axes in enumerate(across)
    ]
    found, _ = find_files([tmp_path])
    assert [image.path for image in found] == [axial[0].parent, *flagged, *scouts]
    assert read_image(axial[0].parent).geometry.size == (48, 40, 3)


def test_a_volume_may_lie_among_other_things(tmp_path: Path) -> None:
    """A thumbnail, a letter, and what an earlier run wrote there."""
    write_ct_slices(tmp_path / "neck", HEIGHTS_MM)
    for name in ("thumbnail.png", "neck.overlay.png"):
        Image.fromarray(np.eye(9, dtype=np.uint8)).save(tmp_path / "neck" / name)
    found, others = find_files([tmp_path])
    assert ([image.path.name for image in found], others) == (["neck", "thumbnail.png"], 0)
    assert read_image(found[0].path).geometry.size == (48, 40, 3)


def test_two_series_in_one_folder_are_told_once_however_they_are_named(tmp_path: Path) -> None:
    slices = [path for uid in ("1.2.3", "1.2.4") for path in write_ct_slices(tmp_path / "flat", HEIGHTS_MM, series=uid)]
    for given in ([tmp_path], slices, slices[:3]):
        (found,) = find_files(given)[0]
        assert found.path == tmp_path / "flat"
    with pytest.raises(InputError, match="got 6 images in 2 DICOM series; move each series into a folder of its own"):
        read_image(tmp_path / "flat")


def test_a_folder_without_a_name_is_given_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slices = write_ct_slices(tmp_path / "neck", HEIGHTS_MM)
    monkeypatch.chdir(tmp_path / "neck")
    for given in ([Path()], [Path(path.name) for path in slices]):
        (found,) = find_files(given)[0]
        assert found == GivenFile(tmp_path / "neck")


def test_a_folder_of_other_images_is_not_searched_for_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of radiographs must not be opened before the first of them is done."""
    films = [write_dicom(tmp_path / f"film-{i}", CR) for i in range(3)]
    listed = module.list_files([tmp_path])
    opened: list[Path] = []
    member_of = module.member_of
    monkeypatch.setattr(module, "member_of", lambda path: (opened.append(path), member_of(path))[1])
    assert module.Slices(listed).image_of(listed[0]) == listed[0]
    assert opened == films[:1]
