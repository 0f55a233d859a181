"""Point errors, rates and their figure, of errors that are known."""

from __future__ import annotations

import argparse
import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence
from DenseLandmarksLib.models.measured import rate
from Testing.training.volume_folder import VolumeOracle, write_volumes
from training.evaluate import add_arguments, evaluate, run
from training.evaluation_figures import draw_cumulative_errors
from training.evaluation_report import compare_reports
from training.evaluation_table import markdown_of
from training.metrics import bootstrap_ci95
from training.point_error_table import FEW, point_error_section
from training.point_errors import image_errors, point_errors, summarise_landmarks
from training.reference_lines import Reference, read_references
from training.volume_data import VolumeDataset

NAN = float("nan")


@pytest.fixture
def dataset(tmp_path: Path) -> VolumeDataset:
    return write_volumes(tmp_path / "data")


def off_by(errors_mm: dict[str, float], absent: set[str] = frozenset()) -> Any:
    """A change that moves each landmark by its error, and leaves out those that are not named."""

    def change(case: str, landmarks: LandmarkSet) -> LandmarkSet:
        rows = [row for row, name in enumerate(landmarks.names) if name in errors_mm]
        names = tuple(landmarks.names[row] for row in rows)
        moved = landmarks.points_lps_mm[rows] + np.array([[0, 0, errors_mm[name]] for name in names])
        return LandmarkSet(
            names=names,
            structures=tuple(landmarks.structures[row] for row in rows),
            points_lps_mm=moved,
            predicted_lps_mm=moved,
            presence=tuple(Presence.ABSENT if name in absent else Presence.PRESENT for name in names),
            review=tuple(landmarks.review[row] for row in rows),
            confidence=landmarks.confidence[rows],
            covariance_mm2=landmarks.covariance_mm2[rows],
            template_uv=landmarks.template_uv[rows],
        )

    return change


def report_of(dataset: VolumeDataset, errors_mm: dict[str, float], name: str = "oracle", **how: Any) -> dict[str, Any]:
    report = evaluate(VolumeOracle(dataset, change=off_by(errors_mm, **how), name=name), dataset, progress=False)
    return json.loads(json.dumps(report, allow_nan=False))


KNOWN = {"left_1": 1.0, "left_2": 2.25, "right_1": 5.0, "chin": 12.0}


def section_of(errors: NDArray[np.float64], unit: str = "mm", references: tuple[dict[str, Any], ...] = ()) -> str:
    names = [f"point_{i}" for i in range(errors.shape[1])]
    summary = summarise_landmarks(names, errors, np.ones(errors.shape, bool), np.full(errors.shape, NAN), unit)
    return "\n".join(point_error_section({"unit": unit, "references": references, **summary}))


def test_an_error_of_exactly_a_radius_is_an_outlier_and_detected_and_what_is_missing_is_neither() -> None:
    errors = np.array([[2.0, 4.0, 10.0, NAN], [0.5, 2.5, 3.0, NAN]])
    nothing = np.full(errors.shape, NAN)
    pooled = summarise_landmarks("abcd", errors, np.ones(errors.shape, bool), nothing, "mm")["all_landmarks"]
    assert pooled["count"] == 6
    assert {key: value["count"] for key, value in pooled["outliers"].items()} == {"2_mm": 5, "4_mm": 2, "10_mm": 1}
    assert {key: value["count"] for key, value in pooled["detected"].items()} == {
        "2_mm": 2,
        "2.5_mm": 3,
        "3_mm": 4,
        "4_mm": 5,
    }
    assert pooled["outliers"]["10_mm"]["share"] == pytest.approx(1 / 6, abs=1e-6)
    assert rate(pooled, "outliers", 10) == "1 of 6, 16.67 %"
    assert rate(pooled, "detected", 2.5) == "3 of 6, 50.00 %"
    assert rate({}, "outliers", 10) == rate({"outliers": {}, "count": 3}, "outliers", 10) == "-"


def test_a_missing_landmark_does_not_make_its_image_look_better() -> None:
    np.testing.assert_array_equal(image_errors(np.array([[1.0, NAN, 3.0], [NAN, NAN, NAN]])), [2.0, NAN])


def test_a_rate_comes_with_an_interval_over_cases_and_none_where_resampling_cannot_tell() -> None:
    lost = np.arange(200) % 4 == 0  # in a quarter of the cases all ten landmarks are off
    errors = np.where(lost[:, None], 20.0, 1.0) + np.zeros((200, 10))
    nothing = np.full(errors.shape, NAN)
    pooled = summarise_landmarks("abcdefghij", errors, np.ones(errors.shape, bool), nothing, "mm")["all_landmarks"]
    assert pooled["outliers"]["10_mm"]["ci95"] == pytest.approx(bootstrap_ci95(lost), abs=1e-6)
    assert pooled["tre_mm"]["ci95"] == pytest.approx(bootstrap_ci95(errors[:, 0]), abs=1e-6)
    assert pooled["image_error_mm"]["ci95"] == pytest.approx(pooled["tre_mm"]["ci95"])
    none_lost = summarise_landmarks("a", errors[~lost, :1], ~nothing[~lost, :1].astype(bool), nothing[~lost, :1], "mm")
    assert none_lost["all_landmarks"]["outliers"]["2_mm"] == {"count": 0, "share": 0, "ci95": None}
    assert none_lost["all_landmarks"]["detected"]["2_mm"]["ci95"] is None


def test_a_report_counts_annotated_landmarks_and_keeps_what_was_missed_apart(tmp_path: Path) -> None:
    dataset = write_volumes(tmp_path, left_out=(("c", "chin"), ("d", "chin")))
    report = report_of(dataset, KNOWN, absent={"right_1"})
    pooled = report["all_landmarks"]
    assert pooled["count"] == 14
    assert pooled["outliers"]["10_mm"] | {"ci95": None} == {"count": 2, "share": round(2 / 14, 6), "ci95": None}
    assert pooled["detected"]["2.5_mm"]["count"] == 8
    assert pooled["tre_mm"]["median"] == pytest.approx(2.25)
    whole, partly = sum(KNOWN.values()) / 4, (sum(KNOWN.values()) - 12) / 3
    assert [entry["image_error_mm"] for entry in report["per_case"]] == pytest.approx([whole, whole, partly, partly])
    assert pooled["image_error_mm"]["mean"] == pytest.approx((whole + partly) / 2)
    found = {name: (row["outliers"]["4_mm"]["count"], row["missed"]) for name, row in report["landmarks"].items()}
    assert found == {"left_1": (0, 0), "left_2": (0, 0), "right_1": (4, 4), "chin": (2, 0)}
    assert "| right_1 | 5.00 ± 0.00 [5.00, 5.00] | 5.00 | 4 | 4 | 4 | 0 | 4 |" in markdown_of(report)


def test_the_errors_of_every_landmark_can_be_read_from_a_report(tmp_path: Path) -> None:
    """Such as to pool the held-out cases of several folds."""
    dataset = write_volumes(tmp_path, left_out=(("c", "chin"),))
    report = report_of(dataset, KNOWN)
    errors = point_errors(report, ("chin", "left_2", "unknown"), ("c", "a", "nobody"))
    np.testing.assert_allclose(errors, [[NAN, 2.25, NAN], [12, 2.25, NAN], [NAN, NAN, NAN]])


def test_two_models_are_compared_over_the_landmarks_that_both_measured(dataset: VolumeDataset) -> None:
    without_chin = {name: error for name, error in KNOWN.items() if name != "chin"}
    better = {**KNOWN, "left_1": 0.0, "right_1": 2.0}
    comparison = compare_reports(report_of(dataset, better), report_of(dataset, without_chin))
    of_points = comparison["all_landmarks"]
    assert of_points["image_error_mm"]["mean"] == pytest.approx(-4 / 3)
    assert of_points["image_error_mm"]["wilcoxon_p"] == pytest.approx(2 / 2**4)
    assert of_points["outliers"]["4_mm"]["mean"] == pytest.approx(-1 / 3, abs=1e-6)
    assert of_points["outliers"]["10_mm"]["mean"] == 0
    assert of_points["detected"]["3_mm"]["mean"] == pytest.approx(1 / 3, abs=1e-6)
    table = markdown_of({**report_of(dataset, better), "comparison": comparison})
    assert "| errors of at least 4 mm, % | -33.33 [-33.33, -33.33] p=0.125 |" in table


def test_a_report_of_before_is_compared_in_what_it_has(dataset: VolumeDataset) -> None:
    report = report_of(dataset, KNOWN)
    before = copy.deepcopy(report)
    del before["references"]
    for entry in before["per_case"]:
        del entry["landmark_tre_mm"], entry["image_error_mm"]
    comparison = compare_reports(report, before)
    assert "all_landmarks" not in comparison
    assert comparison["average"]["tre_mm"]["mean"] == 0
    assert len(comparison["notes"]) == 1
    assert "keeps no errors of single landmarks" in markdown_of({**report, "comparison": comparison})


def test_few_landmarks_have_a_row_each_and_dense_contours_do_not() -> None:
    errors = np.random.default_rng(0).uniform(0, 5, (4, FEW + 1))
    assert f"| point_{FEW - 1} |" in section_of(errors[:, :FEW])
    assert "| point_0 |" not in section_of(errors)
    assert len(section_of(errors).splitlines()) < 20


def test_a_table_in_pixels_has_no_millimetres() -> None:
    text = section_of(np.array([[1.0, 3.0], [2.0, 20.0]]), unit="px")
    assert "mm" not in text
    assert "| point_1 | 11.50 ± 12.02 [3.00, 20.00] | 11.50 | 2 |" in text


def test_what_readers_differ_by_stands_beside_all_landmarks_or_beside_its_own() -> None:
    references = (
        {"name": "two readers", "error_mm": 2.15, "landmark": None},
        {"name": "two readers", "error_mm": 6.6, "landmark": "point_1"},
    )
    lines = section_of(np.array([[1.0, 3.0], [2.0, 20.0]]), references=references).splitlines()
    assert "| for comparison: two readers | 2.15 | – |" in lines
    assert [line.endswith("| two readers 6.60 |") for line in lines if "| point_" in line] == [False, True]


def test_references_come_from_the_data_folder_and_from_the_command(dataset: VolumeDataset, tmp_path: Path) -> None:
    folder, names = tmp_path / "data", dataset.landmark_names
    assert read_references(folder, [], names, in_mm=True) == ()
    stated = [["same reader", 0.81], ["two readers", 6.6, "chin"]]
    index = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**index, "reference_mm": stated}))
    expected = (Reference("same reader", 0.9), Reference("two readers", 6.6, "chin"), Reference("two readers", 2.15))
    assert read_references(folder, [["same reader", "0.9"], ["two readers", "2.15"]], names, in_mm=True) == expected
    assert read_references(folder, [], names, in_mm=False) == ()

    (folder / "dataset.json").write_text(json.dumps({**index, "reference_mm": 0.81}))
    with pytest.raises(InputError, match=r"expected a list of .* got 0\.81"):
        read_references(folder, [], names, in_mm=True)


@pytest.mark.parametrize(
    ("given", "in_mm", "message"),
    [
        (["two readers"], True, "expected a name, millimetres above 0"),
        (["two readers", "small"], True, "expected a name, millimetres above 0"),
        (["two readers", "-1"], True, "expected a name, millimetres above 0"),
        (["two readers", "nan"], True, "expected a name, millimetres above 0"),
        (["two readers", "1", "chin", "left_1"], True, "expected a name, millimetres above 0"),
        (["two readers", "1", "nose"], True, "expected a landmark of the data set in --reference, got 'nose'"),
        (["two readers", "1"], False, "expected images with a known spacing"),
    ],
)
def test_a_reference_that_cannot_be_used_is_told_in_one_line(
    given: list[str], in_mm: bool, message: str, dataset: VolumeDataset, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_references(tmp_path / "data", [given], dataset.landmark_names, in_mm)
    assert "\n" not in str(caught.value)


def test_the_curve_says_how_many_landmarks_have_at_most_an_error(dataset: VolumeDataset) -> None:
    references = [
        {"name": "same reader", "error_mm": 3.0, "landmark": None},
        {"name": "two readers", "error_mm": 6.6, "landmark": "chin"},
    ]
    report = {**report_of(dataset, KNOWN), "references": references}
    other = report_of(replace(dataset, cases=dataset.cases[1:]), {**KNOWN, "chin": 50.0}, "other")
    (axes,) = draw_cumulative_errors(report, dataset, other).axes
    assert "3 cases" in axes.get_title()
    curves = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    assert len(curves) == 2 * 3  # all, arteries and chin of both models
    assert [line.get_linestyle() for line in curves.values()] == ["-"] * 3 + ["--"] * 3
    whole = next(iter(curves.values()))
    assert "all landmarks: median 3.62" in whole.get_label()
    x, y = whole.get_xdata(), whole.get_ydata()
    for radius, share in ((1.5, 25), (3, 50), (6, 75), (12.1, 100)):
        assert y[x <= radius].max() == pytest.approx(share)
    assert axes.get_xlim()[1] > 50  # the worst landmark is in the picture
    upright = [line.get_xdata()[0] for line in axes.lines if line.get_label().startswith("_")]
    assert upright == [3.0]
    assert [text.get_text() for text in axes.texts] == ["same reader 3 mm"]


def test_perfect_and_empty_reports_can_be_drawn_as_well(dataset: VolumeDataset) -> None:
    report = report_of(dataset, dict.fromkeys(KNOWN, 0.0))
    (axes,) = draw_cumulative_errors(report, dataset).axes
    assert 0 < axes.get_xlim()[0] < axes.get_xlim()[1]
    empty = copy.deepcopy(report)
    for entry in empty["per_case"]:
        entry["landmark_tre_mm"] = [None] * 4
    empty["references"] = [{"name": "two readers", "error_mm": 2.0, "landmark": None}]
    (axes,) = draw_cumulative_errors(empty, dataset).axes
    assert [line.get_xdata()[0] for line in axes.lines] == [2.0]


def test_one_command_takes_references_into_report_table_and_figure(
    dataset: VolumeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from DenseLandmarksLib.models import registry

    monkeypatch.setattr(registry, "open_predictor", lambda name, device="auto": VolumeOracle(dataset))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    words = ["--model", "oracle", "--data", str(tmp_path / "data"), "--report", str(tmp_path / "r.json")]
    words += ["--reference", "two readers", "2.15", "--reference", "two readers", "6.6", "chin"]
    assert run(parser.parse_args(words)) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert [(r["error_mm"], r["landmark"]) for r in report["references"]] == [(2.15, None), (6.6, "chin")]
    assert "| for comparison: two readers | 2.15 | – |" in (tmp_path / "r.md").read_text()
