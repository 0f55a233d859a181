"""A prediction in a warm worker against the same prediction in this process."""

from __future__ import annotations

import os
from dataclasses import fields

import numpy as np
import torch

from DenseLandmarksLib.geometry.medical_image import MedicalImage
from DenseLandmarksLib.models.registry import open_predictor
from DenseLandmarksLib.models.versions import shipped_bundles
from DenseLandmarksLib.worker.client import Client, Worker
from DenseLandmarksLib.worker.events import Done, Failed, Seconds
from DenseLandmarksLib.worker.launch import Launch
from Testing.benchmarks.chest import chest_phantom
from Testing.benchmarks.predict import SHIPPED
from Testing.benchmarks.timing import Row, compare_difference
from training.phantoms import phantom_image

SIZE = 1024
AT_MOST_MS = 30.0


def _predict(client: Client, image: MedicalImage) -> Seconds:
    request_id = client.request(image, SHIPPED, device="cpu")
    while True:
        client.wait(60)
        for event in client.events():
            if isinstance(event, Failed):
                raise RuntimeError(event.message)
            if isinstance(event, Done) and event.request_id == request_id:
                return event.seconds


def worker_rows() -> list[Row]:
    """What the way to the worker and back costs, and each part of it; none where the shipped model is missing."""
    if SHIPPED not in [folder.name for folder in shipped_bundles()]:
        return []
    here = open_predictor(SHIPPED, "cpu")
    image = phantom_image(chest_phantom(here.template, (SIZE, SIZE)))
    # As many threads there as here.
    launch = Launch.with_interpreter(environment={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())})
    parts: list[Seconds] = []
    with Worker(launch) as worker, worker.client() as client:
        overhead = compare_difference(
            f"predict {SIZE} x {SIZE} {image.volume.GetPixelIDTypeAsString()}, {SHIPPED} in a warm worker / in process",
            lambda: parts.append(_predict(client, image)),
            lambda: here.predict(image),
            AT_MOST_MS,
        )
    warm = parts[1:]
    rows = [overhead]
    for part in fields(Seconds):
        ms = 1000 * float(np.median([getattr(seconds, part.name) for seconds in warm]))
        rows.append(Row(f"... of it {part.name}", ms, None, None, None, None))
    return rows
