"""NIfTI, NRRD and MetaImage: their geometry, what it proves, and files that claim more than they hold."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.read_image import read_image
from Testing.geometry.dicom_files import PIXELS

Refusal = Callable[[Path], str]
SUFFIXES = ["nii", "nii.gz", "nrrd", "mha"]


@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "nrrd", "mha"])
def test_volume_formats_keep_their_spacing_origin_and_direction(tmp_path: Path, suffix: str) -> None:
    volume = sitk.GetImageFromArray(PIXELS[None])
    volume.SetSpacing((0.2, 0.3, 5.0))
    volume.SetOrigin((-10.0, 20.0, 30.0))
    volume.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(volume, tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(image.pixels_yx, PIXELS)
    assert image.spacing_source is SpacingSource.GIVEN
    assert image.volume.GetSpacing() == pytest.approx((0.2, 0.3, 5.0))
    assert image.volume.GetOrigin() == pytest.approx((-10, 20, 30))
    assert image.volume.GetDirection() == pytest.approx((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    assert read_image(tmp_path / f"a.{suffix}", (0.5, 0.5)).volume.GetSpacing()[:2] == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize("size", [(20, 24, 30), (31, 200, 2), (1, 40, 40), (3, 1, 2)])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_volume_may_have_any_size(tmp_path: Path, suffix: str, size: tuple[int, int, int]) -> None:
    voxels = np.arange(np.prod(size), dtype=np.int16).reshape(size[::-1])
    sitk.WriteImage(sitk.GetImageFromArray(voxels), tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(read_image(tmp_path / f"a.{suffix}").volume), voxels)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_slice_must_be_a_full_radiograph(tmp_path: Path, suffix: str, refusal: Refusal) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(PIXELS[None, :31]), tmp_path / f"a.{suffix}")
    assert "at least 32 x 32 pixels, got 48 x 31; give the full radiograph" in refusal(tmp_path / f"a.{suffix}")


def test_a_flat_image_file_gets_a_third_axis(tmp_path: Path) -> None:
    flat = sitk.GetImageFromArray(PIXELS)
    flat.SetSpacing((0.2, 0.3))
    sitk.WriteImage(flat, tmp_path / "a.nrrd")
    image = read_image(tmp_path / "a.nrrd")
    assert image.volume.GetSize() == (48, 40, 1)
    assert image.volume.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert image.volume.GetSpacing()[:2] == pytest.approx((0.2, 0.3))


def test_a_warning_of_the_reader_is_off_only_while_it_reads(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(PIXELS[None]), tmp_path / "a.nii")
    header = bytearray((tmp_path / "a.nii").read_bytes())
    header[80:84] = struct.pack("<f", 0.4)  # the spacing now contradicts the matrix, which ITK warns of
    (tmp_path / "a.nii").write_bytes(header)
    sitk.ReadImage(tmp_path / "a.nii")
    assert "WARNING" in capfd.readouterr().err
    read_image(tmp_path / "a.nii")
    assert capfd.readouterr() == ("", "")
    sitk.ReadImage(tmp_path / "a.nii")
    assert "WARNING" in capfd.readouterr().err


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_spacing_of_one_by_one_is_a_default_and_no_millimetre(tmp_path: Path, suffix: str) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(PIXELS[None]), tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}")
    assert (image.spacing_source, image.unit) == (SpacingSource.UNKNOWN, "px")
    assert image.acquisition.patient_orientation is None
    given = read_image(tmp_path / f"a.{suffix}", (0.2, 0.3))
    assert (given.volume.GetSpacing()[:2], given.spacing_source) == (pytest.approx((0.2, 0.3)), SpacingSource.GIVEN)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_volume_keeps_its_own_spacing_and_all_its_slices(tmp_path: Path, suffix: str) -> None:
    stack = np.stack([PIXELS + i for i in range(3)]).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(stack), tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}", (0.5, 0.5))
    assert not image.is_radiograph
    assert (image.volume.GetSpacing(), image.spacing_source) == ((1, 1, 1), SpacingSource.GIVEN)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image.volume), stack)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("columns_of_direction", "letters"),
    [
        ((1, 0, 0, 0, 0, 1, 0, -1, 0), ("L", "F")),
        ((0, 0, 1, 1, 0, 0, 0, -1, 0), ("P", "F")),
        ((-1, 0, 0, 0, 0, 1, 0, 1, 0), ("R", "H")),
        ((-1, 0, 0, 0, -1, 0, 0, 0, 1), None),
    ],
)
def test_only_a_plane_along_the_body_names_its_orientation(
    tmp_path: Path, suffix: str, columns_of_direction: tuple[float, ...], letters: tuple[str, str] | None
) -> None:
    volume = sitk.GetImageFromArray(PIXELS[None])
    volume.SetDirection(columns_of_direction)
    sitk.WriteImage(volume, tmp_path / f"a.{suffix}")
    assert read_image(tmp_path / f"a.{suffix}").acquisition.patient_orientation == letters


def test_the_display_range_of_a_nifti_file_becomes_the_window(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(PIXELS[None]), tmp_path / "a.nii")
    nifti = bytearray((tmp_path / "a.nii").read_bytes())
    assert read_image(tmp_path / "a.nii").window is None
    nifti[124:132] = struct.pack("<ff", 3000.0, 500.0)  # cal_max, cal_min
    (tmp_path / "a.nii").write_bytes(nifti)
    assert read_image(tmp_path / "a.nii").window == (500, 3000)


def test_more_voxels_than_memory_are_refused_from_the_header(tmp_path: Path, refusal: Refusal) -> None:
    for name, kind, sizes in (("many", "uint8", "1000 1000 513"), ("large", "double", "512 512 513")):
        header = f"NRRD0004\ntype: {kind}\ndimension: 3\nsizes: {sizes}\nencoding: raw\nendian: little\n\n"
        (tmp_path / f"{name}.nrrd").write_bytes(header.encode())
        assert "at most 512 million voxels in 1 GiB" in refusal(tmp_path / f"{name}.nrrd")
    series = sitk.JoinSeries([sitk.GetImageFromArray(np.stack([PIXELS, PIXELS]))] * 2)
    sitk.WriteImage(series, tmp_path / "a.nrrd")
    assert "got a series of 48 x 40 x 2 x 2" in refusal(tmp_path / "a.nrrd")


def test_a_compressed_bomb_is_inflated_no_further_than_its_image(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(PIXELS[None]), tmp_path / "a.nii")
    with gzip.open(tmp_path / "bomb.nii.gz", "wb", compresslevel=1) as file:
        file.write((tmp_path / "a.nii").read_bytes())
    whole = (tmp_path / "bomb.nii.gz").read_bytes()
    # Garbage that no reader may reach follows the last pixel: inflating it would be an error.
    with gzip.open(tmp_path / "rest.gz", "wb") as file:
        file.write(bytes(1 << 22))
    (tmp_path / "bomb.nii.gz").write_bytes(whole + (tmp_path / "rest.gz").read_bytes()[:-4096] + b"garbage")
    np.testing.assert_array_equal(read_image(tmp_path / "bomb.nii.gz").pixels_yx, PIXELS)


@pytest.mark.parametrize("place", ["/etc/hostname", "../secret.raw", "sub/secret.raw", "LIST", "missing.raw"])
def test_a_header_cannot_make_us_read_outside_its_folder(tmp_path: Path, place: str, refusal: Refusal) -> None:
    (tmp_path / "secret.raw").write_bytes(PIXELS.tobytes())
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "secret.raw").write_bytes(PIXELS.tobytes())
    nrrd = "NRRD0004\ntype: uint16\ndimension: 2\nsizes: 48 40\nencoding: raw\nendian: little\ndata file: {}\n\n"
    meta = "ObjectType = Image\nNDims = 2\nDimSize = 48 40\nElementType = MET_USHORT\nElementDataFile = {}\n"
    for name, header in (("a.nhdr", nrrd), ("a.mhd", meta)):
        (folder / name).write_text(header.format(place))
        assert "in one file beside it, got another place or none" in refusal(folder / name)
        (folder / "pixels.raw").write_bytes(PIXELS.tobytes())
        (folder / name).write_text(header.format("pixels.raw"))
        np.testing.assert_array_equal(read_image(folder / name).pixels_yx, PIXELS)


def test_a_metaimage_header_that_crashes_itk_does_not_reach_it(tmp_path: Path, refusal: Refusal) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(PIXELS), tmp_path / "a.mha")
    whole = (tmp_path / "a.mha").read_bytes()
    (tmp_path / "a.mha").write_bytes(whole.replace(b"NDims = 2", b"NDims = -1"))
    assert "damaged" in refusal(tmp_path / "a.mha")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_no_number_is_padding(tmp_path: Path, suffix: str) -> None:
    values = np.stack([PIXELS, PIXELS + 7]).astype(np.float32) - 500
    padded = values.copy()
    padded[:, :, :9] = np.nan
    padded[1, 20, 20] = np.nan
    volume = sitk.GetImageFromArray(padded)
    volume.SetSpacing((0.4, 0.5, 3.0))
    sitk.WriteImage(volume, tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}")
    kept = np.isfinite(padded)
    read = sitk.GetArrayFromImage(image.volume)
    np.testing.assert_array_equal(read[kept], values[kept])
    assert set(read[~kept].tolist()) == {float(values[kept].min())}
    np.testing.assert_allclose(image.geometry.spacing_mm, (0.4, 0.5, 3.0), rtol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("wrong", [np.inf, -np.inf])
def test_infinite_pixels_are_refused(tmp_path: Path, suffix: str, wrong: float, refusal: Refusal) -> None:
    pixels = PIXELS.astype(np.float32)
    pixels[20, 20] = wrong
    pixels[20, 21] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(pixels[None]), tmp_path / f"a.{suffix}")
    assert "infinite" in refusal(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_volume_of_nothing_but_padding_is_refused(tmp_path: Path, suffix: str, refusal: Refusal) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.full((2, 40, 48), np.nan, np.float32)), tmp_path / f"a.{suffix}")
    assert "expected" in refusal(tmp_path / f"a.{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("constant", [-1024, -2000, -3024])
def test_a_border_of_a_known_constant_does_not_crush_the_contrast(tmp_path: Path, suffix: str, constant: int) -> None:
    pixels = PIXELS.astype(np.int16) + 7
    border = np.zeros(pixels.shape, bool)
    border[:, :5] = True
    sitk.WriteImage(sitk.GetImageFromArray(np.where(border, constant, pixels)[None]), tmp_path / f"a.{suffix}")
    read = read_image(tmp_path / f"a.{suffix}").pixels_yx
    np.testing.assert_array_equal(read[~border], pixels[~border])
    assert set(read[border]) == {pixels[~border].min()}


def test_a_lowest_value_with_others_near_it_is_no_border(tmp_path: Path) -> None:
    pixels = PIXELS.astype(np.int16) - 1024
    sitk.WriteImage(sitk.GetImageFromArray(pixels[None]), tmp_path / "a.nrrd")
    np.testing.assert_array_equal(read_image(tmp_path / "a.nrrd").pixels_yx, pixels)


@pytest.mark.parametrize(("name", "check_sum_at"), [("a.nii.gz", -5), ("a.nrrd", -5), ("a.mha", -1)])
def test_a_flipped_bit_in_a_check_sum_is_seen(tmp_path: Path, name: str, check_sum_at: int, refusal: Refusal) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(PIXELS[None]), tmp_path / name, useCompression=True)
    np.testing.assert_array_equal(read_image(tmp_path / name).pixels_yx, PIXELS)
    content = bytearray((tmp_path / name).read_bytes())
    content[check_sum_at] ^= 1
    (tmp_path / name).write_bytes(content)
    assert "damaged" in refusal(tmp_path / name)


@pytest.mark.parametrize("kind", ["float", "double"])
def test_a_slice_of_many_bytes_is_refused_from_its_header(tmp_path: Path, kind: str, refusal: Refusal) -> None:
    header = f"NRRD0004\ntype: {kind}\ndimension: 2\nsizes: 12000 10000\nencoding: raw\nendian: little\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode())
    assert "at most 120 megapixels in 384 MiB" in refusal(tmp_path / "a.nrrd")


def test_integers_that_are_scaled_to_floats_count_as_floats(tmp_path: Path, refusal: Refusal) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(PIXELS[None]), tmp_path / "a.nii")
    nifti = bytearray((tmp_path / "a.nii").read_bytes())
    nifti[42:46] = struct.pack("<hh", 11_000, 10_900)
    nifti[112:116] = struct.pack("<f", 0.5)  # scl_slope
    (tmp_path / "a.nii").write_bytes(nifti)
    assert "in 384 MiB, got 11000 x 10900" in refusal(tmp_path / "a.nii")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_volume_under_another_name_is_read_or_told_how_to_be_named(
    tmp_path: Path, suffix: str, refusal: Refusal
) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(PIXELS[None]), tmp_path / f"a.{suffix}")
    other = (tmp_path / f"a.{suffix}").rename(tmp_path / "image")
    if suffix.startswith("nii"):
        assert f".{suffix}, as this is a NIfTI file" in refusal(other).replace(" or .nii.gz", "")
    else:
        np.testing.assert_array_equal(read_image(other).pixels_yx, PIXELS)


def test_a_flat_image_that_stands_in_space_is_told_as_that(tmp_path: Path, refusal: Refusal) -> None:
    """Two axes in a coronal plane, as Python tools write them; ITK, and so Slicer, cannot place them."""
    sitk.WriteImage(sitk.GetImageFromArray(PIXELS), tmp_path / "flat.nii")
    content = bytearray((tmp_path / "flat.nii").read_bytes())
    struct.pack_into("<2h", content, 252, 0, 1)  # no qform, an sform
    struct.pack_into("<12f", content, 280, -0.5, 0, 0, 10, 0, 0, 1, 20, 0, -0.5, 0, 30)
    (tmp_path / "flat.nii").write_bytes(content)
    assert "stands in space" in refusal(tmp_path / "flat.nii")
