"""Whatever a person's file is: the right pixels in the right millimetres, or one line that says what is wrong."""

from __future__ import annotations

import contextlib
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless, generate_uid

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.medical_image import SpacingSource
from DenseLandmarksLib.geometry.read_image import read_image

CR, DX = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"
XA, RF = "1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2"
SC, CT = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.2"
# 40 rows, 48 columns, 12 bits, no two neighbours alike.
PIXELS = (np.arange(40)[:, None] * 97 + np.arange(48) * 31).astype(np.uint16) % 4096


def _dicom(path: Path, sop_class: str = DX, pixels: NDArray[np.uint16] = PIXELS, **tags: Any) -> Path:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = pixels.tobytes()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _pixels(path: Path) -> NDArray[np.generic]:
    """A copy of the pixels: those of a :class:`MedicalImage` live no longer than the image."""
    image = read_image(path)
    return image.pixels_yx.copy()


# Spacings are stored as (between rows = y, between columns = x) and come out as (x, y).
PIXEL, DETECTOR = {"PixelSpacing": [0.15, 0.1]}, {"ImagerPixelSpacing": [0.3, 0.2]}
SAME = {"PixelSpacing": [0.3, 0.2]}


@pytest.mark.parametrize(
    ("sop_class", "tags", "given", "spacing_xy", "source"),
    [
        (DX, PIXEL | DETECTOR, None, (0.1, 0.15), "calibrated"),
        (CR, SAME | DETECTOR | {"PixelSpacingCalibrationType": "FIDUCIAL"}, None, (0.2, 0.3), "calibrated"),
        (XA, PIXEL | {"PixelSpacingCalibrationType": "GEOMETRY"}, None, (0.1, 0.15), "calibrated"),
        (SC, PIXEL, None, (0.1, 0.15), "calibrated"),
        (CT, PIXEL, None, (0.1, 0.15), "calibrated"),
        (DX, DETECTOR, None, (0.2, 0.3), "detector"),
        (RF, SAME | DETECTOR, None, (0.2, 0.3), "detector"),
        (CR, PIXEL, None, (0.1, 0.15), "detector"),
        (XA, DETECTOR | {"EstimatedRadiographicMagnificationFactor": "1.25"}, None, (0.16, 0.24), "detector"),
        (SC, {"NominalScannedPixelSpacing": [0.3, 0.2]}, None, (0.2, 0.3), "detector"),
        (SC, DETECTOR, None, (0.2, 0.3), "detector"),
        (DX, DETECTOR, (0.5, 0.6), (0.2, 0.3), "detector"),
        (DX, {}, (0.5, 0.6), (0.5, 0.6), "given"),
        (DX, {"ImagerPixelSpacing": [0, 0], "PixelSpacing": "0.2"}, (0.5, 0.6), (0.5, 0.6), "given"),
        (DX, {}, None, (1.0, 1.0), "unknown"),
        (SC, {}, None, (1.0, 1.0), "unknown"),
    ],
)
def test_a_dicom_file_is_measured_with_the_spacing_it_can_prove(
    tmp_path: Path,
    sop_class: str,
    tags: dict[str, Any],
    given: tuple[float, float] | None,
    spacing_xy: tuple[float, float],
    source: str,
) -> None:
    image = read_image(_dicom(tmp_path / "a.dcm", sop_class, **tags), given)
    assert image.volume.GetSpacing()[:2] == pytest.approx(spacing_xy)
    assert image.spacing_source == source
    assert image.unit == ("px" if source == "unknown" else "mm")
    np.testing.assert_array_equal(image.pixels_yx, PIXELS)


def test_a_white_is_zero_dicom_file_is_inverted_exactly_once(tmp_path: Path) -> None:
    image = read_image(_dicom(tmp_path / "a.dcm", PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(image.pixels_yx, 4095 - PIXELS)


def test_the_rescale_of_a_dicom_file_is_applied(tmp_path: Path) -> None:
    image = read_image(_dicom(tmp_path / "a.dcm", RescaleSlope="2", RescaleIntercept="-1000"))
    np.testing.assert_array_equal(image.pixels_yx, 2 * PIXELS.astype(int) - 1000)


def test_a_compressed_dicom_file_without_suffix_is_read(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(_dicom(tmp_path / "a.dcm"))
    dataset.compress(RLELossless)
    dataset.save_as(tmp_path / "IM0001")
    np.testing.assert_array_equal(_pixels(tmp_path / "IM0001"), PIXELS)


@pytest.mark.parametrize(("suffix", "pixels"), [("png", PIXELS), ("tif", PIXELS), ("png", PIXELS >> 4)])
def test_grey_pictures_keep_every_bit(tmp_path: Path, suffix: str, pixels: NDArray[np.uint16]) -> None:
    stored = pixels if pixels.max() > 255 else pixels.astype(np.uint8)
    Image.fromarray(stored).save(tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(image.pixels_yx, stored)
    assert image.pixels_yx.dtype == stored.dtype
    assert (image.name, image.spacing_source, image.unit) == (f"a.{suffix}", SpacingSource.UNKNOWN, "px")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA"])
def test_a_picture_saved_in_colour_is_read_as_the_grey_that_it_shows(tmp_path: Path, mode: str) -> None:
    grey = Image.fromarray((PIXELS >> 4).astype(np.uint8))
    grey.convert(mode).save(tmp_path / "a.png")
    np.testing.assert_allclose(_pixels(tmp_path / "a.png").astype(int), np.asarray(grey), atol=1)


def test_the_luminance_of_colours_is_the_same_from_every_format(tmp_path: Path) -> None:
    colours = np.stack([PIXELS >> 4, (PIXELS >> 3) % 256, PIXELS % 256], axis=2).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), tmp_path / "a.nrrd")
    from_png, from_nrrd = (_pixels(tmp_path / name) for name in ("a.png", "a.nrrd"))
    np.testing.assert_allclose(from_nrrd, from_png.astype(np.float32), atol=1.0)


def test_a_jpeg_is_read_whatever_its_suffix_says(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(40) * 2, np.arange(48) * 3).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    (tmp_path / "a.jpg").rename(tmp_path / "a.png")
    assert np.abs(_pixels(tmp_path / "a.png").astype(int) - smooth).max() < 8


def test_a_white_is_zero_tiff_is_inverted(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.tif", tiffinfo={262: 0})
    np.testing.assert_array_equal(_pixels(tmp_path / "a.tif"), 65535 - PIXELS)


def test_print_resolutions_are_not_taken_for_millimetres(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png", dpi=(254, 254))
    assert read_image(tmp_path / "a.png").spacing_source is SpacingSource.UNKNOWN
    given = read_image(tmp_path / "a.png", (0.2, 0.3))
    assert (given.volume.GetSpacing()[:2], given.spacing_source) == ((0.2, 0.3), SpacingSource.GIVEN)


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


def test_a_flat_image_file_gets_a_third_axis(tmp_path: Path) -> None:
    flat = sitk.GetImageFromArray(PIXELS)
    flat.SetSpacing((0.2, 0.3))
    sitk.WriteImage(flat, tmp_path / "a.nrrd")
    image = read_image(tmp_path / "a.nrrd")
    assert image.volume.GetSize() == (48, 40, 1)
    assert image.volume.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert image.volume.GetSpacing()[:2] == pytest.approx((0.2, 0.3))


def test_a_hundred_megapixels_are_read_without_complaint(tmp_path: Path) -> None:
    rows = np.broadcast_to(np.arange(10_000, dtype=np.uint16).astype(np.uint8), (10_000, 10_000))
    Image.fromarray(rows).save(tmp_path / "a.png", compress_level=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.png").volume.GetSize() == (10_000, 10_000, 1)


def _png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and has no pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\x01\0IDAT"
    )


@pytest.mark.parametrize(("width", "height"), [(12_000, 10_001), (60_000, 60_000)])
def test_an_image_that_would_not_fit_is_refused_from_its_header(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "a.png").write_bytes(_png_header(width, height) + bytes(64))
    header = f"NRRD0004\ntype: uint8\ndimension: 2\nsizes: {width} {height}\nencoding: raw\nendian: little\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode())
    for name in ("a.png", "a.nrrd"):
        assert "at most 120 megapixels" in _refusal(tmp_path / name)
    assert "at most 120 megapixels" in _refusal(_dicom(tmp_path / "a.dcm", Rows=height, Columns=width))


def _refusal(path: Path) -> str:
    """The one line that a person reads when ``path`` is refused."""
    with pytest.raises(InputError) as caught:
        read_image(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def _write_all(folder: Path) -> list[Path]:
    """A good image in every format."""
    Image.fromarray(PIXELS).save(folder / "a.png")
    Image.fromarray((PIXELS >> 4).astype(np.uint8)).save(folder / "a.jpg")
    Image.fromarray(PIXELS).save(folder / "a.tif")
    Image.fromarray(PIXELS).save(folder / "lzw.tif", compression="tiff_lzw")
    for suffix in ("nii", "nii.gz", "nrrd", "mha"):
        sitk.WriteImage(sitk.GetImageFromArray(PIXELS[None]), folder / f"a.{suffix}")
    _dicom(folder / "a.dcm")
    return sorted(folder.iterdir())


def test_half_a_file_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    for path in _write_all(tmp_path):
        whole, pixels = path.read_bytes(), _pixels(path)
        for share in (0.3, 0.6, 0.85):
            path.write_bytes(whole[: int(len(whole) * share)])
            assert "expected" in _refusal(path)
        # A PNG that lost no more than its end marks still holds every pixel.
        path.write_bytes(whole[:-1])
        with contextlib.suppress(InputError):
            np.testing.assert_array_equal(_pixels(path), pixels)


def test_damaged_files_do_not_spill_on_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for path in _write_all(tmp_path):
        if path.suffix != ".mha":  # MetaImage's own reader writes to stderr past every switch
            path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
            _refusal(path)
    assert capfd.readouterr() == ("", "")


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


def test_what_is_not_an_image_is_called_so(tmp_path: Path) -> None:
    for name, content in {
        "a.png": b"hello " * 100,
        "a.dcm": b"hello " * 100,
        "a.txt": b"x",
        "a.bin": bytes(500),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert "expected an image (DICOM, PNG" in _refusal(tmp_path / name)
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + bytes(200))
    assert "unpack it first" in _refusal(tmp_path / "a.zip")
    (tmp_path / "empty.png").touch()
    assert "empty file" in _refusal(tmp_path / "empty.png")
    assert "found nothing" in _refusal(tmp_path / "missing.png")
    assert "a folder" in _refusal(tmp_path)


def test_a_dicom_report_is_not_an_image(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(_dicom(tmp_path / "a.dcm", Modality="SR"))
    del dataset.PixelData, dataset.Rows, dataset.Columns
    dataset.save_as(tmp_path / "a.dcm")
    assert "without one (modality SR)" in _refusal(tmp_path / "a.dcm")


def test_more_than_one_slice_is_refused(tmp_path: Path) -> None:
    stack = np.stack([PIXELS, PIXELS])
    _dicom(tmp_path / "frames.dcm", XA, stack, NumberOfFrames=2)
    sitk.WriteImage(sitk.GetImageFromArray(stack), tmp_path / "a.nii.gz")
    page = Image.fromarray(PIXELS)
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    for name in ("frames.dcm", "a.nii.gz", "a.tif"):
        assert "reads radiographs of one slice" in _refusal(tmp_path / name)


@pytest.mark.parametrize("size", [(1, 1), (31, 40), (40, 31)])
def test_an_image_too_small_to_hold_anything_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.fromarray(PIXELS[: size[0], : size[1]]).save(tmp_path / "a.png")
    assert "at least 32 x 32" in _refusal(tmp_path / "a.png")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused(tmp_path: Path, wrong: float) -> None:
    pixels = PIXELS.astype(np.float32)
    pixels[20, 20] = wrong
    sitk.WriteImage(sitk.GetImageFromArray(pixels), tmp_path / "a.nrrd")
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    for name in ("a.nrrd", "a.tif"):
        assert "NaN or infinite" in _refusal(tmp_path / name)


def test_an_image_without_contrast_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((64, 64), 7, np.uint8)).save(tmp_path / "a.png")
    assert "constant image (all pixels 7)" in _refusal(tmp_path / "a.png")


@pytest.mark.parametrize("spacing", [(0.0, 1.0), (-1.0, 1.0), (np.nan, 1.0)])
def test_a_spacing_that_cannot_be_is_refused(tmp_path: Path, spacing: tuple[float, float]) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="two positive numbers"):
        read_image(tmp_path / "a.png", spacing)
