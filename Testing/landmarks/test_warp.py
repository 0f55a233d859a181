"""What a person dragged is met exactly, and what lies between follows smoothly; far away nothing runs wild."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from DenseLandmarksLib.landmarks.warp import LOOSENESS, Warp, leave_one_out

FloatArray = NDArray[np.float64]


def ring(count: int = 40, dimension: int = 2) -> FloatArray:
    """Points (count, dimension) around an organ of 80 x 140 mm, in order; in space along a coil."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    plane = np.column_stack([128 + 40 * np.cos(angle), 120 + 70 * np.sin(angle)])
    return np.column_stack([plane, 10 * angle]) if dimension == 3 else plane


def bent(points: FloatArray) -> FloatArray:
    """A gentle map that no affine one is close to: its derivative differs from 1 by at most 0.25."""
    return points + 5 * np.sin(points[:, ::-1] / 20 + 1)


def everywhere(dimension: int = 2, count: int = 800) -> FloatArray:
    """Positions in and around the organ."""
    return np.random.default_rng(3).uniform(0, 250, (count, dimension))


def numerical_jacobian(warp: Warp, points: FloatArray, step: float = 1e-5) -> FloatArray:
    dimension = points.shape[1]
    columns = [
        (warp.backward(points + step * unit) - warp.backward(points - step * unit)) / (2 * step)
        for unit in np.eye(dimension)
    ]
    return np.stack(columns, axis=2)


# ---- what was given -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 60])
def test_given_points_are_met_exactly_both_ways(count: int, dimension: int) -> None:
    points = ring(count, dimension)
    warp = Warp.between(points, bent(points))
    np.testing.assert_allclose(warp.backward(bent(points)), points, rtol=0, atol=1e-9)
    np.testing.assert_allclose(warp.forward(points), bent(points), rtol=0, atol=1e-9)


def test_points_on_a_line_are_met_exactly_and_what_is_beside_them_goes_along() -> None:
    line = np.column_stack([np.linspace(0, 50, 11), np.linspace(0, 100, 11)])
    moved = line + np.column_stack([np.zeros(11), 4 * np.sin(np.linspace(0, np.pi, 11))])
    warp = Warp.between(line, moved)
    np.testing.assert_allclose(warp.forward(line), moved, rtol=0, atol=1e-9)
    beside = line[5] + np.array([1.0, -0.5])
    np.testing.assert_allclose(warp.forward(beside[None])[0] - beside, [0, 4], atol=0.2)


@pytest.mark.parametrize("dimension", [2, 3])
def test_where_nothing_moved_nothing_changes_to_the_last_bit(dimension: int) -> None:
    points, places = ring(30, dimension), everywhere(dimension)
    warp = Warp.between(points, points.copy())
    assert warp.is_identity
    for moved in (warp.forward(places), warp.backward(places)):
        np.testing.assert_array_equal(moved, places)
        assert not np.shares_memory(moved, places)
    assert warp.fold_over(places) is None
    np.testing.assert_array_equal(warp.backward_jacobian(places[:2]), np.tile(np.eye(dimension), (2, 1, 1)))


def test_without_points_it_is_the_identity() -> None:
    assert Warp.between(np.zeros((0, 2)), np.zeros((0, 2))).is_identity


@pytest.mark.parametrize("count", [1, 2, 30])
def test_what_moved_as_one_moves_everything_as_one(count: int) -> None:
    shift = np.array([7.0, -3.0])
    warp = Warp.between(ring(count), ring(count) + shift)
    assert not warp.is_identity
    np.testing.assert_allclose(warp.forward(everywhere()), everywhere() + shift, atol=1e-9)
    np.testing.assert_allclose(warp.backward(everywhere()), everywhere() - shift, atol=1e-9)


# ---- what lies between and around -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dimension", [2, 3])
def test_forward_and_backward_undo_each_other_everywhere(dimension: int) -> None:
    points, places = ring(50, dimension), everywhere(dimension)
    warp = Warp.between(points, bent(points))
    assert warp.fold_over(places) is None
    np.testing.assert_allclose(warp.backward(warp.forward(places)), places, rtol=0, atol=1e-6)
    np.testing.assert_allclose(warp.forward(warp.backward(places)), places, rtol=0, atol=1e-6)


def test_a_steep_map_that_does_not_fold_is_undone_everywhere() -> None:
    """Newton's full steps alone end nowhere for one place in thirty."""
    moved = ring() + 11 * np.sin(ring()[:, ::-1] / 8 + 1)
    warp, places = Warp.between(ring(), moved), everywhere(count=5000)
    assert warp.fold_over(np.vstack([places, moved])) is None
    np.testing.assert_allclose(warp.backward(warp.forward(places)), places, rtol=0, atol=1e-6)


def test_the_inside_of_a_bent_structure_bends_along() -> None:
    """Known at the contour only, the inside is found to a fifth of what it moves."""

    def slowly_bent(points: FloatArray) -> FloatArray:
        return points + 8 * np.sin(points[:, ::-1] / 50 + 1)

    warp = Warp.between(ring(), slowly_bent(ring()))
    inside = np.vstack([share * (ring() - [128, 120]) + [128, 120] for share in (0.2, 0.5, 0.8)])
    error = np.linalg.norm(warp.forward(inside) - slowly_bent(inside), axis=1)
    assert error.mean() < 0.2 * np.linalg.norm(slowly_bent(inside) - inside, axis=1).mean()


def test_far_away_it_does_what_it_does_at_the_points_where_a_thin_plate_runs_away() -> None:
    """A clavicle is thin: what stretches it across would send everything beside it out of the image."""
    along = np.linspace(0, 100, 12)
    thin = np.vstack([np.column_stack([along, np.zeros(12)]), np.column_stack([along, np.full(12, 9.0)])])
    moved = thin.copy()
    moved[12:, 1] += 3 * np.sin(np.linspace(0, np.pi, 12))
    far = np.array([[50.0, 300.0], [50.0, -300.0], [400.0, 0.0], [-300.0, 50.0]])
    displaced = np.linalg.norm(Warp.between(thin, moved).backward(far) - far, axis=1)
    plate = np.linalg.norm(RBFInterpolator(moved, thin)(far) - far, axis=1)
    assert displaced.max() < 4
    assert plate.max() > 15


def test_the_same_at_another_scale_in_another_place_and_another_order() -> None:
    points, places, order = ring(), everywhere(), np.random.default_rng(0).permutation(40)
    certain = np.arange(40) % 3 == 0
    expected = Warp.between(points, bent(points), certain).backward(places)
    rotation = np.array([[0.6, -0.8], [0.8, 0.6]])

    def elsewhere(positions: FloatArray) -> FloatArray:
        return 0.07 * positions @ rotation.T + [900, -20]

    warp = Warp.between(elsewhere(points)[order], elsewhere(bent(points))[order], certain[order])
    np.testing.assert_allclose(warp.backward(elsewhere(places)), elsewhere(expected), atol=1e-7)


@pytest.mark.parametrize("dimension", [2, 3])
def test_it_is_smooth_at_the_points_too(dimension: int) -> None:
    points = ring(30, dimension)
    moved = bent(points)
    warp = Warp.between(points, moved)
    places = np.vstack([moved, everywhere(dimension)])
    np.testing.assert_allclose(warp.backward_jacobian(places), numerical_jacobian(warp, places), atol=1e-6)
    step = 1e-4 * np.eye(dimension)[0]
    across = warp.backward_jacobian(moved + step) - warp.backward_jacobian(moved - step)
    assert np.abs(across).max() < 1e-2


# ---- points in one place, and points that need not be met ------------------------------------------------------------


@pytest.mark.parametrize("gap", [0.0, 1e-12, 1e-3])
def test_points_dragged_into_one_place_are_met_at_their_mean_and_the_others_exactly(gap: float) -> None:
    points, moved = ring(), bent(ring())
    moved[7] = moved[8] + gap
    warp = Warp.between(points, moved)
    np.testing.assert_allclose(warp.backward(moved[7:9]), np.tile(points[7:9].mean(axis=0), (2, 1)), atol=0.01)
    others = np.delete(np.arange(40), [7, 8])
    np.testing.assert_allclose(warp.backward(moved[others]), points[others], rtol=0, atol=1e-8)
    # And nothing swings out: no place goes farther than the two points that were dragged together.
    displaced = np.linalg.norm(warp.backward(everywhere()) - everywhere(), axis=1)
    assert displaced.max() < 2 * np.linalg.norm(moved - points, axis=1).max()


def test_points_predicted_in_one_place_can_be_pulled_apart() -> None:
    points = ring()
    points[7] = points[8]
    moved = points.copy()
    moved[7] += [-6, 2]
    warp = Warp.between(points, moved)
    np.testing.assert_allclose(warp.backward(moved), points, atol=1e-8)
    assert np.isfinite(warp.forward(everywhere())).all()


def test_all_points_in_one_place_are_a_shift() -> None:
    warp = Warp.between(np.tile([3.0, 4.0], (5, 1)), np.tile([5.0, 1.0], (5, 1)))
    np.testing.assert_allclose(warp.forward([[0.0, 0.0]]), [[2, -3]], atol=1e-12)
    loose = Warp.between(np.tile([3.0, 4.0], (5, 1)), np.tile([5.0, 1.0], (5, 1)), np.zeros(5, bool))
    np.testing.assert_allclose(loose.forward([[0.0, 0.0]]), [[2, -3]], atol=1e-9)


def bunched() -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """A contour whose landmarks the model bunched up in the wrong order, and one corrected landmark beside them."""
    points = ring()
    points[10], points[11] = (
        points[10] + 0.52 * (points[11] - points[10]),
        points[10] + 0.48 * (points[11] - points[10]),
    )
    moved = points.copy()
    # The neighbours follow the corrected one, the nearer the more.
    share = np.exp(-np.abs(np.arange(40) - 8) / 4)
    moved += share[:, None] * [6.0, 10.0]
    certain = np.zeros(40, bool)
    certain[8] = True
    return points, moved, certain


def test_what_must_not_be_met_gives_way_instead_of_tearing_the_image() -> None:
    points, moved, certain = bunched()
    exact, loose = Warp.between(points, moved), Warp.between(points, moved, certain)
    assert exact.fold_over(moved) is not None
    assert loose.fold_over(moved) is None
    np.testing.assert_allclose(loose.backward(moved[certain]), points[certain], rtol=0, atol=1e-9)
    missed = np.linalg.norm(loose.backward(moved) - points, axis=1)
    spacing = np.median(cKDTree(moved).query(moved, 2)[0][:, 1])
    assert 0 < missed.max() < LOOSENESS * spacing


# ---- folds -----------------------------------------------------------------------------------------------------------


def test_a_landmark_dragged_across_the_organ_is_a_fold_where_it_was_dragged_to() -> None:
    points, moved = ring(), ring()
    moved[10] = moved[30] + [0, -15.0]  # from the bottom to just below the top
    warp = Warp.between(points, moved)
    places = everywhere(count=4000)
    fold = warp.fold_over(places)
    assert fold is not None
    determinants = np.linalg.det(numerical_jacobian(warp, places))
    assert fold.determinant == pytest.approx(determinants.min(), rel=1e-3, abs=1e-3)
    np.testing.assert_array_equal(fold.point, places[determinants.argmin()])
    assert fold.determinant < 0
    assert fold.share == pytest.approx((determinants <= 0).mean(), abs=1e-3)
    assert 0 < fold.share < 0.5


def test_a_gentle_correction_is_no_fold() -> None:
    warp = Warp.between(ring(), bent(ring()))
    assert warp.fold_over(everywhere()) is None
    assert warp.fold_over(np.zeros((0, 2))) is None


def test_the_way_forward_through_a_fold_ends_somewhere() -> None:
    points, moved = ring(), ring()
    moved[10] = moved[30] + [0, -15.0]
    forward = Warp.between(points, moved).forward(everywhere())
    assert np.isfinite(forward).all()


# ---- how far it can be trusted ----------------------------------------------------------------------------------------


def test_leaving_each_point_out_in_turn_gives_the_errors_at_once() -> None:
    points, moved = ring(25), bent(ring(25))
    kept = ~np.eye(25, dtype=bool)
    # The radius belongs to the whole set: the median spacing of a ring does not change when one point is missing.
    expected = [
        np.linalg.norm(Warp.between(points[rows], moved[rows]).backward(moved[[i]]) - points[i])
        for i, rows in enumerate(kept)
    ]
    np.testing.assert_allclose(leave_one_out(points, moved), expected, rtol=0.02)


def test_too_few_points_say_nothing_about_the_error() -> None:
    assert len(leave_one_out(ring(1), bent(ring(1)))) == 0
    assert len(leave_one_out(np.zeros((0, 2)), np.zeros((0, 2)))) == 0


@pytest.mark.parametrize(
    ("points_from", "points_to", "certain"),
    [
        (np.zeros((3, 2)), np.zeros((4, 2)), None),
        (np.zeros((3, 4)), np.zeros((3, 4)), None),
        (np.zeros(2), np.zeros(2), None),
        (np.zeros((3, 2)), np.full((3, 2), np.nan), None),
        (np.zeros((3, 2)), np.ones((3, 2)), np.ones(2, bool)),
    ],
    ids=["other numbers", "4D", "one axis", "NaN", "certain of others"],
)
def test_what_is_no_pair_of_point_sets_is_refused(
    points_from: FloatArray, points_to: FloatArray, certain: NDArray[np.bool_] | None
) -> None:
    with pytest.raises(ValueError, match=r"expected .*, got"):
        Warp.between(points_from, points_to, certain)
