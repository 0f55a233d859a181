"""A case that is written down and read again is the same case, to the last bit, and goes on in the same way."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.annotation.answer_record import get_answer, put_answer
from DenseLandmarksLib.annotation.apply_edit import apply_edit
from DenseLandmarksLib.annotation.array_file import ArrayStore
from DenseLandmarksLib.annotation.case_state import CaseState, ModelAnswer
from DenseLandmarksLib.annotation.edits import (
    Absent,
    Accept,
    CorrectSpacing,
    Define,
    Edit,
    Move,
    Paint,
    Place,
    SetStrength,
    StartBlind,
    TakePrediction,
    Unsure,
)
from DenseLandmarksLib.annotation.mask_record import get_mask, put_mask
from DenseLandmarksLib.annotation.state_record import state_from_record, state_to_record
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence, Review
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark
from DenseLandmarksLib.landmarks.template import Template
from DenseLandmarksLib.landmarks.uv_field import UvField
from Testing.annotation.perfect_answer import chest_image, perfect_answer
from Testing.models.same_prediction import assert_same


def worked_on(template: Template) -> CaseState:
    """A case with something of everything that can be lost."""
    image = chest_image(template)
    answer = perfect_answer(template, image, lost=("left_clavicle",), shift_px=(0.3, -0.7))
    painted = np.zeros((1, 128, 128), bool)
    painted[0, 40:90, 55:70] = np.random.default_rng(0).random((50, 15)) > 0.4
    apex = NewLandmark("Apex ä", "heart", (0.31, 0.8), "lowest left", ("SCT", "1", "Apex"), "")
    edits: list[Edit] = [
        StartBlind((("heart_20", "heart"),)),
        Place("heart_20", "heart", (65.1, 68.2, 0.0)),
        TakePrediction(answer, image.geometry),
        SetStrength(0.37),
        Move((("heart_03", (70.1, 66.7, 0.0)), ("right_lung_10", (20.25, 30.125, 0.0)))),
        Accept(("heart_09",), ("heart",)),
        Absent(("right_clavicle_01",)),
        Unsure(("heart_12",)),
        Place("by hand", "heart", (66.6, 77.7, 0.0)),
        Define(apex, (75.5, 85.2, 0.0)),
        CorrectSpacing((1 / 3, 0.7, 1.1)),
        Paint("right_lung", painted),
        Paint("devices", np.zeros((1, 128, 128), bool)),
    ]
    state = CaseState(image.geometry)
    for edit in edits:
        state = apply_edit(state, edit)
    return state


@pytest.fixture(scope="module")
def state(chest_template: Template) -> CaseState:
    return worked_on(chest_template)


@pytest.fixture
def store(tmp_path: Path) -> ArrayStore:
    return ArrayStore(tmp_path)


def written_and_read(state: CaseState, store: ArrayStore) -> CaseState:
    return state_from_record(json.loads(json.dumps(state_to_record(state, store), allow_nan=False)), store)


def only_inside(field: UvField) -> UvField:
    inside = field.masks[:, None]
    scale = None if field.uv_scale is None else np.where(inside, field.uv_scale, np.float32(0))
    return replace(field, uv=np.where(inside, field.uv, np.float32(0)), uv_scale=scale, _indices={})


def assert_same_case(got: CaseState, wanted: CaseState) -> None:
    assert wanted.answer is not None
    field = wanted.answer.prediction.uv_field
    assert field is not None
    prediction = replace(wanted.answer.prediction, uv_field=only_inside(field))
    wanted = replace(wanted, answer=replace(wanted.answer, prediction=prediction), painted=dict(wanted.painted))
    parts = {field.name for field in fields(CaseState)}
    assert {"geometry", "answer", "accepted", "blind", "is_chosen_for_comparison"} < parts
    for name in parts:
        assert_same(getattr(got, name), getattr(wanted, name), name)


def test_a_case_comes_back_to_the_last_bit(state: CaseState, store: ArrayStore) -> None:
    assert {str(review) for review in state.landmarks.review} == set(map(str, Review))
    assert Presence.ABSENT in state.landmarks.presence
    assert state.accepted
    assert state.new_landmarks
    assert (state.blind, state.is_chosen_for_comparison) == ({"heart_20"}, True)
    assert_same_case(written_and_read(state, store), state)


def test_a_record_of_before_anything_was_decided_blind_still_opens(state: CaseState, store: ArrayStore) -> None:
    record = json.loads(json.dumps(state_to_record(state, store)))
    del record["blind"], record["is_chosen_for_comparison"]
    assert_same_case(
        state_from_record(record, store), replace(state, blind=frozenset(), is_chosen_for_comparison=False)
    )


def test_what_is_done_after_reading_gives_the_same_as_before(state: CaseState, store: ArrayStore) -> None:
    back = written_and_read(state, store)
    assert state.answer is not None
    for edit in (
        Move((("heart_20", (60.0, 61.0, 0.0)),)),
        SetStrength(1.0),
        CorrectSpacing((0.25, 0.25, 1.0)),
        Define(NewLandmark("hilum", "right_lung", (-0.2, 0.1)), (40.0, 60.0, 0.0)),
    ):
        state, back = apply_edit(state, edit), apply_edit(back, edit)
        assert_same(back.landmarks, state.landmarks, str(edit))


def test_positions_stay_as_saved_even_where_they_would_be_computed_otherwise_now(
    state: CaseState, store: ArrayStore
) -> None:
    points = state.landmarks.points_lps_mm + 1e-3
    elsewhere = replace(state, landmarks=replace(state.landmarks, points_lps_mm=points))
    np.testing.assert_array_equal(written_and_read(elsewhere, store).landmarks.points_lps_mm, points)


def test_an_empty_case_and_one_without_a_model_come_back(state: CaseState, store: ArrayStore) -> None:
    empty = CaseState(state.geometry)
    by_hand = apply_edit(empty, Place("tip", "finger", (3.5, 4.25, 0.0)))
    unplaced = replace(by_hand, landmarks=by_hand.landmarks.joined(LandmarkSet.unplaced(["later"], ["finger"])))
    for wanted in (empty, by_hand, unplaced.with_predicted(unplaced.landmarks)):
        back = written_and_read(wanted, store)
        assert back.answer is None
        assert_same(back.landmarks, wanted.landmarks)
        assert_same(back.propagation, wanted.propagation)


def test_a_correction_keeps_what_did_not_change(state: CaseState, store: ArrayStore) -> None:
    state_to_record(state, store)
    before = {path.name for path in store.folder.iterdir()}
    state_to_record(apply_edit(state, Move((("heart_20", (60.0, 61.0, 0.0)),))), store)
    assert {path.name for path in store.folder.iterdir()} == before
    state_to_record(apply_edit(state, CorrectSpacing((0.5, 0.5, 1.0))), store)
    new = [store.get(path.stem)[0]["kind"] for path in store.folder.iterdir() if path.name not in before]
    assert sorted(new) == ["answer", "covariance"], "masks and uv field lie on the pixels, which stay"


def test_the_record_says_where_a_landmark_is_to_those_with_another_spacing(state: CaseState, store: ArrayStore) -> None:
    rows = {row["name"]: row for row in state_to_record(state, store)["landmarks"]}
    np.testing.assert_allclose(rows["heart_03"]["index_ijk"], [70.1, 66.7, 0], atol=1e-9)
    assert (rows["heart_03"]["review"], rows["heart_12"]["review"]) == ("corrected", "unsure")
    assert rows["right_clavicle_01"]["presence"] == "absent"
    assert rows["by hand"]["predicted_lps_mm"] == [None, None, None]


@pytest.mark.parametrize("read_out", ["affine", "border", "softmin"])
def test_every_read_out_finds_the_same_in_what_came_back(
    chest_template: Template, store: ArrayStore, read_out: Any
) -> None:
    answer = perfect_answer(chest_template, chest_image(chest_template))
    field = answer.prediction.uv_field
    assert field is not None
    # What a network says outside of a structure is anything but zero.
    noise = np.random.default_rng(0).normal(size=field.uv.shape).astype(np.float32)
    field = replace(field, uv=np.where(field.masks[:, None], field.uv, noise), read_out=read_out, _indices={})
    answer = replace(answer, prediction=replace(answer.prediction, uv_field=field))
    back = get_answer(put_answer(answer, store), store).prediction.uv_field
    assert back is not None
    assert not back.uv[~np.broadcast_to(field.masks[:, None], field.uv.shape)].any()
    for structure in chest_template.structures:
        found, wanted = (one.read(structure.name, structure.landmark_uv) for one in (back, field))
        assert_same(found, wanted)


def test_a_template_that_no_file_has_rounded_keeps_every_digit(chest_template: Template, store: ArrayStore) -> None:
    answer = perfect_answer(chest_template, chest_image(chest_template))
    assert any((s.points_mm != s.points_mm.round(4)).any() for s in chest_template.structures)
    assert_same(get_answer(put_answer(answer, store), store).template, chest_template, "template")
    without = ModelAnswer(replace(answer.prediction, uv_field=None), None, ())
    back = get_answer(put_answer(without, store), store)
    assert (back.template, back.styles, back.prediction.uv_field) == (None, (), None)


@pytest.mark.parametrize("shape", [(1, 300, 200), (7, 9, 11)])
@pytest.mark.parametrize("kind", ["empty", "full", "box", "noise", "corner"])
def test_a_painted_mask_comes_back(store: ArrayStore, shape: tuple[int, int, int], kind: str) -> None:
    mask = np.zeros(shape, bool)
    if kind == "full":
        mask[:] = True
    elif kind == "box":
        mask[:, 2:5, 3:9] = True
    elif kind == "noise":
        mask = np.random.default_rng(1).random(shape) > 0.5
    elif kind == "corner":
        mask[-1, -1, -1] = True
    np.testing.assert_array_equal(get_mask(put_mask(mask, store), store), mask)


def _without(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda record: record.pop(key)


def _with(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda record: record.update(values)


def _row(key: str, value: Any) -> Callable[[dict[str, Any]], object]:
    return lambda record: record["landmarks"][3].update({key: value})


DAMAGE = {
    "format": _with(format=99),
    "no geometry": _without("geometry"),
    "no landmarks": _without("landmarks"),
    "landmarks not a list": _with(landmarks=3),
    "landmark not an object": _with(landmarks=["a"]),
    "name twice": _row("name", "heart_01"),
    "name a number": _row("name", 3),
    "presence": _row("presence", "gone"),
    "two numbers": _row("lps_mm", [1, 2]),
    "text for a number": _row("lps_mm", [1, 2, "x"]),
    "huge number": _row("confidence", 10**400),
    "covariance of others": lambda record: record["landmarks"].pop(),
    "no covariance": _with(covariance_mm2=None),
    "lost covariance": _with(covariance_mm2="0" * 32),
    "lost answer": _with(answer="0" * 32),
    "answer is no answer": lambda record: record.update(answer=record["covariance_mm2"]),
    "mask is no mask": lambda record: record["painted"].update(x=record["covariance_mm2"]),
    "painted a list": _with(painted=[1]),
    "strength": _with(strength=7),
    "spacing": lambda record: record["geometry"].update(spacing_mm=[0, 1, 1]),
    "size of another image": lambda record: record["geometry"].update(size=[9, 9, 1]),
    "new landmark": _with(new_landmarks=[{"name": 3}]),
    "accepted": _with(accepted=3),
    "blind": _with(blind=[3]),
    "blind a stranger": _with(blind=["nobody"]),
    "chosen for comparison": _with(is_chosen_for_comparison="yes"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_record_is_told_in_one_line(
    state: CaseState, store: ArrayStore, damage: Callable[[dict[str, Any]], object]
) -> None:
    record = copy.deepcopy(state_to_record(state, store))
    damage(record)
    with pytest.raises(InputError) as told:
        state_from_record(record, store)
    message = str(told.value)
    assert message.startswith("expected ")
    assert "got " in message or "found nothing" in message
    assert "\n" not in message


@pytest.mark.parametrize("record", [None, [], "state", 3, {}], ids=str)
def test_what_is_no_record_is_told_in_one_line(store: ArrayStore, record: Any) -> None:
    with pytest.raises(InputError, match="expected the record of a case"):
        state_from_record(record, store)
