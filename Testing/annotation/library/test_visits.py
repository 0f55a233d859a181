"""A person goes back to the case that was open before, and forth again."""

from __future__ import annotations

from DenseLandmarksLib.annotation.library.visits import Visits


def went(*case_ids: str) -> Visits:
    visits = Visits()
    for case_id in case_ids:
        visits.went_to(case_id)
    return visits


def test_nothing_comes_before_the_first_case() -> None:
    assert (Visits().previous(), Visits().following()) == (None, None)
    assert (went("a").previous(), went("a").following()) == (None, None)


def test_going_back_and_forth_ends_where_it_began() -> None:
    visits = went("a", "b", "c")
    for expected in ("b", "a"):
        assert visits.previous() == expected
        visits.went_to(expected)
    assert (visits.previous(), visits.following()) == (None, "b")
    for expected in ("b", "c"):
        assert visits.following() == expected
        visits.went_to(expected)
    assert (visits.previous(), visits.following()) == ("b", None)


def test_a_case_that_could_not_be_opened_changes_nothing() -> None:
    visits = went("a", "b")
    assert visits.previous() == visits.previous() == "a"
    assert visits.following() is None


def test_opening_the_same_case_again_is_no_visit() -> None:
    assert went("a", "b", "b", "b").previous() == "a"


def test_going_elsewhere_forgets_what_followed() -> None:
    visits = went("a", "b", "c", "b", "d")
    assert (visits.previous(), visits.following()) == ("b", None)
    assert went("a", "b", "a", "b", "a").following() == "b"


def test_a_case_that_was_visited_long_ago_is_a_new_visit() -> None:
    visits = went("a", "b", "c", "a")
    assert visits.previous() == "c"
