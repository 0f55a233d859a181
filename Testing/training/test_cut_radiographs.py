"""Radiographs that are cut: what is outside is not seen, what is left is seen as strongly as before."""

from __future__ import annotations

import numpy as np
import pytest

from DenseLandmarksLib.geometry.grid import fit_grid
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.predictors.heatmap import HeatmapPredictor
from DenseLandmarksLib.models.registry import open_predictor
from Testing.models.disc_finder import GRID, SPACING_MM, marked_hand, patient, pixels_of, write_disc_finder
from training.cut_radiographs import (
    CUTS,
    CutSight,
    called_in_cuts,
    joined_sights,
    look_at_cut_radiographs,
    lowered_for_cuts,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> HeatmapPredictor:
    opened = open_predictor(str(write_disc_finder(tmp_path_factory.mktemp("discs") / "discs")), "cpu")
    assert isinstance(opened, HeatmapPredictor)
    return opened


def on_grid(seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Grid pixels, landmarks on the grid and mm per pixel of a hand, one of whose discs nobody annotated."""
    image = marked_hand(patient(seed))
    grid = fit_grid(image, GRID)
    points = grid.from_pixels(pixels_of(patient(seed)))
    points[2] = np.nan
    return grid.resample(image.pixels_yx), points, float(grid.pixel_size([SPACING_MM] * 2)[0])


def test_what_was_cut_off_is_seen_weakly_and_what_is_left_as_before(predictor: HeatmapPredictor) -> None:
    sights = [look_at_cut_radiographs(predictor, *on_grid(seed), seed) for seed in range(6)]
    assert all(len(sight.strength) == len(sight.present) > 0 for sight in sights)
    joined = joined_sights(sights)
    seen, there = joined.strength, joined.present
    assert set(there.tolist()) == {0.0, 1.0}
    # An image that was cut has other contrasts, by which this network tells discs apart.
    assert (seen[there == 1][:, None] > seen[there == 0]).mean() > 0.9
    called = called_in_cuts(joined, 0.4)
    assert called["called_present_though_absent_share"] == np.mean(seen[there == 0] >= 0.4) < 0.2
    assert called["called_absent_in_cuts_share"] == np.mean(seen[there == 1] < 0.4) < 0.1
    assert (called["absent_in_cuts"], called["present_in_cuts"]) == ((there == 0).sum(), (there == 1).sum())


def test_what_is_left_keeps_its_size_and_lies_in_the_middle(
    predictor: HeatmapPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, points, mm_per_pixel = on_grid(1)
    cuts: list[MedicalImage] = []
    look = HeatmapPredictor.look

    def note(self: HeatmapPredictor, image: MedicalImage) -> object:
        cuts.append(image)
        return look(self, image)

    monkeypatch.setattr(HeatmapPredictor, "look", note)
    look_at_cut_radiographs(predictor, pixels, points, mm_per_pixel, 0)
    assert len(cuts) == CUTS
    for image in cuts:
        left = image.pixels_yx
        top, from_left, height, width = fit_grid(image, GRID).inner
        assert (height, width) == left.shape != GRID
        assert (top, from_left) == ((GRID[0] - height) // 2, (GRID[1] - width) // 2)


def test_shares_of_nothing_are_none() -> None:
    called = called_in_cuts(CutSight(np.zeros(0), np.zeros(0)), 0.5)
    assert (called["called_present_though_absent_share"], called["absent_in_cuts"]) == (None, 0)
    wrong = called_in_cuts(CutSight(np.array([0.9, 0.1, 0.9, 0.2]), np.array([0.0, 0.0, 1.0, 1.0])), 0.5)
    assert (wrong["called_present_though_absent_share"], wrong["called_absent_in_cuts_share"]) == (0.5, 0.5)


def test_the_strength_of_whole_images_is_lowered_where_cut_ones_would_lose_what_is_left() -> None:
    rng = np.random.default_rng(0)
    present = np.repeat([1.0, 0.0], 200)
    cuts = CutSight(np.concatenate([rng.uniform(0.5, 0.9, 200), rng.uniform(0.0, 0.52, 200)]), present)
    lowered = lowered_for_cuts(0.95, cuts)
    assert 0.49 < lowered < 0.53
    before, after = (called_in_cuts(cuts, at) for at in (0.95, lowered))
    assert (before["called_absent_in_cuts_share"], before["called_present_though_absent_share"]) == (1, 0)
    assert sum(after[f"called_{name}_share"] or 0 for name in ("absent_in_cuts", "present_though_absent")) < 0.05
    # It is raised for nothing, and stays where cut images say nothing.
    assert lowered_for_cuts(0.2, cuts) == 0.2
    assert lowered_for_cuts(0.95, CutSight(np.full(400, 0.4), present)) == 0.95
    assert lowered_for_cuts(0.95, CutSight(np.zeros(0), np.zeros(0))) == 0.95
