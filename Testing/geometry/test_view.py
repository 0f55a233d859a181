"""A radiograph lies in its file in one of eight ways: turned upright, every pixel and position must find its way back."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from DenseLandmarksLib.geometry.view import VIEWS, View

SIZES = [(3, 5), (5, 3), (4, 4), (1, 7), (33, 20)]  # height, width
STORED = np.array([[1, 2, 3], [4, 5, 6]])
# The eight by hand: turned clockwise by 0, 90, 180 and 270 degrees, then the same with left and right swapped.
SEEN = {
    View(0): [[1, 2, 3], [4, 5, 6]],
    View(90): [[4, 1], [5, 2], [6, 3]],
    View(180): [[6, 5, 4], [3, 2, 1]],
    View(270): [[3, 6], [2, 5], [1, 4]],
    View(0, True): [[3, 2, 1], [6, 5, 4]],
    View(90, True): [[1, 4], [2, 5], [3, 6]],
    View(180, True): [[4, 5, 6], [1, 2, 3]],
    View(270, True): [[6, 3], [5, 2], [4, 1]],
}
each_view = pytest.mark.parametrize("view", VIEWS, ids=str)
each_size = pytest.mark.parametrize("size", SIZES)


def pixels(size: tuple[int, int]) -> np.ndarray:
    """No two alike, so that a pixel in another place is another pixel."""
    return np.arange(size[0] * size[1]).reshape(size)


def points(size: tuple[int, int]) -> np.ndarray:
    """Positions x, y between pixels, some outside of the image."""
    return np.random.default_rng(size).uniform(-2, 1 + max(size), (40, 2))


def test_there_are_these_eight_views_and_no_other() -> None:
    assert set(VIEWS) == set(SEEN)
    assert len(VIEWS) == 8


@each_view
def test_a_radiograph_is_seen_as_the_view_says(view: View) -> None:
    np.testing.assert_array_equal(view.see(STORED), SEEN[view])


@each_view
@each_size
def test_a_structure_is_seen_where_its_position_says(view: View, size: tuple[int, int]) -> None:
    """Pixels and positions that go different ways would put every landmark beside its organ."""
    stored = pixels(size)
    seen = view.see(stored)
    assert view.seen_size(size) == seen.shape
    y, x = np.indices(size)
    x_seen, y_seen = view.to_seen(np.stack([x.ravel(), y.ravel()], axis=1), size).T
    # Pixel centres land on pixel centres exactly; half a pixel off would be rounded away below.
    np.testing.assert_array_equal(np.stack([x_seen, y_seen]), np.rint([x_seen, y_seen]))
    np.testing.assert_array_equal(seen[y_seen.astype(int), x_seen.astype(int)], stored.ravel())


@each_view
@each_size
def test_positions_come_back_from_what_the_model_saw(view: View, size: tuple[int, int]) -> None:
    at = points(size)
    np.testing.assert_allclose(view.to_stored(view.to_seen(at, size), size), at, atol=1e-12)
    np.testing.assert_allclose(view.to_seen(view.to_stored(at, size), size), at, atol=1e-12)


@each_view
@each_size
def test_masks_come_back_to_the_image_as_it_is_stored(view: View, size: tuple[int, int]) -> None:
    stored = pixels(size)
    np.testing.assert_array_equal(view.restore(view.see(stored)), stored)
    mask = stored % 3 == 0
    assert view.restore(view.see(mask)).dtype == bool


@each_view
@each_size
def test_undoing_a_view_is_a_view(view: View, size: tuple[int, int]) -> None:
    seen_size = view.seen_size(size)
    np.testing.assert_array_equal(view.inverse.see(view.see(pixels(size))), pixels(size))
    np.testing.assert_array_equal(view.inverse.see(pixels(seen_size)), view.restore(pixels(seen_size)))
    assert view.inverse.seen_size(seen_size) == size
    at = points(size)
    np.testing.assert_allclose(view.inverse.to_seen(view.to_seen(at, size), seen_size), at, atol=1e-12)
    assert view.inverse.inverse == view
    assert view.then(view.inverse) == View()


@pytest.mark.parametrize(("first", "second"), list(product(VIEWS, VIEWS)), ids=str)
def test_correcting_a_view_twice_is_one_correction(first: View, second: View) -> None:
    """A person turns what the model already sees turned: the order decides, and no turn may be lost."""
    size = (4, 7)
    both, between = first.then(second), first.seen_size(size)
    np.testing.assert_array_equal(both.see(pixels(size)), second.see(first.see(pixels(size))))
    at = points(size)
    np.testing.assert_allclose(both.to_seen(at, size), second.to_seen(first.to_seen(at, size), between), atol=1e-12)
    assert both.seen_size(size) == second.seen_size(between)


@each_view
def test_a_spread_turns_as_the_positions_do(view: View) -> None:
    """The matrix is the linear part of the way there: a mirror image has determinant -1, nothing is stretched."""
    origin, *tips = view.to_seen([[0, 0], [1, 0], [0, 1]], (5, 9))
    np.testing.assert_array_equal((np.stack(tips) - origin).T, view.matrix)
    np.testing.assert_array_equal(view.matrix @ view.matrix.T, np.eye(2))
    assert np.linalg.det(view.matrix) == pytest.approx(-1 if view.flip else 1)


def test_a_message_tells_the_views_apart() -> None:
    assert str(View()) == "as stored"
    assert str(View(90)) == "turned by 90 degrees clockwise"
    assert str(View(0, True)) == "mirrored"
    assert str(View(270, True)) == "turned by 270 degrees clockwise and mirrored"
    assert len({str(view) for view in VIEWS}) == 8


@pytest.mark.parametrize("turn_deg", [45, 360, -90, 1])
def test_only_quarter_turns_are_taken(turn_deg: int) -> None:
    with pytest.raises(ValueError, match=rf"0, 90, 180 or 270, got {turn_deg}$"):
        View(turn_deg)
