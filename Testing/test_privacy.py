"""Who the patient is stands in no result, no name, no line and no log."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from DenseLandmarksLib import cli

CR, DX = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"
# Every value is made of words that occur nowhere else.
TAGS: dict[str, object] = {
    "PatientName": "Quixotek^Zebulon^Wexford",
    "PatientID": "PID-774411",
    "IssuerOfPatientID": "Issuerberg",
    "OtherPatientIDs": ["OPI990077", "OPI990088"],
    "OtherPatientNames": "Aliasovic^Yorick",
    "PatientBirthName": "Bornhausen",
    "PatientMotherBirthName": "Mothersill",
    "PatientBirthDate": "19470312",
    "PatientAddress": "Addresslane 5, Townsworth",
    "PatientTelephoneNumbers": "+49-555-918273",
    "PatientComments": "Commentwise",
    "MilitaryRank": "Brigadierish",
    "ResponsiblePerson": "Guardianov",
    "ResponsibleOrganization": "Orgworth",
    "Occupation": "Lamplighter",
    "InstitutionName": "Elsewherium Hospice",
    "InstitutionAddress": "Institutegasse 7",
    "InstitutionalDepartmentName": "Departmentov",
    "StationName": "STATIONX17",
    "DeviceSerialNumber": "DSN662200",
    "ReferringPhysicianName": "Referringham^Ada",
    "PerformingPhysicianName": "Performwell^Bo",
    "PhysiciansOfRecord": "Recordsen",
    "NameOfPhysiciansReadingStudy": "Readingworth",
    "RequestingPhysician": "Requestova",
    "OperatorsName": "Operatorski",
    "AccessionNumber": "ACC553311",
    "StudyID": "STU4455",
    "AdmissionID": "ADM8899",
    "StudyDate": "20190527",
    "StudyDescription": "Descriptionade of Quixotek",
    "ImageComments": "Imagecommentary",
    "RequestedProcedureDescription": "Procedurette",
}
PRIVATE = "Privatissimo"
# What must be found nowhere: the values, their words, and the spellings of the dates.
SECRETS = (
    *("quixotek", "zebulon", "wexford", "774411", "issuerberg", "opi990077", "opi990088", "aliasovic", "yorick"),
    *("bornhausen", "mothersill", "19470312", "1947-03-12", "12.03.1947", "addresslane", "townsworth", "918273"),
    *("commentwise", "brigadierish", "guardianov", "orgworth", "lamplighter", "elsewherium", "hospice"),
    *("institutegasse", "departmentov", "stationx17", "dsn662200", "referringham", "performwell", "recordsen"),
    *("readingworth", "requestova", "operatorski", "acc553311", "stu4455", "adm8899", "20190527", "2019-05-27"),
    *("descriptionade", "imagecommentary", "procedurette", "privatissimo", "nestedine"),
)


def radiograph(path: Path, sop_class: str, seed: int) -> Path:
    """A DICOM file whose every identifying tag is filled in."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.Modality = "CR" if sop_class == CR else "DX"
    pixels = np.random.default_rng(seed).integers(0, 4096, (48, 40)).astype(np.uint16)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = pixels.tobytes()
    for keyword, value in TAGS.items():
        setattr(dataset, keyword, value)
    nested = Dataset()
    nested.PatientID = "NESTEDINE"
    dataset.OtherPatientIDsSequence = [nested]
    dataset.private_block(0x0011, f"{PRIVATE} 1.0", create=True).add_new(0x01, "LO", f"{PRIVATE} Quixotek")
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)
    return path


def texts_of(path: Path) -> Iterator[bytes]:
    """A file's name and bytes, and what is compressed in it, in small letters."""
    content = path.read_bytes()
    yield path.name.lower().encode()
    yield content.lower()
    if path.name.endswith(".nrrd"):
        yield zlib.decompress(content.partition(b"\n\n")[2], wbits=31).lower()
    if path.suffix == ".png":
        with Image.open(path) as picture:
            picture.load()
            yield repr(picture.info).lower().encode()


def found_in(*texts: str | bytes) -> set[str]:
    """The secrets that any of the texts holds, in any of the encodings that files use."""
    raw = [text.lower().encode("utf-8", "surrogateescape") if isinstance(text, str) else text for text in texts]
    return {
        secret for secret in SECRETS for text in raw if secret.encode() in text or secret.encode("utf-16-le") in text
    }


def found_below(folder: Path) -> set[str]:
    """The secrets in the files of a folder, in their names and in the names of its folders."""
    assert any(folder.iterdir())
    names = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    contents = [text for path in folder.rglob("*") if path.is_file() for text in texts_of(path)]
    return found_in(*names, *contents)


def predict(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, bundle: Path, output: Path, *images: Path
) -> tuple[int, str, str, str]:
    """Exit status, standard output, standard error and the log of a run."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        status = cli.main(
            ["predict", *map(str, images), "--model", str(bundle), "--output", str(output), "--device", "cpu"]
        )
    captured = capfd.readouterr()
    return status, captured.out, captured.err, caplog.text


@pytest.mark.parametrize("sop_class", [CR, DX], ids=["CR", "DX"])
def test_nothing_that_a_run_leaves_or_says_tells_who_the_patient_is(
    sop_class: str,
    tiny_bundle: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    cohort = tmp_path / "cohort"
    # The name of the file, that of its folder, both.
    images = [
        radiograph(cohort / "Quixotek^Zebulon" / "IM0001", sop_class, 1),
        radiograph(cohort / "plain" / "QUIXOTEK_zebulon.dcm", sop_class, 2),
        radiograph(cohort / "plain" / "pid774411.dcm", sop_class, 3),
        radiograph(cohort / "1947-03-12" / "film 12.03.1947.dcm", sop_class, 4),
    ]
    for given in (images, [cohort]):
        output = tmp_path / f"out{len(given)}"
        status, out, err, log = predict(capfd, caplog, tiny_bundle, output, *given)
        assert status == 0
        assert found_below(output) == set()
        assert found_in(out, err, log) == set()
        names = sorted({path.name.split(".")[0] for path in output.iterdir()})
        assert [name[:5] for name in names] == ["IM000", *["case-"] * 3, "summa"]


def test_an_image_that_cannot_be_used_does_not_tell_either(
    tiny_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    cohort = tmp_path / "cohort"
    folder = cohort / "Quixotek^Zebulon"
    cut_in_pixels = radiograph(folder / "QUIXOTEK_1.dcm", CR, 1)
    cut_in_header = radiograph(folder / "QUIXOTEK_2.dcm", DX, 2)
    cut_in_pixels.write_bytes(cut_in_pixels.read_bytes()[:-2000])
    content = cut_in_header.read_bytes()
    cut_in_header.write_bytes(content[: content.index(b"Quixotek") - 4])
    constant = radiograph(folder / "19470312.dcm", CR, 3)
    whole = constant.read_bytes()
    constant.write_bytes(whole[: -2 * 48 * 40] + bytes(2 * 48 * 40))
    images = [cut_in_pixels, cut_in_header, constant]
    for given in (images, [cohort]):
        output = tmp_path / f"out{len(given)}"
        status, out, err, log = predict(capfd, caplog, tiny_bundle, output, *given)
        assert status == 2
        assert err.count("error: ") == 3
        assert found_below(output) == set()
        for path in images if len(given) > 1 else []:  # as it was typed
            assert str(path) in err
            err = err.replace(str(path), "")
        assert found_in(out, err, log) == set()


def test_a_secret_that_is_planted_is_found(tmp_path: Path) -> None:
    """The search can fail: in a name, in text, compressed, in a picture's text, in a log."""
    image = radiograph(tmp_path / "image" / "IM1", CR, 1)
    assert found_below(image.parent) >= {"quixotek", "774411", "19470312", "nestedine", "privatissimo", "acc553311"}
    (tmp_path / "names").mkdir()
    (tmp_path / "names" / "x_QUIXOTEK.csv").touch()
    assert found_below(tmp_path / "names") == {"quixotek"}
    (tmp_path / "packed").mkdir()
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(b"..Hospice..") + packer.flush()
    (tmp_path / "packed" / "a.seg.nrrd").write_bytes(b"NRRD0004\nencoding: gzip\n\n" + packed)
    assert found_below(tmp_path / "packed") == {"hospice"}
    (tmp_path / "picture").mkdir()
    text = PngInfo()
    text.add_text("Comment", "of Yorick", zip=True)
    Image.new("L", (4, 4)).save(tmp_path / "picture" / "a.png", pnginfo=text)
    assert found_below(tmp_path / "picture") == {"yorick"}
    assert found_in("a line about Wexford", b"nothing") == {"wexford"}
