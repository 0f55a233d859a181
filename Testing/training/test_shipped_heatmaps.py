"""The shipped models of heatmaps on real radiographs: what their cards say is what they do."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from DenseLandmarksLib.geometry.frames import lps_mm_from_pixels
from DenseLandmarksLib.geometry.view import AS_STORED, MIRRORED
from DenseLandmarksLib.landmarks.landmark_set import Presence
from DenseLandmarksLib.models.bundle import CARD, WEIGHTS, load_bundle
from DenseLandmarksLib.models.predictors.heatmap import HeatmapPredictor
from DenseLandmarksLib.models.registry import find_bundle, open_bundle
from training.alterations import seen_through
from training.cut_radiographs import CUTS
from training.cut_volumes import cut_volumes
from training.data import Dataset, read_dataset
from training.evaluate import evaluate, read_case

# What was promised on the test cases of each: the mean error and the share of errors of 10 mm or more.
PROMISED = {"hand-xray": ("hand", 1.0, 0.003), "ceph-xray": ("ceph", 1.33, 0.003)}


@pytest.fixture(scope="module", params=PROMISED)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def predictor(name: str) -> HeatmapPredictor:
    predictor = open_bundle(load_bundle(find_bundle(name)), "cpu")
    assert isinstance(predictor, HeatmapPredictor)
    return predictor


@pytest.fixture(scope="module")
def dataset(name: str, real_data: Callable[[str], Path]) -> Dataset:
    return read_dataset(real_data(PROMISED[name][0]))


@pytest.fixture(scope="module")
def report(predictor: HeatmapPredictor, dataset: Dataset) -> dict[str, Any]:
    return evaluate(predictor, dataset, progress=False)


def test_the_shipped_models_are_as_good_as_promised(name: str, report: dict[str, Any]) -> None:
    _, most_mm, most_far = PROMISED[name]
    pooled = report["all_landmarks"]
    assert pooled["tre_mm"]["mean"] <= most_mm
    assert pooled["outliers"]["10_mm"]["share"] <= most_far


def test_their_cards_tell_what_is_measured(name: str, report: dict[str, Any]) -> None:
    bundle = load_bundle(find_bundle(name))
    told = bundle.metadata["measured"]["all_landmarks"]["tre_mm"]["mean"]
    assert told == pytest.approx(report["all_landmarks"]["tre_mm"]["mean"], rel=0.02)
    card = (bundle.folder / CARD).read_text()
    assert "research use only" in card.lower()
    assert "calibrated on" in card
    assert bundle.metadata["training"]["recipe"]["network"]["reason"] in card
    assert (bundle.folder / WEIGHTS).stat().st_size < 16 * 2**20


def test_an_image_of_the_other_side_is_looked_at_in_the_mirror_and_is_as_good(
    predictor: HeatmapPredictor, dataset: Dataset
) -> None:
    errors_mm: dict[str, list[NDArray[np.float64]]] = {"stored": [], "mirrored": []}
    for case in dataset.of_split("test").cases[:4]:
        image = read_case(case, dataset)
        mirrored = seen_through(MIRRORED)(image, case.points_px, np.random.default_rng(0))
        for key, (seen, points_px) in {"stored": (image, case.points_px), "mirrored": mirrored}.items():
            prediction = predictor.predict(seen)
            assert prediction.plausibility.plausible, (case.name, key, prediction.plausibility.doubts)
            truth = lps_mm_from_pixels(seen.geometry, points_px)
            rows = prediction.landmarks.index_of(dataset.landmark_names)
            errors_mm[key].append(np.linalg.norm(prediction.landmarks.points_lps_mm[rows] - truth, axis=1))
    assert np.nanmean(errors_mm["mirrored"]) <= 1.2 * np.nanmean(errors_mm["stored"])


def test_what_a_cut_takes_away_is_called_absent(predictor: HeatmapPredictor, dataset: Dataset) -> None:
    """As often as the card says, nearly: these are few."""
    called: dict[float, list[bool]] = {0.0: [], 1.0: []}
    for seed, case in enumerate(dataset.of_split("test").cases[:6]):
        image = read_case(case, dataset)
        points_lps_mm = lps_mm_from_pixels(image.geometry, case.points_px)
        nowhere = np.zeros(len(points_lps_mm), bool)
        for cut, truth in islice(cut_volumes(image, points_lps_mm, nowhere, seed), CUTS):
            landmarks = predictor.predict(cut, AS_STORED).landmarks
            for row, there in zip(landmarks.index_of(dataset.landmark_names), truth, strict=True):
                if np.isfinite(there):
                    called[float(there)].append(landmarks.presence[row] is Presence.PRESENT)
    assert np.mean(called[1.0]) > 0.8
    assert np.mean(called[0.0]) < 0.15
