"""A DICOM file's grey values, padding, window and orientation, checked against truths computed by hand from its tags."""

from __future__ import annotations

import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.geometry.read_image import read_image
from Testing.geometry.dicom_files import CR, CT, DX, PIXELS, SC, XA, read_pixels, write_dicom, write_enhanced_ct

Refusal = Callable[[Path], str]


@pytest.mark.parametrize("rescale", [None, (1.0, -1024.0), (2.0, -1000.0), (0.5, 0.25)])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_white_is_zero_is_inverted_once_and_the_rescale_applied_once(
    tmp_path: Path, photometric: str, signed: bool, bits: int, rescale: tuple[float, float] | None
) -> None:
    lowest = -(2 ** (bits - 1)) if signed else 0
    highest = lowest + 2**bits - 1
    stored = np.linspace(lowest, highest, 40 * 48).astype(int).reshape(40, 48)
    slope, intercept = rescale or (1.0, 0.0)
    tags = {} if rescale is None else {"RescaleSlope": slope, "RescaleIntercept": intercept}
    pixels = stored.astype(f"{'i' if signed else 'u'}{1 if bits == 8 else 2}")
    path = write_dicom(tmp_path / "a.dcm", DX, pixels, PhotometricInterpretation=photometric, BitsStored=bits, **tags)
    shown = stored if photometric == "MONOCHROME2" else lowest + highest - stored
    np.testing.assert_array_equal(read_pixels(path), slope * shown + intercept)


def test_a_slope_of_zero_does_not_flatten_the_image(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", RescaleSlope="0", RescaleIntercept="-1000", WindowCenter=0, WindowWidth=101)
    np.testing.assert_array_equal(read_pixels(path), PIXELS.astype(int) - 1000)
    assert read_image(path).window == (-50.5, 49.5)


@pytest.mark.parametrize("syntax", [RLELossless, DeflatedExplicitVRLittleEndian])
def test_a_compressed_dicom_file_without_suffix_is_read(tmp_path: Path, syntax: str) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "a.dcm"))
    if syntax == RLELossless:
        dataset.compress(RLELossless)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "IM0001")
    np.testing.assert_array_equal(read_pixels(tmp_path / "IM0001"), PIXELS)


@pytest.mark.parametrize("header", ["group 2", "explicit", "implicit"])
def test_a_dicom_file_that_lost_its_preamble_is_read(tmp_path: Path, header: str) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "a.dcm"))
    whole = (tmp_path / "a.dcm").read_bytes()
    if header != "group 2":
        del dataset.file_meta
        dataset.preamble = None
        pydicom.dcmwrite(tmp_path / "a.dcm", dataset, implicit_vr=header == "implicit", little_endian=True)
        whole = bytes(132) + (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a").write_bytes(whole[132:])
    np.testing.assert_array_equal(read_pixels(tmp_path / "a"), PIXELS)


def test_colours_of_a_dicom_file_become_their_luminance(tmp_path: Path) -> None:
    colours = np.stack([PIXELS >> 4, PIXELS % 256, PIXELS // 7 % 256], axis=2).astype(np.uint8)
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    path = write_dicom(
        tmp_path / "a.dcm", SC, colours[..., 0], **tags, WindowCenter=100, WindowWidth=50, PixelData=colours.tobytes()
    )
    np.testing.assert_array_equal(read_pixels(path), np.rint(colours @ [0.299, 0.587, 0.114]))
    assert read_image(path).window is None


BORDER = np.zeros(PIXELS.shape, bool)
BORDER[:4], BORDER[:, -6:] = True, True


@pytest.mark.parametrize(
    ("tissue", "border", "tags", "shown", "lowest"),
    [
        (PIXELS % 4000 + 50, 0, {"PixelPaddingValue": 0}, PIXELS % 4000 + 50, 50),
        # After inversion the padding would be white, and 4095 - 4049 the darkest tissue.
        (
            PIXELS % 4000 + 50,
            0,
            {"PixelPaddingValue": 0, "PhotometricInterpretation": "MONOCHROME1"},
            4045 - PIXELS % 4000,
            None,
        ),
        (PIXELS % 3000 + 50, 4095, {"PixelPaddingValue": 4090, "PixelPaddingRangeLimit": 4095}, PIXELS % 3000 + 50, 50),
        (
            PIXELS % 3000 + 50,
            20,
            {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 40, "RescaleSlope": "0.1", "RescaleIntercept": "-7"},
            (PIXELS % 3000 + 50) * 0.1 - 7,
            -2,
        ),
    ],
)
def test_padding_becomes_the_lowest_value_of_the_tissue_which_stays(
    tmp_path: Path, tissue: Any, border: int, tags: dict[str, Any], shown: Any, lowest: float | None
) -> None:
    path = write_dicom(tmp_path / "a.dcm", DX, np.where(BORDER, border, tissue).astype(np.uint16), **tags)
    read = read_pixels(path)
    np.testing.assert_allclose(read[~BORDER], shown[~BORDER], atol=1e-9)
    darkest = shown[~BORDER].min()
    assert lowest is None or darkest == pytest.approx(lowest, abs=0.5)
    np.testing.assert_allclose(read[BORDER], darkest, atol=1e-9)


@pytest.mark.parametrize("border", [-1024, -2000, -3024, -32768])
@pytest.mark.parametrize("stated", [True, False])
def test_the_border_of_a_ct_slice_is_no_darker_than_air(tmp_path: Path, border: int, stated: bool) -> None:
    tissue = PIXELS.astype(np.int16) - 1024
    pixels = np.where(BORDER, border, tissue).astype(np.int16)
    tags = {"PixelPaddingValue": border} if stated and border != -1024 else {}
    read = read_pixels(write_dicom(tmp_path / "a.dcm", CT, pixels, **tags))
    np.testing.assert_array_equal(read[~BORDER], tissue[~BORDER])
    assert read[BORDER].max() == -1024 if not tags else read[BORDER].max() == tissue[~BORDER].min()


@pytest.mark.parametrize(
    ("tags", "window"),
    [
        ({"WindowCenter": 2048, "WindowWidth": 1001}, (1547.5, 2547.5)),
        ({"WindowCenter": [2048, 40], "WindowWidth": [1001, 400]}, (1547.5, 2547.5)),
        ({"WindowCenter": 2048, "WindowWidth": 1000, "VOILUTFunction": "LINEAR_EXACT"}, (1548, 2548)),
        ({"WindowCenter": 2048, "WindowWidth": 1000, "VOILUTFunction": "SIGMOID"}, (1548, 2548)),
        # 4095 - 2547.5 and 4095 - 1547.5: what was white is black.
        ({"WindowCenter": 2048, "WindowWidth": 1001, "PhotometricInterpretation": "MONOCHROME1"}, (1547.5, 2547.5)),
        ({"WindowCenter": 1000, "WindowWidth": 101, "PhotometricInterpretation": "MONOCHROME1"}, (3045.5, 3145.5)),
        # In rescaled units: 2 * (0 + 4095) + 2 * -1000 - (5049.5, 4949.5).
        (
            {
                "WindowCenter": 5000,
                "WindowWidth": 101,
                "PhotometricInterpretation": "MONOCHROME1",
                "RescaleSlope": "2",
                "RescaleIntercept": "-1000",
            },
            (1140.5, 1240.5),
        ),
        ({"WindowCenter": 2048, "WindowWidth": 0}, None),
        ({"WindowCenter": 2048, "WindowWidth": -5}, None),
        ({"WindowCenter": 2048, "WindowWidth": 1}, None),
        ({"WindowCenter": 2048}, None),
        ({"WindowCenter": "1e400", "WindowWidth": 100}, None),
        ({"WindowCenter": 90000, "WindowWidth": 100}, None),  # beside every pixel: it would show nothing
        ({}, None),
    ],
)
def test_the_window_is_kept_in_the_units_of_the_pixels(
    tmp_path: Path, tags: dict[str, Any], window: tuple[float, float] | None
) -> None:
    image = read_image(write_dicom(tmp_path / "a.dcm", **tags))
    assert image.window == window
    if "RescaleSlope" not in tags:
        inverted = "PhotometricInterpretation" in tags
        np.testing.assert_array_equal(image.pixels_yx, 4095 - PIXELS if inverted else PIXELS)


@pytest.mark.parametrize(("photometric", "window"), [("MONOCHROME2", (100, 1123)), ("MONOCHROME1", (2972, 3995))])
def test_the_input_range_of_a_voi_lut_is_its_window(
    tmp_path: Path, photometric: str, window: tuple[float, float]
) -> None:
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", [1024, 100, 16])
    lut.add_new("LUTData", "OW", np.arange(1024, dtype=np.uint16).tobytes())
    path = write_dicom(tmp_path / "a.dcm", PhotometricInterpretation=photometric, VOILUTSequence=[lut])
    assert read_image(path).window == window


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (
            {"Modality": "DX", "BodyPartExamined": "CHEST", "ViewPosition": "PA", "PatientOrientation": ["L", "F"]},
            Acquisition("DX", "CHEST", "PA", "", ("L", "F")),
        ),
        ({"ImageLaterality": "L", "Laterality": "R"}, Acquisition(laterality="L")),
        ({"Laterality": "R"}, Acquisition(laterality="R")),
        ({"ImageLaterality": "B"}, Acquisition()),
        ({"ImageLaterality": "U"}, Acquisition()),
        ({"PatientOrientation": ["LP", "FA"]}, Acquisition(patient_orientation=("L", "F"))),
        ({"PatientOrientation": ["L", "R"]}, Acquisition()),
        ({"PatientOrientation": ["L"]}, Acquisition()),
        ({"PatientOrientation": ["X", "F"]}, Acquisition()),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, Acquisition(patient_orientation=("L", "F"))),
        ({"ImageOrientationPatient": [0, -1, 0, 0.1, 0, 0.995]}, Acquisition(patient_orientation=("A", "H"))),
        (
            {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1], "PatientOrientation": ["R", "F"]},
            Acquisition(patient_orientation=("R", "F")),
        ),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, Acquisition()),
    ],
)
def test_what_a_file_states_about_its_picture_is_kept(
    tmp_path: Path, tags: dict[str, Any], expected: Acquisition
) -> None:
    assert read_image(write_dicom(tmp_path / "a.dcm", **tags)).acquisition == expected


SECRET = "Mustermann^Erika"


@pytest.mark.parametrize(
    "broken", [{}, {"NumberOfFrames": 2}, {"BitsStored": 40}, {"Rows": 4000}, {"WindowWidth": "x"}]
)
def test_nobody_is_named_in_an_object_a_message_or_a_log(
    tmp_path: Path, broken: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    path = write_dicom(
        tmp_path / "a.dcm", PatientName=SECRET, PatientID=SECRET, InstitutionName=SECRET, StudyDate="19991231"
    )
    dataset = pydicom.dcmread(path)
    # Free text in a code tag, as some devices write it.
    dataset["BodyPartExamined"] = pydicom.DataElement("BodyPartExamined", "LO", SECRET)
    dataset["Modality"] = pydicom.DataElement("Modality", "LO", SECRET)
    for keyword, value in broken.items():
        dataset[keyword] = pydicom.DataElement(keyword, "LO" if isinstance(value, str) else "US", value)
    dataset.save_as(path)
    with caplog.at_level("DEBUG"):
        try:
            said = repr(read_image(path))
        except InputError:
            said = traceback.format_exc()
    assert "Mustermann" not in said + caplog.text
    assert "1999" not in said + caplog.text


def test_frames_of_a_cine_are_counted_and_not_guessed_among(tmp_path: Path, refusal: Refusal) -> None:
    stack = np.stack([PIXELS] * 7)
    for sop_class in (XA, SC, CR):
        path = write_dicom(tmp_path / "a.dcm", sop_class, stack, NumberOfFrames=7, Modality="XA")
        assert "expected one image, got 7 frames (modality XA); export the frame" in refusal(path)


def test_a_dicom_report_is_not_an_image(tmp_path: Path, refusal: Refusal) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", Modality="SR"))
    del dataset.PixelData, dataset.Rows, dataset.Columns
    dataset.save_as(tmp_path / "a.dcm")
    assert "without one (modality SR)" in refusal(tmp_path / "a.dcm")


def test_frames_of_an_enhanced_ct_become_a_volume_in_the_order_of_their_positions(
    tmp_path: Path, refusal: Refusal
) -> None:
    for heights, order in (([30, 32.5, 35, 37.5], [0, 1, 2, 3]), ([37.5, 30, 35, 32.5], [1, 3, 2, 0])):
        image = read_image(write_enhanced_ct(tmp_path / "a.dcm", heights))
        assert image.volume.GetSpacing() == pytest.approx((0.6, 0.7, 2.5))
        assert image.volume.GetOrigin() == pytest.approx((-10, -20, 30))
        expected = np.stack([PIXELS % 2048 + i - 1024.0 for i in order])
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image.volume), expected)
    assert "4 with 1 missing between them" in refusal(write_enhanced_ct(tmp_path / "a.dcm", [30, 32.5, 37.5, 40]))


def _codestream(syntax: str, rows: int, columns: int) -> bytes:
    """The beginning of a codestream of one 8-bit component; no decoder may ever see it."""
    if syntax == JPEG2000Lossless:
        sizes = b"".join(n.to_bytes(4, "big") for n in (columns, rows, 0, 0, columns, rows, 0, 0))
        return b"\xff\x4f\xff\x51\x00\x29\x00\x00" + sizes + b"\x00\x01\x07\x01\x01" + bytes(64)
    size = rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
    start = b"\xff\xf7" if syntax == JPEGLSLossless else b"\xff\xc0"
    return b"\xff\xd8\xff\xe0\x00\x04ab" + start + b"\x00\x0b\x08" + size + b"\x01\x01\x11\x00" + bytes(64)


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize(("rows", "columns"), [(4000, 48), (40, 96), (39, 48)])
def test_a_codestream_of_another_size_is_refused_before_it_is_decoded(
    tmp_path: Path, syntax: str, rows: int, columns: int, refusal: Refusal
) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", DX, (PIXELS >> 4).astype(np.uint8)))
    dataset.PixelData = encapsulate([_codestream(syntax, rows, columns)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "a.dcm")
    assert f"compressed pixels of 48 x 40, got some of {columns} x {rows}" in refusal(tmp_path / "a.dcm")


def test_a_film_in_a_dicom_file_is_called_by_its_transfer_syntax(tmp_path: Path, refusal: Refusal) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "a.dcm"))
    dataset.PixelData = encapsulate([bytes(100)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = MPEG2MPML
    dataset.save_as(tmp_path / "a.dcm")
    assert "expected a transfer syntax for images, got MPEG2" in refusal(tmp_path / "a.dcm")


def test_a_deflated_bomb_is_not_inflated(tmp_path: Path, refusal: Refusal) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "a.dcm"))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "a.dcm")
    head = (tmp_path / "a.dcm").read_bytes()
    length = int.from_bytes(head[140:144], "little")
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = b"".join(deflate.compress(bytes(1 << 20)) for _ in range(257)) + deflate.flush()
    (tmp_path / "a.dcm").write_bytes(head[: 144 + length] + zeros)
    assert "at most 256 MiB in a deflated file" in refusal(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    "tags",
    [
        {"BitsStored": 40},
        {"BitsAllocated": 24},
        {"PixelRepresentation": 7},
        {"PhotometricInterpretation": "NONSENSE"},
        {"SamplesPerPixel": 3},
        {"NumberOfFrames": "-3"},
    ],
)
def test_pixel_tags_that_cannot_be_are_refused(tmp_path: Path, tags: dict[str, Any], refusal: Refusal) -> None:
    assert "damaged or of an unusual kind" in refusal(write_dicom(tmp_path / "a.dcm", **tags))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGBaseline8Bit, JPEG2000Lossless])
def test_raw_pixels_are_not_decoded_as_compressed_ones(tmp_path: Path, syntax: str, refusal: Refusal) -> None:
    content = write_dicom(tmp_path / "a.dcm").read_bytes()
    at = content.index(b"\x02\x00\x10\x00UI")
    stated = int.from_bytes(content[at + 6 : at + 8], "little")
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    group = int.from_bytes(content[140:144], "little") + len(value) - stated
    labelled = content[at : at + 6] + len(value).to_bytes(2, "little") + value + content[at + 8 + stated :]
    (tmp_path / "a.dcm").write_bytes(content[:140] + group.to_bytes(4, "little") + content[144:at] + labelled)
    assert str(pydicom.dcmread(tmp_path / "a.dcm").file_meta.TransferSyntaxUID) == syntax
    assert "damaged or of an unusual kind" in refusal(tmp_path / "a.dcm")


@pytest.mark.parametrize(
    ("syntax", "expected"), [(RLELossless, "run lengths of at most 64 MiB"), (JPEG2000Lossless, "unusual kind")]
)
def test_compressed_pixels_in_next_to_no_bytes_are_not_decoded(
    tmp_path: Path, syntax: str, expected: str, refusal: Refusal
) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "a.dcm"))
    dataset.Rows = dataset.Columns = 10_000
    dataset.PixelData = encapsulate([_codestream(syntax, 10_000, 10_000)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "a.dcm")
    assert expected in refusal(tmp_path / "a.dcm")
