"""DICOM files whose tags contradict themselves, their pixels or the standard."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag

from Testing.damaged_files.damage import Damage
from Testing.damaged_files.good_dicom import (
    SYNTAXES,
    codestream,
    dicom_bytes,
    good_dataset,
    join_dicom,
    split_dicom,
    with_syntax,
)
from Testing.damaged_files.good_pictures import jpeg_size_at

_ALL = tuple(SYNTAXES)
_RAW = ("DICOM implicit", "DICOM explicit", "DICOM big endian", "DICOM deflated")
_ENCAPSULATED = _ALL[4:]
_CODESTREAMS = ("DICOM JPEG", "DICOM JPEG lossless", "DICOM JPEG-LS", "DICOM JPEG 2000")
# Keyword, value representation and a value that no image can have.
_IMPOSSIBLE: tuple[tuple[str, str, object], ...] = (
    ("Rows", "LO", "many"),
    ("Rows", "US", 0),
    ("Rows", "US", None),
    ("Columns", "US", 0),
    ("BitsAllocated", "US", 0),
    ("BitsAllocated", "US", 24),
    ("BitsAllocated", "US", 128),
    ("BitsAllocated", "LO", "x"),
    ("BitsStored", "US", 40),
    ("SamplesPerPixel", "US", 7),
    ("SamplesPerPixel", "US", 0),
    ("PixelRepresentation", "US", 65535),
    ("PhotometricInterpretation", "CS", "NONSENSE"),
    ("PhotometricInterpretation", "CS", "PALETTE COLOR"),
    ("NumberOfFrames", "IS", "1000000000"),
    ("NumberOfFrames", "IS", "-3"),
    ("NumberOfFrames", "LO", "many"),
)


def _impossible(keyword: str, vr: str, value: object) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        dataset = good_dataset(name, rng)
        dataset[keyword] = DataElement(Tag(keyword), vr, value, validation_mode=0)
        return dicom_bytes(dataset)

    return make


def _without(*keywords: str) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        dataset = good_dataset(name, rng)
        for keyword in keywords:
            del dataset[keyword]
        return dicom_bytes(dataset)

    return make


def _changed(change: Callable[[FileDataset], None]) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        dataset = good_dataset(name, rng)
        change(dataset)
        return dicom_bytes(dataset)

    return make


def _half_the_pixels(dataset: FileDataset) -> None:
    dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 4 * 2]


def _no_pixels(dataset: FileDataset) -> None:
    dataset.PixelData = b""


def _no_fragment(dataset: FileDataset) -> None:
    dataset.PixelData = struct.pack("<HHI", 0xFFFE, 0xE000, 0)


def _endless_fragment(dataset: FileDataset) -> None:
    frame = codestream(dataset)
    dataset.PixelData = struct.pack("<HHIHHI", 0xFFFE, 0xE000, 0, 0xFFFE, 0xE000, 0xFFFFFFF0) + frame


def _noise_for_a_frame(dataset: FileDataset) -> None:
    dataset.PixelData = encapsulate([bytes((i * 89 + i // 7) % 256 for i in range(2000))])


# ---- transfer syntaxes ----------------------------------------------------------------------------------------------


def _labelled(*uids: str | None) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        content = dicom_bytes(good_dataset(name, rng))
        head, body = split_dicom(content)
        others = [uid for uid in uids if uid != SYNTAXES[name]]
        return with_syntax(head + body, others[int(rng.integers(len(others)))])

    return make


# ---- the structure of the data set ----------------------------------------------------------------------------------


def _before_the_data_set(element: Callable[[str], bytes]) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        head, body = split_dicom(dicom_bytes(good_dataset(name, rng)))
        return join_dicom(head, element(name) + body)

    return make


def element_head(name: str, group: int, element: int, vr: bytes, length: int) -> bytes:
    """Tag, value representation (one of those with a length of 32 bits) and length, as the format encodes them."""
    order = ">" if name == "DICOM big endian" else "<"
    tag = struct.pack(order + "HH", group, element)
    return tag + (b"" if name == "DICOM implicit" else vr + b"\0\0") + struct.pack(order + "I", length)


def _item(name: str, length: int) -> bytes:
    return struct.pack((">" if name == "DICOM big endian" else "<") + "HHI", 0xFFFE, 0xE000, length)


def _endless_sequence(name: str) -> bytes:
    return element_head(name, 8, 6, b"SQ", 0xFFFFFFFF) + _item(name, 0xFFFFFFFF)


def _deep_sequences(name: str) -> bytes:
    return _endless_sequence(name) * 20_000


def _closed_deep_sequences(name: str) -> bytes:
    order = ">" if name == "DICOM big endian" else "<"
    ends = struct.pack(order + "HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    return _endless_sequence(name) * 20_000 + ends * 20_000


def _long_sequence(name: str) -> bytes:
    return element_head(name, 8, 6, b"SQ", 0x7FFFFFF0) + _item(name, 0x7FFFFFE0)


def _long_text(name: str) -> bytes:
    return element_head(name, 8, 6, b"UT", 0x7FFFFFF0)


def _endless_text(name: str) -> bytes:
    return element_head(name, 8, 6, b"UT", 0xFFFFFFFF)


def _pixels_of_4_gib(rng: np.random.Generator, name: str) -> bytes:
    head, body = split_dicom(dicom_bytes(good_dataset(name, rng)))
    order = ">" if name == "DICOM big endian" else "<"
    at = body.index(struct.pack(order + "HH", 0x7FE0, 0x0010)) + (4 if name == "DICOM implicit" else 8)
    return join_dicom(head, body[:at] + struct.pack(order + "I", 0xFFFFFFF0) + body[at + 4 :])


# ---- sizes that data and header do not share -----------------------------------------------------------------------


def claim_size(name: str, frame: bytes, side: int) -> bytes:
    """A codestream whose own header states ``side`` x ``side`` pixels."""
    if name == "DICOM JPEG 2000":
        # SIZ: marker, length, capabilities, then image size, two offsets and tile size (ITU-T T.800, A.5.1).
        at = frame.index(b"\xff\x51") + 6
        return frame[:at] + struct.pack(">6I", side, side, 0, 0, side, side) + frame[at + 24 :]
    at = jpeg_size_at(frame)
    return frame[:at] + struct.pack(">HH", side, side) + frame[at + 4 :]


def _claimed_by_frame(rng: np.random.Generator, name: str) -> bytes:
    dataset = good_dataset(name, rng)
    dataset.PixelData = encapsulate([claim_size(name, codestream(dataset), 60_000)])
    return dicom_bytes(dataset)


def _claimed_by_both(side: int) -> Callable[[np.random.Generator, str], bytes]:
    def make(rng: np.random.Generator, name: str) -> bytes:
        dataset = good_dataset(name, rng)
        dataset.Rows = dataset.Columns = side
        if name in _CODESTREAMS:
            dataset.PixelData = encapsulate([claim_size(name, codestream(dataset), side)])
        return dicom_bytes(dataset)

    return make


def _two_rows_more(dataset: FileDataset) -> None:
    dataset.Rows += 2


WRONG_DICOM = (
    *(
        Damage(
            "wrong tag",
            f"{keyword} {'without a value' if value is None else value}",
            _ALL[i % 2 :: 2],
            _impossible(keyword, vr, value),
        )
        for i, (keyword, vr, value) in enumerate(_IMPOSSIBLE)
    ),
    Damage("wrong tag", "no PixelData", _ALL, _without("PixelData")),
    Damage("wrong tag", "no Rows", _ALL[::2], _without("Rows")),
    Damage("wrong tag", "no Columns", _ALL[1::2], _without("Columns")),
    Damage("wrong tag", "no BitsAllocated", _ALL[:2], _without("BitsAllocated")),
    Damage("wrong tag", "nothing but pixels", _RAW, _without("Rows", "Columns", "BitsAllocated", "SamplesPerPixel")),
    Damage("wrong tag", "PixelData of half the length", _RAW, _changed(_half_the_pixels)),
    Damage("wrong tag", "PixelData without a value", _RAW, _changed(_no_pixels)),
    Damage("wrong tag", "no fragment", _ENCAPSULATED, _changed(_no_fragment)),
    Damage("wrong tag", "a fragment beyond the end", _ENCAPSULATED, _changed(_endless_fragment)),
    Damage("wrong tag", "noise for a frame", _ENCAPSULATED, _changed(_noise_for_a_frame)),
    Damage("wrong tag", "two rows more than there are", _ALL, _changed(_two_rows_more)),
    Damage("transfer syntax", "one that does not exist", _ALL, _labelled("1.2.3.4", "1.2.840.10008.1.2.4.9999")),
    Damage("transfer syntax", "a video's", _ALL[1::4], _labelled("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.107")),
    Damage("transfer syntax", "a compressed one for raw pixels", _RAW, _labelled(*list(SYNTAXES.values())[4:])),
    Damage(
        "transfer syntax",
        "an uncompressed one for fragments",
        _ENCAPSULATED,
        _labelled(SYNTAXES["DICOM explicit"], SYNTAXES["DICOM implicit"]),
    ),
    Damage(
        "transfer syntax",
        "another compression's",
        _ENCAPSULATED,
        _labelled(SYNTAXES["DICOM RLE"], SYNTAXES["DICOM JPEG 2000"]),
    ),
    Damage("transfer syntax", "deflated for what is not", _RAW[:3], _labelled(SYNTAXES["DICOM deflated"])),
    # Readers may find out how a data set is encoded.
    Damage("transfer syntax", "none", _RAW[:3], _labelled(None), must_fail=False),
    Damage("structure", "a sequence that never ends", _ALL, _before_the_data_set(_endless_sequence)),
    Damage("structure", "20 000 sequences in each other", _ALL[::2], _before_the_data_set(_deep_sequences)),
    Damage(
        "structure",
        "20 000 sequences in each other, all closed",
        ("DICOM explicit", "DICOM implicit"),
        _before_the_data_set(_closed_deep_sequences),
        must_fail=False,
    ),
    Damage("structure", "a sequence of 2 GiB", _ALL[1::2], _before_the_data_set(_long_sequence)),
    Damage("structure", "a text of 2 GiB", _ALL[::2], _before_the_data_set(_long_text)),
    Damage("structure", "a text that never ends", _ALL[1::2], _before_the_data_set(_endless_text)),
    Damage("structure", "PixelData of 4 GiB", _RAW, _pixels_of_4_gib),
    Damage("absurd size", "a frame of 60 000 x 60 000 in a small image", _CODESTREAMS, _claimed_by_frame),
    Damage("absurd size", "60 000 x 60 000", _ALL, _claimed_by_both(60_000)),
    Damage("absurd size", "10 000 x 10 000 that are not there", _ALL, _claimed_by_both(10_000)),
)
