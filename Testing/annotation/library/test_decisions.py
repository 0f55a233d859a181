"""What people decided is all that a model may learn from: nothing that nobody looked at, or that somebody was unsure of."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from DenseLandmarksLib.annotation.case_state import CaseState
from DenseLandmarksLib.annotation.edits import Absent, Accept, Move, Paint, Place, Unsure
from DenseLandmarksLib.annotation.library.case import LibraryCase
from DenseLandmarksLib.annotation.library.decisions import read_decisions, read_decisions_of
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.landmark_set import Review
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.library.chests import after


def test_only_what_a_person_decided_is_read(
    library: Library, case: LibraryCase, state: CaseState, chest_template: Template
) -> None:
    moved, accepted, gone, unsure, *_ = chest_template.structure("right_lung").landmark_names
    decided = after(
        state,
        Move(((moved, (40.25, 50.5, 0.0)),)),
        Accept((accepted,)),
        Absent((gone,)),
        Unsure((unsure,)),
        Place("heart_03", "heart", (60.0, 70.0, 0.0)),
    )
    case.save(decided, "reader-1", 0)
    (found,), lines = read_decisions(library)
    assert lines == ()
    assert (found.case_id, found.name, found.revision, found.person) == (case.id, case.name, 1, case.id)
    by_name = {one.name: one for one in found.landmarks}
    assert {name: one.review for name, one in by_name.items()} == {
        moved: Review.CORRECTED,
        accepted: Review.VERIFIED,
        gone: Review.CORRECTED,
        "heart_03": Review.PLACED,
    }
    assert by_name[moved].index_ijk == pytest.approx((40.25, 50.5, 0.0))
    assert by_name[gone].index_ijk is None
    assert {one.structure for one in found.landmarks} == {"right_lung", "heart"}
    assert found.geometry == state.geometry
    assert dict(found.masks) == {}
    assert found.template_keys == {one.name: one.key for one in chest_template.structures}
    assert state.answer is not None
    assert found.model_name == state.answer.prediction.model_name != ""
    sidecar = case.revision_folder(1) / "sidecar.json"
    assert found.digest == hashlib.sha256(sidecar.read_bytes()).hexdigest()


def test_decided_masks_are_those_that_were_painted_or_accepted(
    library: Library, case: LibraryCase, state: CaseState
) -> None:
    painted = np.zeros(state.geometry.size[::-1], bool)
    painted[0, 20:40, 30:60] = True
    case.save(after(state, Paint("heart", painted), Accept((), ("left_lung",))), "reader-1", 0)
    ((found,), _) = read_decisions(library)
    assert set(found.masks) == {"heart", "left_lung"}
    assert found.painted == {"heart"}
    np.testing.assert_array_equal(found.masks["heart"], painted)
    assert found.masks["left_lung"].shape == painted.shape
    assert found.masks["left_lung"].any()
    with pytest.raises(KeyError):
        found.masks["right_lung"]


def test_a_case_in_which_nobody_decided_anything_is_left_out(
    library: Library, case: LibraryCase, state: CaseState
) -> None:
    assert read_decisions(library) == ((), ())
    name = state.landmarks.names[0]
    case.save(after(state, Unsure((name,))), "reader-1", 0)
    assert read_decisions(library) == ((), ())


def test_a_damaged_revision_is_told_and_the_one_before_counts(
    library: Library, case: LibraryCase, state: CaseState
) -> None:
    one, other = state.landmarks.names[:2]
    case.save(after(state, Accept((one,))), "reader-1", 0)
    case.save(after(state, Accept((one, other))), "reader-1", 1)
    (case.revision_folder(2) / "sidecar.json").write_text("{")
    (found,), lines = read_decisions(library)
    assert found.revision == 1
    assert [row.name for row in found.landmarks] == [one]
    assert len(lines) == 1
    assert "\n" not in lines[0]
    (case.revision_folder(1) / "sidecar.json").unlink()
    found_none, lines = read_decisions(library)
    assert found_none == ()
    assert len(lines) == 1


def test_a_run_that_goes_on_reads_the_revisions_that_it_began_with(
    library: Library, case: LibraryCase, state: CaseState
) -> None:
    one, other = state.landmarks.names[:2]
    case.save(after(state, Accept((one,))), "reader-1", 0)
    case.save(after(state, Accept((one, other))), "reader-1", 1)
    (found,) = read_decisions_of(library, {case.id: 1})
    assert [row.name for row in found.landmarks] == [one]
    with pytest.raises(InputError, match="expected a revision"):
        read_decisions_of(library, {case.id: 3})
