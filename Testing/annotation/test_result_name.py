"""Results are called after the image, unless that would tell who the patient is."""

from __future__ import annotations

from pathlib import Path

import pytest

from DenseLandmarksLib.annotation.exports.result_name import file_stem, safe_name


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("film.dcm", "film"),
        ("FILM.DCM", "FILM"),
        ("a.b.nii.gz", "a.b"),
        ("a.nii", "a"),
        ("film.png.jpg", "film.png"),
        ("1.2.840.113", "1.2.840.113"),
        ("1.2.840.113.dcm", "1.2.840.113"),
        ("IM0001", "IM0001"),
        ("notes.v2", "notes.v2"),
        (".png", ".png"),
        ("two\nlines.png", "two_lines"),
        ("no\udce9text.png", "no_text"),
        ("ä" * 120 + ".png", "ä" * 90),
    ],
)
def test_only_the_suffix_of_an_image_format_is_left_out(name: str, stem: str) -> None:
    assert file_stem(Path("folder.png") / name) == stem


def test_a_name_that_tells_who_the_patient_is_is_not_used() -> None:
    assert safe_name(Path("film_DOE.dcm"), frozenset({"doe", "19470312"})) is None
    assert safe_name(Path("film_1947-03-12.dcm"), frozenset({"doe", "19470312"})) is None
    assert safe_name(Path("film.dcm"), frozenset({"doe", "19470312"})) == "film"
    assert safe_name(Path("film.dcm"), frozenset()) == "film"
    assert safe_name(Path("film.dcm"), None) is None
