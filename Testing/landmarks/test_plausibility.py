"""Nonsense is noticed: what does not hold together is measured as such, without any truth at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from DenseLandmarksLib.landmarks.locate import Located
from DenseLandmarksLib.landmarks.plausibility import (
    DOUBTS,
    NOTHING_MM,
    doubts_of,
    measure_heat_plausibility,
    measure_plausibility,
)
from DenseLandmarksLib.landmarks.polygon import polygon_mask
from DenseLandmarksLib.landmarks.template import Template

GRID = (128, 128)
MM = 358.4 / 128  # per grid pixel


def points_of(template: Template) -> NDArray[np.float64]:
    return np.vstack([s.points_mm for s in template.structures]) / MM - 0.5


def located(points: NDArray[np.float64], sd_px: float = 1.0) -> Located:
    count = len(points)
    return Located(points, np.tile(sd_px**2 * np.eye(2), (count, 1, 1)), np.ones(count, bool), np.ones(count))


def masks_of(template: Template, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    ends = np.cumsum([len(s.points_mm) for s in template.structures])
    return np.stack([polygon_mask(part, GRID) for part in np.split(points, ends[:-1])])


def test_the_mean_shape_anywhere_and_of_any_size_is_plausible(chest_template: Template) -> None:
    angle = np.deg2rad(15)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = 0.8 * points_of(chest_template) @ turn.T + [30, 5]
    measures = measure_plausibility(located(points, 2.0), masks_of(chest_template, points), chest_template, GRID)
    assert measures["shape_residual_mm"] < 1e-9
    assert measures["disagreement"] == 0
    assert measures["spread_mm"] == pytest.approx(2.0 * MM / 0.8)  # in mm of the template, not of a small image


def test_landmarks_that_lie_elsewhere_are_measured_in_mm_of_the_template(chest_template: Template) -> None:
    points = 0.8 * points_of(chest_template)
    offsets = np.random.default_rng(0).normal(0, 5.0, points.shape)
    measures = measure_plausibility(located(points + offsets), masks_of(chest_template, points), chest_template, GRID)
    assert measures["shape_residual_mm"] == pytest.approx(5.0 * np.sqrt(2) * MM / 0.8, rel=0.1)


def test_masks_that_contradict_the_landmarks_are_noticed(chest_template: Template) -> None:
    points = points_of(chest_template)
    masks = masks_of(chest_template, points)
    masks[2] = np.roll(masks[2], 60, axis=1)  # the heart's mask beside the heart's landmarks
    measures = measure_plausibility(located(points), masks, chest_template, GRID)
    assert measures["disagreement"] == pytest.approx(1 / 5, abs=0.03)


def test_what_was_not_found_speaks_against_the_image(chest_template: Template) -> None:
    points = points_of(chest_template)
    masks = masks_of(chest_template, points)
    everything = located(points)
    heart = slice(80, 106)
    found = everything.found.copy()
    found[heart] = False
    masks[2] = False
    without_heart = replace(everything, found=found)
    assert measure_plausibility(without_heart, masks, chest_template, GRID)["disagreement"] == pytest.approx(0.2)
    nothing = replace(everything, found=np.zeros(len(points), bool))
    measures = measure_plausibility(nothing, np.zeros_like(masks), chest_template, GRID)
    assert measures == {"shape_residual_mm": NOTHING_MM, "disagreement": 1.0, "spread_mm": NOTHING_MM}


def test_all_landmarks_in_one_place_are_no_shape(chest_template: Template) -> None:
    points = np.full_like(points_of(chest_template), 40.0)
    measures = measure_plausibility(located(points), masks_of(chest_template, points), chest_template, GRID)
    assert all(np.isfinite(list(measures.values())))
    assert measures["spread_mm"] == NOTHING_MM


def test_landmarks_of_heatmaps_are_measured_by_their_shape_and_their_peaks(chest_template: Template) -> None:
    points = 0.8 * points_of(chest_template) + [10, 4]
    offsets = np.random.default_rng(0).normal(0, 5.0, points.shape)
    there, strength = np.ones(len(points), bool), np.full(len(points), 0.9)
    strength[:5] = 0.0
    measures = measure_heat_plausibility(points + offsets, there, strength, chest_template, GRID)
    assert measures["shape_residual_mm"] == pytest.approx(5.0 * np.sqrt(2) * MM / 0.8, rel=0.1)
    assert measures["peak_weakness"] == pytest.approx(0.1)
    # Landmarks that were not found are no part of the shape, and peaks higher than taught are not better than right.
    lost = there.copy()
    lost[:40] = False
    points[:40] = 3.0
    measures = measure_heat_plausibility(points, lost, np.full(len(points), 1.4), chest_template, GRID)
    assert measures == {"shape_residual_mm": pytest.approx(0, abs=1e-9), "peak_weakness": 0.0}
    two = np.arange(len(points)) < 2
    nothing = measure_heat_plausibility(points, two, 0 * strength, chest_template, GRID)
    assert nothing == {"shape_residual_mm": NOTHING_MM, "peak_weakness": 1.0}


def test_one_peak_on_something_else_is_no_other_shape(chest_template: Template) -> None:
    points = points_of(chest_template)
    noise = np.random.default_rng(0).normal(0, 2.0, points.shape)
    there, strength = np.ones(len(points), bool), np.ones(len(points))

    def residual_mm(points: NDArray[np.float64]) -> float:
        return measure_heat_plausibility(points, there, strength, chest_template, GRID)["shape_residual_mm"]

    plain = residual_mm(points + noise)
    assert plain == pytest.approx(2.0 * np.sqrt(2) * MM, rel=0.1)
    gross = noise.copy()
    gross[::9] += [70.0, -50.0]  # every ninth landmark is 240 mm off, which draws a fit to all away
    assert residual_mm(points + gross) < 1.2 * plain
    # What is another shape as a whole still is one: a mirrored chest, and one of which half is elsewhere.
    mirrored = points * [-1, 1] + [GRID[1], 0]
    assert residual_mm(mirrored + noise) > 3 * plain
    half = noise.copy()
    half[: len(half) // 2] += [30.0, 0.0]
    assert residual_mm(points + half) > 3 * plain
    # The other families' limits are of all landmarks.
    masks = masks_of(chest_template, points)
    everything = measure_plausibility(located(points + gross), masks, chest_template, GRID)
    assert everything["shape_residual_mm"] > 5 * plain


def test_a_doubt_names_what_was_measured_and_what_was_allowed() -> None:
    limits = {"shape_residual_mm": 20.0, "shape_sd": 3.0, "disagreement": 0.05, "spread_mm": 9.0, "peak_weakness": 0.3}
    assert doubts_of(limits, limits) == ()
    (doubt,) = doubts_of({**limits, "shape_residual_mm": 31.4}, limits)
    assert "31 mm" in doubt
    assert "20" in doubt
    assert len(doubts_of({name: 10 * limit for name, limit in limits.items()}, limits)) == len(DOUBTS)
    assert doubts_of({**limits, "spread_mm": 1e3}, {}) == ()
