"""A folder of slices is one volume, in its patient's order, or one line that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.read_image import read_image
from Testing.geometry.dicom_files import CT, PIXELS, write_ct_slices, write_dicom

Refusal = Callable[[Path], str]


@pytest.mark.parametrize("heights", [[1.0, 3.5, 6.0, 8.5], [8.5, 6.0, 3.5, 1.0], [6.0, 1.0, 8.5, 3.5]])
def test_slices_are_stacked_by_their_positions_whatever_their_names(tmp_path: Path, heights: list[float]) -> None:
    write_ct_slices(tmp_path / "series", heights)
    image = read_image(tmp_path / "series")
    expected = np.stack([PIXELS % 2048 + i - 1024.0 for i in np.argsort(heights)])
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image.volume), expected)
    assert image.volume.GetSpacing() == pytest.approx((0.6, 0.7, 2.5))
    assert image.volume.GetOrigin() == pytest.approx((-10, -20, 1))
    assert image.volume.GetDirection() == pytest.approx((1, 0, 0, 0, 1, 0, 0, 0, 1))
    assert (image.spacing_source, image.name) == (SpacingSource.CALIBRATED, "series")
    assert (image.acquisition.modality, image.acquisition.patient_orientation) == ("CT", ("L", "P"))


def test_slices_may_be_small(tmp_path: Path) -> None:
    for i, path in enumerate(write_ct_slices(tmp_path / "series", [1.0, 3.5])):
        position = {"ImagePositionPatient": [0, 0, 2.5 * i], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        write_dicom(
            path, CT, PIXELS[:12, :20], Modality="CT", SeriesInstanceUID="1.2.3", PixelSpacing=[1, 1], **position
        )
    assert read_image(tmp_path / "series").volume.GetSize() == (20, 12, 2)


def test_an_oblique_series_lies_where_its_slices_lie(tmp_path: Path) -> None:
    row, column = np.array([0.8, 0.6, 0]), np.array([0, 0, -1.0])
    normal = np.cross(row, column)
    for i in range(3):
        position = (np.array([5, 6, 7]) + 2.0 * i * normal).tolist()
        write_ct_slices(
            tmp_path / "series",
            [0.0],
            ImageOrientationPatient=[*row, *column],
            ImagePositionPatient=position,
        )[0].rename(tmp_path / "series" / f"{9 - i}")
    volume = read_image(tmp_path / "series").volume
    assert volume.TransformIndexToPhysicalPoint((0, 0, 0)) == pytest.approx((5, 6, 7))
    corner = np.array([5, 6, 7]) + 47 * 0.6 * row + 39 * 0.7 * column + 4 * normal
    assert volume.TransformIndexToPhysicalPoint((47, 39, 2)) == pytest.approx(corner)


@pytest.mark.parametrize(
    ("heights", "says"),
    [
        ([0.0, 2.5, 7.5, 10.0], "got 4 with 1 missing between them"),
        ([0.0, 2.5, 5.0, 7.5, 15.0], "got 5 with 2 missing between them"),
        ([0.0, 2.5, 5.0, 8.2], "got 4 at unequal distances"),
        ([0.0, 2.5, 2.5, 5.0], "got 4 of which some lie in one place"),
        ([0.0, 0.0], "got 2 of which some lie in one place"),
    ],
)
def test_slices_that_are_missing_or_doubled_are_told(
    tmp_path: Path, heights: list[float], says: str, refusal: Refusal
) -> None:
    write_ct_slices(tmp_path / "series", heights)
    assert says in refusal(tmp_path / "series")


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "of mixed orientation"),
        ({"PixelSpacing": [0.7, 0.5]}, "of different pixel spacings"),
        ({"ImagePositionPatient": [-10, -19, 5.0]}, "of a tilted gantry"),
        ({"ImagePositionPatient": None}, "images without a position"),
    ],
)
def test_slices_that_do_not_fit_together_are_told(
    tmp_path: Path, tags: dict[str, Any], says: str, refusal: Refusal
) -> None:
    write_ct_slices(tmp_path / "series", [0.0, 2.5])
    write_ct_slices(tmp_path / "series", [5.0], **tags)[0].rename(tmp_path / "series" / "last")
    write_ct_slices(tmp_path / "series", [0.0])
    assert says in refusal(tmp_path / "series")


def test_two_series_in_a_folder_are_counted(tmp_path: Path, refusal: Refusal) -> None:
    write_ct_slices(tmp_path / "series", [0.0, 2.5])
    write_ct_slices(tmp_path / "series", [0.0, 2.5], series="1.2.4")
    assert "got 4 images in 2 DICOM series; move each series into a folder of its own" in refusal(tmp_path / "series")


def test_a_truncated_slice_is_called_by_its_name(tmp_path: Path) -> None:
    files = write_ct_slices(tmp_path / "series", [0.0, 2.5, 5.0])
    files[1].write_bytes(files[1].read_bytes()[:-500])
    with pytest.raises(Exception, match=f"{files[1]}: expected a complete DICOM image"):
        read_image(tmp_path / "series")


def test_a_single_slice_in_a_folder_is_that_slice(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_image(tmp_path).pixels_yx, PIXELS)
