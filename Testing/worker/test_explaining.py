"""The worker says what spoke for a landmark, as the predictor in this process would, and is given up like a prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from DenseLandmarksLib.errors import InputError
from DenseLandmarksLib.models.prediction import Predictor
from DenseLandmarksLib.models.registry import open_predictor
from DenseLandmarksLib.worker.blocking import WorkerPredictor
from DenseLandmarksLib.worker.client import Client, Worker
from DenseLandmarksLib.worker.events import Cancelled, Explained, Failed
from Testing.models.neck_finder import LEFT, RIGHT, marked_volume
from Testing.worker.waiting import answers, wait_for_progress


def test_maps_come_as_in_this_process(warm_worker: Worker, client: Client, volume_bundle: Path) -> None:
    image = marked_volume()
    request = client.explain(image, RIGHT, volume_bundle, device="cpu")
    said = answers(warm_worker, client, to=[request])[request]
    assert isinstance(said, Explained)
    here = open_predictor(str(volume_bundle), "cpu").evidence(image, RIGHT)
    assert said.evidence.landmark == RIGHT
    assert len(said.evidence.maps) == len(here.maps) == 2
    for got, wanted in zip(said.evidence.maps, here.maps, strict=True):
        assert (got.name, got.explanation) == (wanted.name, wanted.explanation)
        np.testing.assert_allclose(got.values, wanted.values, atol=1e-3)
        np.testing.assert_allclose(got.to_index, wanted.to_index, atol=1e-3)


def test_a_command_line_asks_as_it_predicts(client: Client, volume_bundle: Path) -> None:
    predictor: Predictor = WorkerPredictor(client, volume_bundle, "cpu")
    passes: list[int] = []
    evidence = predictor.evidence(marked_volume(), LEFT, between_passes=lambda: passes.append(1))
    assert [one.values.max() for one in evidence.maps] == [1, 1]
    assert passes
    with pytest.raises(InputError, match=r"expected a landmark that neck-finder looks for, got 'nose'"):
        predictor.evidence(marked_volume(), "nose")


def test_what_is_wrong_is_told_and_the_next_is_answered(
    warm_worker: Worker, client: Client, volume_bundle: Path
) -> None:
    wrong = client.explain(marked_volume(), "nose", volume_bundle, device="cpu")
    right = client.explain(marked_volume(), LEFT, volume_bundle, device="cpu")
    said = answers(warm_worker, client, to=[wrong, right])
    failed = said[wrong]
    assert isinstance(failed, Failed)
    assert failed.kind == "image"
    assert isinstance(said[right], Explained)


def test_it_can_be_given_up(warm_worker: Worker, client: Client, volume_bundle: Path) -> None:
    first = client.explain(marked_volume(), LEFT, volume_bundle, device="cpu")
    waiting = client.explain(marked_volume(), RIGHT, volume_bundle, device="cpu")
    wait_for_progress(warm_worker, client, first)
    client.cancel(waiting)
    assert isinstance(answers(warm_worker, client, to=[waiting])[waiting], Cancelled)
