"""How much there is to learn from is counted case by case, and only what is new is read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.retraining import lessons as lessons_module
from DenseLandmarksLib.annotation.retraining.lessons import LessonCount, Lessons
from DenseLandmarksLib.annotation.session import Session
from DenseLandmarksLib.landmarks.template import Template
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
    assert (found.for_comparison, found.needed) == (0, 20)


def test_a_case_for_comparison_teaches_nothing(tmp_path: Path, chest_template: Template) -> None:
    library = taught_library(tmp_path, chest_template, count=2)
    added = taught_blind(tmp_path, library, chest_template)
    found = count(library).lessons
    assert found is not None
    assert found.for_comparison == 1
    assert found.cases == 2
    assert added


def taught_blind(tmp_path: Path, library: Library, template: Template) -> str:
    """One more case, in which one landmark was placed before any prediction."""
    import SimpleITK as sitk

    from Testing.annotation.perfect_answer import chest_image

    sitk.WriteImage(chest_image(template, 128, 77).volume, str(tmp_path / "blind.nrrd"))
    case = library.add(tmp_path / "blind.nrrd")
    session = Session(case, "anna", data_folder=tmp_path / "taught")
    session.start_blind((("heart_01", "heart"), ("heart_02", "heart")))
    session.place("heart_01", session.state.geometry.origin_lps_mm)
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
