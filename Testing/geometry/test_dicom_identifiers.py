"""What a file's header says about a person is recognised in names, however they are written."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from DenseLandmarksLib.geometry.formats.dicom_identifiers import contains_identifier, read_identifiers


def write_header(path: Path, **tags: object) -> Path:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.Rows = 40
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(
    ("keyword", "value", "telling", "harmless"),
    [
        ("PatientName", "Doe^John^^Dr", ("DOE_JOHN", "xdoex", "john-2"), ("film", "Jon", "dry", "iso_100")),
        ("PatientName", "Müller^Zoë", ("MULLER", "mueller", "müller", "zoe"), ("mull",)),
        ("PatientName", "Li^Wu", ("li_1", "film wu"), ("film", "wurst")),
        ("PatientID", "12-345-678", ("IM12345678", "12 345 678", "x12-345-678"), ("IM0001", "film 123")),
        ("OtherPatientIDs", ["AB77", "CD88"], ("cd88",), ("cd8",)),
        ("PatientBirthDate", "19470312", ("1947-03-12", "12.3.1947", "031247", "12mar1947", "470312"), ("1947",)),
        ("InstitutionName", "St. Elsewhere, Boston", ("elsewhere_1", "BOSTON"), ("best",)),
        ("ReferringPhysicianName", "Strange^S", ("strange",), ("s1",)),
        ("AccessionNumber", "A0042", ("film-a0042",), ("a42",)),
        ("StudyID", "1", (), ("IM1", "1")),
        ("StudyDate", "20240229", ("29-02-2024",), ("2024",)),
    ],
)
def test_a_value_is_recognised_in_a_name(
    tmp_path: Path, keyword: str, value: object, telling: tuple[str, ...], harmless: tuple[str, ...]
) -> None:
    identifiers = read_identifiers(write_header(tmp_path / "a", **{keyword: value}))
    assert identifiers is not None
    for name in telling:
        assert contains_identifier(name, identifiers), name
    for name in harmless:
        assert not contains_identifier(name, identifiers), name


def test_nested_values_count(tmp_path: Path) -> None:
    nested = Dataset()
    nested.PatientID = "NESTED9"
    identifiers = read_identifiers(write_header(tmp_path / "a", OtherPatientIDsSequence=[nested]))
    assert identifiers is not None
    assert contains_identifier("film nested9", identifiers)


def test_a_header_that_cannot_be_read_says_nothing_is_harmless(tmp_path: Path) -> None:
    whole = write_header(tmp_path / "a.dcm", PatientName="Doe").read_bytes()
    for name, content in {
        "cut": whole[:-10],
        "marks": whole[:132],
        "text.dcm": b"words " * 50,
        "none.dcm": b"",
    }.items():
        (tmp_path / name).write_bytes(content)
        assert read_identifiers(tmp_path / name) is None, name
    assert read_identifiers(tmp_path / "missing.dcm") is None


def test_other_formats_have_none(tmp_path: Path) -> None:
    for name, content in {"a.png": b"\x89PNG\r\n\x1a\n", "a.txt": b"words", "empty": b""}.items():
        (tmp_path / name).write_bytes(content)
        assert read_identifiers(tmp_path / name) == frozenset()
    assert read_identifiers(tmp_path / "missing.png") == frozenset()


def test_nothing_is_warned_of_with_the_value_in_it(tmp_path: Path) -> None:
    path = write_header(tmp_path / "a", PatientBirthDate="19470312")
    path.write_bytes(path.read_bytes().replace(b"19470312", b"DOEJOHN!"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_identifiers(path) is not None
