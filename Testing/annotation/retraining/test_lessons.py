"""How much there is to learn from is counted case by case, and only what is new is read again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from DenseLandmarksLib.annotation.library.case import CASE_FILE
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.retraining import lessons as lessons_module
from DenseLandmarksLib.annotation.retraining.lessons import LessonCount, Lessons
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import read_description
from Testing.annotation.retraining.runs import taught_library


def count(library: Library, before: LessonCount | None = None) -> LessonCount:
    counting = LessonCount(library, before)
    while not counting.is_over:
        counting.step()
    return counting


def test_decisions_are_counted_by_how_they_were_made(tmp_path: Path, chest_template: Template) -> None:
    library = taught_library(tmp_path, chest_template, count=2, corrected=3)
    all_of_them = len(chest_template.landmark_names)
    found = count(library).lessons
    assert found == Lessons(corrected=6, verified=2 * (all_of_them - 4), absent=2, cases=2)
    assert found.is_anything
    assert (found.blind, found.needed) == ((), 20)


def test_a_case_for_comparison_teaches_nothing_and_counts_when_all_that_was_asked_for_is_decided(
    tmp_path: Path, chest_template: Template, tiny_bundle: Path
) -> None:
    library, model = taught_library(tmp_path, chest_template, count=2), read_description(tiny_bundle)
    added = taught_blind(tmp_path, library, chest_template)
    first = count(library)
    found = first.lessons
    assert found is not None
    assert found.for_comparison(model) == 0, "one landmark is left"
    assert found.cases == 2
    session = Session(library.case(added), "anna", data_folder=tmp_path / "taught")
    session.mark_unsure("heart_02")
    session.save()
    session.close()
    again = count(library, first).lessons
    assert again is not None
    assert again.for_comparison(model) == 1
    assert again != found, "a window shows the other number"


def test_a_case_for_comparison_counts_for_the_models_that_can_be_compared_on_it(
    tmp_path: Path, chest_template: Template, tiny_bundle: Path, volume_bundle: Path
) -> None:
    library, model = taught_library(tmp_path, chest_template, count=1), read_description(tiny_bundle)
    added = taught_blind(tmp_path, library, chest_template, "heart_02")
    found = count(library).lessons
    assert found is not None
    assert found.for_comparison(model) == 1
    assert found.for_comparison(read_description(volume_bundle)) == 0
    other = replace(model, metadata={**model.metadata, "landmark_names": ["wrist"]})
    assert found.for_comparison(other) == 0
    of_the_case = replace(model, metadata={**model.metadata, "descent": {"trained_on": [added]}})
    assert found.for_comparison(of_the_case) == 0
    # Of another image of the same patient a version learnt as well.
    taught = next(entry.id for entry in library.cases() if entry.id != added)
    for case_id in (added, taught):
        path = library.case(case_id).folder / CASE_FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | {"patient_key": "a patient"}))
    found = count(library).lessons
    assert found is not None
    assert found.for_comparison(model) == 1
    of_the_patient = replace(model, metadata={**model.metadata, "descent": {"trained_on": [taught]}})
    assert found.for_comparison(of_the_patient) == 0


def taught_blind(tmp_path: Path, library: Library, template: Template, *more: str) -> str:
    """One more case, in which one of two landmarks was placed before any prediction, and maybe more."""
    import SimpleITK as sitk

    from Testing.annotation.perfect_answer import chest_image

    sitk.WriteImage(chest_image(template, 128, 77).volume, str(tmp_path / "blind.nrrd"))
    case = library.add(tmp_path / "blind.nrrd")
    session = Session(case, "anna", data_folder=tmp_path / "taught")
    session.start_blind((("heart_01", "heart"), ("heart_02", "heart")))
    for name in ("heart_01", *more):
        session.place(name, session.state.geometry.origin_lps_mm)
    session.save()
    session.close()
    return case.id


def test_nothing_decided_is_nothing_to_learn_from(tmp_path: Path, chest_template: Template) -> None:
    library = Library.create(tmp_path / "empty", "empty")
    found = count(library).lessons
    assert found == Lessons()
    assert not found.is_anything


def test_only_what_was_saved_since_is_read_again(
    tmp_path: Path, chest_template: Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = taught_library(tmp_path, chest_template, count=2)
    first = count(library)
    read = []
    before = lessons_module.newest_decisions
    monkeypatch.setattr(lessons_module, "newest_decisions", lambda case: read.append(case.id) or before(case))
    assert count(library, first).lessons == first.lessons
    assert read == []
    entry = library.cases()[1]
    session = Session(library.case(entry.id), "anna", data_folder=tmp_path / "taught")
    session.mark_unsure("heart_05")
    session.save()
    session.close()
    second = count(library, first).lessons
    assert read == [entry.id]
    assert second is not None
    assert first.lessons is not None
    assert second.verified == first.lessons.verified - 1


def test_a_damaged_case_is_counted_and_no_more(tmp_path: Path, chest_template: Template) -> None:
    library = taught_library(tmp_path, chest_template, count=2)
    (entry, _) = library.cases()
    for path in (library.folder / "cases" / entry.id / "revisions").glob("*/*"):
        path.write_bytes(b"nothing")
    found = count(library).lessons
    assert found is not None
    assert found.unreadable == 1
    assert found.cases == 1
