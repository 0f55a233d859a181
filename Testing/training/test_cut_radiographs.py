"""Radiographs that are cut: what is outside is not seen, what is left is seen as strongly as before."""

from __future__ import annotations

import numpy as np
import pytest

from DenseLandmarksLib.geometry.grid import fit_grid
from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.predictors.heatmap import HeatmapPredictor
from DenseLandmarksLib.models.registry import open_predictor
from Testing.models.disc_finder import GRID, SPACING_MM, marked_hand, patient, pixels_of, write_disc_finder
from training.calibrate_presence import PresenceEvidence, calibrate_presence
from training.cut_radiographs import CUTS, look_at_cut_radiographs

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


def test_what_was_cut_off_is_told_from_what_is_left(predictor: HeatmapPredictor) -> None:
    sights = [
        (seed, predictor.presence_features(seen), present)
        for seed in range(16)
        for seen, present in look_at_cut_radiographs(predictor, *on_grid(seed), seed)
    ]
    assert all(np.isnan(present[2]) for _, _, present in sights)  # nobody annotated it
    evidence = PresenceEvidence.of_looks(sights)
    there = evidence.present
    assert set(there.tolist()) == {0.0, 1.0}
    strength = evidence.features["strength"]
    # An image that was cut has other contrasts, by which this network tells discs apart.
    assert (strength[there == 1][:, None] > strength[there == 0]).mean() > 0.9
    _, measured = calibrate_presence(evidence)
    assert measured["sensitivity"] > 0.9
    assert measured["false_alarms"] < 0.2


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
    assert len(list(look_at_cut_radiographs(predictor, pixels, points, mm_per_pixel, 0))) == len(cuts) == CUTS
    for image in cuts:
        left = image.pixels_yx
        top, from_left, height, width = fit_grid(image, GRID).inner
        assert (height, width) == left.shape != GRID
        assert (top, from_left) == ((GRID[0] - height) // 2, (GRID[1] - width) // 2)
