"""Grey values from -1 to 1, whatever a volume is stored as and padded with."""

from __future__ import annotations

import numpy as np
import pytest

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.intensity import IntensityRecipe, normalised


def test_a_window_becomes_minus_one_to_one_and_the_rest_is_cut_off() -> None:
    limits = IntensityRecipe("window", -200, 300).limits_of(np.array([1e6]))
    values = np.array([-3024, -200, 50, 300, 30000], np.int16)
    np.testing.assert_allclose(normalised(values, limits), [-1, -1, 0, 1, 1], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_the_type_of_a_volume_does_not_matter(dtype: type) -> None:
    values = np.array([0, 50, 100, 200], dtype)
    found = normalised(values, (0, 200))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [-1, -0.5, 0, 1], atol=1e-6)


def test_what_is_no_number_is_as_dark_as_outside() -> None:
    found = normalised(np.array([np.nan, -np.inf, np.inf, 1e38]), (0, 100))
    np.testing.assert_array_equal(found, [-1, -1, 1, 1])


def test_percentiles_are_those_above_the_padding() -> None:
    inside = np.linspace(100, 200, 1001)
    values = np.concatenate([np.full(5000, -3024.0), inside, [np.nan] * 100])
    assert IntensityRecipe("percentiles", 10, 90).limits_of(values) == pytest.approx((110, 190))


def test_scanners_that_count_otherwise_give_the_same_greys() -> None:
    recipe = IntensityRecipe("percentiles", 5, 95)
    values = np.random.default_rng(0).normal(300, 40, 500)
    one, other = (normalised(of, recipe.limits_of(of)) for of in (values, 7 * values + 1000))
    np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("values", [np.zeros(0), np.full(5, np.nan), np.full(5, 7.0)])
def test_an_empty_volume_is_no_crash(values: np.ndarray) -> None:
    found = normalised(values, IntensityRecipe("percentiles", 1, 99).limits_of(values))
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("window", 3, 3), ("window", np.nan, 1), ("percentiles", -1, 50), ("range", 0, 1)]
)
def test_limits_that_are_none_are_told(kind: str, low: float, high: float) -> None:
    with pytest.raises(InputError, match=r"expected intensity as .* low below high, got"):
        IntensityRecipe(kind, low, high)  # type: ignore[arg-type]
