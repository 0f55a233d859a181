"""The report of models of volumes whose errors are known."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.landmarks.landmark_set import LandmarkSet, Presence
from DenseLandmarksLib.models.bundle import CARD, load_bundle
from Testing.training.volume_folder import VolumeOracle, write_volumes
from training.data import read_dataset
from training.evaluate import add_arguments, evaluate, run
from training.evaluation_report import METRICS, compare_reports
from training.evaluation_table import markdown_of
from training.measure_volume import measure_volume_case, read_volume_case
from training.rewrite_bundle import record_measurement
from training.volume_data import VolumeDataset, read_volume_dataset
from training.volume_figures import draw_volume_case

OF_RADIOGRAPHS = (
    *("dsc", "asd_mm", "asd_one_sided_mm", "asd_predicted_to_truth_mm", "tre_normal_mm", "tre_tangential_mm"),
    "median_ellipse_90_mm2",
)


@pytest.fixture
def dataset(tmp_path: Path) -> VolumeDataset:
    return write_volumes(tmp_path / "data")


def report_of(dataset: VolumeDataset, **how: Any) -> dict[str, Any]:
    report = evaluate(VolumeOracle(dataset, **how), dataset, progress=False)
    json.dumps(report, allow_nan=False)  # NaN is not JSON, and never a figure
    return report


def calls(absent: set[str]) -> Any:
    def change(case: str, landmarks: LandmarkSet) -> LandmarkSet:
        named = (Presence.ABSENT if name in absent else Presence.PRESENT for name in landmarks.names)
        return replace(landmarks, presence=tuple(named))

    return change


def test_a_known_shift_is_the_known_error_in_space_whatever_the_volumes_direction(dataset: VolumeDataset) -> None:
    report = report_of(dataset, shift_mm=(3, 4, 12))
    assert (report["unit"], report["images"], report["cases"]) == ("mm", "volumes", 4)
    for part in (report["average"], *report["groups"].values(), *report["structures"].values()):
        assert set(part) == set(METRICS)
        assert part["tre_mm"]["mean"] == pytest.approx(13)
        assert part["over_10_mm_share"]["mean"] == 1
        assert part["missed_share"]["mean"] == 0
        assert all(part[metric]["mean"] is None for metric in OF_RADIOGRAPHS)
    assert list(report["groups"]) == ["arterys", "chin"]
    assert report["landmarks"]["left_2"]["tre_mm"]["mean"] == pytest.approx(13)
    pooled = report["all_landmarks"]
    assert (pooled["count"], pooled["over_10_mm_share"]) == (16, 1)
    assert pooled["tre_mm"] == {"mean": 13, "sd": 0, "median": 13, "ci95": [13, 13], "median_ci95": [13, 13]}
    assert report_of(dataset, shift_mm=(0, 0, 9.9))["average"]["over_10_mm_share"]["mean"] == 0


def test_a_report_on_volumes_has_the_keys_of_one_on_radiographs(dataset: VolumeDataset, phantom_folder: Path) -> None:
    from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
    from DenseLandmarksLib.geometry.grid import fit_grid
    from training.evaluate import measure_case, read_case
    from training.evaluation_report import build_report

    radiographs = read_dataset(phantom_folder).of_split("test")
    volumes = VolumeOracle(dataset)
    prediction = volumes.predict(read_volume_case(dataset.cases[0]))
    case = radiographs.cases[0]
    image = read_case(case, radiographs)
    grid = fit_grid(image, (32, 32))
    points = lps_mm_from_pixels(image.geometry, case.points_px)
    count = len(points)
    landmarks = LandmarkSet(
        names=radiographs.landmark_names,
        structures=radiographs.landmark_structures,
        points_lps_mm=points,
        predicted_lps_mm=points,
        presence=(Presence.PRESENT,) * count,
        review=(prediction.landmarks.review[0],) * count,
        confidence=np.ones(count),
        covariance_mm2=np.zeros((count, 3, 3)),
        template_uv=np.full((count, 2), np.nan),
    )
    flat = replace(prediction, landmarks=landmarks, grid=grid, masks=np.zeros((0, 32, 32), bool))
    report = build_report([measure_case(flat, image, case, radiographs, ())], radiographs.name, "test")
    of_volumes = report_of(dataset)
    assert list(report) == list(of_volumes)
    assert list(report["per_case"][0]) == list(of_volumes["per_case"][0])
    assert report["images"] == "radiographs"


def test_what_nobody_annotated_counts_nowhere_and_what_is_absent_is_a_false_alarm(tmp_path: Path) -> None:
    absent = {"a": ("chin", "left_1"), "b": ("chin",)}
    dataset = write_volumes(tmp_path, left_out=(("c", "chin"), ("d", "right_1"), ("c", "left_1")), absent=absent)
    report = report_of(dataset, shift_mm=(0, 6, 8))
    chin = report["structures"]["chin"]
    assert (chin["tre_mm"]["mean"], chin["tre_mm"]["defined"]) == (10, 1)
    assert (chin["false_alarm_share"]["mean"], chin["false_alarm_share"]["defined"]) == (1, 2)
    assert report["structures"]["right_artery"]["tre_mm"]["defined"] == 3
    assert report["per_case"][2]["structures"]["left_artery"]["tre_mm"] == 10
    assert report["structures"]["right_artery"]["false_alarm_share"]["mean"] is None
    assert report["all_landmarks"]["count"] == 16 - 3 - 3

    # Of the two absent landmarks of case a it finds one; the chin of case d is missed with its best guess.
    knows = report_of(dataset, change=calls({"chin"}), shift_mm=(0, 6, 8))
    assert [case["average"]["false_alarm_share"] for case in knows["per_case"]] == [0.5, 0, None, None]
    assert knows["structures"]["chin"]["missed_share"]["mean"] == 1
    assert knows["structures"]["left_artery"]["missed_share"]["mean"] == 0
    assert knows["all_landmarks"] == report["all_landmarks"]


def gaussian_errors(seed: int, covariance_mm2: NDArray[np.float64], claimed: float) -> Any:
    """Errors drawn with ``covariance_mm2`` times a factor of 0.1 to 10 per landmark, and ``claimed`` times that."""
    rng = np.random.default_rng(seed)

    def change(case: str, landmarks: LandmarkSet) -> LandmarkSet:
        factor = 10 ** rng.uniform(-1, 1, len(landmarks))
        drawn = rng.multivariate_normal(np.zeros(3), covariance_mm2, len(landmarks))
        points = landmarks.points_lps_mm + np.sqrt(factor)[:, None] * drawn
        covariance = claimed * factor[:, None, None] * covariance_mm2
        return replace(landmarks, points_lps_mm=points, covariance_mm2=covariance)

    return change


def test_who_is_as_sure_as_right_covers_ninety_percent_and_knows_where_it_errs(tmp_path: Path) -> None:
    dataset = write_volumes(tmp_path, {f"p{i:03d}": "head" for i in range(400)})
    covariance = np.array([[4.0, 1.5, 0.0], [1.5, 2.0, -0.4], [0.0, -0.4, 0.5]])
    right = report_of(dataset, change=gaussian_errors(1, covariance, claimed=1))
    assert right["average"]["in_ellipse_90_share"]["mean"] == pytest.approx(0.9, abs=0.02)
    middle = 65.5 * np.sqrt(np.linalg.det(covariance)) / 1000  # the factors' median is 1
    assert right["average"]["median_ellipsoid_90_ml"]["mean"] == pytest.approx(middle, rel=0.3)
    assert 0.6 < right["spearman_uncertainty_error"] < 1
    too_sure = report_of(dataset, change=gaussian_errors(1, covariance, claimed=0.25))
    assert too_sure["average"]["in_ellipse_90_share"]["mean"] == pytest.approx(0.332, abs=0.04)  # P(chi2_3 < 6.251 / 4)
    assert too_sure["spearman_uncertainty_error"] == right["spearman_uncertainty_error"]


def test_who_claims_no_uncertainty_is_measured_without_it(dataset: VolumeDataset) -> None:
    report = report_of(dataset, shift_mm=(1, 1, 1))
    for metric in ("in_ellipse_90_share", "median_ellipsoid_90_ml"):
        assert report["average"][metric]["mean"] is None
    assert report["spearman_uncertainty_error"] is None
    constant = report_of(dataset, shift_mm=(1, 1, 1), covariance_mm2=np.eye(3))
    assert constant["average"]["in_ellipse_90_share"]["mean"] == 1
    assert constant["average"]["median_ellipsoid_90_ml"]["mean"] == pytest.approx(0.0655, abs=1e-4)
    assert constant["spearman_uncertainty_error"] is None


def test_a_structure_weighs_in_its_group_by_its_landmarks(dataset: VolumeDataset) -> None:
    """Two landmarks of the left artery, one of the right; and regions that are the same within a case tell of the case."""
    size_of = {"a": 1.0, "b": 4.0, "c": 9.0, "d": 16.0}

    def right_is_far(case: str, landmarks: LandmarkSet) -> LandmarkSet:
        right = np.array([name == "right_1" for name in landmarks.names])
        points = landmarks.points_lps_mm + np.where(right, 12.0, size_of[case] / 20)[:, None] * [0, 0, 1]
        variance = np.where(right, 8.0, 1.0) ** (2 / 3) * size_of[case]
        return replace(landmarks, points_lps_mm=points, covariance_mm2=variance[:, None, None] * np.eye(3))

    first = report_of(dataset, change=right_is_far)["per_case"][0]["groups"]["arterys"]
    assert first["over_10_mm_share"] == pytest.approx(1 / 3)
    assert first["tre_mm"] == pytest.approx((0.05 + 0.05 + 12) / 3)
    assert first["median_ellipsoid_90_ml"] == pytest.approx((1 + 1 + 8) / 3 * 0.0655, rel=1e-3)

    def same_in_a_case(case: str, landmarks: LandmarkSet) -> LandmarkSet:
        points = landmarks.points_lps_mm + np.array([0, 0, size_of[case]])
        each = np.broadcast_to(size_of[case] * np.eye(3), (len(landmarks), 3, 3))
        return replace(landmarks, points_lps_mm=points, covariance_mm2=each)

    assert report_of(dataset, change=same_in_a_case)["spearman_uncertainty_error"] == pytest.approx(1)


def test_the_table_says_what_volumes_have_and_nothing_of_masks(dataset: VolumeDataset) -> None:
    table = markdown_of(report_of(dataset, shift_mm=(0, 3, 4), covariance_mm2=np.diag([1.0, 9.0, 16.0])))
    header, average = (next(line for line in table.splitlines() if start in line) for start in ("| TRE", "**average**"))
    assert header == "| | TRE mm | over 10 mm % | missed % | in 90 % ellipsoid % | 90 % region ml |"
    assert average == (
        "| **average** | 5.00 ± 0.00 [5.00, 5.00] | 0.00 ± 0.00 [0.00, 0.00] | 0.00 ± 0.00 [0.00, 0.00] "
        "| 100.0 ± 0.0 [100.0, 100.0] | 0.786 ± 0 [0.786, 0.786] |"
    )
    assert "| point error mm, 16 landmarks | 5.00 ± 0.00 [5.00, 5.00] | 5.00 [5.00, 5.00] |" in table
    assert "DSC" not in table
    assert "ASD" not in table
    assert "| left_2 | 5.00" in table
    assert "Not measured, because data or model do not tell: false alarms %." in table


def test_a_better_model_shows_in_a_comparison_also_with_a_report_of_before(dataset: VolumeDataset) -> None:
    near, far = report_of(dataset, shift_mm=(0, 0, 2)), report_of(dataset, shift_mm=(0, 0, 12))
    comparison = compare_reports(near, far)
    assert comparison["average"]["tre_mm"]["mean"] == pytest.approx(-10)
    assert comparison["average"]["over_10_mm_share"]["mean"] == -1
    for part in (far["average"], *(case["average"] for case in far["per_case"])):
        del part["over_10_mm_share"]
    assert compare_reports(near, far)["average"]["over_10_mm_share"]["mean"] is None


def test_the_figures_stand_in_the_model_and_on_its_card(
    dataset: VolumeDataset, volume_bundle: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "model"
    shutil.copytree(volume_bundle, copy)
    report = report_of(dataset, shift_mm=(3, 4, 12))
    record_measurement(copy, report)
    recorded = load_bundle(copy)
    assert recorded.metadata["measured"]["all_landmarks"] == report["all_landmarks"]
    card = (copy / CARD).read_text()
    assert "4 cases" in card
    assert "13.00" in card
    assert "100.0% of the errors are over 10 mm" in card
    assert recorded.weights.keys() == load_bundle(volume_bundle).weights.keys()


def test_the_picture_shows_truth_and_prediction_on_the_landmark(dataset: VolumeDataset) -> None:
    case = dataset.cases[0]
    covariance = np.diag([1.0, 4.0, 9.0])

    def off(name: str, landmarks: LandmarkSet) -> LandmarkSet:
        points = landmarks.points_lps_mm.copy()
        points[0] += [2, -3, 4]  # the landmark on the bright blob has the largest error
        return replace(landmarks, points_lps_mm=points)

    image = read_volume_case(case)
    prediction = VolumeOracle(dataset, change=off, covariance_mm2=covariance).predict(image)
    measurement = measure_volume_case(prediction, image, case, dataset)
    figure = draw_volume_case(image, prediction, case, measurement, "worst case")
    assert "left_1: 5.39 mm off" in figure.get_suptitle()
    for axes, (along, up) in zip(figure.axes, ((0, 1), (0, 2), (1, 2)), strict=True):
        truth = case.points_lps_mm[0][[along, up]]
        (shown,) = axes.images
        pixels = np.nan_to_num(np.asarray(shown.get_array().filled(np.nan), float), nan=-1)
        left, right, bottom, top = shown.get_extent()
        assert shown.origin == "lower"
        assert axes.yaxis_inverted() == (up == 1)  # anterior is up in the axial slice, the head in the others
        row, column = np.unravel_index(pixels.argmax(), pixels.shape)
        brightest = [
            left + (column + 0.5) * (right - left) / pixels.shape[1],
            bottom + (row + 0.5) * (top - bottom) / pixels.shape[0],
        ]
        np.testing.assert_allclose(brightest, truth, atol=1.6)
        marks = [np.ravel(line.get_xydata()) for line in axes.lines if len(line.get_xydata()) == 1]
        np.testing.assert_allclose(marks, [truth, truth + np.array([2, -3, 4])[[along, up]]])
        outline = axes.lines[-1].get_xydata()
        half = np.sqrt(6.251 * np.diag(covariance)[[along, up]])
        np.testing.assert_allclose(np.ptp(outline, axis=0), 2 * half, rtol=2e-3)


def command(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_one_command_measures_volumes_and_draws_them(
    dataset: VolumeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from DenseLandmarksLib.models import registry

    shifts = {"truth": (0, 0, 0), "shifted": (0, 8, 0)}
    known = {name: VolumeOracle(dataset, shift_mm=shift, name=name) for name, shift in shifts.items()}
    monkeypatch.setattr(registry, "open_predictor", lambda name, device="auto": known[name])
    words = ("--data", str(tmp_path / "data"), "--report", str(tmp_path / "r.json"), "--compare", "truth")
    assert run(command("--model", "shifted", *words, "--figures", str(tmp_path / "png"))) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["comparison"]["average"]["tre_mm"]["mean"] == pytest.approx(8)
    assert "## Difference from truth 1" in capsys.readouterr().out
    figures = {path.name: path.read_bytes()[:4] for path in (tmp_path / "png").iterdir()}
    ranks = ("case_best.png", "case_median.png", "case_worst.png")
    assert figures == dict.fromkeys([*ranks, "cumulative_error.png"], b"\x89PNG")


def one_line_of(*words: str) -> str:
    with pytest.raises(InputError) as caught:
        run(command(*words))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_model_of_radiographs_is_told_apart_from_volumes_in_one_line(
    dataset: VolumeDataset, tmp_path: Path, tiny_bundle: Path
) -> None:
    message = one_line_of("--model", str(tiny_bundle), "--data", str(tmp_path / "data"), "--report", "r.json")
    assert "model for volumes" in message


def test_a_prediction_on_a_grid_is_not_measured_as_one_of_a_volume(dataset: VolumeDataset) -> None:
    from DenseLandmarksLib.geometry.grid import Grid

    case = dataset.cases[0]
    image = read_volume_case(case)
    grid = Grid((8, 8), (36, 40), (0, 0, 8, 8))
    flat = replace(VolumeOracle(dataset).predict(image), grid=grid, masks=np.zeros((0, 8, 8), bool))
    with pytest.raises(InputError, match="expected a model for volumes, as necks is of volumes, got oracle"):
        measure_volume_case(flat, image, case, dataset)


def test_a_model_of_volumes_is_told_apart_from_radiographs_in_one_line(
    dataset: VolumeDataset, phantom_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from DenseLandmarksLib.models import registry

    radiographs = read_dataset(phantom_folder)
    case = replace(dataset.cases[0], image_path=radiographs.of_split("test").cases[0].image_path)
    knows_nothing = replace(dataset, landmark_names=radiographs.landmark_names[:4], cases=(case,))
    monkeypatch.setattr(registry, "open_predictor", lambda name, device="auto": VolumeOracle(knows_nothing))
    message = one_line_of("--model", "volumes", "--data", str(phantom_folder), "--report", "r.json")
    assert "expected a model for radiographs, as phantoms is of radiographs, got oracle" in message


def test_a_volume_that_became_a_slice_is_told(dataset: VolumeDataset) -> None:
    path = dataset.cases[2].image_path
    volume = read_image(path).volume
    sitk.WriteImage(volume[:, :, 3:4], str(path))
    with pytest.raises(InputError, match="expected a volume for case c"):
        report_of(dataset)


@pytest.fixture
def headneck_folder() -> Path:
    """Real head-and-neck CT volumes; they may not be passed on, so a clone elsewhere skips what needs them."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("DENSELANDMARKS_DATA") or beside) / "headneck_ct"
    if not (folder / "dataset.json").is_file():
        pytest.skip(f"needs the real volumes of headneck_ct, not found at {folder}; set DENSELANDMARKS_DATA")
    return folder


def middle_lps_mm(path: Path) -> NDArray[np.float64]:
    """Middle of a volume, by its header."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    axes = np.array(reader.GetDirection()).reshape(3, 3) * np.array(reader.GetSpacing())
    return np.array(reader.GetOrigin()) + axes @ ((np.array(reader.GetSize()) - 1) / 2)


def test_the_mean_position_in_real_data_has_its_known_error(headneck_folder: Path) -> None:
    """Guessing a landmark where it is on average, seen from the volume's middle, is 15 to 18 mm off (README of the data)."""
    real = read_volume_dataset(headneck_folder)
    middles = {case.name: middle_lps_mm(case.image_path) for case in real.cases}
    train, test = real.of_split("train"), real.of_split("test")
    mean = np.nanmean([case.points_lps_mm - middles[case.name] for case in train.cases], axis=0)
    guess = replace(real, cases=tuple(replace(c, points_lps_mm=middles[c.name] + mean) for c in real.cases))
    report = evaluate(VolumeOracle(guess), real, progress=False)
    for row, name in enumerate(real.landmark_names):
        found = report["landmarks"][name]["tre_mm"]
        errors = [np.linalg.norm(middles[c.name] + mean[row] - c.points_lps_mm[row]) for c in test.cases]
        assert found["mean"] == pytest.approx(np.nanmean(errors), abs=1e-6)
        assert 15 <= found["mean"] <= 18
        assert found["defined"] == np.isfinite(errors).sum()
    assert report["landmarks"]["chin"]["tre_mm"]["defined"] < 30  # not annotated in some, and not absent
    assert report["average"]["false_alarm_share"]["mean"] is None
