"""The shipped model on real radiographs: what its card says is what it does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DenseLandmarksLib.geometry.read_image import read_image
from DenseLandmarksLib.geometry.view import View
from DenseLandmarksLib.models.bundle import CARD, WEIGHTS, load_bundle
from DenseLandmarksLib.models.predictors.dense_shape import DenseShapePredictor
from DenseLandmarksLib.models.registry import find_bundle, open_bundle
from training.alterations import ALTERATIONS, seen_through
from training.data import Dataset, read_dataset
from training.evaluate import evaluate, read_case
from training.robustness import LIMIT, measure_alteration

# What was promised on jsrt test; DenseSeg as published has 5.8 mm, 2.6 mm and 90.8 %.
AT_MOST = {"tre_mm": 5.2, "asd_one_sided_mm": 2.4, "missed_share": 0.005}
AT_LEAST = {"dsc": 94.3}


@pytest.fixture(scope="module")
def predictor() -> DenseShapePredictor:
    return open_bundle(load_bundle(find_bundle("chest-xray")), "cpu")


@pytest.fixture(scope="module")
def cases(jsrt_folder: Path) -> Dataset:
    return read_dataset(jsrt_folder).of_split("test")


@pytest.fixture(scope="module")
def report(jsrt_folder: Path, predictor: DenseShapePredictor) -> dict[str, Any]:
    return evaluate(predictor, read_dataset(jsrt_folder), progress=False)


def test_the_shipped_model_is_as_good_as_promised(report: dict[str, Any]) -> None:
    assert report["cases"] == 40
    for metric, limit in AT_MOST.items():
        assert report["average"][metric]["mean"] <= limit, metric
    for metric, limit in AT_LEAST.items():
        assert report["average"][metric]["mean"] >= limit, metric


def test_its_card_tells_what_is_measured(report: dict[str, Any]) -> None:
    bundle = load_bundle(find_bundle("chest-xray"))
    for metric in (*AT_MOST, *AT_LEAST):
        told = bundle.metadata["measured"]["average"][metric]["mean"]
        assert told == pytest.approx(report["average"][metric]["mean"], abs=0.02), metric
    card = (bundle.folder / CARD).read_text()
    assert f"{report['average']['tre_mm']['mean']:.2f} ±" in card
    assert "research use only" in card.lower()
    assert "`jsrt`" in card
    assert (bundle.folder / WEIGHTS).stat().st_size < 16 * 2**20


# ---- images as they come (python -m training robustness measures all of them) ---------------------------------------


@pytest.mark.parametrize("name", ALTERATIONS)
def test_what_films_go_through_costs_little(name: str, predictor: DenseShapePredictor, cases: Dataset) -> None:
    some = replace(cases, cases=cases.cases[::7])
    plain = [predictor.predict(read_case(case, some)) for case in some.cases]
    assert measure_alteration(predictor, some, plain, name, ALTERATIONS[name])["ratio"] <= LIMIT


def test_a_chest_is_believed_and_a_mirrored_one_is_not(predictor: DenseShapePredictor, cases: Dataset) -> None:
    doubted = noticed = 0
    for case in cases.cases[::2]:
        image = read_case(case, cases)
        doubted += not predictor.predict(image).plausibility.plausible
        mirrored, _ = seen_through(View(flip=True))(image, case.points_px, np.random.default_rng(0))
        noticed += predictor.predict(mirrored).plausibility.suggested_view == View(flip=True)
    assert doubted <= 1
    assert noticed >= 19


@pytest.mark.parametrize("kind", ["hand", "ceph"])
def test_a_hand_or_a_skull_is_no_chest(kind: str, predictor: DenseShapePredictor, jsrt_folder: Path) -> None:
    folder = jsrt_folder.parent / kind
    if not (folder / "dataset.json").is_file():
        pytest.skip(f"needs the real radiographs of {kind}, not found at {folder}")
    paths = [case.image_path for case in read_dataset(folder).cases[::10]]
    doubted = [not predictor.predict(read_image(path)).plausibility.plausible for path in paths]
    assert sum(doubted) >= 0.95 * len(paths)
