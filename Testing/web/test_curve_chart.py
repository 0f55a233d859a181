"""Curves as the page draws them."""

from __future__ import annotations

import re

import pytest

from DenseLandmarksLib.web.curve_chart import HEIGHT, WIDTH, chart


def points_of(line: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", line)]


def test_a_curve_fills_its_picture_and_says_its_ends() -> None:
    drawn = chart("Loss", ((0, 4.0), (5, 3.0), (10, 2.0)), "red")
    (x0, y0), (x1, y1), (x2, y2) = points_of(drawn["line"])
    assert (x1, y1) == ((x0 + x2) / 2, (y0 + y2) / 2)
    assert 0 < x0 < x2 < WIDTH
    assert 0 < y0 < y2 < HEIGHT, "a smaller value lies lower"
    assert [word["text"] for word in drawn["words"]] == ["2", "4", "0", "10"]
    assert drawn["last"] == "2"


def test_nothing_measured_is_no_line_and_one_point_is_a_dot() -> None:
    assert chart("Loss", (), "red")["line"] == ""
    one = chart("Loss", ((0, 0.0),), "red")
    assert len(one["dots"]) == 1
    assert 0 < one["dots"][0]["x"] < WIDTH


def test_of_many_points_few_are_sent_and_the_last_is_among_them() -> None:
    drawn = chart("Loss", tuple((float(n), 1 / (n + 1)) for n in range(10_000)), "red")
    points = points_of(drawn["line"])
    assert 100 < len(points) <= 201
    assert drawn["dots"] == []
    assert drawn["words"][-1]["text"] == "9999"
    assert drawn["last"] == "0.0001"


def test_ends_that_lie_close_together_are_told_apart() -> None:
    drawn = chart("Error (mm)", ((0, 4.6231), (1, 4.6156)), "red")
    assert [word["text"] for word in drawn["words"][:2]] == ["4.616", "4.623"]


def test_a_small_change_of_an_error_looks_small() -> None:
    drawn = chart("Error (mm)", ((0, 4.0), (1, 3.0)), "red", from_zero=True)
    first, last = (dot["y"] for dot in drawn["dots"])
    assert {word["text"] for word in drawn["words"]} >= {"0", "4"}
    axis = drawn["words"][0]["y"] - drawn["words"][1]["y"]
    assert (last - first) == pytest.approx(0.25 * axis, rel=0.05)
