"""The shipped models of volumes on real ones: what their cards say is what they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from DenseLandmarksLib.models.bundle import CARD, WEIGHTS, load_bundle
from DenseLandmarksLib.models.registry import find_bundle, open_bundle
from training.evaluate import evaluate
from training.volume_data import read_volume_dataset

# What was promised on the test cases of each: the mean error and the share beyond 10 mm.
PROMISED = {"headneck-ct": ("headneck_ct", 5.5, 0.05), "mouse-skull": ("mouse_ct", 0.40, 0.0)}


@pytest.fixture(scope="module", params=PROMISED)
def report(request: pytest.FixtureRequest, real_data: Callable[[str], Path]) -> dict[str, Any]:
    data, _, _ = PROMISED[request.param]
    predictor = open_bundle(load_bundle(find_bundle(request.param)), "cpu")
    return {"name": request.param, **evaluate(predictor, read_volume_dataset(real_data(data)), progress=False)}


def test_the_shipped_models_are_as_good_as_promised(report: dict[str, Any]) -> None:
    _, most_mm, most_far = PROMISED[report["name"]]
    pooled = report["all_landmarks"]
    assert pooled["tre_mm"]["mean"] <= most_mm
    assert pooled["over_10_mm_share"] <= most_far


def test_their_cards_tell_what_is_measured(report: dict[str, Any]) -> None:
    bundle = load_bundle(find_bundle(report["name"]))
    told = bundle.metadata["measured"]["all_landmarks"]["tre_mm"]["mean"]
    assert told == pytest.approx(report["all_landmarks"]["tre_mm"]["mean"], rel=0.02)
    card = (bundle.folder / CARD).read_text()
    assert "research use only" in card.lower()
    assert "calibrated on" in card
    assert (bundle.folder / WEIGHTS).stat().st_size < 8 * 2**20
