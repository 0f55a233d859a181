"""Every measure against a truth that can be written down."""

from __future__ import annotations

import numpy as np
import pytest

from DenseLandmarksLib.landmarks.polygon import contour_tangents
from training.metrics import (
    bootstrap_ci95,
    bootstrap_median_ci95,
    bootstrap_pooled_ci95,
    dice_percent,
    is_simple_polygon,
    landmark_errors_mm,
    landmark_surface_distances_mm,
    rank_correlation,
    surface_distances_mm,
    within_ellipse,
)


def _box(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((40, 50), bool)
    mask[rows, columns] = True
    return mask


def test_dice_of_half_overlapping_boxes() -> None:
    assert dice_percent(_box(slice(0, 10), slice(0, 10)), _box(slice(0, 10), slice(5, 15))) == 50.0


def test_dice_of_what_is_absent_and_not_found_is_perfect_and_of_a_miss_is_zero() -> None:
    nothing, something = np.zeros((40, 50), bool), _box(slice(0, 10), slice(0, 10))
    assert dice_percent(nothing, nothing) == 100.0
    assert dice_percent(nothing, something) == 0.0


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [(slice(13, 14), slice(10, 30), 3 * 2.0), (slice(10, 11), slice(30, 31), 0.5)],
)
def test_surface_distance_follows_the_spacing_of_its_axis(rows: slice, columns: slice, expected: float) -> None:
    truth = _box(slice(10, 11), slice(10, 30))
    assert surface_distances_mm(_box(rows, columns), truth, (2.0, 0.5)).predicted_to_truth_mm == pytest.approx(expected)


def test_a_part_that_was_not_found_shows_in_the_symmetric_distance_only() -> None:
    predicted = _box(slice(10, 11), slice(10, 11))
    truth = predicted | _box(slice(10, 11), slice(20, 21))
    found = surface_distances_mm(predicted, truth, (2.0, 0.5))
    assert found.predicted_to_truth_mm == 0
    assert found.asd_mm == pytest.approx((0 + 0 + 10 * 0.5) / 3)


def test_surface_is_the_border_and_not_the_area() -> None:
    # Concentric squares, 4 pixels apart: along the sides every distance is 4; the corners make it a little more.
    distance = surface_distances_mm(_box(slice(6, 26), slice(6, 26)), _box(slice(10, 22), slice(10, 22)), (1.0, 1.0))
    assert 4.0 < distance.asd_mm < 4.4


def test_distance_to_nothing_does_not_exist() -> None:
    nothing, something = np.zeros((40, 50), bool), _box(slice(0, 10), slice(0, 10))
    for pair in ((nothing, something), (something, nothing), (nothing, nothing)):
        assert np.isnan(surface_distances_mm(*pair, (1.0, 1.0))).all()
    assert np.isnan(landmark_surface_distances_mm([[3, 4]], nothing, (1.0, 1.0))).all()


def test_landmark_to_surface_is_the_papers_distance_map() -> None:
    truth = _box(slice(None), slice(0, 10))
    # On the border between pixels 9 and 10, ten pixels outside, five pixels inside, and beyond the array's border.
    points = [[9.5, 20.0], [19.0, 20.3], [5.0, 20.0], [70.0, 20.0]]
    found = landmark_surface_distances_mm(points, truth, (2.0, 0.5))
    np.testing.assert_allclose(found, [0.0, 10 * 0.5, 5 * 0.5, 40 * 0.5], atol=1e-9)


DIAMOND = np.array([[10.0, 0.0], [0.0, 10.0], [-10.0, 0.0], [0.0, -10.0]])


def test_a_shift_splits_into_its_parts_across_and_along_the_contour() -> None:
    errors = landmark_errors_mm(DIAMOND + np.array([3, 4]), DIAMOND, contour_tangents(DIAMOND))
    np.testing.assert_allclose(errors.tre_mm, 5)
    np.testing.assert_allclose(errors.normal_mm, [3, 4, 3, 4])
    np.testing.assert_allclose(errors.tangential_mm, [4, 3, 4, 3])


def test_sliding_along_a_straight_contour_is_tangential_only() -> None:
    line = np.array([[0, 0], [1, 1], [2, 2], [3, 3], [0, 6]], float)
    errors = landmark_errors_mm(line + 0.5, line, contour_tangents(line))
    np.testing.assert_allclose(errors.normal_mm[1:3], 0, atol=1e-12)
    np.testing.assert_allclose(errors.tangential_mm[1:3], np.sqrt(0.5))


def test_components_make_up_the_error_in_space_as_well() -> None:
    rng = np.random.default_rng(0)
    truth, points = rng.normal(size=(2, 12, 3))
    errors = landmark_errors_mm(points, truth, contour_tangents(truth))
    np.testing.assert_allclose(errors.normal_mm**2 + errors.tangential_mm**2, errors.tre_mm**2)


def test_without_a_direction_the_error_counts_as_normal_and_without_a_contour_it_is_not_split() -> None:
    two = np.array([[0.0, 0.0], [4.0, 0.0]])  # the previous point of each is its next one
    np.testing.assert_allclose(landmark_errors_mm(two + 1, two, contour_tangents(two)).normal_mm, np.sqrt(2))
    assert np.isnan(landmark_errors_mm(two + 1, two).normal_mm).all()


def test_a_contour_is_told_from_scattered_points() -> None:
    assert is_simple_polygon(DIAMOND)
    assert not is_simple_polygon(DIAMOND[[0, 2, 1, 3]])
    assert not is_simple_polygon(DIAMOND[:2])


def test_bootstrap_interval_has_the_width_of_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(7, 2, 400)
    low, high = bootstrap_ci95(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert bootstrap_ci95(values) == (low, high)
    assert bootstrap_ci95([3.0, 3.0]) == (3.0, 3.0)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")]])
def test_bootstrap_never_averages_what_is_undefined(values: list[float]) -> None:
    with pytest.raises(ValueError, match="one defined value per case"):
        bootstrap_ci95(values)


def test_a_pooled_mean_varies_with_the_cases_and_each_weighs_by_its_values() -> None:
    means = np.random.default_rng(2).normal(7, 2, 60)
    equal = bootstrap_pooled_ci95(5 * means, np.full(60, 5))
    np.testing.assert_allclose(equal, bootstrap_ci95(means))
    # Cases with nine values of 1 and cases with one of 11: of all values the mean is 2, of the cases' means 6.
    assert bootstrap_pooled_ci95([9, 11, 0], [9, 1, 0]) == (1, 11)
    low, high = bootstrap_pooled_ci95([9, 11] * 200, [9, 1] * 200)
    assert 1.7 < low < 2 < high < 2.3


def test_the_interval_of_a_median_resamples_cases_and_not_their_values() -> None:
    rng = np.random.default_rng(5)
    offsets = rng.normal(10, 2, 100)
    alike = [offset + rng.normal(0, 0.01, 50) for offset in offsets]
    low, high = bootstrap_median_ci95([*alike, np.zeros(0)], n=500)
    assert low < np.median(offsets) < high
    assert high - low == pytest.approx(2 * 1.96 * 1.2533 * 2 / 10, rel=0.35)  # of 100 values, not of 5000
    uneven = [np.arange(count, dtype=float) for count in (1, 2, 4, 5)]
    drawn = np.random.default_rng(0).integers(0, 4, (50, 4))
    medians = [np.median(np.concatenate([uneven[case] for case in draw])) for draw in drawn]
    assert bootstrap_median_ci95(uneven, n=50) == pytest.approx(tuple(np.percentile(medians, [2.5, 97.5])))


def test_a_pooled_interval_of_nothing_or_of_the_undefined_is_none() -> None:
    with pytest.raises(ValueError, match="needs a case with defined values"):
        bootstrap_pooled_ci95([0, 0], [0, 0])
    with pytest.raises(ValueError, match="needs defined values"):
        bootstrap_median_ci95([np.zeros(0)])
    with pytest.raises(ValueError, match="needs defined values"):
        bootstrap_median_ci95([np.array([1.0, np.nan])])


def test_ninety_percent_of_gaussian_errors_lie_in_their_ellipse_also_on_a_flat_image() -> None:
    rng = np.random.default_rng(3)
    plane = np.array([[4.0, 1.5, 0.0], [1.5, 1.0, 0.0], [0.0, 0.0, 0.0]])
    truth = rng.multivariate_normal(np.zeros(3), plane, 20_000)
    inside = within_ellipse(np.zeros_like(truth), truth, np.broadcast_to(plane, (len(truth), 3, 3)))
    assert inside.mean() == pytest.approx(0.9, abs=0.01)
    too_sure = within_ellipse(np.zeros_like(truth), truth, np.broadcast_to(plane / 4, (len(truth), 3, 3)))
    assert too_sure.mean() == pytest.approx(1 - 0.1**0.25, abs=0.02)


# Not along the axes, and many times as long as it is wide.
SLANTED = np.array([[100.0, 9.0, -4.0], [9.0, 4.0, 0.5], [-4.0, 0.5, 0.8]])


def test_ninety_percent_of_gaussian_errors_lie_in_their_ellipsoid_in_space() -> None:
    truth = np.random.default_rng(4).multivariate_normal(np.zeros(3), SLANTED, 20_000)
    each = np.broadcast_to(SLANTED, (len(truth), 3, 3))
    assert within_ellipse(np.zeros_like(truth), truth, each).mean() == pytest.approx(0.9, abs=0.01)
    assert within_ellipse(np.zeros_like(truth), truth, each, level=0.5).mean() == pytest.approx(0.5, abs=0.02)


def test_the_ellipsoid_ends_where_chi_square_with_three_degrees_says() -> None:
    # papers.md, section 2.4: chi2_3(0.9) = 6.251; with the 4.605 of two degrees the first point would be outside.
    points = np.array([[2 * np.sqrt(6.25), 0, 0], [2 * np.sqrt(6.26), 0, 0]])
    inside = within_ellipse(points, np.zeros((2, 3)), np.broadcast_to(4 * np.eye(3), (2, 3, 3)))
    assert inside.tolist() == [True, False]


def test_who_claims_to_be_certain_along_an_axis_is_wrong_by_any_error_along_it() -> None:
    flat = np.diag([4.0, 4.0, 0.0])
    inside = within_ellipse(
        [[1, 1, 0], [1, 1, 0.1], [0, 0, 0], [0.5, 0, 0]], np.zeros((4, 3)), np.array([flat, flat, 0 * flat, 0 * flat])
    )
    assert inside.tolist() == [True, False, True, False]


def test_a_larger_region_for_a_larger_error_is_a_correlation_of_one() -> None:
    assert rank_correlation([1, 2, np.nan, 30, 4], [0.1, 0.2, 7, 9, 0.4]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert np.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))
    assert np.isnan(rank_correlation([1, 2], [1, 2]))
