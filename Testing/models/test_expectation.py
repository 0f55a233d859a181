"""Which way up: what a file states about its picture turns it to what the model knows, or raises a doubt."""

from __future__ import annotations

import numpy as np
import pytest

from DenseLandmarksLib.geometry.acquisition import Acquisition
from DenseLandmarksLib.geometry.view import VIEWS, View
from DenseLandmarksLib.models.expectation import Expectation, choose_view, view_between

CHEST = Expectation(("CHEST", "THORAX"), ("PA", "AP"), ("L", "F"))
LEFT_HAND = Expectation(("HAND",), (), ("R", "F"), "L")


def orientation(pixels: np.ndarray) -> tuple[str, str]:
    """Where rows and columns run in a picture whose corners say which corner of the patient they show."""
    here, across, down = str(pixels[0, 0]), str(pixels[0, -1]), str(pixels[-1, 0])
    return next(b for a, b in zip(here, across, strict=True) if a != b), next(
        b for a, b in zip(here, down, strict=True) if a != b
    )


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_however_a_chest_is_stored_the_model_sees_it_upright(view: View) -> None:
    upright = np.array([["HR", "HL"], ["FR", "FL"]])
    stored = view.inverse.see(upright)
    stated = orientation(stored)
    assert view_between(stated, ("L", "F")) == view
    chosen, reason = choose_view(CHEST, Acquisition(patient_orientation=stated))
    np.testing.assert_array_equal(chosen.see(stored), upright)
    assert (reason == "") == (view == View())


def test_a_file_that_states_nothing_is_seen_as_stored() -> None:
    assert choose_view(CHEST, Acquisition()) == (View(), "")
    assert choose_view(Expectation(), Acquisition(patient_orientation=("R", "F"))) == (View(), "")


def test_a_person_overrules_the_file() -> None:
    mirrored = Acquisition(patient_orientation=("R", "F"))
    assert choose_view(CHEST, mirrored)[0] == View(flip=True)
    assert choose_view(CHEST, mirrored, turn_deg=90) == (View(90), "as asked for")
    assert choose_view(CHEST, mirrored, flip=False)[0] == View()


@pytest.mark.parametrize(
    ("stated", "asked", "orientation", "expected"),
    [
        ("L", "", None, View()),
        ("R", "", None, View(flip=True)),
        ("", "R", None, View(flip=True)),
        ("R", "L", None, View()),  # the person knows better
        ("", "", None, View()),
        # A right hand on the table beside a left one: both rows run to the right, the thumbs point to each other.
        ("R", "", ("R", "F"), View(flip=True)),
        ("R", "", ("L", "F"), View()),
        ("L", "", ("L", "F"), View(flip=True)),  # a mirrored film of a left hand
        ("R", "", ("F", "L"), View(90, flip=True)),
    ],
)
def test_a_right_hand_is_shown_as_the_left_hand_that_the_model_knows(
    stated: str, asked: str, orientation: tuple[str, str] | None, expected: View
) -> None:
    acquisition = Acquisition(laterality=stated, patient_orientation=orientation)
    assert choose_view(LEFT_HAND, acquisition, laterality=asked)[0].matrix.tolist() == expected.matrix.tolist()


def test_with_a_turn_that_was_asked_for_the_side_still_counts() -> None:
    right = Acquisition(laterality="R")
    assert choose_view(LEFT_HAND, right, turn_deg=90)[0] == View(90, flip=True)
    assert choose_view(LEFT_HAND, right, turn_deg=90, flip=False)[0] == View(90)


def test_sides_mean_nothing_to_a_model_of_the_whole_chest() -> None:
    assert choose_view(CHEST, Acquisition(laterality="R"))[0] == View()
    assert not CHEST.is_told_side(Acquisition(laterality="R"))


def test_a_side_is_told_by_the_file_alone() -> None:
    assert LEFT_HAND.is_told_side(Acquisition(laterality="L"))
    assert LEFT_HAND.is_told_side(Acquisition(laterality="R"))
    assert not LEFT_HAND.is_told_side(Acquisition(patient_orientation=("L", "F")))


@pytest.mark.parametrize(
    ("acquisition", "word"),
    [
        (Acquisition(body_part="HAND"), "HAND"),
        (Acquisition(view_position="LL"), "LL"),
        (Acquisition(patient_orientation=("A", "F")), "another projection"),
    ],
)
def test_a_file_that_says_it_is_something_else_is_doubted(acquisition: Acquisition, word: str) -> None:
    (doubt,) = CHEST.doubts(acquisition)
    assert word in doubt
    assert Expectation().doubts(acquisition) == ()


def test_a_fitting_or_silent_file_raises_no_doubt() -> None:
    assert CHEST.doubts(Acquisition()) == ()
    assert CHEST.doubts(Acquisition("DX", "Chest", "pa", "", ("R", "F"))) == ()


def test_a_bundle_s_entry_comes_back() -> None:
    from dataclasses import asdict

    assert Expectation.from_dict(asdict(LEFT_HAND)) == LEFT_HAND
    assert Expectation.from_dict({}) == Expectation()
