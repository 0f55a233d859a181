"""Who models are compared on: nobody whom a model has led, and nobody of whom one has learnt."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.annotation.edits import Accept, Edit, Move, Place, StartBlind, TakePrediction
from DenseLandmarksLib.annotation.library.case import CASE_FILE
from DenseLandmarksLib.annotation.library.comparison import for_comparison, landmarks_to_place, next_for_comparison
from DenseLandmarksLib.annotation.library.datalist import fold_of
from DenseLandmarksLib.annotation.library.decisions import Decisions, read_decisions
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.predict_cases import predict_cases
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.models.bundle import read_description
from DenseLandmarksLib.models.registry import open_predictor
from Testing.annotation.library.chests import after, predicted, write_chest

A, B = "right_lung_10", "heart_03"
TO_PLACE = ((A, "right_lung"), (B, "heart"))
PLACED = (Place(A, "right_lung", (40.0, 60.0, 0.0)), Place(B, "heart", (70.0, 80.0, 0.0)))
Chests = Callable[..., tuple[str, ...]]


@pytest.fixture
def chests(library: Library, tmp_path: Path, chest_template: Template) -> Chests:
    """``chests(3, patients=["p", "p", ""])``: cases of new images, and of which patient each is."""

    def make(count: int, patients: Sequence[str] = ()) -> tuple[str, ...]:
        first = len(library.cases())
        made = [
            library.add(write_chest(tmp_path / "images", chest_template, first + n), who="reader-1")
            for n in range(count)
        ]
        for case, patient in zip(made, patients, strict=False):
            path = case.folder / CASE_FILE
            path.write_text(json.dumps(json.loads(path.read_text()) | {"patient_key": patient}))
        return tuple(case.id for case in made)

    return make


def decide(library: Library, case_id: str, *edits: Edit, template: Template | None = None) -> None:
    """A revision in which a person did that, first of all a prediction where there is a template."""
    case = library.case(case_id)
    state, info = case.load()
    if template is not None:
        state = predicted(case, template)
    case.save(after(state, *edits), "reader-1", 0 if info is None else info.number)


def decisions(library: Library) -> tuple[Decisions, ...]:
    found, lines = read_decisions(library)
    assert lines == ()
    return found


def kept_back(ids: Sequence[str]) -> list[str]:
    return [case_id for case_id in ids if fold_of(case_id) == 0]


# ---- who ------------------------------------------------------------------------------------------------------------


def test_a_case_that_was_begun_blind_is_compared_on_also_when_it_was_corrected_later(
    library: Library, chests: Chests, chest_template: Template
) -> None:
    blind, predicted_first = chests(2)
    decide(library, blind, StartBlind(TO_PLACE), *PLACED)
    decide(library, predicted_first, Accept((A, B)), template=chest_template)
    assert for_comparison(decisions(library)) == {blind}
    answer = predicted(library.case(blind), chest_template).answer
    assert answer is not None
    state, _ = library.case(blind).load()
    seen = after(state, TakePrediction(answer, state.geometry), Move(((A, (41.0, 60.0, 0.0)),)))
    library.case(blind).save(seen, "reader-1", 1)
    (found,) = (one for one in decisions(library) if one.case_id == blind)
    assert found.blind == {B}
    assert for_comparison(decisions(library)) == {blind}, "nobody may learn from whom models are compared on"


def test_of_patients_from_outside_one_fold_is_kept_back(library: Library, chests: Chests) -> None:
    ids = chests(6)
    while not kept_back(ids):  # ids are drawn at random, and with them folds
        ids += chests(1)
    for case_id in ids:
        decide(library, case_id, *PLACED)
    assert for_comparison(decisions(library)) == set(kept_back(ids))


def test_a_patient_with_anything_that_a_model_led_to_is_not_compared_on(
    library: Library, chests: Chests, chest_template: Template
) -> None:
    patient = next(f"patient-{n}" for n in range(99) if fold_of(f"patient-{n}") == 0)
    first, second, third = chests(3, [patient, patient, patient])
    decide(library, first, *PLACED)
    decide(library, second, *PLACED)
    assert for_comparison(decisions(library)) == {patient}
    decide(library, third, Accept((A,)), template=chest_template)
    assert for_comparison(decisions(library)) == frozenset()


def test_who_only_accepted_what_a_model_said_gives_no_truth(
    library: Library, chests: Chests, chest_template: Template
) -> None:
    ids = chests(6)
    for case_id in ids:
        decide(library, case_id, Accept(chest_template.landmark_names), template=chest_template)
    assert for_comparison(decisions(library)) == frozenset()
    assert not any(one.blind for one in decisions(library))


# ---- which case next ------------------------------------------------------------------------------------------------


def test_the_next_case_is_of_a_patient_of_whom_nobody_decided_anything(
    library: Library, chests: Chests, chest_template: Template
) -> None:
    ids = chests(4, ["p", "p", "q", ""])
    decide(library, ids[0], Accept((A,)), template=chest_template)
    offered = []
    while (case_id := next_for_comparison(library)) is not None:
        offered.append(case_id)
        decide(library, case_id, StartBlind(TO_PLACE), *PLACED)
    assert set(offered) == {ids[2], ids[3]}


def test_a_case_that_was_begun_and_left_is_offered_again(library: Library, chests: Chests) -> None:
    (case_id,) = chests(1)
    decide(library, case_id, StartBlind(TO_PLACE))
    assert next_for_comparison(library) == case_id
    decide(library, case_id, PLACED[0])
    assert next_for_comparison(library) is None, "it is for somebody else to finish"


def test_a_case_that_was_begun_is_finished_before_another_is_begun(
    library: Library, chests: Chests, chest_template: Template
) -> None:
    ids = chests(4)
    first = next_for_comparison(library)
    begun = next(case_id for case_id in ids if case_id != first)
    decide(library, begun, StartBlind(TO_PLACE), PLACED[0])
    assert next_for_comparison(library, who="reader-1") == begun
    assert next_for_comparison(library, who="reader-1", names=chest_template.landmark_names) == begun
    assert next_for_comparison(library, who="reader-1", names=["wrist"]) == first, "it was begun for another model"
    assert next_for_comparison(library, who="reader-2") == first
    assert next_for_comparison(library, has_seen=lambda case: case.id == begun, who="reader-1") == first
    decide(library, begun, PLACED[1])
    assert next_for_comparison(library, who="reader-1") == first


def test_a_case_whose_prediction_was_seen_is_left_out(library: Library, chests: Chests) -> None:
    ids = chests(3)
    seen = next_for_comparison(library)
    other = next_for_comparison(library, has_seen=lambda case: case.id == seen)
    assert other in set(ids) - {seen}
    assert next_for_comparison(library, has_seen=lambda case: True) is None


def test_the_order_has_nothing_to_do_with_doubt(library: Library, chests: Chests, chest_template: Template) -> None:
    ids = chests(5)
    first = next_for_comparison(library)
    for n, case_id in enumerate(ids):
        case = library.case(case_id)
        case.save(predicted(case, chest_template, confidence=0.1 + 0.15 * n), "reader-1", 0)
    assert next_for_comparison(library) == first
    chosen = library.next_case("doubt")
    assert chosen is not None
    assert {chosen.id, first} <= set(ids)


def test_radiographs_are_not_offered_to_a_model_for_volumes(library: Library, chests: Chests) -> None:
    (case_id,) = chests(1)
    assert next_for_comparison(library, is_radiograph=False) is None
    assert next_for_comparison(library, is_radiograph=True) == case_id


def test_predicting_a_library_passes_over_what_is_being_decided_blind(
    library: Library, chests: Chests, chest_template: Template, tiny_bundle: Path
) -> None:
    blind, other = chests(2)
    decide(library, blind, StartBlind(TO_PLACE))

    model = read_description(tiny_bundle)
    done = list(predict_cases(library, model, open_predictor(str(tiny_bundle), "cpu"), "nobody"))
    assert [one.case for one in done] == [other]
    assert library.case(blind).load()[0].answer is None


# ---- what to place --------------------------------------------------------------------------------------------------


def structures_of(template: Template) -> tuple[str, ...]:
    return tuple(one.name for one in template.structures for _ in one.landmark_names)


def test_landmarks_to_place_are_spread_over_the_structures_and_along_them(chest_template: Template) -> None:
    names, structures = chest_template.landmark_names, structures_of(chest_template)
    chosen = landmarks_to_place(names, structures, "case-1")
    assert len(set(chosen)) == 12
    assert sorted(Counter(structure for _, structure in chosen).values()) == [2, 2, 2, 3, 3]
    order = {name: n for n, name in enumerate(names)}
    assert [order[name] for name, _ in chosen] == sorted(order[name] for name, _ in chosen)
    for structure in chest_template.structures:
        rows = sorted(structure.landmark_names.index(name) for name, of in chosen if of == structure.name)
        gaps = np.diff([*rows, rows[0] + len(structure.landmark_names)])
        assert gaps.min() >= len(structure.landmark_names) // len(rows), structure.name


def test_over_many_cases_every_landmark_is_compared_and_none_much_more_often(chest_template: Template) -> None:
    names, structures = chest_template.landmark_names, structures_of(chest_template)
    often = Counter(name for n in range(400) for name, _ in landmarks_to_place(names, structures, f"case-{n}"))
    assert set(often) == set(names)
    for structure in chest_template.structures:
        counts = [often[name] for name in structure.landmark_names]
        assert max(counts) < 2.5 * np.mean(counts)
    assert landmarks_to_place(names, structures, "a") != landmarks_to_place(names, structures, "b")
    assert landmarks_to_place(names, structures, "a") == landmarks_to_place(names, structures, "a")


@pytest.mark.parametrize(("count", "most", "expected"), [(4, 12, 4), (0, 12, 0), (4, 2, 2), (4, 0, 0)])
def test_few_landmarks_are_all_placed(count: int, most: int, expected: int) -> None:
    names = tuple(f"point-{n}" for n in range(count))
    chosen = landmarks_to_place(names, names, "case", most)
    assert len(chosen) == expected
    assert set(chosen) <= {(name, name) for name in names}
