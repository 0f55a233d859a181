"""Long work on a library goes on in steps: what a window shows meanwhile is true, and what is stopped is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Accept, Place
from DenseLandmarksLib.annotation.imports.read_landmarks import read_landmarks
from DenseLandmarksLib.annotation.imports.segmentation import read_segmentation
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.export import (
    CASE_FORMATS,
    FORMATS,
    ExportFormat,
    ExportRun,
    export_case,
    export_library,
)
from DenseLandmarksLib.annotation.library.import_run import ImportRun
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.library.chests import after, predicted, write_chest
from Testing.geometry.dicom_files import write_ct_slices


@pytest.fixture
def three(library: Library, tmp_path: Path, chest_template: Template) -> Library:
    """A library of three predicted cases."""
    for seed in range(3):
        case = library.add(write_chest(tmp_path / "images", chest_template, seed))
        case.save(predicted(case, chest_template), "reader-1", 0)
    return library


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- exports -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", FORMATS)
def test_an_export_in_steps_writes_what_one_in_a_piece_writes(
    three: Library, tmp_path: Path, file_format: ExportFormat
) -> None:
    run = ExportRun(three, file_format, tmp_path / "run" / "out")
    assert not (tmp_path / "run").exists()
    fractions = [run.fraction]
    while run.step():
        fractions.append(run.fraction)
        assert run.result.cases == len(fractions) - 1
    assert [*fractions, run.fraction] == [0, 1 / 3, 2 / 3, 1]
    assert run.is_over
    assert not run.step()
    whole = export_library(three, file_format, tmp_path / "piece" / "out")
    assert [path.name for path in run.result.written] == [path.name for path in whole.written]
    assert (run.result.cases, run.result.notes, run.result.whole) == (3, (), True)
    assert files_of(run.folder) == files_of(tmp_path / "piece" / "out")


def test_an_export_that_is_cancelled_says_how_far_it_came_and_writes_no_more(three: Library, tmp_path: Path) -> None:
    for file_format, expected in (("csv", ["chest-0.csv"]), ("coco", [])):
        run = ExportRun(three, file_format, tmp_path / "out" / file_format)  # type: ignore[arg-type]
        run.step()
        run.cancel()
        assert not run.step()
        run.cancel()
        assert [path.name for path in run.result.written] == expected
        assert list(files_of(tmp_path / "out")) == ["csv/chest-0.csv"]
        assert run.result.notes == ("stopped after 1 of 3 cases; the others are not there",)
        assert not run.result.whole
    over = ExportRun(three, "csv", tmp_path / "csv")
    while over.step():
        pass
    over.cancel()
    assert over.result.whole


def test_an_export_of_nothing_is_over_at_once(library: Library, tmp_path: Path) -> None:
    run = ExportRun(library, "coco", tmp_path / "out")
    assert (run.is_over, run.fraction, run.step(), run.result.written) == (True, 1.0, False, ())


def test_an_export_that_cannot_write_is_told_and_over(three: Library, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    run = ExportRun(three, "csv", tmp_path / "file")
    with pytest.raises(InputError, match="expected to write to"):
        run.step()
    assert not run.step()
    with pytest.raises(InputError, match="expected a format of"):
        ExportRun(three, "xlsx", tmp_path)  # type: ignore[arg-type]


# ---- one case ----------------------------------------------------------------------------------------------------------


def test_what_is_on_the_screen_is_exported_saved_or_not(case: LibraryCase, state: CaseState, tmp_path: Path) -> None:
    state = after(state, Accept(state.landmarks.names[:4]), Place("by hand", "devices", (10.0, 12.5, 0.0)))
    assert case.revision_numbers() == ()
    case.image_path.unlink()
    for file_format in CASE_FORMATS:
        exported = export_case(case, state, file_format, tmp_path / "out")
        (path,) = exported.written
        assert (exported.cases, exported.notes, exported.whole) == (1, (), True)
        if file_format == "seg.nrrd":
            assert tuple(read_segmentation(path, state.geometry)) == state.structures
        else:
            found = read_landmarks(path, state.geometry, case.name)
            assert set(found.names) == set(state.landmarks.names)
            row, here = found.names.index("by hand"), state.landmarks.names.index("by hand")
            np.testing.assert_allclose(found.points_lps_mm[row], state.landmarks.points_lps_mm[here], atol=1e-4)
    assert sorted(files_of(tmp_path / "out")) == sorted(
        ["chest-0.mrk.json", "chest-0.csv", "chest-0.coco.json", "chest-0.seg.nrrd"]
    )
    (path,) = export_case(case, state, "csv", tmp_path / "reviewed", reviewed_only=True).written
    assert len(read_landmarks(path, state.geometry, case.name).names) == 5
    with pytest.raises(InputError, match=r"expected a format of mrk\.json, csv, coco, seg\.nrrd, got 'datalist'"):
        export_case(case, state, "datalist", tmp_path)


def test_what_one_case_has_nothing_of_is_told(case: LibraryCase, tmp_path: Path) -> None:
    exported = export_case(case, case.load(0)[0], "csv", tmp_path / "out")
    assert (exported.written, exported.notes) == ((), ("1 case is left out: it has nothing of that kind",))


def test_two_cases_of_one_name_do_not_replace_each_others_export(
    library: Library, case: LibraryCase, state: CaseState, tmp_path: Path, chest_template: Template
) -> None:
    other = library.add(write_chest(tmp_path / "more", chest_template, 1, "Chest-0"))
    written = [export_case(one, state, "coco", tmp_path / "out").written[0] for one in (case, other)]
    assert [path.name for path in written] == [f"chest-0-{case.id}.coco.json", f"Chest-0-{other.id}.coco.json"]
    images = json.loads(written[1].read_text())["images"]
    assert [image["file_name"] for image in images] == [f"Chest-0-{other.id}"]


# ---- imports -----------------------------------------------------------------------------------------------------------


def test_a_folder_is_imported_a_file_at_a_time(library: Library, tmp_path: Path, chest_template: Template) -> None:
    folder = tmp_path / "images"
    first = write_chest(folder, chest_template, 0)
    write_chest(folder / "deeper", chest_template, 1)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes(b"x")
    (folder / "torn.png").write_bytes(first.read_bytes()[:50])
    run = ImportRun(library, [folder, tmp_path / "gone.nrrd"], "reader-1")
    assert (run.fraction, len(library.cases())) == (0, 0)
    said = []
    while not run.is_over:
        run.step()
        said.append(run.last)
    assert [None if one is None else one.path.name for one in said] == [
        *("chest-0.nrrd", None, "torn.png", "chest-1.nrrd", "gone.nrrd"),
    ]
    done = run.result
    assert [image.case.name for image in done.images if image.case] == ["chest-0", "chest-1"]
    assert (done.passed_over, done.whole, run.fraction, run.step()) == (1, False, 1, False)
    torn, gone = done.notes
    assert "torn.png" in torn
    assert "gone.nrrd: expected an image file, found nothing there" in gone
    assert {library.case(entry.id).added_by for entry in library.cases()} == {"reader-1"}


def test_a_folder_of_slices_becomes_one_case(library: Library, tmp_path: Path, chest_template: Template) -> None:
    folder = tmp_path / "images"
    write_chest(folder, chest_template, 0)
    write_ct_slices(folder / "neck", [0.0, 2.5, 5.0])
    (folder / "neck" / "letter.pdf").write_text("of somebody")
    run = ImportRun(library, [folder], copy=True)
    assert run.total == 5
    while run.step():
        pass
    assert [(image.path.name, image.problem) for image in run.result.images] == [("chest-0.nrrd", ""), ("neck", "")]
    assert (run.result.passed_over, run.result.whole) == (1, True)
    neck = run.result.images[1].case
    assert neck is not None
    assert neck.read_image()[0].geometry.size == (48, 40, 3)
    assert len(list(neck.image_path.iterdir())) == 3, "nothing but the slices is copied"


def test_an_import_that_is_cancelled_keeps_what_it_has(
    library: Library, tmp_path: Path, chest_template: Template
) -> None:
    paths = [write_chest(tmp_path / "images", chest_template, seed) for seed in range(3)]
    run = ImportRun(library, paths, copy=True)
    assert run.step()
    run.cancel()
    assert not run.step()
    assert run.result.notes == ("stopped after 1 of 3 files; images that it had not come to are not in the library",)
    assert not run.result.whole
    (entry,) = library.cases()
    assert library.case(entry.id).image_path.parent == library.case(entry.id).folder


def test_a_file_that_is_named_counts_also_where_its_folder_is_named(library: Library, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    named = tmp_path / "images" / "notes.txt"
    named.write_text("no image")
    for paths in ([named.parent, named], [named, named.parent]):
        run = ImportRun(library, paths)
        assert not run.step()
        assert run.last is not None
        assert (run.total, run.result.passed_over) == (1, 0)
        assert "expected an image" in run.last.problem
