"""The drags of a simulated annotator are counted as a person would make them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.landmarks.propagation import Propagation
from training.__main__ import main
from training.data import Case, Dataset
from training.propagation import drags_until_good, slips_of


def propagation(correlation: float) -> Propagation:
    """Four points at the origin whose errors are correlated alike."""
    errors = 25.0 * (correlation + (1 - correlation) * np.eye(4))
    return Propagation(np.zeros((4, 2)), np.kron(errors, np.eye(2)), np.zeros((4, 2, 2)))


TRUTH = np.array([[8.0, 0.0], [6.0, 0.0], [4.0, 0.0], [3.0, 0.0]])
EXACT = np.zeros((4, 2))


def test_the_worst_goes_first_and_the_case_is_done_below_the_limit() -> None:
    """Errors 8, 6, 4, 3: their mean is 5.25, then 3.25, then 1.75."""
    assert drags_until_good(propagation(0.5), TRUTH, EXACT, 0.0) == (2, True)
    assert drags_until_good(propagation(0.5), TRUTH, EXACT, 0.0, limit_mm=3.25) == (2, True)
    assert drags_until_good(propagation(0.5), TRUTH, EXACT, 0.0, limit_mm=3.26) == (1, True)
    assert drags_until_good(propagation(0.5), TRUTH, EXACT, 0.0, limit_mm=6) == (0, True)


def test_neighbours_that_move_along_need_no_drag() -> None:
    """The drag of 8 takes the others 4 along: 2, 0 and 1 are left, 0.75 on average."""
    assert drags_until_good(propagation(0.5), TRUTH, EXACT, 1.0) == (1, True)
    assert drags_until_good(propagation(0.5), TRUTH, EXACT, 1.0, limit_mm=0.74) == (2, True)


def test_an_annotator_too_inexact_for_the_limit_is_told_apart() -> None:
    slips = np.full((4, 2), 2.0)
    assert drags_until_good(propagation(0.0), TRUTH, slips, 0.0) == (4, False)


def test_what_is_not_annotated_is_neither_dragged_nor_counted() -> None:
    truth = TRUTH.copy()
    truth[0] = np.nan
    assert drags_until_good(propagation(0.0), truth, EXACT, 0.0) == (2, True)  # 6, 4, 3 without 8
    assert drags_until_good(propagation(0.0), truth, EXACT, 0.0, limit_mm=1e-9) == (3, True)


def test_the_inexact_annotator_slips_along_the_contour_and_the_same_way_every_time() -> None:
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    circle = 50 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    names = tuple(f"p{i}" for i in range(2000))
    case = Case("a", Path("a.png"), "test", (1.0, 1.0), (200, 200), circle + 100)
    dataset = Dataset("round", names, ("disc",) * 2000, (case,))
    slips = slips_of(circle, dataset, np.arange(2000), "a")
    across = (slips * circle / 50).sum(axis=1)
    along = (slips * circle[:, ::-1] * [-1, 1] / 50).sum(axis=1)
    assert across.std() == pytest.approx(1, abs=0.05)
    assert along.std() == pytest.approx(2, abs=0.1)
    np.testing.assert_array_equal(slips, slips_of(circle, dataset, np.arange(2000), "a"))
    assert np.abs(slips - slips_of(circle, dataset, np.arange(2000), "b")).max() > 1


def test_the_command_reports_drags_with_and_without(tiny_bundle: Path, phantom_folder: Path, tmp_path: Path) -> None:
    report_path = tmp_path / "drags.json"
    arguments = ["--model", str(tiny_bundle), "--data", str(phantom_folder), "--report", str(report_path)]
    assert main(["propagation", *arguments, "--device", "cpu"]) == 0
    report = json.loads(report_path.read_text())
    assert report["cases"] == 2
    for rows in report["drags"].values():
        assert rows.keys() == {"without propagation", "with propagation"}
        for row in rows.values():
            assert row["mean"] == np.mean(row["by_case"])
            assert row["ci95"][0] <= row["mean"] <= row["ci95"][1]
    assert report["drags"]["exact"]["without propagation"]["never"] == 0
    table = report_path.with_suffix(".md").read_text()
    assert table.count("with propagation") == 2
