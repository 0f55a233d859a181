"""Whatever a person's file or folder is: an image, or one line that says what is wrong."""

from __future__ import annotations

import contextlib
import logging
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.read_image import read_image
from Testing.geometry.dicom_files import PIXELS, read_pixels, write_dicom

Refusal = Callable[[Path], str]


def test_the_luminance_of_colours_is_the_same_from_every_format(tmp_path: Path) -> None:
    colours = np.stack([PIXELS >> 4, (PIXELS >> 3) % 256, PIXELS % 256], axis=2).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    sitk.WriteImage(sitk.GetImageFromArray(colours, isVector=True), tmp_path / "a.nrrd")
    from_png, from_nrrd = (read_pixels(tmp_path / name) for name in ("a.png", "a.nrrd"))
    np.testing.assert_allclose(from_nrrd, from_png.astype(np.float32), atol=1.0)


def _png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and has no pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\x01\0IDAT"
    )


@pytest.mark.parametrize(("width", "height"), [(12_000, 10_001), (60_000, 60_000)])
def test_an_image_that_would_not_fit_is_refused_from_its_header(
    tmp_path: Path, width: int, height: int, refusal: Refusal
) -> None:
    (tmp_path / "a.png").write_bytes(_png_header(width, height) + bytes(64))
    header = f"NRRD0004\ntype: uint8\ndimension: 2\nsizes: {width} {height}\nencoding: raw\nendian: little\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode())
    for name in ("a.png", "a.nrrd"):
        assert "at most 120 megapixels" in refusal(tmp_path / name)
    assert "at most 120 megapixels" in refusal(write_dicom(tmp_path / "a.dcm", Rows=height, Columns=width))


def _write_all(folder: Path) -> list[Path]:
    """A good image in every format."""
    Image.fromarray(PIXELS).save(folder / "a.png")
    Image.fromarray((PIXELS >> 4).astype(np.uint8)).save(folder / "a.jpg")
    Image.fromarray(PIXELS).save(folder / "a.tif")
    Image.fromarray(PIXELS).save(folder / "lzw.tif", compression="tiff_lzw")
    for suffix in ("nii", "nii.gz", "nrrd", "mha"):
        sitk.WriteImage(sitk.GetImageFromArray(PIXELS[None]), folder / f"a.{suffix}")
    write_dicom(folder / "a.dcm")
    return sorted(folder.iterdir())


def test_half_a_file_is_never_taken_for_a_whole_one(tmp_path: Path, refusal: Refusal) -> None:
    for path in _write_all(tmp_path):
        whole, pixels = path.read_bytes(), read_pixels(path)
        for share in (0.3, 0.6, 0.85):
            path.write_bytes(whole[: int(len(whole) * share)])
            assert "expected" in refusal(path)
        # A PNG that lost no more than its end marks still holds every pixel.
        path.write_bytes(whole[:-1])
        with contextlib.suppress(InputError):
            np.testing.assert_array_equal(read_pixels(path), pixels)


def test_damaged_files_do_not_spill_on_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], refusal: Refusal
) -> None:
    for path in _write_all(tmp_path):
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
        refusal(path)
    assert capfd.readouterr() == ("", "")


def test_what_is_not_an_image_is_called_so(tmp_path: Path, refusal: Refusal) -> None:
    for name, content in {
        "a.png": b"hello " * 100,
        "a.dcm": b"hello " * 100,
        "a.txt": b"x",
        "a.bin": bytes(500),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert "expected an image (DICOM, PNG" in refusal(tmp_path / name)
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + bytes(200))
    assert "unpack it first" in refusal(tmp_path / "a.zip")
    (tmp_path / "empty.png").touch()
    assert "empty file" in refusal(tmp_path / "empty.png")
    assert "found nothing" in refusal(tmp_path / "missing.png")


@pytest.mark.parametrize("size", [(1, 1), (31, 40), (40, 31)])
def test_an_image_too_small_to_hold_anything_is_refused(
    tmp_path: Path, size: tuple[int, int], refusal: Refusal
) -> None:
    Image.fromarray(PIXELS[: size[0], : size[1]]).save(tmp_path / "a.png")
    assert "at least 32 x 32" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused(tmp_path: Path, wrong: float, refusal: Refusal) -> None:
    pixels = PIXELS.astype(np.float32)
    pixels[20, 20] = wrong
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    assert "NaN or infinite" in refusal(tmp_path / "a.tif")


def test_an_image_without_contrast_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    Image.fromarray(np.full((64, 64), 7, np.uint8)).save(tmp_path / "a.png")
    assert "constant image (all pixels 7)" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize("spacing", [(0.0, 1.0), (-1.0, 1.0), (np.nan, 1.0)])
def test_a_spacing_that_cannot_be_is_refused(tmp_path: Path, spacing: tuple[float, float]) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="two positive numbers"):
        read_image(tmp_path / "a.png", spacing)


def test_the_readers_loggers_speak_again_when_nothing_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_dicom(tmp_path / "a.dcm")
    read_image(path)
    with caplog.at_level(logging.WARNING):
        logging.getLogger("pydicom").warning("from somebody else's reading")
    assert "somebody else" in caplog.text
    assert pydicom.dcmread(path).Rows == 40


def test_a_folder_with_one_image_is_that_image(tmp_path: Path, refusal: Refusal) -> None:
    assert "got one without" in refusal(tmp_path)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "inner").mkdir()
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    report = pydicom.dcmread(write_dicom(tmp_path / "report.dcm", "1.2.840.10008.5.1.4.1.1.88.11", Modality="SR"))
    del report.PixelData, report.Rows, report.Columns
    report.save_as(tmp_path / "report.dcm")
    image = read_image(tmp_path, (0.2, 0.3))
    np.testing.assert_array_equal(image.pixels_yx, PIXELS)
    assert (image.name, image.volume.GetSpacing()[:2]) == ("a.png", (0.2, 0.3))


def test_a_folder_with_several_images_says_how_many(tmp_path: Path, refusal: Refusal) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    write_dicom(tmp_path / "b.dcm", SeriesInstanceUID="1.2.3")
    assert "got 2 images; name one" in refusal(tmp_path)
    (tmp_path / "a.png").unlink()
    write_dicom(tmp_path / "c.dcm", SeriesInstanceUID="1.2.3")
    assert "got 2 images; name one" in refusal(tmp_path)
    write_dicom(tmp_path / "d.dcm", SeriesInstanceUID="1.2.4")
    assert "got 3 images in 2 DICOM series; name one" in refusal(tmp_path)
