"""A radiograph that came as a picture: every bit of it, where it is stored, and no millimetres."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image

from DenseLandmarksLib.geometry.image_geometry import SpacingSource
from DenseLandmarksLib.geometry.read_image import read_image
from Testing.geometry.dicom_files import PIXELS, read_pixels

Refusal = Callable[[Path], str]


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
    np.testing.assert_allclose(read_pixels(tmp_path / "a.png").astype(int), np.asarray(grey), atol=1)


def test_a_jpeg_is_read_whatever_its_suffix_says(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(40) * 2, np.arange(48) * 3).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    (tmp_path / "a.jpg").rename(tmp_path / "a.png")
    assert np.abs(read_pixels(tmp_path / "a.png").astype(int) - smooth).max() < 8


def test_a_white_is_zero_tiff_is_inverted(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.tif", tiffinfo={262: 0})
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.tif"), 65535 - PIXELS)


def test_print_resolutions_are_not_taken_for_millimetres(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png", dpi=(254, 254))
    assert read_image(tmp_path / "a.png").spacing_source is SpacingSource.UNKNOWN
    given = read_image(tmp_path / "a.png", (0.2, 0.3))
    assert (given.volume.GetSpacing()[:2], given.spacing_source) == ((0.2, 0.3), SpacingSource.GIVEN)


def test_a_hundred_megapixels_are_read_without_complaint(tmp_path: Path) -> None:
    rows = np.broadcast_to(np.arange(10_000, dtype=np.uint16).astype(np.uint8), (10_000, 10_000))
    Image.fromarray(rows).save(tmp_path / "a.png", compress_level=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.png").volume.GetSize() == (10_000, 10_000, 1)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_colours_of_sixteen_bits_keep_their_low_byte(tmp_path: Path, suffix: str) -> None:
    grey = PIXELS * np.uint16(16) + np.arange(48, dtype=np.uint16) % 16
    sitk.WriteImage(sitk.GetImageFromArray(np.stack([grey] * 3, axis=2), isVector=True), tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_pixels(tmp_path / f"a.{suffix}"), grey)


def test_sixteen_bit_grey_with_transparency_is_refused_rather_than_read_in_eight(
    tmp_path: Path, refusal: Refusal
) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = np.stack([PIXELS, PIXELS], axis=2).astype(">u2")
    header = struct.pack(">IIBBBBB", 48, 40, 16, 4, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    png = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + png)
    assert "16-bit grey with transparency" in refusal(tmp_path / "a.png")


def test_an_exif_turn_leaves_the_pixels_where_slicer_shows_them(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(40) * 2, np.arange(48) * 3).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me by 90 degrees"
    Image.fromarray(smooth).save(tmp_path / "a.jpg", exif=exif, quality=95)
    np.testing.assert_allclose(read_pixels(tmp_path / "a.jpg").astype(int), smooth, atol=8)
    itk = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "a.jpg"))
    np.testing.assert_allclose(read_pixels(tmp_path / "a.jpg").astype(int), itk, atol=2)


def test_pages_of_a_tiff_are_counted_and_not_guessed_among(tmp_path: Path, refusal: Refusal) -> None:
    page = Image.fromarray(PIXELS)
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page, page])
    assert "got a TIFF of 3 pages; save one page" in refusal(tmp_path / "a.tif")


def test_a_png_that_ends_early_in_good_order_is_not_filled_up(tmp_path: Path, refusal: Refusal) -> None:
    Image.fromarray(np.vstack([PIXELS, PIXELS])).save(tmp_path / "a.png")
    whole = bytearray((tmp_path / "a.png").read_bytes())
    whole[20:24] = struct.pack(">I", 160)  # twice the height
    whole[29:33] = struct.pack(">I", zlib.crc32(whole[12:29]))
    (tmp_path / "a.png").write_bytes(whole)
    assert "truncated" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_whose_strips_are_empty_is_refused(tmp_path: Path, compression: str | None, refusal: Refusal) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.tif", compression=compression)
    tiff = (tmp_path / "a.tif").read_bytes()
    at = tiff.index(struct.pack("<HH", 279, 4))
    (tmp_path / "a.tif").write_bytes(tiff[: at + 8] + struct.pack("<I", 0) + tiff[at + 12 :])
    assert "truncated" in refusal(tmp_path / "a.tif")


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("restarts", [{}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 4}])
def test_a_jpeg_that_claims_more_rows_is_not_filled_up_with_grey(
    tmp_path: Path, progressive: bool, restarts: dict[str, int], refusal: Refusal
) -> None:
    eight_bits = (PIXELS >> 4).astype(np.uint8)
    Image.fromarray(eight_bits).save(tmp_path / "a.jpg", quality=95, progressive=progressive, **restarts)
    whole = (tmp_path / "a.jpg").read_bytes()
    np.testing.assert_allclose(read_pixels(tmp_path / "a.jpg").astype(int), eight_bits, atol=24)
    at = next(whole.index(frame) for frame in (b"\xff\xc0", b"\xff\xc2") if frame in whole) + 5
    for rows in (48, 80):
        (tmp_path / "a.jpg").write_bytes(whole[:at] + struct.pack(">H", rows) + whole[at + 2 :])
        assert "truncated" in refusal(tmp_path / "a.jpg")


def test_a_flipped_bit_in_the_check_sum_of_a_deflated_tiff_is_seen(tmp_path: Path, refusal: Refusal) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.tif", compression="tiff_adobe_deflate")
    with Image.open(tmp_path / "a.tif") as image:
        end = image.tag_v2[273][0] + image.tag_v2[279][0]  # type: ignore[attr-defined]
    tiff = bytearray((tmp_path / "a.tif").read_bytes())
    tiff[end - 1] ^= 1
    (tmp_path / "a.tif").write_bytes(tiff)
    assert "damaged" in refusal(tmp_path / "a.tif")
