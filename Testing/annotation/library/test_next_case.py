"""The next case is the one where a person is needed most, and the reason says why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from DenseLandmarksLib.annotation.edits import Accept, Unsure
from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.annotation.library.next_case import CaseEntry, next_case
from DenseLandmarksLib.annotation.library.revision import RevisionInfo
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.template import Template
from Testing.annotation.library.chests import after, predicted, write_chest


def entry(
    name: str, reviewed: int = 0, sure: float | None = 0.9, doubts: tuple[str, ...] = (), **more: object
) -> CaseEntry:
    info = {"number": 1, "who": "reader-1", "when": "", "based_on": 0, "model": "chest 1", "landmarks": 10}
    return CaseEntry(
        name, name, RevisionInfo(**{**info, "reviewed": reviewed, "confidence": sure, "doubts": doubts, **more})
    )  # type: ignore[arg-type]


SURE = entry("sure", 2, 0.95)
VAGUE = entry("vague", 2, 0.4)
NEARLY_DONE = entry("nearly done", 9, 0.4)
IMPLAUSIBLE = entry("implausible", 9, 0.0, ("the landmarks are vague",))
DONE = entry("done", 10, None, ("it looked odd",))
NOT_PREDICTED = CaseEntry("not predicted", "not predicted")
BY_HAND = entry("by hand", 1, 0.0, model="", landmarks=2)
DAMAGED = CaseEntry("damaged", "damaged", damage="it cannot be read")
MASKS = entry("masks", landmarks=0, sure=None, structures=4, open_structures=3)
MASKS_DONE = entry("masks done", landmarks=0, sure=None, structures=4)
ALL = [SURE, NOT_PREDICTED, NEARLY_DONE, DAMAGED, VAGUE, DONE, IMPLAUSIBLE, BY_HAND, MASKS_DONE, MASKS]


def in_turn(entries: list[CaseEntry], **options: object) -> list[str]:
    """The cases that come next while each is done before the next is asked for."""
    left, found = list(entries), []
    while (chosen := next_case(left, **options)) is not None:  # type: ignore[arg-type]
        found.append(chosen.id)
        left = [one for one in left if one.id != chosen.id]
    return found


def test_by_doubt_the_least_believed_comes_first_then_the_least_reviewed_and_least_sure() -> None:
    assert in_turn(ALL) == [
        *("implausible", "vague", "nearly done", "sure", "masks"),
        *("not predicted", "by hand"),
    ]


def test_what_is_reviewed_or_damaged_is_never_offered() -> None:
    for order in ("doubt", "order", "random"):
        assert next_case([DONE, DAMAGED, MASKS_DONE], order) is None
    assert next_case([]) is None


def test_the_case_at_hand_is_not_offered_again() -> None:
    assert next_case(ALL, after="implausible").id == "vague"  # type: ignore[union-attr]
    assert next_case([VAGUE], after="vague") is None
    assert next_case([VAGUE], "order", after="vague") is None


def test_by_order_the_next_in_the_list_comes_and_after_the_last_the_first() -> None:
    assert next_case(ALL, "order").id == "sure"  # type: ignore[union-attr]
    assert next_case(ALL, "order", after="sure").id == "not predicted"  # type: ignore[union-attr]
    assert next_case(ALL, "order", after="nearly done").id == "vague"  # type: ignore[union-attr]
    assert next_case(ALL, "order", after="masks").id == "sure"  # type: ignore[union-attr]
    assert next_case(ALL, "order", after="gone since").id == "sure"  # type: ignore[union-attr]


def test_at_random_every_case_has_its_chance_and_a_seed_repeats_it() -> None:
    many = [entry(str(number)) for number in range(6)]
    first = Counter(in_turn(many, order="random", seed=seed)[0] for seed in range(300))
    assert set(first) == {one.id for one in many}
    assert min(first.values()) > 20
    order = in_turn(many, order="random", seed=3)
    assert in_turn(list(reversed(many)), order="random", seed=3) == order
    more = in_turn([*many, entry("new")], order="random", seed=3)
    assert [one for one in more if one != "new"] == order
    assert next_case(many, "random", after=order[0], seed=3).id == order[1]  # type: ignore[union-attr]


def test_the_reason_is_a_line_that_a_person_understands() -> None:
    reasons = {one.id: next_case([one]).reason for one in ALL if one not in (DONE, DAMAGED, MASKS_DONE)}  # type: ignore[union-attr]
    assert reasons == {
        "sure": "2 of 10 landmarks reviewed, of the others the model is 95% sure",
        "vague": "2 of 10 landmarks reviewed, of the others the model is 40% sure",
        "nearly done": "9 of 10 landmarks reviewed, of the others the model is 40% sure",
        "implausible": "the model does not believe its own prediction (the landmarks are vague); 9 of 10 landmarks reviewed",
        "not predicted": "nobody has looked at it and no model has seen it",
        "by hand": "no model has seen it; 1 of 2 landmarks reviewed",
        "masks": "3 of 4 structures are not reviewed",
    }
    in_order = next_case(ALL, "order")
    assert in_order is not None
    assert in_order.reason.startswith("next in the list of 7 with something to decide; 2 of 10")


def test_an_unknown_order_is_told() -> None:
    with pytest.raises(InputError, match="expected an order of doubt, order, random, got 'best'"):
        next_case(ALL, "best")  # type: ignore[arg-type]


def test_a_library_offers_what_is_left_of_real_cases(
    library: Library, tmp_path: Path, chest_template: Template
) -> None:
    cases = [library.add(write_chest(tmp_path / "images", chest_template, seed)) for seed in range(3)]
    for case, confidence in zip(cases, (0.9, 0.5, 0.7), strict=True):
        case.save(predicted(case, chest_template, confidence=confidence), "reader-1", 0)
    assert library.next_case() == (cases[1].id, "0 of 154 landmarks reviewed, of the others the model is 50% sure")
    state, _ = cases[1].load()
    names = state.landmarks.names
    cases[1].save(after(state, Accept(names[:150])), "reader-1", 1)
    chosen = library.next_case()
    assert chosen is not None
    assert chosen.id == cases[2].id
    for case in cases:
        state, info = case.load()
        assert info is not None
        case.save(after(state, Accept(names[:-1]), Unsure(names[-1:])), "reader-1", info.number)
    assert library.next_case() is None
