"""Landmarks that people define are everybody's, and nobody's definition is written over."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from DenseLandmarksLib.annotation.library.library import Library
from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.new_landmark import NewLandmark

APEX = NewLandmark("Apex of the heart", "heart", (1 / 3, 0.8), "lowest left", ("SCT", "1", "Apex"), "0123456789abcdef")


def test_a_landmark_comes_back_as_it_was_defined(library: Library) -> None:
    assert library.new_landmarks() == ()
    assert library.add_new_landmark(APEX, "reader-1")
    carina = NewLandmark("Überblick 肺", "right_lung", (0.0, -0.25))
    assert library.add_new_landmark(carina, "reader-2")
    assert set(Library.open(library.folder).new_landmarks()) == {APEX, carina}
    assert len(list((library.folder / "landmarks").iterdir())) == 2


def test_the_same_landmark_twice_is_one(library: Library) -> None:
    assert library.add_new_landmark(APEX, "reader-1")
    assert not library.add_new_landmark(APEX, "reader-2")
    assert library.new_landmarks() == (APEX,)


@pytest.mark.parametrize(
    "other",
    [
        replace(APEX, uv=(0.3, 0.8)),
        replace(APEX, structure="left_lung"),
        replace(APEX, code=None),
        replace(APEX, template_key=""),
        replace(APEX, name="APEX OF THE HEART"),
    ],
)
def test_a_name_with_another_definition_is_refused_and_the_first_stays(library: Library, other: NewLandmark) -> None:
    library.add_new_landmark(APEX, "reader-1")
    with pytest.raises(
        InputError, match=r"expected a name that is new in the library, got .*, which reader-1 defined as"
    ) as told:
        library.add_new_landmark(other, "reader-2")
    assert "\n" not in str(told.value)
    assert library.new_landmarks() == (APEX,)


def test_of_many_who_define_one_name_at_once_one_wins_and_the_others_are_told(library: Library) -> None:
    start = threading.Barrier(8)
    outcomes: list[str] = []

    def define(number: int) -> None:
        start.wait()
        try:
            library.add_new_landmark(replace(APEX, uv=(0.0, number / 8)), f"person {number}")
            outcomes.append("won")
        except InputError:
            outcomes.append("told")

    people = [threading.Thread(target=define, args=(number,)) for number in range(8)]
    for person in people:
        person.start()
    for person in people:
        person.join()
    assert sorted(outcomes) == ["told"] * 7 + ["won"]
    assert len(library.new_landmarks()) == 1
    assert not list((library.folder / "landmarks").glob(".*"))


@pytest.mark.parametrize("content", ["", "{", "{}", '{"format": 1, "name": "a"}', '{"format": 2}', "[]"])
def test_a_damaged_landmark_is_told_in_one_line(library: Library, content: str) -> None:
    library.add_new_landmark(APEX)
    (path,) = (library.folder / "landmarks").iterdir()
    path.write_text(content)
    for act in (library.new_landmarks, lambda: library.add_new_landmark(APEX)):
        with pytest.raises(InputError, match=path.name) as told:
            act()
        assert str(told.value).startswith("expected a landmark")
        assert "\n" not in str(told.value)
